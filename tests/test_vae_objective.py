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
from framefill.training.vae_norms import soften_norms
from framefill.training.vae_objective import MEASURED, NETS, SCALED, VaeObjective, vae_objective

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


def test_what_is_saved_makes_the_same_pictures_and_is_gone_on_from(tmp_path: Path) -> None:
    """Group norms have another floor while they train (`training.vae_norms`), and the saved weights the classes' own."""
    objective = small()
    with torch.no_grad():
        for weight in objective.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    objective.export(tmp_path)
    saved = load_net(AutoencoderKLTemporalDecoder, tmp_path)
    again = small("--model.start", str(tmp_path)).vae
    picture = to_tensor(clips(1, 16, 2)[0].numpy())[0]
    with torch.no_grad():
        made = objective.vae(picture, num_frames=2).sample
        assert float(made.std()) > 0.1
        for other in (saved, again):
            torch.testing.assert_close(other(picture, num_frames=2).sample, made, atol=1e-4, rtol=1e-3)


def test_an_autoencoder_of_others_is_gone_on_from_and_saved_as_it_is(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = AutoencoderKLTemporalDecoder(**NETS["svd-nano-vae"])
    theirs.save_pretrained(tmp_path / "theirs")
    objective = small("--model.start", str(tmp_path / "theirs"))
    objective.export(tmp_path / "ours")
    ours = load_net(AutoencoderKLTemporalDecoder, tmp_path / "ours").state_dict()
    assert all(torch.equal(weight, ours[name]) for name, weight in theirs.state_dict().items())


def test_contrast_passes_the_norms_while_they_learn() -> None:
    x = torch.randn(2, 64, 8, 8, generator=torch.Generator().manual_seed(0))
    norm = torch.nn.GroupNorm(32, 64, eps=1e-6)
    torch.testing.assert_close(norm(3 * x), norm(x), atol=1e-4, rtol=1e-4)
    soften_norms(norm)
    assert 1.2 < float((norm(3 * x) / norm(x)).mean()) < 2


def test_sizes_and_names_that_cannot_be_are_told() -> None:
    for flags, words in [
        (("--data.size", "18"), "a divisor of data.size 18"),
        (("--model.net", "huge"), "there are svd-nano-vae"),
        (("--model.options.widths", "3"), "unknown key model.options.widths"),
    ]:
        with pytest.raises(UsageError, match=words):
            small(*flags)
