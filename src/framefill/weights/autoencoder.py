"""From the published files of a small autoencoder, which are pickles, to a folder that `--model.codec` takes: config.json and safetensors.

One layout is known: TAEF2 (github.com/madebyollin/taesd), an encoder and a decoder of 1.3 million numbers each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from framefill.errors import WeightsError
from framefill.weights.published import KNOWN, check_new, made_whole, read_published, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

# What stands where in the two files: i, o convolutions in and out, p one without bias, b a block, w a block with the wide branch.
LAYERS = {"encoder": "ibpbbbpbbbpwwwo", "decoder": "-i-www-pbbb-pbbb-pbo"}
ENDS = {"encoder": (3, 32), "decoder": (32, 3)}  # channels in and out
WIDTH, WIDE = 64, 256
CONFIG = {"_class_name": "Taef2", "latent_channels": 32, "scaling_factor": 1.0, "shift_factor": 0.0}


def convert_autoencoder(files: Sequence[Path], folder: Path) -> Path:
    """Write the autoencoder of which `files` are the parts, in any order, to a new folder, whole or not at all; return the folder.

    Raises UsageError for a folder that has something in it, WeightsError for files that are anything but the parts of one autoencoder.
    """
    check_new(folder)
    parts = [_part(file) for file in files]
    names = [name for name, _ in parts]
    if missing := sorted(LAYERS.keys() - set(names)):
        raise WeightsError(f"the {missing[0]} is missing; give {KNOWN}")
    if len(names) > len(LAYERS):
        raise WeightsError(f"{len(names)} files were given; give one each of {KNOWN}")
    with made_whole(folder) as making:
        write_tensors({f"{name}.{key}": value for name, part in parts for key, value in part.items()}, making)
        (making / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n", encoding="utf-8")
    return folder


def shapes_of(part: str) -> Shapes:
    """Return the shapes of the tensors of "encoder" or "decoder", by name."""
    seen, made = ENDS[part]
    found: dict[str, tuple[int, ...]] = {}
    for number, layer in enumerate(LAYERS[part]):
        if layer == "i":
            found |= {f"{number}.weight": (WIDTH, seen, 3, 3), f"{number}.bias": (WIDTH,)}
        elif layer == "o":
            found |= {f"{number}.weight": (made, WIDTH, 3, 3), f"{number}.bias": (made,)}
        elif layer == "p":
            found[f"{number}.weight"] = (WIDTH, WIDTH, 3, 3)
        elif layer in "bw":
            for place in (0, 2, 4):
                found |= {f"{number}.conv.{place}.weight": (WIDTH, WIDTH, 3, 3), f"{number}.conv.{place}.bias": (WIDTH,)}
        if layer == "w":
            found |= {f"{number}.pool.0.weight": (WIDE, WIDTH, 1, 1), f"{number}.pool.3.weight": (WIDTH, WIDE, 1, 1)}
            found |= {f"{number}.pool.1.weight": (WIDE,), f"{number}.pool.1.bias": (WIDE,)}
    return found


def _part(file: Path) -> tuple[str, Mapping[str, Tensor]]:
    """Which part a file holds, and its tensors."""
    tensors = read_published(file)
    shapes = {key: tuple(getattr(value, "shape", ())) for key, value in tensors.items()}
    for name in LAYERS:
        if shapes == shapes_of(name):
            return name, tensors
    raise WeightsError(f"{file} holds {len(tensors)} tensors of another network than can be converted; give {KNOWN}")
