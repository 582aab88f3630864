"""Measures of reconstructions."""
