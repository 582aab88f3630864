"""A model as programs that other tools run."""
