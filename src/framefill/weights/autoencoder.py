"""From the published files of a small autoencoder, which are pickles, to a folder that `--model.codec` takes: config.json and safetensors.

One layout is known: TAEF2 (github.com/madebyollin/taesd), an encoder and a decoder of 1.3 million numbers each. A pickle is read by an
unpickler that makes tensors and containers only.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from framefill.errors import UsageError, WeightsError
from framefill.weights.convert import read_torch
from framefill.weights.store import require_torch

if TYPE_CHECKING:
    from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

# What stands where in the two files: i, o convolutions in and out, p one without bias, b a block, w a block with the wide branch.
LAYERS = {"encoder": "ibpbbbpbbbpwwwo", "decoder": "-i-www-pbbb-pbbb-pbo"}
ENDS = {"encoder": (3, 32), "decoder": (32, 3)}  # channels in and out
WIDTH, WIDE = 64, 256
CONFIG = {"_class_name": "Taef2", "latent_channels": 32, "scaling_factor": 1.0, "shift_factor": 0.0}
KNOWN = "the encoder and the decoder of TAEF2 (taef2_encoder.pth, taef2_decoder.pth)"
TENSORS = "diffusion_pytorch_model.safetensors"  # where diffusers looks
LARGEST = 50_000_000  # bytes; they are 2.6 MB each, and a pickle is read as a whole


def convert_autoencoder(files: Sequence[Path], folder: Path) -> Path:
    """Write the autoencoder of which `files` are the parts, in any order, to a new folder, whole or not at all; return the folder.

    Raises UsageError for a folder that has something in it, WeightsError for files that are anything but the parts of one autoencoder.
    """
    require_torch("weights are converted with")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; give --output a folder that is new or empty")
    parts = [_part(file) for file in files]
    names = [name for name, _ in parts]
    if missing := sorted(LAYERS.keys() - set(names)):
        raise WeightsError(f"the {missing[0]} is missing; give {KNOWN}")
    if len(names) > len(LAYERS):
        raise WeightsError(f"{len(names)} files were given; give one each of {KNOWN}")
    with _made_whole(folder) as making:
        from safetensors.torch import save_file

        tensors = {f"{name}.{key}": value.contiguous() for name, part in parts for key, value in part.items()}
        save_file(tensors, making / TENSORS, {"format": "pt"})
        (making / TENSORS).chmod(0o644)  # safetensors makes it private
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
    try:
        if file.stat().st_size > LARGEST:
            raise WeightsError(f"{file} is larger than any file that can be converted; give {KNOWN}")
        data = file.read_bytes()
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}; give {KNOWN}") from error
    try:
        tensors = read_torch(data)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error
    shapes = {key: tuple(getattr(value, "shape", ())) for key, value in tensors.items()}
    for name in LAYERS:
        if shapes == shapes_of(name):
            return name, tensors
    raise WeightsError(f"{file} holds {len(tensors)} tensors of another network than can be converted; give {KNOWN}")


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """Give an empty folder that takes the place of `folder` when the block ends well, and is gone otherwise."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield making
        making.chmod(0o755)  # mkdtemp makes it private
        making.replace(folder)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
