"""The buffer of twelve frames: every frame once and in order, the published context, cuts, eyes, grown holes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reference_light import PlainLight, stream_made  # noqa: E402
from test_light_compat import alive, clip  # noqa: E402

from framefill.errors import MaskMismatch, UsageError  # noqa: E402
from framefill.families.base import Span  # noqa: E402
from framefill.families.light_compat import LightCompatPipeline  # noqa: E402
from framefill.families.light_compat_filler import LightCompatFiller  # noqa: E402
from framefill.families.light_compat_stream import LightCompatStream  # noqa: E402
from framefill.families.whole import fill_whole  # noqa: E402
from framefill.media.tensors import mask_to_tensor, to_tensor  # noqa: E402

OVERLAPS = [(3, 3), (3, 0), (0, 0), (5, 5), (0, 11)]
Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Recorder:
    """Stands in for a pipeline: gives back what it is shown and notes the numbers of the frames, which are their colours."""

    tasks = ("stereo",)

    def __init__(self, window: int = 12) -> None:
        self.window = window
        self.shown: list[tuple[list[int], list[int]]] = []
        self.masks: list[Mask] = []

    def fill(self, frames: Frames, mask: Mask, wanted: slice, soft_rim: bool = False) -> Frames:
        self.shown.append((frames[:, 0, 0, 0].tolist(), frames[wanted][:, 0, 0, 0].tolist()))
        self.masks.append(mask[wanted])
        return frames[wanted]


def recorded(window: int = 12, **options: object) -> tuple[Recorder, LightCompatStream]:
    recorder = Recorder(window)
    return recorder, LightCompatStream(cast("LightCompatPipeline", recorder), **options)  # type: ignore[arg-type]


def numbered(number: int) -> tuple[Frames, Mask]:
    return np.full((2, 6, 3), number, np.uint8), np.zeros((2, 6), np.bool_)


@pytest.mark.parametrize("overlap", OVERLAPS)
@pytest.mark.parametrize("count", [1, 6, 8, 9, 12, 19, 24, 37])
def test_every_frame_once_and_in_order(count: int, overlap: tuple[int, int]) -> None:
    recorder, stream = recorded(overlap=overlap)
    out: list[int] = []
    for number in range(count):
        made = [int(frame[0, 0, 0]) for frame in stream.push(*numbered(number))]
        assert bool(made) == (number >= 11 - overlap[0] and (number - 11 + overlap[0]) % (12 - sum(overlap)) == 0)
        out += made
        assert number + 1 - len(out) <= stream.delay
    out += [int(frame[0, 0, 0]) for frame in stream.flush()]
    assert out == list(range(count))
    before, after = overlap
    for shown, kept in recorder.shown:
        assert len(shown) == 12
        assert shown == [min(max(kept[0] - before + index, 0), count - 1) for index in range(12)], "neighbours, or the nearest there is"
        assert len(kept) <= 12 - before
        assert kept[-1] == count - 1 or kept[-1] + after == shown[-1]
    assert stream.flush() == []


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_cut_begins_anew(cut: int) -> None:
    recorder, stream = recorded()
    shots = [range(cut), range(100, 124 - cut)]
    out = []
    for shot in shots:
        for number in shot:
            out += stream.push(*numbered(number))
        out += stream.flush()
    assert [int(frame[0, 0, 0]) for frame in out] == [number for shot in shots for number in shot]
    for shown, _ in recorder.shown:
        assert len({number >= 100 for number in shown}) == 1, "no window sees both shots"


def test_the_first_frame_comes_out_after_nine() -> None:
    _, stream = recorded()
    assert [len(stream.push(*numbered(number))) for number in range(15)] == [0] * 8 + [6] + [0] * 5 + [6]
    _, stream = recorded(window=1)
    assert [len(stream.push(*numbered(number))) for number in range(3)] == [1, 1, 1], "pictures need no neighbours"


def test_it_is_the_plain_stream() -> None:
    pipeline = alive()
    frames, mask = clip(count=14)
    plain = PlainLight(4).double().eval()
    plain.load_state_dict(pipeline.net.state_dict())
    pairs = zip(to_tensor(frames)[0].double() / 2 + 0.5, mask_to_tensor(mask)[0].double(), strict=True)
    expected = (torch.stack(list(stream_made(plain, pairs))) * 255).permute(0, 2, 3, 1).numpy()
    made = pipeline(frames, mask, soft_rim=True).frames
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() < 0.51, "the nearest level"
    assert np.abs(made[12].astype(int) - made[11]).max() > 0


def test_a_left_eye_is_a_mirrored_right_eye() -> None:
    pipeline = alive()
    frames, mask = clip(64, 100)
    left = pipeline(frames, mask, eye="left").frames
    mirrored = pipeline(frames[:, :, ::-1].copy(), mask[:, :, ::-1].copy()).frames
    assert np.array_equal(left, mirrored[:, :, ::-1])
    assert not np.array_equal(left, pipeline(frames, mask).frames)


@pytest.mark.parametrize("eye", ["left", "right"])
def test_holes_are_grown_in_the_flushed_frames_too(eye: str) -> None:
    recorder, stream = recorded(eye=eye, outer=3, inner=1)
    hole = np.zeros((2, 30), np.bool_)
    hole[:, 10:15] = True
    for number in range(11):
        stream.push(np.full((2, 30, 3), number, np.uint8), hole)
    stream.flush()
    grown = np.concatenate(recorder.masks)
    assert len(grown) == 11
    as_right = range(9, 18) if eye == "right" else range(14, 23)  # mirrored: 15 to 20, one to the left and three to the right
    assert np.array_equal(grown.any((0, 1)).nonzero()[0], as_right)
    assert (grown == grown[0]).all()
    recorder, stream = recorded(closing=2)
    hole[:, 17:20] = True
    stream.push(np.zeros((2, 30, 3), np.uint8), hole)
    stream.flush()
    assert np.array_equal(recorder.masks[0][0, 0].nonzero()[0], range(10, 20))


def test_what_is_pushed_may_be_used_again() -> None:
    pipeline = alive()
    frames, mask = clip()
    stream = LightCompatStream(pipeline)
    out, picture, hole = [], np.empty_like(frames[0]), np.empty_like(mask[0])
    for index in range(len(frames)):
        np.copyto(picture, frames[index])
        np.copyto(hole, mask[index])
        out += stream.push(picture, hole)
    assert np.array_equal(np.stack(out + stream.flush()), pipeline(frames, mask).frames)


def test_the_filler_gives_what_the_stream_gives() -> None:
    pipeline = alive()
    frames, mask = clip(count=18)
    filled = fill_whole(frames, mask, LightCompatFiller(pipeline))
    streamed = pipeline(frames, mask).frames
    # A stream's last window keeps what remains, up to nine frames; a filler's windows are six each.
    assert np.array_equal(filled.frames[:12], streamed[:12])
    assert np.array_equal(filled.frames[~mask], frames[~mask])
    assert np.array_equal(filled.provenance == 2, mask)
    assert not filled.remaining.any()


@pytest.mark.parametrize("overlap", OVERLAPS)
def test_a_filler_shows_the_net_the_context_that_it_is_given(overlap: tuple[int, int]) -> None:
    """As `stereo --overlap` does it: the window is what the net sees less the context, and no more of that is shown."""
    before, after = overlap
    recorder = Recorder()
    filler = LightCompatFiller(cast("LightCompatPipeline", recorder))
    filler.window, filler.reach = 12 - before - after, max(overlap)
    frames, mask = np.zeros((30, 2, 6, 3), np.uint8), np.ones((30, 2, 6), np.bool_)
    frames += np.arange(30, dtype=np.uint8)[:, None, None, None]
    mask[:, 0] = False
    for start in range(0, 24 - after, filler.window):
        stop, first = start + filler.window, max(0, start - before)
        shown = slice(first, stop + after)
        filled, _ = filler.fill_span(Span(first, frames[shown], mask[shown], start, stop), None)
        assert np.array_equal(filled.frames, frames[start:stop])
        assert recorder.shown[-1][0] == [max(number, 0) for number in range(start - before, stop + after)]


def test_wrong_frames_and_overlaps_are_refused() -> None:
    for overlap in ((6, 6), (-1, 3), (12, 0)):
        with pytest.raises(UsageError, match="11 at most together"):
            recorded(overlap=overlap)
    _, stream = recorded()
    frame, hole = numbered(0)
    with pytest.raises(MaskMismatch, match="expected bool"):
        stream.push(frame, hole[:, 1:])
    with pytest.raises(UsageError, match="expected uint8 H W 3"):
        stream.push(frame[..., :1], hole)
    stream.push(frame, hole)
    with pytest.raises(UsageError, match="flush before the size changes"):
        stream.push(frame[:1], hole[:1])
