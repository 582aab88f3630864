"""From a radiograph to its latent code."""

STEPS = 75  # of optimisation, where nothing else is said
