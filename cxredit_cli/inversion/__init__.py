"""From a radiograph to its latent code."""
