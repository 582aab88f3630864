"""One thin file a command: options, a call into the library, the printed result."""
