"""How pictures move: registration of the whole frame, residual flow, its completion in holes, paths from frame to frame."""
