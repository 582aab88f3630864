"""Measures of reconstructions, of heart and lungs, and of what is generated."""
