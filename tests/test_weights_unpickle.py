"""Pickles of numpy arrays are read, and any other pickle is refused by name before it can do anything."""

from __future__ import annotations

import collections
import copyreg
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from framefill.errors import WeightsError
from framefill.weights.unpickle import read_arrays

DTYPES = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i8", ">i2", "|u1", "|b1", "<c8"])


class Touch:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


class Shell:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.system, ("echo",)


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)), st.sampled_from([3, 4]), st.booleans())
def test_arrays_come_back_as_they_went(array: np.ndarray, protocol: int, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    read = read_arrays(pickle.dumps({"a": {"b": [array, None, 1.5, "x"]}}, protocol=protocol))
    assert isinstance(read, dict)
    (found, *rest) = read["a"]["b"]
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype.newbyteorder("=")
    assert found.flags.writeable
    assert rest == [None, 1.5, "x"]


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (Shell(), "system"),
        ({"params": [np.zeros(2), Shell()]}, "system"),
        ({1: Path("x")}, "Path"),
        (collections.OrderedDict(a=np.zeros(2)), "OrderedDict"),
        (np.array([{"a": 1}], dtype=object), "not plain bytes"),
        (np.array([(1, 2)], dtype="i4,i4"), "'V8'"),
        (np.float32(1), "scalar"),
        (eval, "eval"),
        ({1: np.zeros(2)}, "dict"),
        ({"a": {1, 2}}, "set"),
        ({"a": b"bytes"}, "bytes"),
        (np.ndarray, "type"),
    ],
)
def test_anything_else_is_refused_by_name(payload: object, named: str) -> None:
    with pytest.raises(WeightsError, match=named) as caught:
        read_arrays(pickle.dumps(payload, protocol=4))
    assert "\n" not in str(caught.value)


def test_nothing_runs(tmp_path: Path) -> None:
    payload = pickle.dumps([np.zeros(3), Touch(tmp_path / "ran")])
    with pytest.raises(WeightsError):
        read_arrays(payload)
    assert not (tmp_path / "ran").exists()
    pickle.loads(payload)
    assert (tmp_path / "ran").exists()  # it would have


def test_a_global_by_number_is_refused_too() -> None:
    copyreg.add_extension("posix" if os.name == "posix" else "nt", "system", 0x7FFF)
    try:
        payload = pickle.dumps(Shell(), protocol=2)
        assert b"system" not in payload
        with pytest.raises(WeightsError, match="system"):
            read_arrays(payload)
    finally:
        copyreg.remove_extension("posix" if os.name == "posix" else "nt", "system", 0x7FFF)


def test_an_array_whose_bytes_do_not_fit_its_shape_is_refused() -> None:
    payload = pickle.dumps(np.zeros(300, np.float32), protocol=3)
    longer = payload.replace((300).to_bytes(2, "little"), (301).to_bytes(2, "little"), 1)
    assert longer != payload
    with pytest.raises(WeightsError, match="1200 bytes"):
        read_arrays(longer)


@pytest.mark.parametrize("cut", [0, 1, 2, 10, 50, -1])
def test_a_cut_pickle_is_refused(cut: int) -> None:
    with pytest.raises(WeightsError):
        read_arrays(pickle.dumps({"a": np.zeros(9)})[:cut])


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read_but_never_breaks(noise: bytes) -> None:
    try:
        read_arrays(noise)
    except WeightsError:
        return
