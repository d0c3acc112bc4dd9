"""The monotone backward warp: an eye's view and its holes, without weights, in which nothing changes places along a row.

Where a near thing moves over what is behind it, the row is kept in order: what it covers is squeezed to nothing, and so is all behind a
thing narrower than its own shift, that in truth comes out at its other side (`forward` can show that). In return a view has no cracks,
and holes are whole. A row's map is made monotone by a running minimum and inverted exactly, see `surface`; the method that this follows
(MonoBW of nunif/iw3) searches and smooths. Holes are where the map is stretched to twice its length or more, as there and in
DreamStereo (arXiv 2604.12270); at the picture's sides, where nothing is torn but the picture ends, the view is stretched and no hole.
"""

from __future__ import annotations

from framefill.stereo.geometry import Border, Depth, Eye, Picture, View
from framefill.stereo.surface import Fill
from framefill.stereo.view import draw


def backward(
    picture: Picture,
    depth01: Depth,
    divergence: float,
    convergence: float,
    eye: Eye,
    *,
    fill: Fill = "background",
    closing: int = 1,
    border: Border = "stretch",
) -> View:
    """One eye's view of a picture by a monotone warp, its holes filled with their background neighbour.

    picture: uint8 H W 3. depth01: float32 H W in 0..1, 1 = near. divergence in percent of the longer side, convergence in 0..1: see
    `geometry.shift`. fill: how the holes are filled, see `surface.fill_holes`. closing: gaps in the hole of up to twice as many pixels
    are closed. border: whether what comes into view from beyond the picture's sides is hole; it is filled with the picture's first or
    last column either way. Raises UsageError for other arrays or values.
    """
    return draw(picture, depth01, divergence, convergence, eye, fill=fill, closing=closing, border=border, order="kept")
