"""Layouts of data sets, rebuilt with empty files: importers list, they do not open."""

from __future__ import annotations

from pathlib import Path

import pytest

from framefill.data.layouts import LAYOUTS, Source, find_sources, recognise
from framefill.errors import UnreadableMedia, UsageError

Row = tuple[str, str | None, str]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def rows(root: Path, sources: list[Source]) -> list[Row]:
    return [(source.path.relative_to(root).as_posix(), source.split, source.label) for source in sources]


def frames(folder: str, count: int = 3, suffix: str = ".jpg") -> list[str]:
    return [f"{folder}/{number:05}{suffix}" for number in range(count)]


def test_anything_videos_and_frames(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "b10.mp4", "b2.MKV", "deep/er/c.avi", *frames("stills/one", suffix=".png"), "stills/two.mp4/1.png", "notes.txt",
        ".hidden/x.mp4", "loop.gif",
    )  # fmt: skip
    everything = ["b2.MKV", "b10.mp4", "deep/er/c.avi", "loop.gif", "stills/one", "stills/two.mp4"]
    assert recognise(root) == "any"
    assert [name for name, _, _ in rows(root, find_sources(root))] == everything
    assert [name for name, _, _ in rows(root, find_sources(root, "videos"))] == everything[:4]
    assert [name for name, _, _ in rows(root, find_sources(root, "frames"))] == everything[4:]


def test_folders_named_by_split(tmp_path: Path) -> None:
    root = touch(tmp_path, "train/a.mp4", "Validation/b.mp4", "test/c/1.png", "more/d.mp4", "e.mp4")
    assert recognise(root) == "splits"
    assert rows(root, find_sources(root)) == [
        ("more/d.mp4", None, ""), ("test/c", "test", ""), ("train/a.mp4", "train", ""), ("Validation/b.mp4", "val", ""),
        ("e.mp4", None, ""),
    ]  # fmt: skip


def test_youtube_vos(tmp_path: Path) -> None:
    root = touch(
        tmp_path, *frames("train/JPEGImages/0043f083b5"), *frames("train/Annotations/0043f083b5", suffix=".png"),
        *frames("valid/JPEGImages/00f88c4f0a"), *frames("valid_all_frames/JPEGImages/00f88c4f0a"),
    )  # fmt: skip
    assert recognise(root) == "youtube-vos"
    found = find_sources(root)
    assert rows(root, found) == [
        ("train/JPEGImages/0043f083b5", "train", ""), ("valid/JPEGImages/00f88c4f0a", "val", ""),
        ("valid_all_frames/JPEGImages/00f88c4f0a", "val", ""),
    ]  # fmt: skip
    assert [source.fps for source in found] == [6, 6, 30]


def test_davis_takes_one_resolution_and_the_lists(tmp_path: Path) -> None:
    root = touch(
        tmp_path, *frames("JPEGImages/480p/bear"), *frames("JPEGImages/480p/bmx-trees"), *frames("JPEGImages/480p/rest"),
        *frames("JPEGImages/Full-Resolution/bear"), *frames("Annotations/480p/bear", suffix=".png"), "ImageSets/2017/train.txt",
    )  # fmt: skip
    (root / "ImageSets/2017/train.txt").write_text("bear\n", encoding="utf-8")
    (root / "ImageSets/480p").mkdir()
    (root / "ImageSets/480p/val.txt").write_text(
        "/JPEGImages/480p/bmx-trees/00000.jpg /Annotations/480p/bmx-trees/00000.png\n", encoding="utf-8"
    )
    assert recognise(root) == "davis"
    found = find_sources(root)
    assert rows(root, found) == [
        ("JPEGImages/480p/bear", "train", ""), ("JPEGImages/480p/bmx-trees", "val", ""), ("JPEGImages/480p/rest", None, ""),
    ]  # fmt: skip
    assert {source.fps for source in found} == {24}


def test_davis_without_resolutions(tmp_path: Path) -> None:
    root = touch(tmp_path, *frames("JPEGImages/bear"), "ImageSets/2016/train.txt")
    assert rows(root, find_sources(root)) == [("JPEGImages/bear", None, "")]


def test_ucf101_by_its_lists_and_without(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "UCF-101", "Archery/v_Archery_g01_c01.avi", "Archery/v_Archery_g08_c01.avi", "YoYo/v_YoYo_g07_c02.avi", "YoYo/notes.txt"
    )
    assert recognise(root) == "ucf101"
    assert rows(root, find_sources(root)) == [
        ("Archery/v_Archery_g01_c01.avi", "test", "Archery"), ("Archery/v_Archery_g08_c01.avi", "train", "Archery"),
        ("YoYo/v_YoYo_g07_c02.avi", "test", "YoYo"),
    ]  # fmt: skip
    lists = touch(tmp_path / "ucfTrainTestlist", "trainlist01.txt", "testlist01.txt")
    (lists / "trainlist01.txt").write_text("Archery/v_Archery_g01_c01.avi 3\r\nYoYo/v_YoYo_g07_c02.avi 101\n", encoding="utf-8")
    (lists / "testlist01.txt").write_text("Archery/v_Archery_g08_c01.avi\n", encoding="utf-8")
    assert [split for _, split, _ in rows(root, find_sources(root))] == ["train", "test", "train"]


def test_sky_time_lapse(tmp_path: Path) -> None:
    root = touch(tmp_path, *frames("sky_train/07U1fSrk9oI/07U1fSrk9oI_1"), *frames("sky_test/AbC/AbC_2"))
    assert recognise(root) == "sky"
    assert rows(root, find_sources(root)) == [
        ("sky_train/07U1fSrk9oI/07U1fSrk9oI_1", "train", ""), ("sky_test/AbC/AbC_2", "test", ""),
    ]  # fmt: skip


def test_taichi_as_videos_and_as_frames_in_folders_called_like_videos(tmp_path: Path) -> None:
    root = touch(tmp_path, "train/-2VXhGGVOWs#006855#006953.mp4/0000000.png", "test/AbC#1#2.mp4")
    assert rows(root, find_sources(root, "taichi")) == [
        ("test/AbC#1#2.mp4", "test", ""),
        ("train/-2VXhGGVOWs#006855#006953.mp4", "train", ""),
    ]


def test_clevrer(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "video_train/video_00000-01000/video_00000.mp4", "video_validation/video_10000-11000/video_10000.mp4",
        "video_test/video_15000-16000/video_15000.mp4",
    )  # fmt: skip
    assert recognise(root) == "clevrer"
    assert [(Path(name).name, split) for name, split, _ in rows(root, find_sources(root))] == [
        ("video_00000.mp4", "train"), ("video_10000.mp4", "val"), ("video_15000.mp4", "test"),
    ]  # fmt: skip


def test_cityscapes_snippets(tmp_path: Path) -> None:
    """Aachen has a sequence number a snippet; in Hamburg one number holds all, and the frames' numbers jump between snippets."""

    def city(name: str, sequence: int, numbers: range) -> list[str]:
        folder = f"leftImg8bit_sequence/train/{name}"
        return [f"{folder}/{name}_{sequence:06}_{number:06}_leftImg8bit.png" for number in numbers]

    root = touch(
        tmp_path, *city("aachen", 0, range(30)), *city("aachen", 1, range(30)), *city("hamburg", 0, range(100, 130)),
        *city("hamburg", 0, range(130, 160)), *city("hamburg", 0, range(200, 230)),
    )  # fmt: skip
    assert recognise(root) == "cityscapes"
    found = find_sources(root)
    assert [(source.path.name, source.start, source.end, source.split) for source in found] == [
        ("aachen_000000_*_leftImg8bit.png", 0, 30, "train"), ("aachen_000001_*_leftImg8bit.png", 0, 30, "train"),
        ("hamburg_000000_*_leftImg8bit.png", 0, 30, "train"), ("hamburg_000000_*_leftImg8bit.png", 30, 60, "train"),
        ("hamburg_000000_*_leftImg8bit.png", 60, 90, "train"),
    ]  # fmt: skip
    assert {source.fps for source in found} == {17}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_of_another_layout_is_refused(tmp_path: Path, layout: str) -> None:
    touch(tmp_path, "notes.txt", "below/readme.md")
    with pytest.raises(UnreadableMedia, match=f"holds nothing in the layout {layout}"):
        find_sources(tmp_path, layout)


def test_unknown_layout_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="layout 'kinetics' is not known"):
        find_sources(tmp_path, "kinetics")
    with pytest.raises(UnreadableMedia, match="is no folder"):
        find_sources(tmp_path / "a.mp4")
