"""Normalisers, mappers, upsampling, the growing of edges, and depth on disk."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.errors import UnreadableMedia, UnwritableMedia, UsageError
from framefill.media.synthetic import make_scene
from framefill.stereo.depth import get_provider
from framefill.stereo.exchange import DepthWriter, stored_range
from framefill.stereo.mapper import MAPPERS, default_mapper, get_mapper
from framefill.stereo.normalise import AsItIs, Ema, Normaliser, PerFrame
from framefill.stereo.upsample import dilate_edges, to_size

Depth = np.ndarray


def raw_shot(T: int, seed: int = 0) -> Depth:
    rng = np.random.default_rng(seed)
    return (rng.random((T, 4, 6)) * rng.uniform(1, 9, (T, 1, 1)) - rng.uniform(0, 5, (T, 1, 1))).astype(np.float32)


# normalisers


def test_per_frame_uses_the_whole_range_of_each() -> None:
    raw = raw_shot(5)
    depth = PerFrame()(raw)
    assert depth.dtype == np.float32
    assert np.array_equal(depth.min(axis=(1, 2)), np.zeros(5))
    assert depth.max(axis=(1, 2)) == pytest.approx(np.ones(5))
    assert np.allclose(depth[2], (raw[2] - raw[2].min()) / (raw[2].max() - raw[2].min()), atol=1e-6)


def test_ema_follows_its_definition() -> None:
    raw, decay, buffer = raw_shot(12), 0.6, 4
    low = high = None
    wanted = []
    for t in range(12):
        ahead = raw[t : t + buffer]
        low = ahead.min() if low is None else decay * low + (1 - decay) * ahead.min()
        high = ahead.max() if high is None else decay * high + (1 - decay) * ahead.max()
        wanted.append(np.clip((raw[t] - low) / (high - low), 0, 1))
    assert np.allclose(Ema(decay, buffer)(raw), np.stack(wanted), atol=1e-5)


def test_ema_without_memory_or_look_ahead_is_per_frame() -> None:
    raw = raw_shot(7)
    assert np.array_equal(Ema(0, 1)(raw), PerFrame()(raw))


@given(T=st.integers(1, 40), buffer=st.integers(1, 35), size=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_streaming_loses_no_frame_and_equals_the_whole(T: int, buffer: int, size: int) -> None:
    raw = raw_shot(T)
    stream = Ema(0.75, buffer)
    out = []
    for start in range(0, T, size):
        out += stream.push(raw[start : start + size])
        assert len(out) == max(0, min(start + size, T) - buffer + 1)
    out += stream.flush()
    assert np.array_equal(np.stack(out), Ema(0.75, buffer)(raw))
    assert stream.flush() == []


def test_a_cut_is_a_new_beginning() -> None:
    first, second = raw_shot(5, 1), raw_shot(6, 2) + 100
    stream = Ema(0.9, 3)
    out = [*stream.push(first), *stream.flush(), *stream.push(second), *stream.flush()]
    assert np.array_equal(np.stack(out[:5]), Ema(0.9, 3)(first))
    assert np.array_equal(np.stack(out[5:]), Ema(0.9, 3)(second))
    stream.push(first)
    stream.reset()
    assert stream.flush() == []
    assert np.array_equal(np.stack([*stream.push(second), *stream.flush()]), Ema(0.9, 3)(second))


def test_calling_does_not_touch_what_is_being_pushed() -> None:
    stream = Ema(0.75, 3)
    stream.push(raw_shot(2))
    stream(raw_shot(9, 5))
    assert len(stream.flush()) == 2


def test_ema_moves_slowly_where_something_near_comes_in() -> None:
    raw = np.tile(np.linspace(0, 1, 10, dtype=np.float32), (60, 2, 1))
    raw[40:, 0, 0] = 3  # in a corner; behind it nothing has changed
    jumps = {name: np.abs(np.diff(depth[:, 1, 5])).max() for name, depth in (("each", PerFrame()(raw)), ("ema", Ema(0.9, 30)(raw)))}
    assert jumps["each"] == pytest.approx(5 / 9 * 2 / 3, abs=1e-5)
    assert jumps["ema"] < 0.3 * jumps["each"]


@pytest.mark.parametrize("normaliser", [PerFrame(), Ema()])
def test_a_frame_without_range_stands_on_the_screen(normaliser: Normaliser) -> None:
    flat = np.full((3, 4, 4), 1234.5, np.float32)
    assert np.array_equal(normaliser(flat), np.full((3, 4, 4), 0.5))
    assert np.array_equal(normaliser(np.zeros((2, 4, 4), np.float32)), np.full((2, 4, 4), 0.5))


@pytest.mark.parametrize("normaliser", [PerFrame(), Ema(), AsItIs()])
def test_bad_depth_is_refused(normaliser: Normaliser) -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(UsageError, match="not finite"):
            normaliser(np.array([[[0, bad]]], np.float32))
    with pytest.raises(UsageError, match="expected T h w"):
        normaliser(np.zeros((1, 2, 3, 4), np.float32))
    assert len(normaliser.push(np.zeros((4, 4), np.float32)) + normaliser.flush()) == 1  # one frame h w


@pytest.mark.parametrize(("decay", "buffer"), [(1.0, 3), (-0.1, 3), (0.5, 0)])
def test_ema_refuses_what_means_nothing(decay: float, buffer: int) -> None:
    with pytest.raises(UsageError, match="range; expected"):
        Ema(decay, buffer)


# mappers


@pytest.mark.parametrize("name", MAPPERS)
def test_mappers_keep_the_ends_and_the_order(name: str) -> None:
    line = np.linspace(0, 1, 1001, dtype=np.float32)
    mapped = MAPPERS[name](line)
    assert mapped.dtype == np.float32
    assert mapped[0] == 0
    assert mapped[-1] == 1
    assert (np.diff(mapped) >= 0).all()
    assert np.diff(mapped[::50]).min() > 0  # and flat nowhere
    assert np.array_equal(MAPPERS[name](line.reshape(7, 11, 13)), mapped.reshape(7, 11, 13))


def test_mappers_are_the_curves_of_the_reference() -> None:
    z = np.array([0.2, 0.5, 0.8])

    def softplus(x: np.ndarray) -> np.ndarray:
        return np.log(1 + np.exp((x - 0.515) * 12))

    assert MAPPERS["mul_2"](z.astype(np.float32)) == pytest.approx((softplus(z) - softplus(0)) / (softplus(1) - softplus(0)), abs=1e-5)

    def inverse(x: np.ndarray) -> np.ndarray:
        return np.log(np.exp((x + 0.002102) * 7.8788) - 1)

    assert MAPPERS["inv_mul_1"](z.astype(np.float32)) == pytest.approx((inverse(z) - inverse(0)) / (inverse(1) - inverse(0)), abs=1e-4)
    a = 0.6
    assert MAPPERS["div_6"](z.astype(np.float32)) == pytest.approx((a / (1 + a - z) - a / (1 + a)) / (1 - a / (1 + a)), abs=1e-5)


def test_mappers_bend_where_they_say() -> None:
    half = np.array([0.5], np.float32)
    assert all(MAPPERS[f"mul_{k}"](half) < 0.5 < MAPPERS[f"inv_mul_{k}"](half) for k in (1, 2, 3))
    values = [float(MAPPERS[f"div_{k}"](half)[0]) for k in (25, 10, 6, 4, 2, 1)]
    assert values == sorted(values, reverse=True)
    assert default_mapper(True) == "div_6"
    assert default_mapper(False) == "none"
    assert list(MAPPERS) == ["none", *(f"{i}mul_{k}" for i in ("", "inv_") for k in (1, 2, 3)), *(f"div_{k}" for k in (25, 10, 6, 4, 2, 1))]
    with pytest.raises(UsageError, match="mapper 'cubic' is not known; expected one of none"):
        get_mapper("cubic")


def test_div_turns_distances_into_a_disparity() -> None:
    distance = np.linspace(1, 11, 50)  # nearest at 1, range 10: the mapper for a nearest distance of a tenth of the range
    normalised = PerFrame()((-distance.astype(np.float32))[None, None])[0, 0]
    assert MAPPERS["div_1"](normalised) == pytest.approx((1 / distance - 1 / 11) / (1 - 1 / 11), abs=1e-4)


# upsampling


def truth_and_small(seed: int, by: int) -> tuple[Depth, Depth, np.ndarray]:
    scene = make_scene(np.random.default_rng(seed), 1, 180, 320)
    truth = PerFrame()(scene.disparity)[0]
    small = cv2.resize(truth, (320 // by, 180 // by), interpolation=cv2.INTER_AREA)
    return truth, cv2.GaussianBlur(small, (0, 0), 0.7), scene.frames[0]


@pytest.mark.parametrize("by", [2, 4])
def test_upsampling_follows_the_pictures_edges(by: int) -> None:
    ours, plain = [], []
    for seed in range(5):
        truth, small, picture = truth_and_small(seed, by)
        box = np.ones((3, 3), np.uint8)
        edges = cv2.dilate((cv2.dilate(truth, box) - cv2.erode(truth, box) > 0.05).astype(np.uint8), np.ones((2 * by + 1,) * 2)) > 0
        full = to_size(small, picture)
        assert full.shape == truth.shape
        assert full.dtype == np.float32
        assert small.min() <= full.min()
        assert full.max() <= small.max()
        ours.append(np.abs(full - truth)[edges].mean())
        plain.append(np.abs(cv2.resize(small, (320, 180)) - truth)[edges].mean())
    assert np.mean(ours) < 0.75 * np.mean(plain)


def test_upsampling_leaves_what_fits_and_shrinks_what_is_larger() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    depth = np.random.default_rng(1).random((20, 30), np.float32)
    assert np.array_equal(to_size(depth, picture), depth)
    large = np.kron(depth, np.ones((2, 2), np.float32))
    assert np.allclose(to_size(large, picture), depth, atol=1e-6)
    for small in (np.full((1, 1), 0.3, np.float32), np.full((5, 40), 0.3, np.float32)):
        assert np.allclose(to_size(small, picture), 0.3, atol=1e-4)
    with pytest.raises(UsageError, match="expected h w and uint8 H W 3"):
        to_size(depth[None], picture)


# edges


def test_edges_grow_on_the_far_side_only() -> None:
    depth = np.zeros((21, 41), np.float32)
    depth[:, :20] = 1  # near at the left, its edge behind column 19
    for n in (1, 2, 4):
        grown = dilate_edges(depth, n)
        assert grown[:, :19].min() > 0.9  # near stays near
        assert (grown[10] > 0.5).sum() == pytest.approx(20 + n, abs=1)
        assert grown[:, 22 + 2 * n :].max() == 0
    assert np.array_equal(dilate_edges(depth, 0), depth)
    assert np.array_equal(dilate_edges(np.full((5, 5), 0.4, np.float32), 3), np.full((5, 5), 0.4, np.float32))


def test_edges_grow_across_and_down_by_themselves() -> None:
    depth = np.zeros((31, 31), np.float32)
    depth[10:21, 10:21] = 1
    wide = dilate_edges(depth, (3, 0)) > 0.5
    assert wide.any(axis=0).sum() > wide.any(axis=1).sum() == 11
    assert np.allclose(dilate_edges(depth.T.copy(), (0, 3)), dilate_edges(depth, (3, 0)).T, atol=1e-6)
    with pytest.raises(UsageError, match="expected 0 or more"):
        dilate_edges(depth, (1, -1))


# on disk


def test_depth_comes_back_with_every_frame(tmp_path: Path) -> None:
    depth = np.random.default_rng(0).random((37, 9, 14), np.float32)
    with DepthWriter(tmp_path / "out") as out:
        for frame in depth:
            out.write(frame)
    assert len(list((tmp_path / "out").glob("*.png"))) == 37
    sample = cv2.imread(str(tmp_path / "out" / "000036.png"), cv2.IMREAD_UNCHANGED)
    assert sample.dtype == np.uint16
    assert np.array_equal(sample, np.rint(depth[36].astype(np.float64) * 65535))
    provider = get_provider(f"files:{tmp_path / 'out'}")
    back = provider.infer(np.zeros((37, 9, 14, 3), np.uint8))
    assert np.abs(back - depth).max() <= 0.5 / 65535 + 1e-7
    assert provider.is_normalised  # type: ignore[attr-defined]
    assert np.array_equal(AsItIs()(back), back)


def test_raw_depth_keeps_its_range(tmp_path: Path) -> None:
    raw = raw_shot(4) * 1000
    with DepthWriter(tmp_path / "raw") as out:
        for frame in raw:
            out.write(frame, span=(float(frame.min()), float(frame.max())))
    assert stored_range(tmp_path / "raw" / "000002.png") == (float(raw[2].min()), float(raw[2].max()))
    provider = get_provider(f"files:{tmp_path / 'raw'}")
    back = provider.infer(np.zeros((4, 8, 8, 3), np.uint8))
    assert np.abs(back - raw).max() < (raw.max() - raw.min()) / 65535
    assert not provider.is_normalised  # type: ignore[attr-defined]
    from PIL import Image

    with Image.open(tmp_path / "raw" / "000002.png") as image:  # as other programs read them
        image.verify()
        assert float(image.info["iw3_min_depth_value"]) == float(raw[2].min())


def test_an_export_of_iw3_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "depth").mkdir()
    (tmp_path / "rgb").mkdir()
    (tmp_path / "iw3_export.yml").write_text("type: video\n")
    for t in range(3):
        cv2.imwrite(str(tmp_path / "depth" / f"clip_{t:08d}.png"), np.full((4, 6), 20000 * t, np.uint16))
    for where in (tmp_path, tmp_path / "depth"):
        provider = get_provider(f"files:{where}")
        assert provider.infer(np.zeros((3, 4, 6, 3), np.uint8))[:, 0, 0] == pytest.approx([0, 20000 / 65535, 40000 / 65535])
        assert provider.is_normalised  # type: ignore[attr-defined]


def test_depth_of_others_is_normalised(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert not get_provider(f"files:{tmp_path}").is_normalised  # type: ignore[attr-defined]


def test_a_lost_picture_is_noticed(tmp_path: Path) -> None:
    with DepthWriter(tmp_path / "out") as out:
        for _ in range(3):
            out.write(np.zeros((4, 4), np.float32))
    (tmp_path / "out" / "000001.png").unlink()
    with pytest.raises(UnreadableMedia, match="holds 2 pictures of depth, 3 were written"):
        get_provider(f"files:{tmp_path / 'out'}")
    (tmp_path / "out" / "depth.json").write_text("{")
    with pytest.raises(UnreadableMedia, match=r"depth\.json is damaged"):
        get_provider(f"files:{tmp_path / 'out'}")


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), DepthWriter(tmp_path / "out") as out:
        out.write(np.zeros((4, 4), np.float32))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UnwritableMedia, match="does not exist"):
        DepthWriter(tmp_path / "no" / "out")


def test_only_an_export_is_ever_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with DepthWriter(target) as out:
        out.write(np.zeros((4, 4), np.float32))
        out.write(np.zeros((4, 4), np.float32))
    with pytest.raises(UnwritableMedia, match="ask to overwrite it"):
        DepthWriter(target)
    with DepthWriter(target, overwrite=True) as out:
        out.write(np.ones((4, 4), np.float32))
    assert json.loads((target / "depth.json").read_text()) == {"frames": 1, "width": 4, "height": 4}
    assert len(list(target.glob("*.png"))) == 1
    (target / "depth.json").unlink()
    with pytest.raises(UnwritableMedia, match="no export of depth"):
        DepthWriter(target, overwrite=True)


def test_depth_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with DepthWriter(tmp_path / "out") as out:
        out.write(np.zeros((4, 4), np.float32))
        with pytest.raises(UsageError, match="expected 0 to 1; normalise it first"):
            out.write(np.full((4, 4), 1.5, np.float32))
        with pytest.raises(UsageError, match="expected 0 to 1"):
            out.write(np.full((4, 4), np.nan, np.float32))
        with pytest.raises(UsageError, match="those before it are not"):
            out.write(np.zeros((4, 5), np.float32))
        with pytest.raises(UsageError, match="expected one frame H W"):
            out.write(np.zeros((1, 4, 4), np.float32))
