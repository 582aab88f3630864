"""Instruments: how alike images are, how far sets of them are apart, how well scores rank."""
