"""The StyleGAN2 generator and discriminator, the two-branch encoder, and the layers they share."""
