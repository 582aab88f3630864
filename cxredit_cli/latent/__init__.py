"""Directions in W, their separability, and edits along them."""
