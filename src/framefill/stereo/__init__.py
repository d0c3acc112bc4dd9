"""Two eyes from one: depth, the warp to another eye, and the holes that it opens."""
