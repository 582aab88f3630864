"""Pictures made of pictures: grids, contact sheets, outlines."""
