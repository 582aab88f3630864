"""Edits of radiographs: of one, of many, to a target."""
