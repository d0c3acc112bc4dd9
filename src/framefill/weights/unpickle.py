"""Reads pickles that hold nothing but nested dicts, lists and numpy arrays, and runs no code that the pickle names.

A pickle is a program: it may call anything that it can name. Here it can name the three globals that numpy arrays are made of, and
each of them is a stand-in of ours, so not even numpy's own unpickling, which trusts its input, sees the data.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from framefill.errors import WeightsError

Tree: TypeAlias = "dict[str, Tree] | list[Tree] | NDArray[np.generic] | float | int | str | bool | None"

_KINDS = "biufc"  # booleans, integers, floats, complex; no objects, which would be pickles again


def read_arrays(data: bytes) -> Tree:
    """Return what the pickle `data` (protocol 3 or 4) holds: nested dicts and lists of numpy arrays, numbers and strings.

    Raises WeightsError when the pickle names any other global, or is damaged.
    """
    try:
        return _tree(_ArraysOnly(io.BytesIO(data)).load())
    except WeightsError:
        raise
    # Whatever a damaged pickle makes the unpickler raise: the list in pickle's documentation is open ("not necessarily limited to").
    except Exception as error:
        raise WeightsError(f"no pickle of numpy arrays: {type(error).__name__}: {error}") from error


class _Dtype:
    """Stands in for numpy.dtype: made from a code such as "f4", told the byte order afterwards."""

    def __init__(self, code: str, _align: bool, _copy: bool) -> None:
        self._code = code
        self._order = "|"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self._order = str(state[1])

    def numpy(self) -> np.dtype[np.generic]:
        dtype = np.dtype(self._order + self._code)
        if dtype.kind not in _KINDS or dtype.subdtype is not None:
            raise WeightsError(f"the pickle holds an array of {self._code!r}; only plain numbers are read")
        return dtype


class _Array:
    """Stands in for numpy.ndarray: takes the state that numpy gives an array's pickle."""

    def __init__(self) -> None:
        self.values: NDArray[np.generic] | None = None

    def __setstate__(self, state: tuple[int, tuple[int, ...], _Dtype, bool, bytes]) -> None:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise WeightsError("the pickle holds an array that is not plain bytes; only plain numbers are read")
        kind = dtype.numpy()
        if math.prod(shape) * kind.itemsize != len(data):
            raise WeightsError(f"the pickle holds {len(data)} bytes for an array of {shape} {kind}")
        # A copy, because torch wants arrays that it may write to.
        self.values = np.frombuffer(data, kind).reshape(shape, order="F" if is_fortran else "C").astype(kind.newbyteorder("="))


def _reconstruct(kind: type, _shape: object, _code: object) -> _Array:
    """Stand in for numpy's function that makes the empty array which its state then fills."""
    if kind is not _Array:
        raise WeightsError("the pickle reconstructs something that is no numpy array")
    return _Array()


_GLOBALS: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # where numpy 2 keeps it
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _GLOBALS:
            raise WeightsError(f"the pickle asks for {module}.{name}; only dicts, lists and numpy arrays are read")
        return _GLOBALS[module, name]


def _tree(value: object) -> Tree:
    """Return `value` with each stand-in replaced by its array; raises WeightsError at anything that is no tree of arrays."""
    if isinstance(value, _Array) and value.values is not None:
        return value.values
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _tree(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_tree(part) for part in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise WeightsError(f"the pickle holds a {type(value).__name__}; only dicts, lists and numpy arrays are read")
