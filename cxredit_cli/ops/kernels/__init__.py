"""The CUDA kernels: their sources, their compilation on the user's machine, and their launch."""
