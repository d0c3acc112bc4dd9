"""What an image-to-video pipeline takes of memory, estimated, and how to stay below a limit: smaller portions, shorter blocks, offloading.

The parts' weights are counted; what they work with is estimated in planes of features: frames x places x channels of the first block.
Measured as the growth of the peak resident memory, float32, one thread of a CPU, channels of the four blocks 1:2:4:4 as SVD's:

    net, 64 channels, 14 frames of 64x32, 32x32, 16x32 latents      55, 45, 73 planes
    net, 128 channels, 7 frames of 16x32                            64
    decoder, 64 channels, 4 frames of 128x128, 64x64 pixels         18, 22
    encoder, 64 channels, 4 frames of 128x128                       9

SVD's own weights and a GPU were not measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from torch import nn

from framefill.errors import UsageError
from framefill.families.fff.latents import Portions
from framefill.families.fff.pipeline import FFFPipeline
from framefill.families.memory import DEFAULT, needed_memory

UNET, ENCODER, DECODER = 60.0, 9.0, 20.0  # planes
CLIP = 16  # tensors of a block in latents: noise, condition, known places, estimates
WIDEST = 16 / 9  # of the shapes that a net is shown
TILES = (64, 32)  # latents a side


@dataclass(frozen=True)
class Way:
    """How a clip is made: blocks of `window` new frames beside `reach` known ones, in which portions, and where the parts lie."""

    window: int
    reach: int
    portions: Portions = field(default_factory=Portions)
    offloads: bool = False


def way_within(pipeline: FFFPipeline, limit: int | None, pixels: int, seen: int, blocks: Sequence[Way]) -> Way:
    """The first way that stays below `limit` bytes: `blocks`, longest first, then smaller portions.

    On a GPU the limit is that of its memory. Without a limit it is the longest block whose frames stay below the program's usual one, or
    the shortest. Raises UsageError with the smallest limit that works.
    """
    if limit is None:
        fitting = (block for block in blocks if needed_memory(block.window, block.reach, pixels, seen) <= DEFAULT)
        return replace(next(fitting, blocks[-1]), portions=pipeline.portions)
    ways = list(_ways(pipeline, blocks))
    needs = [needed(pipeline, way, pixels, seen) for way in ways]
    for way, need in zip(ways, needs, strict=True):
        if need <= limit:
            return way
    least = ceil(min(needs) / 1e6)
    raise UsageError(f"--memory {limit / 1e6:.0f}MB is too little for this net; the smallest that works is about {least}MB")


def needed(pipeline: FFFPipeline, way: Way, pixels: int, seen: int) -> int:
    """Estimate the peak in bytes: of the GPU where the pipeline is on one, else of the whole process."""
    places = _places(pipeline, seen)
    size = next(pipeline.unet.parameters()).element_size()
    coder = next(pipeline.vae.decoder.parameters()).element_size()
    side = way.portions.tile
    tile = places if side is None else min(places, side**2)
    chunk = min(way.window + way.reach, (way.portions.decode or pipeline.window) + 2 * way.portions.overlap)
    wide = int(pipeline.vae.config.block_out_channels[0])
    sampling = UNET * pipeline.window * places * int(pipeline.unet.config.block_out_channels[0]) * size
    decoding = DECODER * chunk * tile * pipeline.factor**2 * wide * coder
    encoding = ENCODER * way.portions.encode * places * pipeline.factor**2 * wide * coder
    latents = CLIP * (way.window + way.reach) * places * int(pipeline.vae.config.latent_channels) * 4
    parts = [(_weights(pipeline.unet), sampling), (_weights(pipeline.vae), max(decoding, encoding))]
    if pipeline.embedder is not None:
        parts.append((_weights(pipeline.embedder.net), 0.0))
    peak = max(weights + work if way.offloads else work for weights, work in parts)
    total = latents + peak + (0 if way.offloads else sum(weights for weights, _ in parts))
    if pipeline.device.type == "cpu":
        total += needed_memory(way.window, way.reach, pixels, seen)
    return int(total)


def _ways(pipeline: FFFPipeline, blocks: Sequence[Way]) -> Iterator[Way]:
    """Ways that take less and less: what costs time before what costs quality, and offloading last."""
    usual = pipeline.portions
    for offloads in (False, True) if pipeline.device.type != "cpu" else (False,):
        for block in blocks:
            yield replace(block, portions=usual, offloads=offloads)
        least = replace(blocks[-1], offloads=offloads)
        for decode, encode in ((4, 4), (2, 2), (1, 1)):
            yield replace(least, portions=replace(usual, decode=decode, encode=encode))
        for side in TILES:
            yield replace(least, portions=replace(usual, decode=1, encode=1, tile=side))


def _places(pipeline: FFFPipeline, seen: int) -> int:
    """How many latents a frame has at most."""
    return ceil(min(seen, pipeline.size**2 * WIDEST) / pipeline.factor**2)


def _weights(part: nn.Module) -> int:
    return int(sum(weight.numel() * weight.element_size() for weight in part.parameters()))
