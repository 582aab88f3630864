"""Whether a disease is a direction of the latent space."""
