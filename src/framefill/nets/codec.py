"""Codecs: what stands between pixels and the space in which a net works; pixels as they are, or the latents of an image autoencoder.

Every codec works frame by frame, so that a frame's latents know nothing of the frames beside it. Nothing is ever downloaded.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor
from torch.nn import functional

from framefill.errors import UsageError, WeightsError
from framefill.nets.taef2 import Taef2

CERTAIN = -30.0  # log-variance of a latent without spread: where diffusers cuts off, too
AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny, "Taef2": Taef2}


@dataclass(frozen=True)
class Posterior:
    """What an encoder knows of its latents: `mean` and `logvar`, float B T C h w, in the units that the net sees.

    Both are what a latent cache keeps; `sample` is then all that is needed of the codec.
    """

    mean: Tensor
    logvar: Tensor

    def sample(self, generator: torch.Generator | None) -> Tensor:
        """Draw latents B T C h w; without a generator, the mean."""
        if generator is None or bool((self.logvar <= CERTAIN).all()):
            return self.mean
        noise = torch.randn(self.mean.shape, generator=generator, device=generator.device, dtype=torch.float32)
        return self.mean + torch.exp(0.5 * self.logvar) * noise.to(self.mean)


class Codec(Protocol):
    """Pixels B T 3 H W in [-1, 1] to latents B T `channels` H/`factor` W/`factor` and back; H and W are multiples of `factor`.

    local: whether a latent depends on the `factor` x `factor` pixels under it alone, so that no masked pixel reaches a known latent.
    """

    factor: int
    channels: int
    local: bool

    def posterior(self, video: Tensor) -> Posterior:
        """Encode to mean and log-variance. Raises UsageError for a size that is no multiple of `factor`."""
        ...

    def encode(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode to latents drawn by `generator`, or to their mean without one."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to pixels; values may leave [-1, 1] a little."""
        ...

    def to(self, device: torch.device | str) -> None:
        """Move what the codec holds."""
        ...

    def save(self, folder: Path) -> dict[str, str | int]:
        """Write what the codec holds to `folder`/vae, if anything; return what `load_codec` needs beside that."""
        ...


class Pixels:
    """Pixels themselves; with `unshuffle` n, blocks of n x n pixels become 3 n n channels of one position, losslessly."""

    local = True

    def __init__(self, unshuffle: int = 1) -> None:
        if unshuffle < 1:
            raise UsageError(f"pixel unshuffle is {unshuffle}, expected 1 or more")
        self.factor = unshuffle
        self.channels = 3 * unshuffle**2

    def posterior(self, video: Tensor) -> Posterior:
        """Rearrange; there is no spread."""
        _check_size(video, self.factor)
        latents = functional.pixel_unshuffle(video, self.factor)
        return Posterior(latents, torch.full_like(latents, CERTAIN))

    def encode(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Rearrange; the generator has nothing to draw."""
        _check_size(video, self.factor)
        return functional.pixel_unshuffle(video, self.factor)

    def decode(self, latents: Tensor) -> Tensor:
        """Rearrange back, exactly."""
        return functional.pixel_shuffle(latents, self.factor)

    def to(self, device: torch.device | str) -> None:
        """Do nothing: there is nothing to move."""

    def save(self, folder: Path) -> dict[str, str | int]:
        """Write nothing; return the factor."""
        return {"kind": "pixels", "unshuffle": self.factor}


class Autoencoder:
    """An image autoencoder (diffusers', or Taef2), frozen, `at_once` frames at a time; its config shifts and scales its latents."""

    local = False

    def __init__(self, net: AutoencoderKL | AutoencoderTiny | Taef2, at_once: int = 8) -> None:
        self._net = net.eval().requires_grad_(False)
        self._at_once = at_once
        self.channels = int(net.config.latent_channels)
        if isinstance(net, Taef2):
            self.factor = net.FACTOR
        else:
            down = net.config.block_out_channels if isinstance(net, AutoencoderKL) else net.config.encoder_block_out_channels
            self.factor = 2 ** (len(down) - 1)
        self._scale = float(net.config.scaling_factor)
        self._shift = float(net.config.shift_factor or 0.0)

    @torch.no_grad()
    def posterior(self, video: Tensor) -> Posterior:
        """Encode frame by frame; only AutoencoderKL knows a spread."""
        _check_size(video, self.factor)
        means, logvars = [], []
        for frames in self._portions(video):
            mean, logvar = self._encoded(frames)
            means.append((mean - self._shift) * self._scale)
            logvars.append(torch.full_like(mean, CERTAIN) if logvar is None else (logvar + 2 * math.log(self._scale)).clamp(min=CERTAIN))
        clip = video.shape[:2]
        return Posterior(torch.cat(means).unflatten(0, clip).to(video), torch.cat(logvars).unflatten(0, clip).to(video))

    def encode(self, video: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Encode and draw; the mean without a generator."""
        return self.posterior(video).sample(generator)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode frame by frame."""
        made = [self._decoded(part / self._scale + self._shift) for part in self._portions(latents)]
        return torch.cat(made).unflatten(0, latents.shape[:2]).to(latents)

    def to(self, device: torch.device | str) -> None:
        """Move the autoencoder."""
        self._net.to(device)

    def save(self, folder: Path) -> dict[str, str | int]:
        """Write the autoencoder as diffusers does, to `folder`/vae."""
        self._net.save_pretrained(folder / "vae")
        return {"kind": "autoencoder"}

    def _encoded(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log-variance as the net has them; no log-variance where it knows none."""
        encoded = self._net.encode(frames)
        if isinstance(self._net, AutoencoderKL):
            return encoded.latent_dist.mean, encoded.latent_dist.logvar
        return (encoded if isinstance(self._net, Taef2) else encoded.latents), None

    def _decoded(self, latents: Tensor) -> Tensor:
        made = self._net.decode(latents)
        return made if isinstance(self._net, Taef2) else made.sample

    def _portions(self, video: Tensor) -> tuple[Tensor, ...]:
        return video.flatten(0, 1).to(self._net.device, self._net.dtype).split(self._at_once)


def load_autoencoder(folder: str | Path) -> Autoencoder:
    """Read an autoencoder from its own folder (config.json and safetensors, as diffusers writes them) on this machine.

    Raises WeightsError for a folder without one, or with one of another kind than those of AUTOENCODERS.
    """
    try:
        name = str(json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")).get("_class_name"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"no autoencoder in {folder}: {error}; give a folder with config.json and safetensors") from error
    if name not in AUTOENCODERS:
        raise WeightsError(f"the autoencoder in {folder} is a {name}, expected one of {', '.join(AUTOENCODERS)}")
    try:
        net = AUTOENCODERS[name].from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"cannot read the autoencoder in {folder}: {str(error).splitlines()[0]}") from error
    return Autoencoder(net)


def load_codec(config: dict[str, str | int], folder: Path) -> Codec:
    """Make the codec whose `save` gave `config` and wrote to `folder`. Raises WeightsError for a kind that is not known."""
    if config.get("kind") == "pixels":
        return Pixels(int(config["unshuffle"]))
    if config.get("kind") == "autoencoder":
        return load_autoencoder(folder / "vae")
    raise WeightsError(f"codec is {config.get('kind')!r} in {folder}, expected pixels or autoencoder; was it saved by a newer version?")


def _check_size(video: Tensor, factor: int) -> None:
    height, width = video.shape[-2:]
    if height % factor or width % factor:
        raise UsageError(f"video is {width}x{height}, expected multiples of {factor} for this codec; pad it first")
