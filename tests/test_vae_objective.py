"""The small autoencoder: what it descends, that it learns, and that its latents are saved with unit variance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from fff_training_kit import clips

from framefill.errors import UsageError
from framefill.media.synthetic import make_clip
from framefill.media.tensors import to_tensor
from framefill.nets.saved import load_net
from framefill.training.config import resolve
from framefill.training.presets import get_preset
from framefill.training.vae_objective import MEASURED, SCALED, VaeObjective, vae_objective

SMALL = ("--data.size", "16", "--data.frames", "2")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(*flags: str) -> VaeObjective:
    return vae_objective(resolve(get_preset("svd-nano-vae"), None, [*SMALL, *flags]))


def test_it_learns_a_clip_and_knows_how_well() -> None:
    objective = small()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=2e-3)
    video, psnr = clips(1, 16, 2), []
    for step in range(60):
        parts = objective({"video": video, "position": torch.tensor([step])})
        parts["loss"].backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        psnr.append(float(parts["vae/psnr"][0]))
    assert psnr[-1] > psnr[0] + 6
    made = objective.fill(video[0].numpy(), np.zeros((2, 16, 16), np.bool_), 1, 0)
    error = (made.astype(np.float64) - video[0].numpy()) / 255
    assert -10 * np.log10((error**2).mean()) == pytest.approx(psnr[-1], abs=3)


def test_a_batch_is_its_samples_one_by_one() -> None:
    objective = small().eval()
    both = {"video": clips(2, 16, 2), "position": torch.tensor([4, 7])}
    with torch.no_grad():
        alone = [objective({key: value[n : n + 1] for key, value in both.items()})["loss"] for n in range(2)]
        torch.testing.assert_close(objective(both)["loss"], torch.stack(alone).mean())


def test_its_latents_are_saved_with_unit_variance(tmp_path: Path) -> None:
    objective = small()
    objective.export(tmp_path)
    saved = load_net(AutoencoderKLTemporalDecoder, tmp_path)
    drawn = [make_clip(np.random.default_rng([SCALED, number]), 2, 16, 16) for number in range(MEASURED)]
    with torch.no_grad():
        latents = torch.cat([saved.encode(to_tensor(clip)[0]).latent_dist.mean for clip in drawn])
    assert float(latents.std()) * saved.config.scaling_factor == pytest.approx(1, abs=1e-3)
    again = small("--model.start", str(tmp_path))
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in again.vae.state_dict().items())


def test_sizes_and_names_that_cannot_be_are_told() -> None:
    for flags, words in [
        (("--data.size", "18"), "a divisor of data.size 18"),
        (("--model.net", "huge"), "there are svd-nano-vae"),
        (("--model.options.widths", "3"), "unknown key model.options.widths"),
    ]:
        with pytest.raises(UsageError, match=words):
            small(*flags)
