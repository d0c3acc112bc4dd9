"""Small weights in small packages, for tests of the weights' cache: the table's rows, the archives, and the layouts they name.

torch is imported where it is needed only, because a fresh process that imports this should start at once.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from framefill.weights.registry import WEIGHTS, Archive, Weights

if TYPE_CHECKING:
    import pytest
    from torch import Tensor

PAYLOAD = pickle.dumps(
    {"params": {"Branch_0/Conv": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "bias": np.ones(2, np.float32)}}
)


def numpy_layout(raw: Mapping[str, Mapping[str, object]]) -> dict[str, Tensor]:
    import torch

    params = raw["params"]
    return {"weight": torch.from_numpy(params["Branch_0/Conv"]["kernel"].T), "bias": torch.from_numpy(params["bias"])}


def torch_layout(raw: Mapping[str, Tensor]) -> dict[str, Tensor]:
    whole = raw["whole"]
    return {"first": whole[:2], "rest": whole[2:]}  # views of one tensor, as a layout may give them


def sdist(folder: Path, members: Mapping[str, bytes], package: str = "toy-weights") -> Path:
    """A source distribution of `package` 1.0 that holds `members` below its top folder."""
    stem = f"{package.replace('-', '_')}-1.0"
    path = folder / f"{stem}.tar.gz"
    files = {"PKG-INFO": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(), **members}
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def wheel(folder: Path, members: Mapping[str, bytes], package: str = "toy-weights", version: str = "1.0") -> Path:
    """A wheel of `package` that holds `members`."""
    stem = f"{package.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    info = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        for name, text in info.items():
            archive.writestr(f"{stem}.dist-info/{name}", text)
    return path


def row_of(archive: Path, payload: bytes = PAYLOAD, name: str = "toy") -> Weights:
    """A row of the table whose weights are `payload`, the member toy/w.ckpt of `archive`."""
    return Weights(
        name=name,
        does="nothing but to be tested",
        package="toy-weights",
        version="1.0",
        archive=Archive(archive.name, sha256(archive.read_bytes()), archive.stat().st_size),
        member="toy/w.ckpt",
        sha256=sha256(payload),
        size=len(payload),
        licence="CC0",
        source="made for a test",
        pickle="numpy",
        layout="weights_kit:numpy_layout",
    )


def torch_row(archive: Path, payload: bytes) -> Weights:
    return replace(row_of(archive, payload), pickle="torch", layout="weights_kit:torch_layout")


def torch_file(tree: object) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(tree, buffer)
    return buffer.getvalue()


def enter(monkeypatch: pytest.MonkeyPatch, row: Weights) -> Weights:
    """Put `row` into the table for the length of a test."""
    monkeypatch.setitem(WEIGHTS, row.name, row)
    return row


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def left_in(cache: Path) -> set[str]:
    """What lies in the cache, but for the lock, which stays."""
    return {entry.name for entry in cache.iterdir()} - {".lock"} if cache.is_dir() else set()
