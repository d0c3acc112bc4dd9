"""A network's folder as diffusers lays it out: config.json beside safetensors, in one file or in shards, in full or half precision."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from framefill.errors import WeightsError

Shape = tuple[int, ...]
STEM = "diffusion_pytorch_model"
PRECISIONS = ("", ".fp16", ".bf16")  # how the stored variants are called; the full one first


@dataclass(frozen=True)
class Stored:
    """The weights that lie in a folder: its configuration, and by name their shapes and the files that hold them."""

    folder: Path
    config: Mapping[str, object]
    shapes: Mapping[str, Shape]
    files: Mapping[str, Path]

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Read the tensors one after the other, file by file."""
        for file in sorted(set(self.files.values())):
            with _opened(file) as held:
                for name in held.keys():  # noqa: SIM118 - what safetensors gives is no dict
                    yield name, held.get_tensor(name)

    def check(self, wanted: Mapping[str, Shape]) -> None:
        """Raise WeightsError unless exactly the tensors `wanted` are there, in their shapes."""
        for state, names in (("lack", wanted.keys() - self.shapes.keys()), ("hold unknown", self.shapes.keys() - wanted.keys())):
            if names:
                raise WeightsError(
                    f"the weights in {self.folder} {state} {len(names)} tensors ({min(names)}, ...); they belong to another network than "
                    "config.json beside them describes"
                )
        for name, shape in self.shapes.items():
            if shape != wanted[name]:
                raise WeightsError(
                    f"the weights in {self.folder} hold {name} as {_written(shape)}, config.json beside them makes it "
                    f"{_written(wanted[name])}; one of the two belongs to another network"
                )


def stored(folder: str | Path) -> Stored:
    """Look at what a folder holds, without reading its tensors. Raises WeightsError for a folder without a network and damaged files."""
    folder = Path(folder)
    config = _json(folder / "config.json", folder)
    shapes: dict[str, Shape] = {}
    files: dict[str, Path] = {}
    for file in _files(folder):
        with _opened(file) as held:
            for name in held.keys():  # noqa: SIM118
                shapes[name], files[name] = tuple(held.get_slice(name).get_shape()), file
    return Stored(folder, config, shapes, files)


def _files(folder: Path) -> list[Path]:
    for precision in PRECISIONS:
        whole = folder / f"{STEM}{precision}.safetensors"
        if whole.is_file():
            return [whole]
        index = folder / f"{STEM}.safetensors.index{precision}.json"
        if index.is_file():
            shards = _json(index, folder).get("weight_map")
            if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
                raise WeightsError(f"{index} names no files; get the network anew")
            return [folder / name for name in sorted(set(shards.values()))]
    if next(folder.glob("*.bin"), None) is not None:
        raise WeightsError(f"{folder} holds its network as a pickle (.bin), which is not opened; get the .safetensors of the same network")
    raise WeightsError(f"{folder} holds no {STEM}.safetensors; give the folder of a network as diffusers saves it")


def _json(file: Path, folder: Path) -> dict[str, object]:
    try:
        told = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        raise WeightsError(f"{folder} holds no {file.name}; give the folder of a network as diffusers saves it") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"cannot read {file}: {str(error).splitlines()[0]}; get the network anew") from error
    if not isinstance(told, dict):
        raise WeightsError(f"{file} describes no network; get the network anew")
    return told


def _opened(file: Path) -> safe_open:
    try:
        return safe_open(file, "pt")
    except FileNotFoundError as error:
        raise WeightsError(f"{file} is missing; get the network anew, all of its files") from error
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} is damaged or was not fetched to its end ({str(error).splitlines()[0]}); get it anew") from error


def _written(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one number"
