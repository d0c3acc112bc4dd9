"""Colour: known samples against the closed forms of the standards, both ways; tags kept; known samples not touched."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import mediafiles
import numpy as np
import pytest

from framefill.media import colour
from framefill.media.reader import open_video
from framefill.media.video import VideoMeta
from framefill.media.writer import VideoWriter

# (ITU-T H.273 matrix number, Kr, Kb): the luma weights of each standard
STANDARDS = [(1, 0.2126, 0.0722), (4, 0.30, 0.11), (5, 0.299, 0.114), (6, 0.299, 0.114), (7, 0.212, 0.087), (9, 0.2627, 0.0593)]
LIMITED, FULL = 1, 2


def to_rgb(yuv: np.ndarray, kr: float, kb: float, span: int, bits: int = 8) -> np.ndarray:
    """RGB in 0..255 of Y, Cb, Cr samples by the standards' own equations (BT.709, 3.5, for any Kr, Kb; H.273, 8.3 for the ranges)."""
    unit = 1 << (bits - 8)
    if span == FULL:
        top = (1 << bits) - 1
        y, cb, cr = yuv[0] / top, (yuv[1] - 128 * unit) / top, (yuv[2] - 128 * unit) / top
    else:
        y, cb, cr = (yuv[0] - 16 * unit) / (219 * unit), (yuv[1] - 128 * unit) / (224 * unit), (yuv[2] - 128 * unit) / (224 * unit)
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return 255 * np.clip([red, green, blue], 0, 1)


def to_yuv(rgb: np.ndarray, kr: float, kb: float, span: int) -> np.ndarray:
    """The reverse, 8 bit."""
    red, green, blue = rgb / 255
    y = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - y) / (2 * (1 - kb)), (red - y) / (2 * (1 - kr))
    return np.array([255 * y, 128 + 255 * cb, 128 + 255 * cr] if span == FULL else [16 + 219 * y, 128 + 224 * cb, 128 + 224 * cr])


def flat(samples: np.ndarray, pix_fmt: str, matrix: int, span: int) -> av.VideoFrame:
    frame = av.VideoFrame(48, 32, pix_fmt)
    for plane, value in zip(colour.planes(frame), samples, strict=True):
        plane[:] = value
    frame.colorspace, frame.color_range = matrix, span
    return frame


def meta(**changes: object) -> VideoMeta:
    return VideoMeta(**{"width": 48, "height": 32, "time_base": Fraction(1, 25), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize(("matrix", "kr", "kb"), STANDARDS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p"])
def test_to_rgb_is_right_to_half_a_level(pix_fmt: str, matrix: int, kr: float, kb: float, span: int) -> None:
    rng = np.random.default_rng(1)
    convert = colour.ToRGB(meta())
    worst = 0.0
    for samples in rng.integers([16, 80, 80], [236, 176, 176], size=(40, 3)):
        rgb = convert(flat(samples, pix_fmt, matrix, span))
        assert (rgb == rgb[0, 0]).all()
        worst = max(worst, float(np.abs(rgb[0, 0] - to_rgb(samples.astype(float), kr, kb, span)).max()))
    assert worst <= 0.56


@pytest.mark.parametrize("span", [LIMITED, FULL])
def test_ten_bit_to_rgb_is_right_to_about_a_level(span: int) -> None:
    rng = np.random.default_rng(2)
    convert = colour.ToRGB(meta())
    for samples in rng.integers([64, 400, 400], [940, 624, 624], size=(40, 3)):
        rgb = convert(flat(samples, "yuv420p10le", 1, span))
        assert np.abs(rgb.reshape(-1, 3) - to_rgb(samples.astype(float), 0.2126, 0.0722, span, bits=10)).max() <= 1.1


@pytest.mark.parametrize("span", [LIMITED, FULL])
@pytest.mark.parametrize(("matrix", "kr", "kb"), STANDARDS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_from_rgb_is_right_to_half_a_level(pix_fmt: str, matrix: int, kr: float, kb: float, span: int) -> None:
    rng = np.random.default_rng(3)
    convert = colour.FromRGB(pix_fmt, matrix, span)
    worst = 0.0
    for rgb in rng.integers(0, 256, size=(40, 3)):
        made = convert(np.tile(rgb.astype(np.uint8), (32, 48, 1)))
        got = np.array([plane[5, 5] for plane in colour.planes(made)], float)
        worst = max(worst, float(np.abs(got - np.clip(to_yuv(rgb, kr, kb, span), 0, 255)).max()))
    assert worst <= 0.56


def test_an_untagged_source_is_read_as_bt601() -> None:
    samples = np.array([120, 90, 160])
    convert = colour.ToRGB(meta())
    untagged = convert(flat(samples, "yuv420p", 2, 0))[0, 0]
    assert np.abs(untagged - to_rgb(samples.astype(float), 0.299, 0.114, LIMITED)).max() <= 0.56
    assert np.abs(untagged - to_rgb(samples.astype(float), 0.2126, 0.0722, LIMITED)).max() > 3


@pytest.mark.parametrize("pix_fmt", ["nv12", "yuyv422", "yuvj420p", "p010le"])
def test_other_layouts_keep_their_samples(pix_fmt: str) -> None:
    target = {"nv12": "yuv420p", "yuyv422": "yuv422p", "yuvj420p": "yuv420p", "p010le": "yuv420p10le"}[pix_fmt]
    rng = np.random.default_rng(4)
    planar = av.VideoFrame(48, 32, "yuvj420p" if pix_fmt == "yuvj420p" else target)
    for plane in colour.planes(planar):
        plane[:] = rng.integers(0, 256 if plane.dtype == np.uint8 else 1024, size=plane.shape)
    planar.color_range = FULL if pix_fmt == "yuvj420p" else LIMITED
    packed = planar if pix_fmt == "yuvj420p" else planar.reformat(format=pix_fmt, interpolation=colour.EXACT)
    assert packed.format.name == pix_fmt
    back = colour.as_planar(packed, target)
    assert back is not None
    assert all(np.array_equal(a, b) for a, b in zip(colour.planes(back), colour.planes(planar), strict=True))


@pytest.mark.parametrize(("rotation", "mirrored"), list(colour.ORIENTATIONS))
def test_orientation_and_its_reverse(rotation: int, mirrored: bool) -> None:
    coded = mediafiles.picture(1, 40, 24)
    turned = meta(rotation=rotation, mirrored=mirrored)
    shown = colour.to_display(coded, turned)
    assert np.array_equal(colour.to_coded(shown, turned), coded)
    height, width = shown.shape[:2]
    matrix = np.array(colour.display_matrix(rotation, mirrored, width, height))
    assert colour.orientation(matrix) == (rotation, mirrored)
    a, b, _, c, d, _, left, top, _ = (value / 65536 for value in matrix)
    for x, y in ((0, 0), (39, 0), (0, 23), (7, 11)):  # the matrix moves pixel centres to where to_display put the pixel
        there = a * (x + 0.5) + c * (y + 0.5) + left, b * (x + 0.5) + d * (y + 0.5) + top
        assert np.array_equal(shown[int(there[1]), int(there[0])], coded[y, x])


def test_chroma_is_covered_by_any_made_pixel() -> None:
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = mask[4, 6] = True
    assert np.argwhere(colour.cover(mask, 3, 4)).tolist() == [[1, 1], [2, 3]]
    assert np.array_equal(colour.cover(mask, 5, 7), mask)


COLOURS = [(LIMITED, 1, 1, 1), (FULL, 1, 1, 13), (LIMITED, 6, 6, 6), (LIMITED, 5, 5, 4), (0, 2, 2, 2)]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("tags", COLOURS)
def test_tags_and_pixels_survive_a_rewrite(tmp_path: Path, tags: tuple[int, int, int, int], suffix: str) -> None:
    source = mediafiles.write_video(tmp_path / f"a{suffix}", frames=3, colour=tags, pix_fmt="yuv444p", aspect=Fraction(4, 3))
    target = tmp_path / f"b{suffix}"
    with open_video(source) as reader, VideoWriter(target, reader, crf=1) as writer:
        frames = list(reader)
        for frame in frames:
            writer.write(frame, frame.rgb)
    with open_video(target) as again:
        back = list(again)
    first, second = reader.meta, again.meta
    assert (second.color_range, second.color_space, second.color_primaries, second.color_trc) == tags
    assert (first.pix_fmt, second.pix_fmt) in {("yuv444p", "yuv444p"), ("yuvj444p", "yuvj444p")}
    assert second.sample_aspect_ratio == Fraction(4, 3)
    assert max(np.abs(a.rgb.astype(int) - b.rgb).max() for a, b in zip(frames, back, strict=True)) <= 6
    assert np.mean([b.rgb.astype(int) - a.rgb for a, b in zip(frames, back, strict=True)]) == pytest.approx(0, abs=0.3)


@pytest.mark.parametrize(("suffix", "codec"), [(".webm", "vp9"), (".mp4", "h265"), (".mp4", "av1"), (".mov", "prores")])
def test_every_codec_carries_matrix_and_range(tmp_path: Path, suffix: str, codec: str) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=3, size=(96, 64), colour=(LIMITED, 1, 1, 1))
    with open_video(source) as reader, VideoWriter(tmp_path / f"b{suffix}", reader, codec=codec) as writer:
        frames = list(reader)
        for frame in frames:
            writer.write(frame, frame.rgb)
    with open_video(tmp_path / f"b{suffix}") as again:
        back = list(again)
    assert (again.meta.color_space, again.meta.color_range) == (1, LIMITED)
    assert np.mean([b.rgb.astype(int) - a.rgb for a, b in zip(frames, back, strict=True)]) == pytest.approx(0, abs=0.5)


def test_rgb_pictures_become_tagged_bt709(tmp_path: Path) -> None:
    folder = mediafiles.write_images(tmp_path / "frames", count=3)
    with open_video(folder, fps=25) as reader, VideoWriter(tmp_path / "a.mp4", reader, crf=1) as writer:
        for frame in reader:
            writer.write(frame, frame.rgb)
    with open_video(tmp_path / "a.mp4") as again:
        back = list(again)
    meta = again.meta
    assert (meta.pix_fmt, meta.color_range, meta.color_space, meta.color_primaries, meta.color_trc) == ("yuv420p", 1, 1, 1, 1)
    assert np.abs(back[0].rgb.astype(int) - mediafiles.picture(0)).max() <= 12


# What reaches the encoder is seen without loss by letting x264 code without loss (crf 0 of 8-bit h264).
@pytest.mark.parametrize(
    ("pix_fmt", "tags"),
    [("yuv420p", (LIMITED, 1, 1, 1)), ("yuv422p", (0, 2, 2, 2)), ("yuv444p", (FULL, 6, 6, 6)), ("yuv420p", (FULL, 1, 1, 1))],
)
@pytest.mark.parametrize("rotation", [0, 90])
def test_known_samples_reach_the_encoder_untouched(tmp_path: Path, pix_fmt: str, tags: tuple[int, int, int, int], rotation: int) -> None:
    source = mediafiles.write_video(tmp_path / "a.mp4", frames=4, pix_fmt=pix_fmt, colour=tags, rotation=rotation)
    with open_video(source) as reader, VideoWriter(tmp_path / "b.mp4", reader, crf=0) as writer:
        for frame in reader:
            mask = np.zeros(frame.rgb.shape[:2], bool)
            if frame.index % 2:
                mask[11:20, 5:16] = True
            filled = frame.rgb.copy()
            filled[mask] = (200, 30, 60)
            writer.write(frame, filled, mask)
    coded = colour.to_coded(mask, reader.meta)
    for index, (before, after) in enumerate(zip(mediafiles.decode(source), mediafiles.decode(tmp_path / "b.mp4"), strict=True)):
        for old, new in zip(colour.planes(before), colour.planes(after), strict=True):
            made = colour.cover(coded, *old.shape) if index % 2 else np.zeros(old.shape, bool)
            assert np.array_equal(old[~made], new[~made])
            assert not made.any() or not np.array_equal(old[made], new[made])


def test_ten_bit_known_samples_survive(tmp_path: Path) -> None:
    source = mediafiles.write_video(tmp_path / "a.mkv", codec="ffv1", pix_fmt="yuv420p10le", frames=3, colour=(LIMITED, 9, 9, 16))
    with open_video(source) as reader, VideoWriter(tmp_path / "b.mp4", reader, crf=0) as writer:
        assert writer.plan.pix_fmt == "yuv420p10le"
        for frame in reader:
            mask = np.zeros(frame.rgb.shape[:2], bool)
            mask[10:20, 10:20] = True
            writer.write(frame, frame.rgb, mask)
    for before, after in zip(mediafiles.decode(source), mediafiles.decode(tmp_path / "b.mp4"), strict=True):
        old, new = colour.planes(before)[0].astype(int), colour.planes(after)[0].astype(int)
        known = ~mask
        assert len(np.unique(old[known] % 4)) == 4  # the two lowest bits are in use
        assert (
            np.abs(old[known] - new[known]).max() <= 6
        )  # crf 0 is not quite lossless in 10 bit; by way of 8 bit it would be off by 2 more at every sample
        assert np.abs(old[known] - new[known]).mean() < 0.8
