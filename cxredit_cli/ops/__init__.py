"""The three operations that the networks spend their time in."""
