"""Disease-aware editing of chest X-rays, for research and education, not for diagnosis."""

__version__ = "0.1.0"
