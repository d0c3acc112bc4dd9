"""Manifests: what is written comes back, and what is wrong is refused with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from framefill.data.manifest import Clip, read_manifest, write_manifest
from framefill.errors import UnreadableMedia, UsageError

GOOD = {"path": "a.mp4", "start": 0, "end": 20, "fps": 25.0, "width": 64, "height": 48, "split": "train"}


def clip(path: Path, **other: object) -> Clip:
    return Clip(path, 3, 20, 23.976, 64, 48, **{"split": "val", "licence": "CC0 é", "sha256": "0a" * 32, "likeness": "0f" * 64, **other})


def test_round_trip_below_and_beside_the_manifest(tmp_path: Path) -> None:
    clips = [clip(tmp_path / "set" / "a b.mp4"), clip(tmp_path / "elsewhere" / "c%d_*.png", label="Jump")]
    write_manifest(tmp_path / "set" / "m.jsonl", clips)
    assert read_manifest(tmp_path / "set" / "m.jsonl") == clips
    paths = [json.loads(line)["path"] for line in (tmp_path / "set" / "m.jsonl").read_text(encoding="utf-8").split("\n") if line]
    assert paths == ["a b.mp4", str(tmp_path / "elsewhere" / "c%d_*.png")]
    (tmp_path / "set").rename(tmp_path / "moved")
    assert read_manifest(tmp_path / "moved" / "m.jsonl")[0].path == tmp_path / "moved" / "a b.mp4"


def test_what_only_needs_the_frames_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text(json.dumps({key: GOOD[key] for key in list(GOOD)[:6]}) + "\n\n", encoding="utf-8")
    (read,) = read_manifest(tmp_path / "m.jsonl")
    assert (read.split, read.licence, read.sha256, len(read)) == ("train", "", "", 20)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{nonsense", "not JSON"),
        ("[1, 2]", "list came, expected an object"),
        ('"text"', "str came"),
        (json.dumps({**GOOD, "colour": 1}), "unknown key 'colour'"),
        (json.dumps({key: value for key, value in GOOD.items() if key not in ("end", "fps")}), "end, fps missing"),
        (json.dumps({**GOOD, "start": -1}), "start is -1"),
        (json.dumps({**GOOD, "start": 1.5}), "start is 1.5"),
        (json.dumps({**GOOD, "end": True}), "end is True"),
        (json.dumps({**GOOD, "start": 20}), "end 20 is not after start 20"),
        (json.dumps({**GOOD, "fps": 0}), "fps is 0"),
        (json.dumps({**GOOD, "fps": "25"}), "fps is '25'"),
        (json.dumps({**GOOD, "fps": float("inf")}), "fps is inf"),
        (json.dumps({**GOOD, "fps": float("nan")}), "fps is nan"),
        (json.dumps({**GOOD, "width": 0}), "width is 0"),
        (json.dumps({**GOOD, "split": "training"}), "split is 'training', expected train, val, test"),
        (json.dumps({**GOOD, "path": ""}), "path is empty"),
        (json.dumps({**GOOD, "path": 3}), "path is 3"),
        (json.dumps({**GOOD, "licence": None}), "licence is None"),
        (json.dumps({**GOOD, "sha256": "xyz"}), "sha256 is 'xyz', expected 64 hex digits"),
        (json.dumps({**GOOD, "likeness": "00"}), "likeness is '00', expected 128 hex digits"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(f"{json.dumps(GOOD)}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_manifest_at_all(tmp_path: Path) -> None:
    with pytest.raises(UnreadableMedia, match="does not exist; make one"):
        read_manifest(tmp_path / "none.jsonl")
    with pytest.raises(UnreadableMedia, match="is a folder"):
        read_manifest(tmp_path)
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(UsageError, match="names no clip"):
        read_manifest(tmp_path / "empty.jsonl")
    (tmp_path / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no text in UTF-8"):
        read_manifest(tmp_path / "binary.jsonl")
