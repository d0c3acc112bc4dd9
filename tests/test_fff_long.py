"""Clips longer than an image-to-video net sees: windows blended, chained, or from coarse to fine; noise that knows no windows."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from fff_kit import clip_with_hole, tiny_pipeline, tiny_vae  # noqa: E402

from framefill.diffusion.noise import normal  # noqa: E402
from framefill.diffusion.samplers import invert, sample  # noqa: E402
from framefill.errors import UsageError  # noqa: E402
from framefill.families.fff.latents import Portions, decoded, encoded  # noqa: E402
from framefill.families.fff.long import blended, chained, coarse_to_fine, keyframed  # noqa: E402
from framefill.families.fff.noise import FrameNoise  # noqa: E402
from framefill.families.fff.pipeline import FFFPipeline  # noqa: E402
from framefill.media.tensors import mask_to_tensor, to_tensor  # noqa: E402
from framefill.media.windows import Plan  # noqa: E402

WINDOW = 6


@pytest.fixture(scope="module")
def pipeline() -> FFFPipeline:
    return tiny_pipeline(awake=True, window=WINDOW, steps=1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("count", [1, 5, 6, 7, 12, 13, 17, 19])
@pytest.mark.parametrize("overlap", [0, 1, 3])
def test_the_weights_of_a_blend_sum_to_one_in_every_frame(count: int, overlap: int) -> None:
    windows = list(Plan("blend", WINDOW, overlap).windows(count))
    x = torch.zeros(2, count, 1, 1, 1)
    made = blended(windows, [lambda part, _: torch.ones_like(part)] * len(windows))(x, torch.ones(2))
    assert torch.allclose(made, torch.ones_like(made), atol=1e-6)


def test_a_blend_gives_each_window_its_own_frames() -> None:
    windows = list(Plan("blend", WINDOW, 2).windows(13))
    x = torch.arange(13.0).view(1, 13, 1, 1, 1)
    made = blended(windows, [lambda part, sigma: part * sigma.view(-1, 1, 1, 1, 1)] * len(windows))(x, torch.tensor([3.0]))
    assert torch.allclose(made, 3 * x, atol=1e-5)
    shifted = blended(windows, [lambda part, _, k=k: torch.full_like(part, float(k)) for k in range(len(windows))])(x, torch.ones(1))
    assert shifted.flatten().diff().min() >= 0
    assert shifted.flatten()[[0, 12]].tolist() == [0.0, len(windows) - 1]


@pytest.mark.parametrize("count", [1, 5, 6, 7, 13, 40])
@pytest.mark.parametrize("length", [3, 6])
def test_from_coarse_to_fine_every_frame_is_made_between_made_ones(count: int, length: int) -> None:
    done: set[int] = set()
    for number, part in enumerate(coarse_to_fine(count, length)):
        frames = part.tolist()
        assert frames == sorted(set(frames))
        assert len(frames) <= length
        if number:
            assert frames[0] in done
            assert frames[-1] in done
            assert not set(frames) <= done
        done |= set(frames)
    assert done == set(range(count))


def seen(count: int) -> tuple[list[tuple[list[int], list[bool]]], object]:
    """A record of what is asked of a window, and a fill that writes the frame's number."""
    calls: list[tuple[list[int], list[bool]]] = []

    def fill(frames: NDArray[np.uint8], hole: NDArray[np.bool_], numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        assert len(frames) == len(hole) == len(numbers) <= WINDOW
        calls.append((numbers.tolist(), hole.any((1, 2)).tolist()))
        return np.where(hole[..., None], numbers[:, None, None, None].astype(np.uint8) + 100, np.uint8(255))

    return calls, fill


def test_a_chain_knows_the_last_frames_of_the_window_before() -> None:
    mask = np.ones((14, 2, 2), np.bool_)
    calls, fill = seen(14)
    made = chained(np.zeros((14, 2, 2, 3), np.uint8), mask, WINDOW, 2, fill)  # type: ignore[arg-type]
    assert made[:, 0, 0, 0].tolist() == list(range(100, 114))
    assert calls[0] == (list(range(6)), [True] * 6)
    for numbers, unknown in calls[1:]:
        assert unknown[:2] == [False, False]
        assert unknown[-1]
        assert len(numbers) == 6


def test_before_the_first_whole_frame_a_chain_runs_backwards() -> None:
    mask = np.ones((14, 2, 2), np.bool_)
    mask[9] = False
    calls, fill = seen(14)
    made = chained(np.full((14, 2, 2, 3), 7, np.uint8), mask, WINDOW, 2, fill)  # type: ignore[arg-type]
    assert made[:, 0, 0, 0].tolist() == [*range(100, 109), 7, *range(110, 114)]
    assert all(not unknown[0] for _, unknown in calls), "the first frame of every window is whole"
    assert [numbers[0] > numbers[-1] for numbers, _ in calls] == [False, True, True, True]


def test_keyframes_are_made_first() -> None:
    mask = np.ones((14, 2, 2), np.bool_)
    calls, fill = seen(14)
    made = keyframed(np.zeros((14, 2, 2, 3), np.uint8), mask, WINDOW, fill)  # type: ignore[arg-type]
    assert made[:, 0, 0, 0].tolist() == list(range(100, 114))
    assert (calls[0][0][0], calls[0][0][-1], len(calls[0][0])) == (0, 13, 6)
    for _, unknown in calls[1:]:
        assert not unknown[0]
        assert not unknown[-1]
    with pytest.raises(UsageError, match="keyframes take 3"):
        keyframed(np.zeros((4, 2, 2, 3), np.uint8), mask[:4], 2, fill)  # type: ignore[arg-type]


def test_up_to_a_window_all_three_are_one(pipeline: FFFPipeline) -> None:
    frames, mask = clip_with_hole(WINDOW, 8, 8)
    made = [pipeline(frames, mask, generator=seeded(), long_video=way).frames for way in ("blend", "chain", "keyframe")]
    assert np.array_equal(made[0], made[1])
    assert np.array_equal(made[0], made[2])


def test_longer_clips_are_made_in_each_way_and_with_each_mode(pipeline: FFFPipeline) -> None:
    frames, mask = clip_with_hole(13, 8, 8)
    made = {}
    for way, windows in (("blend", 4), ("chain", 4), ("keyframe", 4)):
        mode = {"blend": "feature", "chain": "latent", "keyframe": "off"}[way]
        output = pipeline(frames, mask, generator=seeded(), long_video=way, fff_mode=mode, max_guidance_scale=1.0)
        assert np.array_equal(output.frames[~mask], frames[~mask])
        assert output.evaluations == windows
        made[way] = output.frames
    other = pipeline(frames, mask, generator=seeded(), long_video="blend", fff_mode="feature", max_guidance_scale=1.0, overlap=1).frames
    assert not np.array_equal(other, made["blend"])


def test_noise_belongs_to_a_frame_not_to_a_window() -> None:
    noise = FrameNoise.drawn(seeded())
    video = torch.zeros(1, 6, 4, 8, 8)
    whole = noise.at(np.arange(20)).like(torch.zeros(1, 20, 4, 8, 8), "latents")
    assert torch.equal(noise.at(np.arange(9, 15)).like(video, "latents"), whole[:, 9:15])
    assert torch.equal(noise.at(np.array([3, 0, 7])).like(video[:, :3], "latents"), whole[:, [3, 0, 7]])
    assert not torch.equal(noise.at(np.arange(6)).like(video, "condition"), whole[:, :6])
    assert not torch.equal(FrameNoise.drawn(seeded(1)).at(np.arange(6)).like(video, "latents"), whole[:, :6])
    assert abs(float(whole.mean())) < 0.05
    assert float(whole.std()) == pytest.approx(1, abs=0.03)
    assert torch.equal(FrameNoise.drawn(seeded()).at(np.arange(6)).like(video.bfloat16(), "latents"), whole[:, :6].bfloat16())


def test_chunks_are_decoded_as_the_whole_is_away_from_their_borders() -> None:
    vae = tiny_vae()
    latents = normal((1, 40, 4, 2, 2), seeded())
    near, none = (
        (decoded(vae, latents, Portions(decode=8, overlap=overlap)) - decoded(vae, latents, Portions())).abs().mean() for overlap in (4, 0)
    )
    assert near < none
    for block in [part for name, part in vae.decoder.named_modules() if name.endswith("temporal_res_block")]:
        block.norm1 = block.norm2 = torch.nn.Identity()  # which take their measure over all frames, however far
    changed = latents.clone()
    changed[:, 0] += 1
    whole, other = (decoded(vae, one, Portions()) for one in (latents, changed))
    apart = (whole - other).abs().amax((0, 2, 3, 4)) > 0
    reach = int(torch.nonzero(apart).max())
    assert 0 < reach < 20, "how far the decoder looks along time"
    assert torch.allclose(decoded(vae, latents, Portions(decode=8, overlap=reach)), whole, atol=1e-5)
    assert decoded(vae, latents[:, :3], Portions(decode=1, overlap=0)).shape == (1, 3, 3, 4, 4)


def test_tiles_are_decoded_into_one_picture_and_portions_encode_alike() -> None:
    vae = tiny_vae()
    latents = normal((1, 2, 4, 20, 12), seeded())
    whole, tiled = decoded(vae, latents, Portions()), decoded(vae, latents, Portions(tile=16))
    assert tiled.shape == whole.shape == (1, 2, 3, 40, 24)
    assert torch.equal(decoded(vae, latents, Portions(tile=20)), whole)
    assert 0 < float((tiled - whole).abs().mean()) < float(whole.std())
    video = normal((2, 3, 3, 8, 8), seeded())
    assert torch.allclose(encoded(vae, video, None, 1), encoded(vae, video, None, 8), atol=1e-6)


def test_the_way_back_of_an_inversion_ends_nearer_the_more_steps_it_has(pipeline: FFFPipeline) -> None:
    frames, mask = clip_with_hole(2, 8, 8)
    errors = []
    with torch.no_grad():
        prepared = pipeline.prepare(to_tensor(frames), mask_to_tensor(mask), fff_mode="off")
        denoise = pipeline.denoise(prepared)
        for steps in (4, 8, 16):
            ladder = pipeline.levels.ladder(steps, 20.0)
            up = invert(denoise, prepared.x0, ladder, process=pipeline.process)
            back = sample(denoise, up, ladder, process=pipeline.process)
            errors.append(float((back - prepared.x0).square().mean().sqrt()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 2
