"""Reading radiographs of any common format into one type, and writing images."""
