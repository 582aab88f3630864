"""Directions of change in the latent space: found, compared, calibrated."""
