"""A small autoencoder with a temporal decoder, of Stable Video Diffusion's own class, trained from nothing.

Latents are drawn as in a VAE (Kingma and Welling 2013, arXiv 1312.6114) with so light a prior that they are hardly noisy (Rombach et al.
2021, arXiv 2112.10752, section 3.1). The error is absolute, of pixels and of their differences. What SVD multiplies latents by is measured
on fixed procedural clips when the model is saved.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder
from numpy.typing import NDArray
from torch import Tensor

from framefill.errors import UsageError
from framefill.media.synthetic import make_clip
from framefill.media.tensors import from_tensor, to_tensor
from framefill.media.video import Frames
from framefill.nets.layers import float32_norms
from framefill.nets.saved import load_net
from framefill.training.config import TrainConfig
from framefill.training.config_checks import check_options
from framefill.training.dataflow import Batch, draw_seed
from framefill.training.objective import ENCODING, Objective, model_tensor, sum_and_count
from framefill.training.vae_norms import harden, soften, soften_norms

NETS: dict[str, dict[str, object]] = {
    "svd-nano-vae": {
        "block_out_channels": (64, 64, 64),  # norms have 32 groups: of one channel each they would forget a frame's colour
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "layers_per_block": 1,
        "latent_channels": 4,
        "force_upcast": False,
    },
}
PRIOR = 1e-3  # weight of the divergence from standard normal latents, a mean over them
EDGES = 0.5  # weight of the error of differences between neighbouring pixels
FIRST_LOGVAR = -6.0
MEASURED = 16  # clips that the scale is measured on
SCALED = 777  # seed of these clips


class VaeObjective(Objective):
    """The loss of an autoencoder on clips: batch `video` uint8 B T H W 3 and `position` B. It hides nothing, so there is one task."""

    tasks: Mapping[str, float] = {"generate": 1.0}

    def __init__(self, vae: AutoencoderKLTemporalDecoder, frames: int, size: tuple[int, int], seed: int) -> None:
        super().__init__()
        self.vae = vae
        self._frames, self._size, self._seed = frames, size, seed

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, and (sum, count) of `task/generate` and of the clips' `psnr` in dB and `prior`."""
        video = model_tensor(batch["video"].to(self.vae.device))  # b t 3 h w
        B, T = video.shape[:2]
        posterior = self.vae.encode(video.flatten(0, 1)).latent_dist
        noise = [torch.Generator().manual_seed(draw_seed(self._seed, int(position), ENCODING)) for position in batch["position"]]
        drawn = torch.cat([torch.randn((T, *posterior.mean.shape[1:]), generator=own) for own in noise]).to(posterior.mean)
        made = self.vae.decode(posterior.mean + posterior.std * drawn, num_frames=T).sample.unflatten(0, (B, T)).float()
        error = made - video
        edges = (error.diff(dim=-1).abs().mean((1, 2, 3, 4)) + error.diff(dim=-2).abs().mean((1, 2, 3, 4))) / 2
        prior = posterior.kl().unflatten(0, (B, T)).mean(1) / posterior.mean[0].numel()
        losses = error.abs().mean((1, 2, 3, 4)) + EDGES * edges + PRIOR * prior
        told = losses.detach()
        every = torch.ones_like(told, dtype=torch.bool)
        psnr = -10 * torch.log10((error.detach().clamp(-2, 2) / 2).square().mean((1, 2, 3, 4)).clamp_min(1e-10))
        return {
            "loss": losses.mean(),
            "task/generate": sum_and_count(told, every),
            "vae/psnr": sum_and_count(psnr, every),
            "vae/prior": sum_and_count(prior.detach(), every),
        }

    @torch.no_grad()
    def fill(self, video: Frames, mask: NDArray[np.bool_], steps: int, seed: int) -> Frames:
        """Return the clip as it comes out again; there is nothing to fill."""
        clip = to_tensor(video).to(self.vae.device)
        made = self.vae.decode(self.vae.encode(clip[0]).latent_dist.mean, num_frames=len(video)).sample
        return from_tensor(made[None].float())[0]

    def export(self, folder: Path) -> None:
        """Save the autoencoder with the scale that gives its latents unit variance."""
        saved = copy.deepcopy(self.vae)
        harden(saved)
        saved.register_to_config(scaling_factor=round(1 / self._deviation(), 5))
        saved.save_pretrained(folder, safe_serialization=True)

    def place(self, device: torch.device) -> None:
        """Move the autoencoder."""
        self.vae.to(device)

    def before_split(self) -> list[str]:
        """Refuse: what is so small is not split."""
        raise UsageError("compute.parallel fsdp splits large nets, and an autoencoder is small; set compute.parallel ddp")

    @contextmanager
    def unsplit(self, weights: Mapping[str, Tensor]) -> Iterator[None]:
        """Use a copy with the weights while the block runs."""
        held = self.vae
        self.vae = copy.deepcopy(held)
        self.vae.load_state_dict({name.removeprefix("vae."): weight for name, weight in weights.items()})
        try:
            yield
        finally:
            self.vae = held

    def save_activations(self) -> None:
        """Switch on gradient checkpointing."""
        self.vae.enable_gradient_checkpointing()

    def compile_parts(self) -> None:
        """Compile both halves in place."""
        self.vae.encoder.compile()
        self.vae.decoder.compile()

    @torch.no_grad()
    def _deviation(self) -> float:
        clips = [make_clip(np.random.default_rng([SCALED, number]), self._frames, *self._size) for number in range(MEASURED)]
        means = [self.vae.encode(to_tensor(clip)[0].to(self.vae.device)).latent_dist.mean for clip in clips]
        return float(torch.cat(means).float().std())


@torch.no_grad()
def _quiet(vae: AutoencoderKLTemporalDecoder) -> None:
    """Let a new autoencoder's latents begin with hardly any noise: at first their means are small, and noise of one would drown them."""
    channels = int(vae.config.latent_channels)
    vae.quant_conv.weight[channels:].zero_()
    vae.quant_conv.bias[channels:] = FIRST_LOGVAR


def vae_objective(config: TrainConfig) -> VaeObjective:
    """Return the objective, the autoencoder read from `model.start` or drawn from the seed. Raises UsageError for unknown names."""
    model, data = config.model, config.data
    if model.start:
        vae = load_net(AutoencoderKLTemporalDecoder, model.start)
        soften(vae)
    else:
        if model.net not in NETS:
            raise UsageError(f"model.net is {model.net!r}; there are {', '.join(NETS)}")
        check_options(model.options, [*NETS["svd-nano-vae"]])
        with torch.random.fork_rng():
            torch.manual_seed(draw_seed(config.run.seed))
            vae = AutoencoderKLTemporalDecoder(**{**NETS[model.net], **model.options})
        _quiet(vae)
        soften_norms(vae)
    float32_norms(vae)
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if any(side % factor for side in data.shape):
        raise UsageError(f"clips are {data.shape[1]}x{data.shape[0]}, this autoencoder takes multiples of {factor}; set data.size so")
    return VaeObjective(vae.train(), data.frames, data.shape, config.run.seed)
