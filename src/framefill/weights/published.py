"""Published files of networks that come as pickles, to a folder that framefill loads: which network it is, the tensors tell.

A pickle is read by an unpickler that makes tensors and containers only; a folder appears whole or not at all.
"""

from __future__ import annotations

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

KNOWN = (
    "the encoder and the decoder of TAEF2 (taef2_encoder.pth, taef2_decoder.pth), or one light inpainting net of nunif "
    "(iw3_light_video_inpaint_v1_....pth)"
)
TENSORS = "diffusion_pytorch_model.safetensors"  # where diffusers looks
LARGEST = 300_000_000  # bytes; with its optimizer's state the largest takes 120 MB, and a pickle is read as a whole


def convert_published(files: Sequence[Path], folder: Path) -> Path:
    """Write the network of which `files` are the parts to a new folder, whole or not at all; return the folder.

    Raises UsageError for a folder that has something in it and for more than one network, WeightsError for files that hold no known one.
    """
    from framefill.weights.autoencoder import convert_autoencoder
    from framefill.weights.light_compat import convert_light, is_light

    check_new(folder)
    lights = [file for file in files if is_light(read_published(file))]
    if not lights:
        return convert_autoencoder(files, folder)
    if len(files) > 1:
        raise UsageError(f"{lights[0]} is a network of its own and {len(files)} files were given; convert it alone")
    return convert_light(lights[0], folder)


def check_new(folder: Path) -> None:
    """Raise UsageError for a folder that has something in it, WeightsError where torch is missing."""
    require_torch("weights are converted with")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already; give --output a folder that is new or empty")


def read_published(file: Path) -> Mapping[str, Tensor]:
    """Return what a file of torch holds. Raises WeightsError for one that cannot be read, and for more than tensors and containers."""
    try:
        if file.stat().st_size > LARGEST:
            raise WeightsError(f"{file} is larger than any file that can be converted; give {KNOWN}")
        data = file.read_bytes()
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}; give {KNOWN}") from error
    try:
        return read_torch(data)
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error


def write_tensors(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write tensors to the file in `folder` that diffusers reads."""
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / TENSORS, {"format": "pt"})
    (folder / TENSORS).chmod(0o644)  # safetensors makes it private


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
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
