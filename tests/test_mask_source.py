"""Masks from every kind of file, and the table of files that are none."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mask_clips import clip, disc, grey, moving, write_video
from PIL import Image

from framefill.errors import FramefillError, MaskMismatch, UnreadableMedia, UsageError
from framefill.media.mask import MaskRule, open_mask, read_mask
from framefill.media.mask_rle import decode_rle, runs_of


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths by columns, known first."""
    flat = mask.T.ravel().astype(np.int8)
    edges = np.flatnonzero(np.diff(flat, prepend=0)) if flat.size else np.zeros(0, int)
    return np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()


def packed(counts: list[int]) -> str:
    """The string spelling of run lengths, from the description in mask_rle."""
    text = ""
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        while True:
            group, value = value & 31, value >> 5
            last = (value == 0 and not group & 16) or (value == -1 and bool(group & 16))
            text += chr(48 + (group if last else group | 32))
            if last:
                break
    return text


def write(tmp_path: Path, kind: str) -> Path:
    """The six frames of `moving` as one kind of source."""
    frames = moving()
    if kind in ("folder", "glob"):
        for t, mask in enumerate(frames):
            Image.fromarray(grey(mask)[..., 0]).save(tmp_path / f"frame{t + 7}.png")  # 7 to 12: natural order matters
        return tmp_path if kind == "folder" else tmp_path / "frame*.png"
    if kind == "video":
        return write_video(tmp_path / "m.mkv", [grey(mask) for mask in frames])
    if kind in ("gif", "webp", "png", "tiff"):
        path = tmp_path / f"m.{kind}"
        pages = [Image.fromarray(grey(mask)[..., 0]) for mask in frames]
        options = {"lossless": True} if kind == "webp" else {}
        pages[0].save(path, save_all=True, append_images=pages[1:], **({} if kind == "tiff" else {"duration": 40}), **options)
        return path
    if kind in ("npy", "npy-float", "npy-thw1", "npy-int64"):
        values = {"npy": frames, "npy-float": frames.astype(np.float32), "npy-thw1": frames[..., None], "npy-int64": frames * 255}[kind]
        np.save(tmp_path / "m.npy", values)
        return tmp_path / "m.npy"
    if kind in ("npz", "npz-two", "npz-fortran"):
        others = (
            {"masks": frames, "frames": np.zeros(3)} if kind == "npz-two" else {"a": np.asfortranarray(frames) if "f" in kind else frames}
        )
        np.savez_compressed(tmp_path / "m.npz", **others)
        return tmp_path / "m.npz"
    counts = [packed(runs(mask)) if kind == "rle-string" else runs(mask) for mask in frames]
    content = {"size": [24, 40], "frames": [{"counts": count} for count in counts], "fps": 25}
    (tmp_path / "m.json").write_text(json.dumps(content))
    return tmp_path / "m.json"


KINDS = [
    "folder",
    "glob",
    "video",
    "gif",
    "webp",
    "png",
    "tiff",
    "npy",
    "npy-float",
    "npy-thw1",
    "npy-int64",
    "npz",
    "npz-two",
    "npz-fortran",
]


@pytest.mark.parametrize("kind", [*KINDS, "rle", "rle-string"])
def test_moving_masks(tmp_path: Path, kind: str) -> None:
    mask = read_mask(write(tmp_path, kind), clip())
    assert np.array_equal(mask.frames, moving())
    assert mask.understood[0].startswith("mask: ")
    assert mask.understood[0].endswith("40x24, 6 frames")


@pytest.mark.parametrize("kind", ["folder", "video", "npz", "gif"])
def test_reading_in_any_order(tmp_path: Path, kind: str) -> None:
    video = clip()
    reader = open_mask(write(tmp_path, kind), video, MaskRule())
    frames = list(video)
    for index in (0, 0, 3, 5, 2, 2, 4):
        assert np.array_equal(reader.at(frames[index]), moving()[index])


@pytest.mark.parametrize("shape", [(24, 40), (1, 24, 40), (24, 40, 1), (1, 24, 40, 1), (1, 1, 24, 40)])
def test_still_arrays(shape: tuple[int, ...]) -> None:
    mask = read_mask(disc().reshape(shape), clip())
    assert all(np.array_equal(frame, disc()) for frame in mask.frames)
    assert "still mask: the same for every frame" in mask.understood


def test_still_picture_turned_by_its_exif_flag(tmp_path: Path) -> None:
    image = Image.fromarray(np.rot90(grey(disc(dx=9))[..., 0], 1).copy())
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown turned clockwise
    image.save(tmp_path / "m.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "m.png", clip()).frames[0], disc(dx=9))


def test_one_annotation_is_a_still_mask(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"size": [24, 40], "counts": runs(disc())}))
    assert np.array_equal(read_mask(tmp_path / "m.json", clip()).frames[4], disc())


def test_null_frames_have_nothing_to_fill(tmp_path: Path) -> None:
    content = {"size": [24, 40], "frames": [None, {"counts": runs(disc())}, *[None] * 4]}
    (tmp_path / "m.json").write_text(json.dumps(content))
    assert [bool(frame.any()) for frame in read_mask(tmp_path / "m.json", clip()).frames] == [False, True, False, False, False, False]


@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 70))))
def test_run_lengths_come_back(mask: np.ndarray) -> None:
    counts = runs(mask)
    assert runs_of(packed(counts)) == counts
    assert np.array_equal(decode_rle(counts, *mask.shape), mask)
    assert np.array_equal(decode_rle(packed(counts), *mask.shape), mask)


def test_a_compressed_mask_written_by_hand() -> None:
    """Runs 5, 2, 40, 3 and 62: the fourth and fifth are written as differences to the second and third, 1 and 22."""
    assert runs_of("52X11f0") == [5, 2, 40, 3, 62]
    assert decode_rle("52X11f0", 16, 7).sum() == 2 + 3


def bad_json(tmp_path: Path, content: object) -> Path:
    (tmp_path / "m.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return tmp_path / "m.json"


def bad_npy(tmp_path: Path, array: np.ndarray) -> Path:
    np.save(tmp_path / "m.npy", array)
    return tmp_path / "m.npy"


def bad_file(tmp_path: Path, name: str, content: bytes) -> Path:
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def two_sizes(tmp_path: Path) -> Path:
    Image.new("L", (40, 24)).save(tmp_path / "a.png")
    Image.new("L", (40, 25)).save(tmp_path / "b.png")
    return tmp_path


def two_kinds(tmp_path: Path) -> Path:
    Image.new("L", (40, 24)).save(tmp_path / "a.png")
    Image.new("P", (40, 24)).save(tmp_path / "b.png")
    return tmp_path


def three_arrays(tmp_path: Path) -> Path:
    np.savez(tmp_path / "m.npz", a=moving(), b=moving(), c=moving())
    return tmp_path / "m.npz"


def cut_png(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    return bad_file(tmp_path, "m.png", (tmp_path / "whole.png").read_bytes()[:500])


BAD = {
    "no such file": (lambda p: p / "none.png", UnreadableMedia, "no such mask"),
    "empty file": (lambda p: bad_file(p, "m.png", b""), UnreadableMedia, "0 bytes"),
    "empty folder": (lambda p: p, UnreadableMedia, "no mask pictures"),
    "text as picture": (lambda p: bad_file(p, "m.png", b"hello, this is text"), UnreadableMedia, "m.png"),
    "text as video": (lambda p: bad_file(p, "m.mp4", b"hello, this is text"), UnreadableMedia, "m.mp4"),
    "cut-off picture": (cut_png, UnreadableMedia, "damaged"),
    "two sizes": (two_sizes, MaskMismatch, "frame 1 is 40x25"),
    "two kinds": (two_kinds, MaskMismatch, "save them all alike"),
    "pickled npy": (lambda p: bad_npy(p, np.array([{}], object)), UnreadableMedia, "numpy"),
    "text as npy": (lambda p: bad_file(p, "m.npy", b"hello"), UnreadableMedia, "numpy"),
    "text as npz": (lambda p: bad_file(p, "m.npz", b"hello"), UnreadableMedia, "npz"),
    "NaN": (lambda p: bad_npy(p, np.full((24, 40), np.nan)), MaskMismatch, "NaN"),
    "negative": (lambda p: bad_npy(p, np.full((24, 40), -1)), MaskMismatch, "-1"),
    "too large": (lambda p: bad_npy(p, np.full((24, 40), 70000)), MaskMismatch, "65535"),
    "float too large": (lambda p: bad_npy(p, np.full((24, 40), 256.0)), MaskMismatch, "above 255"),
    "rgb array": (lambda p: bad_npy(p, np.zeros((6, 24, 40, 3), np.uint8)), MaskMismatch, "T H W"),
    "one number": (lambda p: bad_npy(p, np.zeros(3)), MaskMismatch, "T H W"),
    "no frames": (lambda p: bad_npy(p, np.zeros((0, 24, 40), bool)), MaskMismatch, ">= 1"),
    "words": (lambda p: bad_npy(p, np.array([["a"]])), MaskMismatch, "type"),
    "three arrays": (three_arrays, MaskMismatch, "--mask-key"),
    "no json": (lambda p: bad_json(p, "{"), UnreadableMedia, "JSON"),
    "json list": (lambda p: bad_json(p, []), MaskMismatch, "expected an object"),
    "json without size": (lambda p: bad_json(p, {"frames": [None]}), MaskMismatch, "size"),
    "json without frames": (lambda p: bad_json(p, {"size": [24, 40]}), MaskMismatch, "frames"),
    "json with fps 0": (lambda p: bad_json(p, {"size": [24, 40], "frames": [None], "fps": 0}), MaskMismatch, "fps"),
    "json without counts": (lambda p: bad_json(p, {"size": [24, 40], "frames": [{}]}), MaskMismatch, "counts"),
    "json wrong sum": (lambda p: bad_json(p, {"size": [24, 40], "frames": [{"counts": [5]}]}), MaskMismatch, "add up to 5"),
    "json negative run": (lambda p: bad_json(p, {"size": [24, 40], "frames": [{"counts": [-1, 961]}]}), MaskMismatch, "negative"),
    "json without end": (lambda p: bad_json(p, "[" * 100000), UnreadableMedia, "JSON"),
    "json of a huge size": (lambda p: bad_json(p, {"size": [24 * 10**7, 40 * 10**7], "frames": [None]}), MaskMismatch, "no video has"),
    "json of a size beyond all": (lambda p: bad_json(p, {"size": [10**400, 10**400], "frames": [None]}), MaskMismatch, "no video has"),
    "json of another shape": (lambda p: bad_json(p, {"size": [16000, 16000], "frames": [None]}), MaskMismatch, "shapes differ"),
    "json cut string": (lambda p: bad_json(p, {"size": [24, 40], "frames": [{"counts": "P"}]}), MaskMismatch, "cut off"),
    "json odd string": (lambda p: bad_json(p, {"size": [24, 40], "frames": [{"counts": "!"}]}), MaskMismatch, "is this a COCO mask"),
    "json two sizes": (lambda p: bad_json(p, {"size": [24, 40], "frames": [{"size": [4, 4], "counts": [16]}]}), MaskMismatch, "agree"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_sources_end_in_one_line(tmp_path: Path, case: str) -> None:
    make, error, text = BAD[case]
    with pytest.raises(error, match=text) as caught:
        open_mask(make(tmp_path), clip(), MaskRule())
    assert isinstance(caught.value, FramefillError)
    assert "\n" not in str(caught.value)


def test_named_array(tmp_path: Path) -> None:
    path = three_arrays(tmp_path)
    assert np.array_equal(read_mask(path, clip(), key="b").frames, moving())
    with pytest.raises(MaskMismatch, match="no array 'd'"):
        read_mask(path, clip(), key="d")


BOXES = {
    "still": (["4,5,10,6"], [0, 1, 2, 3, 4, 5]),
    "timed": (["4,5,10,6@0.04-0.12"], [1, 2]),
    "from": (["4,5,10,6@0.12-"], [3, 4, 5]),
    "until": (["4,5,10,6@-0.08"], [0, 1]),
}


@pytest.mark.parametrize("case", BOXES)
def test_boxes(case: str) -> None:
    boxes, present = BOXES[case]
    mask = read_mask(None, clip(), boxes)
    expected = np.zeros((24, 40), bool)
    expected[5:11, 4:14] = True
    for t, frame in enumerate(mask.frames):
        assert np.array_equal(frame, expected if t in present else np.zeros_like(expected))
    assert mask.understood[0].startswith("box 10x6 at (4, 5)")


def test_boxes_are_united_with_each_other_and_with_a_mask() -> None:
    mask = read_mask(disc(), clip(), ["0,0,3,3", "37,21,3,3@0.2-9"])
    first, last = disc(), disc()
    first[:3, :3] = last[:3, :3] = last[21:, 37:] = True
    assert np.array_equal(mask.frames[0], first)
    assert np.array_equal(mask.frames[5], last)


def test_boxes_over_the_edge_are_cut_and_said() -> None:
    mask = read_mask(None, clip(), ["-5,-5,10,10", "30,20,99,99", "0,0,1,1@5-6"])
    assert mask.frames[0].sum() == 25 + 40
    assert len(mask.warnings) == 3
    assert "after the video's end" in mask.warnings[2]


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,0,4", "1,2,3,4@", "1,2,3,4@3-2", "1,2,3,4@2-2", "a,b,c,d", "40,0,5,5", "1.5,2,3,4", "1,2,3,4@-1-2"]
)
def test_bad_boxes(text: str) -> None:
    with pytest.raises(UsageError, match="box"):
        read_mask(None, clip(), [text])


def test_neither_mask_nor_box() -> None:
    with pytest.raises(UsageError, match="no mask given"):
        read_mask(None, clip())


def test_memory_does_not_grow_with_the_mask(tmp_path: Path) -> None:
    """40 times the frames, packed in one archive, cost no more than their bookkeeping."""

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.npz"
        np.savez_compressed(path, np.zeros((count, 240, 432), np.uint8))
        video = clip(count, 240, 432)
        tracemalloc.start()
        reader = open_mask(path, video, MaskRule())
        for frame in video:
            reader.at(frame)
        largest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return largest

    assert peak(400) < peak(10) + 400 * 1000


def test_a_file_that_is_gone_later_is_named(tmp_path: Path) -> None:
    video = clip()
    reader = open_mask(write(tmp_path, "folder"), video, MaskRule())
    (tmp_path / "frame12.png").unlink()
    with pytest.raises(UnreadableMedia, match=r"frame12\.png"):
        [reader.at(frame) for frame in video]


def test_frames_of_a_reader_cannot_be_written_to() -> None:
    video = clip()
    frame = open_mask(disc(), video, MaskRule()).at(next(iter(video)))
    with pytest.raises(ValueError, match="read-only"):
        frame[0, 0] = True


def test_real_palette_masks(shared: Path) -> None:
    from framefill.media.reader import open_video

    with open_video(shared / "data/dev/schoolgirls/video.mp4") as video:
        everybody = read_mask(shared / "data/dev/schoolgirls/masks", video)
        two = read_mask(shared / "data/dev/schoolgirls/masks", video, ids=(1, 3))
    first = np.asarray(Image.open(shared / "data/dev/schoolgirls/masks/00000.png"))
    assert np.array_equal(everybody.frames[0], first > 0)
    assert np.array_equal(two.frames[0], np.isin(first, (1, 3)))
    assert len(everybody.frames) == 80
