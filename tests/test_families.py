"""The contract of every family, at tiny size with the real classes: what a filler may never do, whatever the clip."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import Frames, box, by_hand, noisy, seen_at, texture

import framefill
from framefill import families
from framefill.errors import UsageError
from framefill.families import FAMILIES, get
from framefill.families.base import KNOWN, Filled, Span

HEIGHT, WIDTH = 40, 56
LEAVES = {"propagate", "flow"}  # families that leave what no frame shows
FOLDERS = {
    "a trained folder": "trained",
    "a light net": "light",
    "a published light net": "light_compat",
    "an image-to-video net": "fff",
}  # and the fixtures that make them
EVERY = pytest.mark.parametrize("name", [*(name for name in FAMILIES if name not in families.TRAINED), *FOLDERS], indirect=True)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny VDT on pixels whose weights are random, no zeros: what it makes is noise, and it must keep the contract."""
    torch = pytest.importorskip("torch")
    from framefill.diffusion.precond import Process
    from framefill.families.vdt import VDTPipeline
    from framefill.media.tasks import TASKS
    from framefill.nets.codec import Pixels
    from framefill.nets.vdt import VDT

    torch.manual_seed(0)
    net = VDT(hidden_size=32, num_layers=1, num_heads=2, patch_size=8, in_channels=3).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.copy_(0.05 * torch.randn_like(weight))
    folder = tmp_path_factory.mktemp("trained")
    VDTPipeline(net, Process("flow"), Pixels(), list(TASKS), window=12, size=32).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny light net whose weights are random, no zeros."""
    pytest.importorskip("torch")
    from light_kit import small_pipeline

    folder = tmp_path_factory.mktemp("light")
    small_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def light_compat(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny net of the published kind, made at random and said to be trained on every task."""
    torch = pytest.importorskip("torch")
    from framefill.families.light_compat import LightCompatPipeline
    from framefill.media.tasks import TASKS
    from framefill.nets.light_compat import LightCompat

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("light-compat")
    LightCompatPipeline(LightCompat(channels=4).eval(), list(TASKS)).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def fff(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny Stable Video Diffusion of random weights and a refiner that refines, said to be trained on every task."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from fff_kit import saved, tiny_pipeline

    from framefill.media.tasks import TASKS

    return f"fff:{saved(tmp_path_factory.mktemp('fff'), tiny_pipeline(awake=True, size=8, steps=1, tasks=list(TASKS)))}"


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A model's name: a family of the table, or the folder of a trained one."""
    return str(request.getfixturevalue(FOLDERS[request.param])) if request.param in FOLDERS else str(request.param)


def walk(count: int, step: int = 1, height: int = HEIGHT, width: int = WIDTH) -> Frames:
    """A noisy camera that pans over a texture, with something that crosses the picture."""
    frames = seen_at(texture(1, height, width + step * count), (height, width), [(step * i, 0) for i in range(count)]).copy()
    thing = texture(2, 12, 9)
    for i, frame in enumerate(frames):
        left = 2 * i % (width - 9)
        frame[8:20, left : left + 9] = thing
    return noisy(frames, 2)


def holes(count: int) -> NDArray[np.bool_]:
    """A hole that moves, and a mark that stands where it is."""
    mask = np.stack([box(HEIGHT, WIDTH, 10 + i % 3, 8 + i // 2 % 20, 14, 12) for i in range(count)])
    mask[:, 32:36, 44:50] = True
    return mask


def between(count: int) -> NDArray[np.bool_]:
    """Two frames in three are wholly hidden."""
    return np.broadcast_to((np.arange(count) % 3 != 0)[:, None, None], (count, HEIGHT, WIDTH)).copy()


def check(name: str, frames: Frames, mask: NDArray[np.bool_], filled: Filled) -> None:
    assert filled.frames.dtype == filled.provenance.dtype == np.uint8
    assert filled.remaining.dtype == np.bool_
    assert filled.frames.shape == frames.shape
    assert filled.provenance.shape == filled.remaining.shape == mask.shape
    assert np.array_equal(filled.frames[~mask], frames[~mask])
    assert not (filled.remaining & ~mask).any()
    assert filled.provenance.max(initial=0) <= 2
    assert np.array_equal(filled.provenance == KNOWN, ~mask | filled.remaining), "each hidden pixel is made or remains"
    assert name in LEAVES or not filled.remaining.any()


@pytest.mark.parametrize("short", [-1, 0, 1], ids=["a frame less than a window", "a window", "a frame more"])
@EVERY
def test_any_length_around_a_window(name: str, short: int) -> None:
    count = get(name).window + short
    frames, mask = walk(count), holes(count)
    check(name, frames, mask, framefill.inpaint(frames, mask, name))


@pytest.mark.parametrize("count", [1, 2])
@EVERY
def test_one_frame_and_two(name: str, count: int) -> None:
    frames, mask = walk(count), holes(count)
    check(name, frames, mask, framefill.inpaint(frames, mask, name))


@EVERY
def test_two_windows_and_a_frame_give_the_same_bytes_twice_whatever_opencv_was_told(name: str) -> None:
    count = 2 * get(name).window + 1
    frames, mask = walk(count), holes(count)
    before = frames.copy(), mask.copy()
    first = framefill.inpaint(frames, mask, name)
    check(name, frames, mask, first)
    assert np.array_equal(frames, before[0]), "the input was written to"
    assert np.array_equal(mask, before[1])
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(3)
        again = framefill.inpaint(frames, mask, name)
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(threads)
    for field in ("frames", "provenance", "remaining"):
        assert np.array_equal(getattr(first, field), getattr(again, field))


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (5, 7), (1, 40), (33, 17), (3, 200)], ids=lambda size: f"{size[1]}x{size[0]}")
@EVERY
def test_small_and_odd_pictures(name: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    frames = rng.integers(100, 120, (23, *size, 3), np.uint8)
    for mask in (rng.random(frames.shape[:3]) < 0.4, np.arange(23)[:, None, None] % 2 * np.ones(size) > 0):
        filled = framefill.inpaint(frames, mask, name)
        check(name, frames, mask, filled)
        some = mask.mean((1, 2)) < 1
        made = filled.frames[some][(mask & ~filled.remaining)[some]]
        if made.size and name in FAMILIES:  # a net of random weights makes what it likes
            assert made.min() > 80, "made of nothing that was seen"
            assert made.max() < 140


@EVERY
def test_nothing_known_at_all(name: str) -> None:
    frames = walk(5)
    mask = np.ones(frames.shape[:3], np.bool_)
    filled = framefill.inpaint(frames, mask, name)
    check(name, frames, mask, filled)
    assert filled.remaining.all() == (name in LEAVES)
    other = framefill.inpaint(255 - frames, mask, name)
    assert np.array_equal(filled.frames, other.frames)


@EVERY
def test_an_empty_mask_gives_the_input(name: str) -> None:
    frames = walk(3)
    mask = np.zeros(frames.shape[:3], np.bool_)
    filled, _ = get(name).fill_span(Span(0, frames, mask, 0, 3), None)
    check(name, frames, mask, filled)
    assert np.array_equal(filled.frames, frames)


@EVERY
def test_masks_with_gaps_longer_than_the_reach(name: str) -> None:
    filler = get(name)
    count = 3 * filler.window + filler.reach + 7
    frames, mask = walk(count, step=0), holes(count)
    mask[filler.window - 3 : -filler.window] = False
    mask[filler.window + 1, :5, :5] = True
    check(name, frames, mask, framefill.inpaint(frames, mask, name))


@EVERY
def test_a_filler_that_goes_on_from_a_saved_state_makes_the_same_bytes(name: str) -> None:
    filler = get(name)
    count = max(3 * filler.window, filler.window + filler.reach) + 3
    frames, mask = walk(count, step=0), holes(count)
    through, states = by_hand(lambda: get(name), frames, mask)
    resumed, saved = by_hand(lambda: get(name), frames, mask, anew=True)
    for field in ("frames", "provenance", "remaining"):
        assert np.array_equal(getattr(through, field), getattr(resumed, field))
    assert len(states) > 3
    for one, other in zip(states, saved, strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) and one[key].dtype == other[key].dtype for key in one)
    assert np.array_equal(through.frames[~through.remaining], framefill.inpaint(frames, mask, name).frames[~through.remaining])


def _noise(frames: Frames) -> Frames:
    return np.random.default_rng(4).integers(0, 256, frames.shape, np.uint8)


def _checker(frames: Frames) -> Frames:
    checker = np.indices(frames.shape[:3]).sum(0) // 5 % 2 * 255
    return np.repeat(checker[..., None], 3, 3).astype(np.uint8)


@pytest.mark.parametrize(("step", "hidden"), [(0, _checker), (1, _checker), (1, _noise)], ids=["fixed", "pan", "pan, noise"])
@EVERY
def test_what_the_mask_hides_never_changes_what_is_made(name: str, step: int, hidden: Callable[[Frames], Frames]) -> None:
    count = get(name).window + 2
    frames, mask = walk(count, step), between(count) if name == "flow" else holes(count)
    swapped = np.where(mask[..., None], hidden(frames), frames)
    plain, other = framefill.inpaint(frames, mask, name), framefill.inpaint(swapped, mask, name)
    # The program blanks what is hidden before a filler sees it. The filler itself must not look either.
    bare, bare_other = (by_hand(lambda: get(name), clip, mask)[0] for clip in (frames, swapped))
    for one, two in ((plain, other), (bare, bare_other), (plain, bare)):
        made = mask & ~one.remaining
        assert made.any()
        assert np.array_equal(one.frames[made], two.frames[made])
        assert np.array_equal(one.provenance, two.provenance)
        assert np.array_equal(one.remaining, two.remaining)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in families.TRAINED], indirect=True)
def test_the_table_names_its_families_and_nothing_else(name: str) -> None:
    assert get(name).name == name
    assert get(name) is not get(name), "an instance serves one clip"
    assert get(name).window >= 1
    assert get(name).reach >= 0
    with pytest.raises(UsageError, match=name):
        get(name + "s")
