"""How good a filled video is, measured: for now the seams that a fill leaves in space and in time."""
