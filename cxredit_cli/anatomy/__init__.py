"""Heart and lungs: their outlines, and what is measured on them."""
