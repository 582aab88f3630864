"""HDF5 datasets, codes and directions; safetensors models."""
