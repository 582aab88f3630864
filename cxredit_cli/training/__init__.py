"""Training of the generator and of the encoder."""
