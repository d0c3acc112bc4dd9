"""The published numerics: padding, rim, blend; what is skipped changes nothing, nothing hidden leaks, nothing known changes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reference_light import PlainLight, window_made  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from framefill import families  # noqa: E402
from framefill.errors import MaskMismatch, UsageError, WeightsError  # noqa: E402
from framefill.families.light_compat import REACH, LightCompatPipeline, regions, softened  # noqa: E402
from framefill.families.trained import Sampling  # noqa: E402
from framefill.media.synthetic import make_clip  # noqa: E402
from framefill.media.tensors import mask_to_tensor, to_tensor  # noqa: E402
from framefill.nets.light_compat import FRAMES, LightCompat  # noqa: E402

Frames = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def alive(frames: int = FRAMES, channels: int = 4, surplus_padding: bool = True) -> LightCompatPipeline:
    """A pipeline in double precision whose every weight has a say, and whose net answers with values of a picture's size."""
    torch.manual_seed(0)
    net = LightCompat(channels, 1, frames).eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
        last = net.to_image if isinstance(net.to_image, nn.Conv2d) else net.to_image[1]
        last.weight.mul_(0.01)
        last.bias.add_(0.5)
    return LightCompatPipeline(net.double(), surplus_padding=surplus_padding)


def clip(height: int = 64, width: int = 64, count: int = FRAMES, seed: int = 0) -> tuple[Frames, Mask]:
    """Noise with a hole that moves and a lone pixel; the last frame has none."""
    frames = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)
    mask = np.zeros(frames.shape[:3], np.bool_)
    for index in range(count - 1):
        mask[index, 10:30, 5 + index % 8 : 21 + index % 8] = True
    mask[count // 2, 40, 50] = True
    return frames, mask


def prepared_of(pipeline: LightCompatPipeline, frames: Frames, mask: Mask) -> tuple[Tensor, Tensor]:
    """(what is made, in [0, 1], and the rim)"""
    with torch.no_grad():
        prepared = pipeline.prepare(to_tensor(frames), mask_to_tensor(mask))
        return (pipeline.make(prepared)[0] / 2 + 0.5).clamp(0, 1), prepared.soft[0]


@pytest.mark.parametrize("size", [(64, 64), (100, 70), (256, 128), (135, 240)], ids=lambda size: f"{size[1]}x{size[0]}")
def test_the_numbers_are_those_of_the_plain_one(size: tuple[int, int]) -> None:
    pipeline = alive()
    frames, mask = clip(*size)
    plain = PlainLight(4).double().eval()
    plain.load_state_dict(pipeline.net.state_dict())
    source, hole = to_tensor(frames)[0].double() / 2 + 0.5, mask_to_tensor(mask)[0].double()
    with torch.no_grad():
        expected = window_made(plain, source, hole)
    made, soft = prepared_of(pipeline, frames, mask)
    assert made.shape == expected.shape
    assert torch.allclose(made.double(), expected, atol=1e-5)
    assert float(expected[hole.expand_as(expected) > 0].std()) > 0.02
    assert float((made - source).abs()[(soft == 0).expand_as(made)].max()) < 1e-6


def test_the_rim_is_a_gaussian_of_sigma_2_6_over_7_pixels() -> None:
    mask = torch.zeros(1, 1, 1, 40, 60)
    mask[..., :, :30] = 1
    soft = softened(mask)[0, 0, 0]
    assert soft[:, :30].eq(1).all()
    assert soft[:, 37:].eq(0).all()
    weights = torch.exp(-0.5 * (torch.arange(-7, 8) / 2.6) ** 2)
    for distance in range(1, 8):
        share = weights[7 + distance :].sum() / weights.sum()
        assert torch.allclose(soft[:, 29 + distance], share, atol=1e-6)


def test_what_is_skipped_changes_nothing() -> None:
    """With gradients the whole picture is computed, without only what can reach a hole."""
    for frames, size in ((FRAMES, (256, 448)), (1, (512, 512))):
        pipeline = alive(frames)
        video = np.random.default_rng(1).integers(0, 256, (frames, *size, 3), np.uint8)
        mask = np.zeros(video.shape[:3], np.bool_)
        mask[:, 45:50, 51:53] = True
        prepared = pipeline.prepare(to_tensor(video), mask_to_tensor(mask))
        whole = pipeline.make(prepared).detach()
        with torch.no_grad():
            assert torch.allclose(pipeline.make(prepared), whole, atol=2e-5)


def test_content_reaches_as_far_as_the_regions_reckon_with() -> None:
    """What is no number spoils all that it reaches."""
    for frames, kind in ((FRAMES, "video"), (1, "image")):
        x = torch.zeros(1, frames, 3, 320, 64, dtype=torch.float64)
        x[..., :64, :] = torch.nan
        with torch.inference_mode():
            made = alive(frames).net(x, torch.zeros_like(x[:, :, :1]))
        assert int(made.isnan().any(-1).any(0).flatten(0, 1).any(0).sum()) == 64 + REACH[kind]


def test_regions_cover_what_they_must() -> None:
    looked_at = np.zeros((768, 1344), np.bool_)
    assert regions(looked_at, 132) == []
    looked_at[300, 500] = True
    (area,) = regions(looked_at, 132)
    assert area == (slice(128, 448), slice(320, 640)), "192 to 384 rows from 168 to 432, on the grid"
    looked_at[310, 1300] = True
    assert len(regions(looked_at, 132)) == 2
    looked_at[::64, ::64] = True
    assert regions(looked_at, 132) == [(slice(0, 768), slice(0, 1344))]


@pytest.mark.parametrize("size", [(64, 64), (64, 100), (100, 70)], ids=lambda size: f"{size[1]}x{size[0]}")
def test_known_pixels_stay_and_the_published_rim_reaches_no_further_than_7_pixels(size: tuple[int, int]) -> None:
    pipeline = alive()
    frames, mask = clip(*size)
    made = pipeline(frames, mask).frames
    assert made.dtype == np.uint8
    assert made.shape == frames.shape
    assert np.array_equal(made[~mask], frames[~mask])
    assert (made[mask] != frames[mask]).mean() > 0.9
    blended = pipeline(frames, mask, soft_rim=True).frames
    assert np.array_equal(blended[mask], made[mask])
    untouched = softened(mask_to_tensor(mask))[0, :, 0].numpy() == 0
    assert np.array_equal(blended[untouched], frames[untouched])
    rim = ~untouched & ~mask
    assert (blended[rim] != frames[rim]).mean() > 0.5


def test_an_empty_mask_gives_the_input_and_no_net_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = alive()
    frames, mask = clip(count=30)
    monkeypatch.setattr(LightCompat, "forward", None)
    for soft_rim in (False, True):
        assert np.array_equal(pipeline(frames, np.zeros_like(mask), soft_rim=soft_rim).frames, frames)
    assert pipeline(frames[:0], mask[:0]).frames.shape == (0, 64, 64, 3)


def test_hidden_pixels_do_not_leak_and_other_frames_are_seen() -> None:
    pipeline = alive()
    frames, mask = clip()
    made = pipeline(frames, mask).frames
    other = frames.copy()
    other[mask] = 255 - other[mask]
    assert np.array_equal(pipeline(other, mask).frames[mask], made[mask])
    first = to_tensor(frames)
    first[:, 0, :, 40:60, 5:30] = 1.0
    prepared, changed = (pipeline.prepare(part, mask_to_tensor(mask)) for part in (to_tensor(frames), first))
    with torch.no_grad():
        apart = (pipeline.make(prepared) - pipeline.make(changed)).abs()
    assert float(apart[0, 10][mask_to_tensor(mask)[0, 10].expand(3, -1, -1) > 0].max()) > 1e-6


def test_without_the_surplus_only_the_right_and_the_lower_edge_differ() -> None:
    frames, mask = clip(256, 256)
    mask[:, :, 240:], mask[:, 240:] = True, True
    published, bare = (alive(surplus_padding=surplus) for surplus in (True, False))  # a multiple of 64 is not padded
    (made, _), (other, _) = (prepared_of(pipeline, frames, mask) for pipeline in (published, bare))
    apart = (made - other).abs().amax((0, 1))
    assert float(apart[-20:, -20:].max()) > 1e-5
    assert float(apart[: 256 - REACH["video"], : 256 - REACH["video"]].max()) < 1e-5
    plain = bare.net(to_tensor(np.where(mask[..., None], np.uint8(0), frames)), softened(mask_to_tensor(mask)))[0]
    hole = mask_to_tensor(mask)[0].expand_as(plain) > 0
    assert torch.allclose(other[hole], plain.detach().clamp(0, 1)[hole].float(), atol=1e-5), "nothing is padded"


def test_a_clip_shorter_than_the_window_is_continued_on_both_sides() -> None:
    pipeline = alive()
    frames, mask = clip(count=7)
    longer = np.r_[[0] * 2, 0:7, [6] * 3]
    with torch.no_grad():
        short, long = (
            pipeline.make(pipeline.prepare(to_tensor(frames[which]), mask_to_tensor(mask[which]))) for which in (np.arange(7), longer)
        )
    assert torch.allclose(short, long[:, 2:9], atol=1e-5)
    with pytest.raises(UsageError, match="13 frames, this net sees 12"):
        pipeline.make(pipeline.prepare(to_tensor(clip(count=13)[0]), mask_to_tensor(clip(count=13)[1])))


def test_a_batch_is_its_clips() -> None:
    pipeline = alive()
    clips = [clip(seed=seed) for seed in range(2)]
    video, mask = to_tensor(np.stack([frames for frames, _ in clips])), mask_to_tensor(np.stack([mask for _, mask in clips]))
    with torch.no_grad():
        together = pipeline.make(pipeline.prepare(video, mask))
        for index in range(2):
            alone = pipeline.make(pipeline.prepare(video[index : index + 1], mask[index : index + 1]))
            assert torch.allclose(together[index : index + 1], alone, atol=1e-5)


def test_it_can_be_trained() -> None:
    pipeline = alive(surplus_padding=False)
    pipeline.net.float()
    frames, mask = clip()
    video, hole = to_tensor(frames), mask_to_tensor(mask)
    truth = torch.full_like(video, 0.2)
    optimizer = torch.optim.Adam(pipeline.net.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        made = pipeline.make(pipeline.prepare(video, hole))
        loss = ((made - truth) * hole).abs().sum() / hole.sum() / 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_saved_and_read_again(tmp_path: Path) -> None:
    pipeline = alive(surplus_padding=False)
    pipeline.save_pretrained(tmp_path)
    again = LightCompatPipeline.from_pretrained(tmp_path)
    assert (again.tasks, again.window, again.size, again.surplus_padding) == (("stereo",), 12, 256, False)
    frames, mask = clip()
    assert np.array_equal(again(frames, mask).frames, pipeline(frames, mask).frames)
    filler = families.get(str(tmp_path))
    assert (filler.window, filler.reach) == (6, 3)
    with pytest.raises(UsageError, match="fills holes and makes no whole frames"):
        families.load(str(tmp_path), Sampling())
    index = tmp_path / "model_index.json"
    told = json.loads(index.read_text())
    for change, words in (({"_class_name": "Other"}, "holds a Other, expected one of"), ({"size": None, "tasks": 3}, "damaged")):
        index.write_text(json.dumps(told | change))
        with pytest.raises(WeightsError, match=words):
            families.get(str(tmp_path))
    index.write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        families.get(str(tmp_path))


def test_wrong_calls_are_refused_in_one_line() -> None:
    pipeline = alive()
    frames, mask = clip()
    with pytest.raises(MaskMismatch, match="expected bool"):
        pipeline(frames, mask[:, 1:])
    with pytest.raises(UsageError, match="expected uint8 T H W 3"):
        pipeline(frames.astype(np.float32), mask)
    with pytest.raises(UsageError, match="11 at most together"):
        pipeline(frames, mask, overlap=(6, 6))
    with pytest.raises(UsageError, match="unknown task 'paint'"):
        LightCompatPipeline(pipeline.net, ["paint"])


@pytest.mark.slow
@pytest.mark.learning
def test_one_clip_can_be_learned_by_heart() -> None:
    """16 channels, 300 steps on one procedural clip, 15 s on one core: 21.8 dB in the hole where the background drawn over it has 14.2."""
    video = to_tensor(make_clip(np.random.default_rng([5, 1]), FRAMES, 64, 64))
    hole = torch.zeros(1, FRAMES, 1, 64, 64)
    plain = {"black": torch.full_like(video, -1), "background": video.clone()}
    for index in range(FRAMES):
        hole[0, index, :, 12:50, 20 + index : 28 + index] = 1
        plain["background"][0, index, :, 12:50, 20 + index : 28 + index] = video[0, index, :, 12:50, 28 + index : 29 + index]
    known = 1 - hole
    plain["mean"] = ((video * known).sum((1, 3, 4), keepdim=True) / known.sum((1, 3, 4), keepdim=True)).expand_as(video)

    def psnr(made: Tensor) -> float:
        return float(10 * torch.log10(4 / (((made - video) * hole).square().sum() / hole.sum() / 3)))

    torch.manual_seed(0)
    net = LightCompat(channels=16)
    pipeline = LightCompatPipeline(net, surplus_padding=False)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 20) * (0.5 + 0.5 * math.cos(math.pi * step / 300))
    )
    prepared = pipeline.prepare(video, hole)
    for _ in range(300):
        made = pipeline.make(prepared)
        loss = ((made - video) * hole).abs().sum()
        optimizer.zero_grad()
        (loss / hole.sum() / 3).backward()
        optimizer.step()
        schedule.step()
    learned = psnr(made.detach().clamp(-1, 1))
    for name, filled in plain.items():
        assert learned > psnr(filled) + 3.5, name
