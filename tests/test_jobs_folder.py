"""The job folder: what is in it can be trusted, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from framefill.errors import JobError
from framefill.jobs.folder import JobFolder
from framefill.jobs.made import Made

IDENTITY = {"inputs": {"a.mp4": "00"}, "settings": {"start": 0}, "versions": {"framefill": "1"}}


def _made(number: int) -> Made:
    pixels = np.full((5, 3), number, np.uint8)
    return Made(np.array([2, 3]), pixels, np.ones(5, np.uint8), 0.25)


def _fill(path: Path, windows: int) -> None:
    folder = JobFolder(path)
    folder.begin(IDENTITY)
    for number in range(windows):
        folder.save(number, _made(number), {"total": np.array(number)})
    folder.leave()


def test_windows_and_the_newest_state_come_back(tmp_path: Path) -> None:
    _fill(tmp_path / "job", 3)
    folder = JobFolder(tmp_path / "job")
    folder.begin(IDENTITY)
    assert folder.finished() == 3
    assert np.array_equal(folder.load(1).pixels, _made(1).pixels)
    assert folder.load(1).seconds == 0.25
    assert folder.load_state(2) == {"total": 2}
    assert [path.name for path in folder.path.glob("state-*")] == ["state-00002.npz"]
    assert folder.warnings == []


def test_an_empty_state_is_a_state(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "job")
    folder.begin(IDENTITY)
    folder.save(0, _made(0), {})
    folder.leave()
    again = JobFolder(tmp_path / "job")
    again.begin(IDENTITY)
    assert again.finished() == 1
    assert again.load_state(0) == {}


def test_another_identity_starts_anew_and_says_what_differs(tmp_path: Path) -> None:
    _fill(tmp_path / "job", 2)
    folder = JobFolder(tmp_path / "job")
    folder.begin({**IDENTITY, "settings": {"start": 1}})
    assert folder.finished() == 0
    assert len(folder.warnings) == 1
    assert "other settings" in folder.warnings[0]
    assert json.loads((folder.path / "job.json").read_text())["settings"] == {"start": 1}


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and then nothing", None])
def test_a_damaged_window_is_not_taken_over(tmp_path: Path, damage: bytes | None) -> None:
    _fill(tmp_path / "job", 3)
    window = tmp_path / "job" / "window-00001.npz"
    whole = window.read_bytes()
    window.write_bytes(whole[:200] + bytes([whole[200] ^ 255]) + whole[201:] if damage is None else damage)
    folder = JobFolder(tmp_path / "job")
    folder.begin(IDENTITY)
    # The state before the damaged window is gone, so the chain has to be made again from its beginning.
    assert folder.finished() == 0
    assert "damaged" in folder.warnings[0]
    assert list(folder.path.glob("window-*")) == []


def test_a_kill_between_state_and_window_loses_only_that_window(tmp_path: Path) -> None:
    _fill(tmp_path / "job", 3)
    (tmp_path / "job" / "window-00002.npz").unlink()
    state = (tmp_path / "job" / "state-00002.npz").read_bytes()
    (tmp_path / "job" / "state-00001.npz").write_bytes(state)
    (tmp_path / "job" / "window-00002.npz.part").write_bytes(b"half")
    folder = JobFolder(tmp_path / "job")
    folder.begin(IDENTITY)
    assert folder.finished() == 2
    assert sorted(path.name for path in folder.path.glob("*.part")) == []
    assert not (folder.path / "state-00002.npz").exists()


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", '{"schema": 0}'])
def test_a_damaged_manifest_starts_anew(tmp_path: Path, text: str) -> None:
    _fill(tmp_path / "job", 1)
    (tmp_path / "job" / "job.json").write_text(text)
    folder = JobFolder(tmp_path / "job")
    folder.begin(IDENTITY)
    assert folder.finished() == 0
    assert len(folder.warnings) == 1


def test_two_at_one_job_is_an_error(tmp_path: Path) -> None:
    first = JobFolder(tmp_path / "job")
    with pytest.raises(JobError, match="another process"):
        JobFolder(tmp_path / "job")
    first.leave()
    assert not (tmp_path / "job").exists(), "a folder with nothing in it goes"
    JobFolder(tmp_path / "job").leave()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file is in the way")
    with pytest.raises(JobError, match="cannot be written"):
        JobFolder(tmp_path / "job")


def test_what_is_not_a_window_is_left_alone_and_every_damage_means_making_it_again(tmp_path: Path) -> None:
    _fill(tmp_path / "job", 2)
    stranger = tmp_path / "job" / "window-abc.npz"
    stranger.write_bytes(b"somebody else's")
    np.savez(tmp_path / "job" / "window-00001.npz", counts=np.array([1]))
    folder = JobFolder(tmp_path / "job")
    folder.begin(IDENTITY)
    assert folder.finished() == 0
    assert "damaged" in folder.warnings[0]
    folder.remove()
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["window-abc.npz"]


def test_no_flipped_bit_is_more_than_a_damaged_window(tmp_path: Path) -> None:
    _fill(tmp_path / "job", 1)
    window = tmp_path / "job" / "window-00000.npz"
    whole = window.read_bytes()
    for place in range(0, len(whole), 7):
        window.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        folder = JobFolder(tmp_path / "job")
        folder.begin(IDENTITY)
        count = folder.finished()
        assert count == 0 or np.array_equal(folder.load(0).pixels, _made(0).pixels)
        if not count:
            np.savez(tmp_path / "job" / "state-00000.npz", total=np.array(0))
        folder.windows = 1  # keep the folder
        folder.leave()
