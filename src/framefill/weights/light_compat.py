"""From nunif's files of the light inpainting nets, released or trained by its trainer, to a folder for `--model`.

Such a file is a dict with the marker `nunif_model`, the constructor's arguments, the state dict and, in a checkpoint, the optimizer's
state. Which net it is follows from the tensors' shapes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from framefill.errors import WeightsError
from framefill.weights.published import KNOWN, check_new, made_whole, read_published, write_tensors

Shapes = dict[str, tuple[int, ...]]
Config = dict[str, int]

MARKER = "nunif_model"
TRAINED_ON = ("stereo",)
CROP = 256  # pixels of the squares that the released nets were trained on
PATCH, GRID = 48, 64  # colours of a cell of 4x4 pixels; pixels of a window


def is_light(tree: Mapping[str, object]) -> bool:
    """Whether a file's content is marked as nunif's."""
    return MARKER in tree


def convert_light(file: Path, folder: Path) -> Path:
    """Write the net in `file` to a new folder as a pipeline of the published numbers, whole or not at all; return the folder.

    Raises UsageError for a folder that has something in it, WeightsError for a file that holds another network.
    """
    check_new(folder)
    tree = read_published(file)
    tensors = tree.get("state_dict")
    shapes = _shapes(tensors)
    config = _config(shapes)
    if config is None or shapes != shapes_of(config) or not isinstance(tensors, Mapping):
        told = f"is nunif's {tree.get('name')!r}" if is_light(tree) else "is no file of nunif"
        raise WeightsError(f"{file} {told}, which is no light inpainting net of those that can be converted; give {KNOWN}")
    with made_whole(folder) as making:
        (making / "net").mkdir()
        write_tensors(tensors, making / "net")
        _write(making / "net" / "config.json", {"_class_name": "LightCompat", **config})
        index = {"_class_name": "LightCompatPipeline", "net": ["framefill.nets.light_compat", "LightCompat"]}
        _write(making / "model_index.json", index | {"tasks": TRAINED_ON, "size": CROP, "surplus_padding": True})
    return folder


def shapes_of(config: Config) -> Shapes:
    """Return the shapes of a net's tensors by name; `config` is its `channels`, `expansion` and `frames` (1: for single pictures)."""
    first, frames = config["channels"], config["frames"]
    second, still = 2 * first, frames == 1
    found: Shapes = {"mask_bias": (1, first, 1, 1)}
    if still:
        found |= _weights("patch.0", first, PATCH, 1, 1) | _weights("to_image.1", PATCH, first, 3, 3)
    else:
        found |= _weights("patch", first, 3, 4, 4) | _weights("to_image", PATCH, first, 1, 1)
    found |= _weights("down", second, first, 2, 2) | _weights("up", 4 * first, second, 1, 1)
    for name in ("enc1", "dec1"):
        found |= _block(name, first, 2, (GRID // 4) ** 2)
    for number in range(4 if still else 5):
        over_time = number % 2 == 1 and not still
        tokens, expansion = (frames, 2) if over_time else ((GRID // 8) ** 2, config["expansion"])
        found |= _block(f"enc2.{number}", second, expansion, tokens)
    return found


def _block(name: str, size: int, expansion: int, tokens: int) -> Shapes:
    inner = size * expansion
    return {
        **_weights(f"{name}.gmlp.gmlp.proj_in", 2 * inner, size),
        **_weights(f"{name}.gmlp.gmlp.proj_spatial", tokens, tokens, 1),
        **_weights(f"{name}.gmlp.gmlp.proj_out", size, inner),
        f"{name}.norm1.weight": (size,),
        f"{name}.norm2.weight": (inner,),
        **_weights(f"{name}.glu_conv.w1", size, size, 1, 1),
        **_weights(f"{name}.glu_conv.w2", size, size // 2, 3, 3),
    }


def _weights(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _shapes(tensors: object) -> Shapes:
    """The shapes of what may be a state dict; empty for anything else."""
    if not isinstance(tensors, Mapping):
        return {}
    return {str(key): tuple(getattr(value, "shape", ())) for key, value in tensors.items()}


def _config(shapes: Shapes) -> Config | None:
    """The numbers that a state dict's shapes speak of; None where they speak of none."""
    gate, mixed = shapes.get("enc2.0.norm2.weight"), shapes.get("enc2.1.gmlp.gmlp.proj_spatial.bias")
    bias = shapes.get("mask_bias", ())
    if not gate or not mixed or len(bias) != 4:
        return None
    return {"channels": bias[1], "expansion": gate[0] // (2 * bias[1]), "frames": 1 if "to_image.1.weight" in shapes else mixed[0]}


def _write(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
