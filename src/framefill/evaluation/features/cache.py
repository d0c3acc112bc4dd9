"""Features that were computed once, kept by what they were computed from: the same clip is never put through the network twice.

A file's name is a hash of the clip's content and of everything that was done to it, so an entry is never out of date. Entries are
written whole or not at all: several workers may share the folder, and two that make one entry write the same bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framefill.weights.store import folder as weights_folder
from framefill.weights.store import written_whole


def folder() -> Path:
    """Return the folder of features, beside the weights: `FRAMEFILL_HOME`/features or the XDG cache; it need not exist."""
    return weights_folder().parent / "features"


def key_of(clip: NDArray[np.generic], *made_by: str) -> str:
    """Return the name of a clip's features: sha256 over its values, their type and shape, and the words that say what was done to it."""
    content = np.ascontiguousarray(clip)
    about = "\0".join((content.dtype.str, repr(content.shape), *made_by))
    hashed = hashlib.sha256(about.encode())
    hashed.update(content.data)
    return hashed.hexdigest()


def read(key: str) -> NDArray[np.float32] | None:
    """Return the features kept under `key`, or None when there are none or the file is damaged (they are then made again)."""
    try:
        found: NDArray[np.float32] = np.load(_place(key), allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return found


def keep(key: str, features: NDArray[np.float32]) -> None:
    """Keep `features` under `key`. Raises WeightsError in one line when the cache cannot be written."""
    with written_whole(_place(key)) as file:
        np.save(file, features, allow_pickle=False)


def _place(key: str) -> Path:
    return folder() / key[:2] / f"{key}.npy"  # by the first two digits, so that no folder grows to many thousands of files
