"""Every encoding of section C read from a real file, and the words that say what it was taken for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mask_clips import T, clip, disc, grey, moving, write_video
from PIL import Image

from framefill.errors import FramefillError, MaskMismatch, UsageError
from framefill.media.mask import MaskRule, open_mask, parse_ids, read_mask

PALETTE = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128]  # the VOC and DAVIS colours 0 to 4


def save(path: Path, values: np.ndarray, mode: str | None = None, palette: list[int] | None = None) -> Path:
    image = Image.fromarray(values) if mode is None else Image.frombytes(mode, values.shape[1::-1], values.tobytes())
    if palette is not None:
        image.putpalette(palette)
    image.save(path)
    return path


def levels(*values: int) -> np.ndarray:
    """A picture 24 x 40 uint8 with one vertical stripe for each value."""
    return np.repeat(np.asarray(values, np.uint8), 40 // len(values) + 1)[None, :40].repeat(24, axis=0)


def ramp() -> np.ndarray:
    """The disc with a soft rim, as anti-aliasing makes it."""
    y, x = np.ogrid[:24, :40]
    return np.clip((6.5 - np.hypot(y - 12, x - 20)) * 100 + 127, 0, 255).astype(np.uint8)


STILLS = {
    "0-255": (disc().astype(np.uint8) * 255, {}, disc(), "255 is unknown"),
    "0-1": (disc().astype(np.uint8), {}, disc(), "values 0 and 1"),
    "grey-flat-100": (disc().astype(np.uint8) * 100, {}, disc(), "any id above 0"),
    "anti-aliased": (ramp(), {}, ramp() > 127, "unknown above 127"),
    "threshold": (levels(0, 50, 200), {"threshold": 40}, levels(0, 50, 200) > 40, "unknown above 40"),
    "threshold-of-0-1": (disc().astype(np.uint8), {"threshold": 0}, disc(), "unknown above 0"),
    "grey-ids": (levels(0, 1, 2, 3), {"ids": (1, 3)}, np.isin(levels(0, 1, 2, 3), (1, 3)), "unknown where id is 1, 3"),
    "inverted": (disc().astype(np.uint8) * 255, {"invert": True}, ~disc(), "inverted"),
    "quad": (levels(0, 63, 127, 255), {}, levels(0, 63, 127, 255) < 255, "quad-mask"),
    "quad-affected-known": (levels(0, 63, 127, 255), {"keep_affected": True}, levels(0, 63, 127, 255) < 127, "left known"),
    "quad-without-affected": (levels(0, 63, 255), {}, levels(0, 63, 255) < 255, "quad-mask"),
    "quad-said": (levels(0, 127, 255), {"encoding": "quad"}, levels(0, 127, 255) < 255, "quad-mask"),
    "trimap": (levels(0, 127, 255), {}, levels(0, 127, 255) == 255, "unknown above 127"),
    "black": (np.zeros((24, 40), np.uint8), {}, np.zeros((24, 40), bool), "nothing is unknown"),
    "one-label": (np.full((24, 40), 7, np.uint8), {}, np.ones((24, 40), bool), "any id above 0"),
}


@pytest.mark.parametrize("case", STILLS)
def test_grey_stills(tmp_path: Path, case: str) -> None:
    values, rule, expected, said = STILLS[case]
    mask = read_mask(save(tmp_path / "m.png", values), clip(), **rule)
    assert mask.frames.shape == (T, 24, 40)
    assert all(np.array_equal(frame, expected) for frame in mask.frames)
    assert said in "\n".join(mask.understood), mask.understood


def test_trimap_levels_are_doubted(tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path / "m.png", levels(0, 127, 255)), clip())
    assert any("--mask-encoding quad" in line for line in mask.warnings)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [({}, lambda ids: ids > 0), ({"ids": (1, 3)}, lambda ids: np.isin(ids, (1, 3))), ({"ids": (0,)}, lambda ids: ids == 0)],
)
def test_palette_is_read_as_ids(tmp_path: Path, rule: dict, expected) -> None:
    ids = levels(0, 1, 2, 3)
    mask = read_mask(save(tmp_path / "m.png", ids, "P", PALETTE), clip(), **rule)
    assert np.array_equal(mask.frames[0], expected(ids))
    assert "palette indices 0-3" in "\n".join(mask.understood)


def test_labels_of_a_palette_may_be_named_by_their_colours(tmp_path: Path) -> None:
    """The VOC palette's colours 1 and 2 differ by red and green only, and green alone is no measure of both."""
    values = levels(0, 1, 2, 3)
    path = save(tmp_path / "m.png", values, "P", PALETTE)
    assert (read_mask(path, clip(), ids=("#800000", "#008000")).frames[0] == np.isin(values, (1, 2))).all()
    assert (read_mask(path, clip(), encoding="colors").frames[0] == (values > 0)).all()
    with pytest.raises(MaskMismatch, match="it has #000000, #008000, #800000, #808000;"):
        read_mask(path, clip(), ids=("#ff0000",))


def test_black_and_white_saved_with_a_palette_goes_by_its_colours(tmp_path: Path) -> None:
    indices = np.where(disc(), 0, 1).astype(np.uint8)  # index 0 is white here
    mask = read_mask(save(tmp_path / "m.png", indices, "P", [255, 255, 255, 0, 0, 0]), clip())
    assert np.array_equal(mask.frames[0], disc())


def coloured() -> np.ndarray:
    picture = np.zeros((24, 40, 3), np.uint8)
    picture[:, 10:20] = (128, 0, 0)
    picture[:, 20:30] = (0, 128, 0)
    return picture


def test_rgb_labels(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", coloured())
    mask = read_mask(path, clip())
    assert np.array_equal(mask.frames[0], coloured().any(axis=2))
    assert "2 colour labels (#008000, #800000)" in "\n".join(mask.understood)
    one = read_mask(path, clip(), ids=parse_ids("#800000"))
    assert np.array_equal(one.frames[0], coloured()[..., 0] > 0)


def test_rgb_grey_is_grey(tmp_path: Path) -> None:
    mask = read_mask(save(tmp_path / "m.png", grey(disc())), clip())
    assert np.array_equal(mask.frames[0], disc())
    assert "255 is unknown" in "\n".join(mask.understood)


def test_a_photograph_is_doubted(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    assert any("is it a picture" in line for line in read_mask(save(tmp_path / "m.png", picture), clip()).warnings)


def test_alpha_channel_decides_when_it_varies(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (24, 40, 4), dtype=np.uint8)
    rgba[..., 3] = disc() * 255
    mask = read_mask(save(tmp_path / "m.png", rgba), clip())
    assert np.array_equal(mask.frames[0], disc())
    assert "alpha channel" in "\n".join(mask.understood)


def test_opaque_alpha_says_nothing(tmp_path: Path) -> None:
    rgba = np.dstack([grey(disc()), np.full((24, 40), 255, np.uint8)])
    assert np.array_equal(read_mask(save(tmp_path / "m.png", rgba), clip()).frames[0], disc())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (disc().astype(np.uint16) * 65535, disc()),
        (disc().astype(np.uint16) * 1001, disc()),  # an instance id
        (disc().astype(np.uint16), disc()),
        (disc().astype(np.uint16) * 255, disc()),
        (np.where(disc(), 50000, 10000).astype(np.uint16) + np.arange(960, dtype=np.uint16).reshape(24, 40), disc()),  # half of the range
    ],
)
def test_16_bit_png(tmp_path: Path, values: np.ndarray, expected: np.ndarray) -> None:
    assert np.array_equal(read_mask(save(tmp_path / "m.png", values), clip()).frames[0], expected)


def test_lossy_video_by_threshold(tmp_path: Path) -> None:
    big = [disc(96, 160, 30, dx=4 * t) for t in range(4)]
    path = write_video(tmp_path / "m.mp4", [grey(m, 15, 220) for m in big], codec="libx264", pix_fmt="yuv420p", crf=30)
    mask = read_mask(path, clip(4, 96, 160))
    assert "unknown above 127" in "\n".join(mask.understood)
    assert all(np.mean(found != true) < 0.02 for found, true in zip(mask.frames, big, strict=True))
    assert not mask.warnings


def test_lossy_quad_video(tmp_path: Path) -> None:
    stripes = np.repeat(np.array([0, 63, 127, 255], np.uint8), 40)[None, :, None].repeat(96, axis=0).repeat(3, axis=2)
    path = write_video(tmp_path / "m.mp4", [stripes] * 4, codec="libx264", pix_fmt="yuv420p", crf=28)
    mask = read_mask(path, clip(4, 96, 160))
    assert "quad-mask" in "\n".join(mask.understood)
    assert np.mean(mask.frames[0] != (stripes[..., 0] < 255)) < 0.02


def test_lossy_edges_are_no_quad_mask(tmp_path: Path) -> None:
    path = write_video(tmp_path / "m.mp4", [grey(disc(96, 160, 30))] * 4, codec="libx264", pix_fmt="yuv420p", crf=35)
    assert "quad" not in "\n".join(read_mask(path, clip(4, 96, 160)).understood)


def test_lossless_0_1_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "m.mkv", [grey(m, 0, 1) for m in moving()])
    assert np.array_equal(read_mask(path, clip()).frames, moving())


def test_the_decision_comes_from_all_frames() -> None:
    frames = moving().astype(np.uint8)
    frames[3] *= 255  # frames 0 to 2 look like a 0/1 mask
    assert np.array_equal(read_mask(frames, clip()).frames[3], moving()[3])
    assert not read_mask(frames, clip()).frames[0].any()


@pytest.mark.parametrize(("share", "suspected"), [(0.5, False), (0.7, True)])
def test_inversion_is_suspected(share: float, suspected: bool) -> None:
    mask = np.zeros((T, 24, 40), np.uint8)
    mask[:, : round(24 * share)] = 255
    found = read_mask(mask, clip())
    assert any("--invert" in line for line in found.warnings) == suspected
    assert found.frames.mean() == pytest.approx(round(24 * share) / 24)  # said, not done
    assert not any("looks inverted" in line for line in read_mask(mask, clip(), invert=True).warnings)


def test_inversion_needs_most_frames() -> None:
    mask = np.zeros((T, 24, 40), np.uint8)
    mask[: T // 2] = 255
    assert not read_mask(mask, clip()).warnings


REFUSED = {
    "missing id": (levels(0, 1, 2), {"ids": (5,)}, MaskMismatch, "id 5 does not occur"),
    "missing colour": (coloured(), {"ids": ("#123456",)}, MaskMismatch, "#123456 does not occur"),
    "no alpha": (levels(0, 255), {"encoding": "alpha"}, MaskMismatch, "no alpha channel"),
    "faint gradient": (np.arange(960, dtype=np.uint16).reshape(24, 40) // 8, {}, MaskMismatch, "pass --threshold"),
    "threshold": (levels(0, 255), {"threshold": 255}, UsageError, "expected 0 to 254"),
    "radius": (levels(0, 255), {"dilate": -1}, UsageError, "expected 0 to 1000"),
    "mixed ids": (levels(0, 255), {"ids": (1, "#ff0000")}, UsageError, "mix numbers and colours"),
    "bad colour": (levels(0, 255), {"ids": ("red",)}, UsageError, "#rrggbb"),
    "bad encoding": (levels(0, 255), {"encoding": "greyish"}, UsageError, "expected one of"),
    "ids and quad": (levels(0, 255), {"encoding": "quad", "ids": (1,)}, UsageError, "leave one of them out"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(tmp_path: Path, case: str) -> None:
    values, rule, error, text = REFUSED[case]
    path = save(tmp_path / "m.png", values.astype(np.uint8))
    with pytest.raises(error, match=text) as caught:
        open_mask(path, clip(), MaskRule(**rule))
    assert isinstance(caught.value, FramefillError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "1,", "a", "1;2", "#12", "#gggggg", "-1"])
def test_ids_on_the_command_line(text: str) -> None:
    with pytest.raises(UsageError, match="--ids"):
        parse_ids(text)
    assert parse_ids("1, 3") == (1, 3)
    assert parse_ids("#FF0000") == ("#ff0000",)


@pytest.mark.parametrize(
    ("values", "rule", "option"),
    [
        (disc().astype(np.uint8) * 255, {"keep_affected": True}, "--keep-affected"),
        (disc(), {"threshold": 3}, "--threshold"),
        (levels(0, 1, 2), {"threshold": 3, "ids": (1,)}, "--threshold"),
    ],
)
def test_options_without_effect_are_named(values: np.ndarray, rule: dict, option: str) -> None:
    assert any(line.startswith(f"{option} has no effect") for line in read_mask(values, clip(), **rule).warnings)


def test_lossy_colour_labels(tmp_path: Path) -> None:
    picture = np.zeros((96, 160, 3), np.uint8)
    picture[:, 40:80], picture[:, 80:120] = (128, 0, 0), (0, 0, 200)
    path = write_video(tmp_path / "m.mp4", [picture] * 3, codec="libx264", pix_fmt="yuv420p", crf=28)
    mask = read_mask(path, clip(3, 96, 160))
    assert np.mean(mask.frames[0] != picture.any(axis=2)) < 0.02
    assert "colour labels from a lossy file" in "\n".join(mask.understood)
