"""What goes into the feature networks: the range guard, the resize recipes by name, and the cache of what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from framefill.errors import MissingWeights, UsageError  # noqa: E402
from framefill.evaluation.features import cache, load, video  # noqa: E402
from framefill.evaluation.features.frames import to_unit, unit_batches  # noqa: E402


def noise(frames: int = 10, height: int = 20, width: int = 30, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


# The guard


@pytest.mark.parametrize(
    ("declared", "low", "high"),
    [("0..1", 0, 1), ("0..1", 0.2, 0.3), ("-1..1", -1, 1), ("-1..1", -0.1, 0), ("0..255", 0, 255), ("0..255", 0, 0)],
)
def test_floats_of_the_declared_range_pass(declared: str, low: float, high: float) -> None:
    frames = np.linspace(low, high, 4 * 2 * 2 * 3).reshape(4, 2, 2, 3)
    least, most = {"0..1": (0, 1), "-1..1": (-1, 1), "0..255": (0, 255)}[declared]
    unit = to_unit(frames, declared)
    assert unit.shape == (4, 3, 2, 2)
    np.testing.assert_allclose(unit.permute(0, 2, 3, 1).numpy(), (frames - least) / (most - least), atol=1e-6)


@pytest.mark.parametrize(
    ("declared", "low", "high", "hint"),
    [
        ("0..1", -1, 1, "looks like -1..1"),
        ("0..1", 0, 255, "looks like 0..255"),
        ("-1..1", 0, 1, "looks like 0..1"),
        ("-1..1", 0, 255, "looks like 0..255"),
        ("0..255", 0, 1, "looks like 0..1"),
        ("0..255", -1, 1, "looks like -1..1"),
        ("0..255", -300, 300, "convert it to uint8"),
        ("0..1", 0, float("nan"), "convert it to uint8"),
        ("0..1", 0, float("inf"), "convert it to uint8"),
    ],
)
def test_floats_of_another_range_are_refused_in_one_line(declared: str, low: float, high: float, hint: str) -> None:
    frames = np.zeros((2, 4, 4, 3), np.float32)
    frames[0, 0, 0, 0], frames[1, 0, 0, 0] = low, high
    with pytest.raises(UsageError, match=hint) as caught:
        to_unit(frames, declared)
    assert "\n" not in str(caught.value)
    assert f"declared {declared}" in str(caught.value)


def test_guard_judges_the_whole_clip_before_the_first_batch() -> None:
    frames = np.zeros((6, 4, 4, 3), np.float32)
    frames[5] = 2
    with pytest.raises(UsageError, match="from 0 to 2"):
        next(unit_batches(frames, 2, "0..1"))


def test_uint8_is_itself_whatever_is_declared() -> None:
    frames = noise()
    assert torch.equal(to_unit(frames, "-1..1"), to_unit(torch.from_numpy(frames)))
    assert float(to_unit(frames).max()) == 1


@pytest.mark.parametrize("frames", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 3, 4, 4), np.uint8), np.zeros((0, 4, 4, 3), np.uint8)])
def test_other_shapes_are_refused(frames: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match="expected T H W 3"):
        to_unit(frames)


def test_whole_numbers_other_than_uint8_are_refused() -> None:
    with pytest.raises(UsageError, match="int32"):
        to_unit(np.zeros((1, 4, 4, 3), np.int32))


# The recipes


def columns(width: int, height: int = 224) -> NDArray[np.uint8]:
    """A clip whose grey level is 60 in the left quarter, 120 in the middle half, 240 in the right quarter."""
    row = np.repeat(np.uint8([60, 120, 120, 240]), width // 4)
    return np.broadcast_to(row[None, None, :, None], (10, height, width, 3))


def test_fvd_crops_and_stylegan_v_squeezes() -> None:
    clip = columns(448)
    cropped, squeezed = video.prepare(clip, "fvd"), video.prepare(clip, "stylegan-v")
    assert cropped.shape == squeezed.shape == (3, 10, 224, 224)
    np.testing.assert_allclose(cropped.numpy(), 120 / 127.5 - 1, atol=1e-6)  # the middle half and nothing else
    np.testing.assert_allclose(squeezed[0, 0, 0, [0, 112, 223]], np.array([60, 120, 240]) / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (240, 432), (432, 240), (225, 224)])
def test_resizing_is_bilinear_between_sample_centres(height: int, width: int) -> None:
    clip = noise(10, height, width)
    picture = clip[3].astype(np.float32) / 127.5 - 1
    shorter = min(height, width)
    size = (int(np.ceil(width * 224 / shorter)), int(np.ceil(height * 224 / shorter)))
    larger = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    top, left = (size[1] - 224) // 2, (size[0] - 224) // 2
    found = video.prepare(clip, "fvd")[:, 3].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found, larger[top : top + 224, left : left + 224], atol=1e-4)
    squeezed = video.prepare(clip, "stylegan-v")[:, 3].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(squeezed, cv2.resize(picture, (224, 224), interpolation=cv2.INTER_LINEAR), atol=1e-4)


def test_vfid_keeps_size_and_range() -> None:
    clip = noise(3, 24, 43)
    found = video.prepare(clip, "vfid", "pooled")
    np.testing.assert_allclose(found.permute(1, 2, 3, 0).numpy(), clip / 255, atol=1e-6)


def test_fewer_than_ten_frames_have_no_logits() -> None:
    with pytest.raises(UsageError, match=r"9 frames.*at least 10"):
        video.prepare(noise(9), "fvd")
    assert video.prepare(noise(9), "fvd", "pooled").shape == (3, 9, 224, 224)


# The cache


class Mean(torch.nn.Module):
    """Stands for I3D: its features are the mean and the first value of a clip; it counts what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1, 1)
        self.batches: list[tuple[int, ...]] = []

    def pooled(self, batch: torch.Tensor) -> torch.Tensor:
        self.batches.append(tuple(batch.shape))
        return torch.stack((batch.mean((1, 2, 3, 4)), batch[:, 0, 0, 0, 0]), 1)

    @property
    def clips(self) -> int:
        return sum(shape[0] for shape in self.batches)


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Mean:
    net = Mean()
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path))
    monkeypatch.setattr(load, "i3d", lambda _: net)
    monkeypatch.setattr(load, "digest", lambda _: "digest")
    return net


def expected(clips: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return np.array([(clip.mean() / 255, clip[0, 0, 0, 0] / 255) for clip in clips], np.float32)


def test_features_come_in_the_clips_order_and_are_computed_once(net: Mean) -> None:
    clips = [noise(seed=seed) for seed in (0, 1, 0, 2)] + [noise(4, 10, 10)]
    np.testing.assert_allclose(video.features_of(clips, "vfid", "pooled"), expected(clips), atol=1e-6)
    assert net.clips == 4  # two are equal
    assert net.batches == [(3, 3, 10, 20, 30), (1, 3, 4, 10, 10)]  # of one shape, together
    again = [noise(seed=7), *clips[::-1]]
    np.testing.assert_allclose(video.features_of(again, "vfid", "pooled"), expected(again), atol=1e-6)
    assert net.clips == 5  # only the new one


def test_every_thing_that_changes_the_features_changes_the_entry(net: Mean, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = noise()
    video.features_of([clip], "vfid", "pooled")
    video.features_of([clip], "fvd", "pooled")
    assert net.clips == 2
    video.features_of([clip.reshape(10, 30, 20, 3)], "vfid", "pooled")  # the same bytes
    assert net.clips == 3
    monkeypatch.setattr(load, "digest", lambda _: "other weights")
    video.features_of([clip], "vfid", "pooled")
    assert net.clips == 4
    ranged = clip / np.float32(255) * np.float32(0.9) + np.float32(-0.5)
    video.features_of([ranged], "vfid", "pooled", declared="-1..1")
    with pytest.raises(UsageError, match=r"declared 0\.\.1"):
        video.features_of([ranged], "vfid", "pooled", declared="0..1")  # kept under another declaration, and refused all the same


def test_without_the_cache_nothing_is_kept_and_nothing_read(net: Mean, tmp_path: Path) -> None:
    video.features_of([noise()], "vfid", "pooled", cached=False)
    assert not list(tmp_path.rglob("*.npy"))
    video.features_of([noise()], "vfid", "pooled")
    video.features_of([noise()], "vfid", "pooled", cached=False)
    assert net.clips == 3


def test_a_set_is_read_a_batch_at_a_time(net: Mean, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_BATCH_SAMPLES", 2 * 10 * 20 * 30)
    ahead = []

    def clips() -> Iterator[NDArray[np.uint8]]:
        for seed in range(7):
            ahead.append(seed - net.clips)
            yield noise(seed=seed)

    assert video.features_of(clips(), "vfid", "pooled").shape == (7, 2)
    assert max(ahead) == 2
    assert [shape[0] for shape in net.batches] == [2, 2, 2, 1]


def test_a_damaged_entry_is_made_again(net: Mean, tmp_path: Path) -> None:
    first = video.features_of([noise()], "vfid", "pooled")
    (entry,) = tmp_path.rglob("*.npy")
    whole = entry.read_bytes()
    for damage in (b"", whole[:20], whole[:-3], b"no array at all"):
        entry.write_bytes(damage)
        np.testing.assert_array_equal(video.features_of([noise()], "vfid", "pooled"), first)
        assert entry.read_bytes() == whole
    assert net.clips == 5


def test_a_killed_set_keeps_what_was_done(net: Mean, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_BATCH_SAMPLES", 2 * 10 * 20 * 30)

    def broken() -> Iterator[NDArray[np.uint8]]:
        yield from (noise(seed=seed) for seed in range(5))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        video.features_of(broken(), "vfid", "pooled")
    assert net.clips == 4  # two batches; the fifth clip was read and not yet computed
    video.features_of([noise(seed=seed) for seed in range(5)], "vfid", "pooled")
    assert net.clips == 5


def test_an_empty_set_is_refused(net: Mean) -> None:
    with pytest.raises(UsageError, match="no clips"):
        video.features_of([], "fvd")


def test_many_workers_may_write_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path))
    row = np.arange(1024, dtype=np.float32)

    def work(_: int) -> bool:
        cache.keep("ab" * 32, row)
        found = cache.read("ab" * 32)
        return found is not None and np.array_equal(found, row)

    with ThreadPoolExecutor(8) as workers:
        assert all(workers.map(work, range(64)))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["ab" * 32 + ".npy"]


# Loading


@pytest.mark.parametrize(("loader", "name"), [(load.i3d, "i3d"), (load.lpips, "lpips-alex"), (load.mobilenetv2, "mobilenetv2")])
def test_missing_weights_name_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, loader: Callable[[], object], name: str) -> None:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match=f"framefill weights get {name}"):
        loader()


def test_a_device_that_is_not_here_is_refused() -> None:
    assert load.chosen_device("cpu") == torch.device("cpu")
    for device in ("quantum", "cuda:99"):
        with pytest.raises(UsageError, match=f"{device}.*auto or cpu"):
            load.chosen_device(device)
