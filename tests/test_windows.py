"""Windows and tiles: every frame once, weights that sum to 1, and a stream that equals the plan made with everything known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framefill.errors import UsageError
from framefill.media.windows import Plan, Window, assemble, assemble_tiles, pad_to_multiple, tiles, unpad, windowed


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    mode = draw(st.sampled_from(["blend", "chain", "context"]))
    length = draw(st.integers(1, 12))
    most = {"blend": length // 2, "chain": length - 1, "context": 15}[mode]
    return Plan(mode, length, draw(st.integers(0, most)))


@given(plans(), st.integers(0, 60))
def test_every_frame_is_covered_with_weights_that_sum_to_1(plan: Plan, count: int) -> None:
    total = np.zeros(count)
    for window in plan.windows(count):
        assert 0 <= window.start <= window.keep_start < window.keep_stop <= window.stop <= count
        assert window.start <= window.known_stop <= window.stop
        weights = window.weights()
        assert (weights > 0).all()
        total[window.keep_start : window.keep_stop] += weights
    assert np.allclose(total, 1, atol=1e-12)


@given(plans(), st.integers(0, 60))
def test_streaming_equals_in_memory(plan: Plan, count: int) -> None:
    held, pulled = [], 0

    def source():
        nonlocal pulled
        for number in range(count):
            pulled += 1
            yield number

    for window, items in windowed(plan, source()):
        assert items == list(range(window.start, window.stop))
        held.append(window)
        assert pulled <= window.stop + plan.length + 1  # it does not wait for more than it needs
    assert held == list(plan.windows(count))
    assert pulled == count


@settings(deadline=None)
@given(plans(), st.integers(0, 60), st.booleans())
def test_assembled_windows_are_the_clip(plan: Plan, count: int, whole: bool) -> None:
    """Windows made without an error come back exactly: uint8 bit for bit, also where two were cross-faded."""
    clip = np.random.default_rng(count).integers(0, 256, (count, 2, 3, 3)).astype(np.uint8 if whole else np.float32)
    made = ((window, np.stack(frames)) for window, frames in windowed(plan, clip))
    out = list(assemble(made))
    assert len(out) == count
    for found, frame in zip(out, clip, strict=True):
        assert found.dtype == clip.dtype
        assert np.array_equal(found, frame) if whole else np.allclose(found, frame, atol=1e-4)


EDGES = {  # mode, length, overlap, frames -> (start, stop, keep_start, keep_stop)
    "one frame": ("blend", 8, 2, 1, [(0, 1, 0, 1)]),
    "window - 1": ("blend", 8, 2, 7, [(0, 7, 0, 7)]),
    "window": ("blend", 8, 2, 8, [(0, 8, 0, 8)]),
    "window + 1": ("blend", 8, 2, 9, [(0, 8, 0, 8), (1, 9, 6, 9)]),
    "2 windows + 1": ("blend", 8, 2, 17, [(0, 8, 0, 8), (6, 14, 6, 14), (9, 17, 12, 17)]),
    "chain, window + 1": ("chain", 8, 2, 9, [(0, 8, 0, 8), (1, 9, 8, 9)]),
    "chain, 2 windows + 1": ("chain", 8, 2, 17, [(0, 8, 0, 8), (6, 14, 8, 14), (9, 17, 14, 17)]),
    "context, one frame": ("context", 8, 3, 1, [(0, 1, 0, 1)]),
    "context, window - 1": ("context", 8, 3, 7, [(0, 7, 0, 7)]),
    "context, window + 1": ("context", 8, 3, 9, [(0, 9, 0, 8), (5, 9, 8, 9)]),
    "context, 2 windows + 1": ("context", 8, 3, 17, [(0, 11, 0, 8), (5, 17, 8, 16), (13, 17, 16, 17)]),
    "none": ("chain", 8, 2, 0, []),
}


@pytest.mark.parametrize("case", EDGES)
def test_edge_lengths(case: str) -> None:
    mode, length, overlap, count, expected = EDGES[case]
    found = [(w.start, w.stop, w.keep_start, w.keep_stop) for w in Plan(mode, length, overlap).windows(count)]
    assert found == expected


def test_chain_takes_what_was_made_as_known() -> None:
    """The model adds 1 to the last known frame: only a chain that hands frames on counts up."""
    plan = Plan("chain", 5, 2)
    made: dict[int, float] = {}

    def fill():
        for window, _ in windowed(plan, range(17)):
            frames = np.zeros((len(window), 1))
            for t in range(window.start, window.stop):
                frames[t - window.start] = made[t] if t < window.known_stop else (made.get(t - 1, -1) + 1)
                made[t] = float(frames[t - window.start, 0])
            yield window, frames

    assert [float(frame[0]) for frame in assemble(fill())] == list(range(17))


def test_blend_fades_linearly() -> None:
    plan = Plan("blend", 8, 3)
    made = ((window, np.full((len(window), 1), float(number), np.float32)) for number, window in enumerate(plan.windows(13)))
    found = [float(frame[0]) for frame in assemble(made)]
    assert found == pytest.approx([0, 0, 0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1])


def test_windows_of_all_one_length_but_for_short_clips() -> None:
    for count in range(1, 50):
        for plan in (Plan("blend", 8, 3), Plan("chain", 8, 3)):
            assert {len(window) for window in plan.windows(count)} == {min(8, count)}


def test_a_stream_holds_no_more_than_a_window_and_its_surroundings() -> None:
    alive = 0

    class Item:
        def __init__(self) -> None:
            nonlocal alive
            alive += 1

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    most = 0
    for _window, _items in windowed(Plan("context", 8, 3), (Item() for _ in range(500))):
        most = max(most, alive)
    assert most <= 8 + 2 * 3 + 1


def test_frames_come_out_before_the_stream_has_ended() -> None:
    endless = (np.zeros((1, 1)) for _ in iter(int, 1))
    made = ((window, np.stack(items)) for window, items in windowed(Plan("blend", 4, 1), endless))
    out = assemble(made)
    assert sum(1 for _ in zip(range(100), out, strict=False)) == 100


@pytest.mark.parametrize(
    ("mode", "length", "overlap"), [("blend", 4, 3), ("chain", 4, 4), ("blend", 0, 0), ("chain", 4, -1), ("fade", 4, 1)]
)
def test_plans_that_cannot_be(mode: str, length: int, overlap: int) -> None:
    with pytest.raises(UsageError):
        Plan(mode, length, overlap)


def test_a_window_made_with_another_length_is_refused() -> None:
    with pytest.raises(UsageError, match="was made with 3 frames, expected 4"):
        list(assemble([(Window(0, 4, 0, 4, 0), np.zeros((3, 1)))]))


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 16), st.integers(0, 8))
def test_tiles_cover_the_frame(height: int, width: int, size: int, overlap: int) -> None:
    cut = tiles(height, width, size, min(overlap, size // 2))
    total = np.zeros((height, width))
    for tile in cut:
        total[tile.read] += tile.weights()
    assert np.allclose(total, 1, atol=1e-6)
    frame = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    assert np.array_equal(assemble_tiles([(tile, frame[tile.read]) for tile in cut], height, width), frame)


def test_a_tile_made_in_another_size_is_refused() -> None:
    (tile,) = tiles(4, 6, 8, 2)
    with pytest.raises(UsageError, match="tile was made 5x4, expected 6x4"):
        assemble_tiles([(tile, np.zeros((4, 5)))], 4, 6)


@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 8, 64]), st.booleans())
def test_padding_is_taken_off_again(count: int, height: int, width: int, multiple: int, colour: bool) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (count, height, width, 3) if colour else (count, height, width), dtype=np.uint8)
    padded, padding = pad_to_multiple(frames, multiple)
    assert padded.shape[1] % multiple == padded.shape[2] % multiple == 0
    assert padded.shape[1] - height < multiple
    assert padded.shape[2] - width < multiple
    assert np.array_equal(unpad(padded, padding), frames)


def test_padding_mirrors_the_edge() -> None:
    padded, _ = pad_to_multiple(np.arange(6, dtype=np.uint8).reshape(1, 1, 6), 8)
    assert padded[0, 3].tolist() == [0, 0, 1, 2, 3, 4, 5, 5]


def test_padding_to_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="multiple is 0"):
        pad_to_multiple(np.zeros((1, 2, 2)), 0)
