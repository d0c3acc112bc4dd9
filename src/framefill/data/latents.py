"""Latents made once and read in every epoch: mean and log-variance of an autoencoder's posterior, drawn from anew on load.

A cached file belongs to a clip's content (its hash and frames), to the codec (a hash of its weights and settings) and to the size at which
it was encoded; nothing else decides where it lies, so that a moved video or another manifest finds it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import Dataset

from framefill.data.crop import MIDDLE, cover, crop, pair
from framefill.data.footage import Footage
from framefill.data.manifest import Clip, Split
from framefill.data.progress import Progress, Step, silent
from framefill.data.windows import Sampling, chosen_clips, windows_of
from framefill.errors import UnreadableMedia, UsageError, WeightsError

ENCODED_AT_ONCE = 16  # frames


class Encoded(Protocol):
    """Mean and log-variance of latents, float B T C h w."""

    @property
    def mean(self) -> torch.Tensor:
        """The mean."""

    @property
    def logvar(self) -> torch.Tensor:
        """The logarithm of the variance."""


class Encoder(Protocol):
    """What a cache needs of a codec: pixels B T 3 H W in [-1, 1] to the posterior of their latents, `factor` times smaller."""

    factor: int

    def posterior(self, video: torch.Tensor) -> Encoded:
        """Encode."""


class LatentItem(TypedDict):
    """One clip: `latents` float32 T C h w, `index` the item's number."""

    latents: torch.Tensor
    index: int


@dataclass(frozen=True)
class LatentCache:
    """Where latents lie: `folder`/`codec`/HASH-START-END-HEIGHTxWIDTH.safetensors, with `mean` and `logvar` float16 T C h w."""

    folder: Path
    codec: str
    size: tuple[int, int]

    def place(self, clip: Clip) -> Path:
        """Return the file of one clip, there or not. Raises UsageError for a clip without a content hash."""
        if not clip.sha256:
            raise UsageError(f"{clip.name} has no content hash in its manifest; make the manifest with framefill data scan")
        return self.folder / self.codec / f"{clip.sha256[:32]}-{clip.start}-{clip.end}-{self.size[0]}x{self.size[1]}.safetensors"

    def write(self, clips: Sequence[Clip], encoder: Encoder, device: str = "cpu", progress: Progress = silent) -> int:
        """Encode every clip that is not there yet, whole, resized and cropped in its middle; return how many were made.

        A run that was stopped goes on with the same call. Raises UsageError for a size that the codec cannot encode, UnreadableMedia.
        """
        if self.size[0] % encoder.factor or self.size[1] % encoder.factor:
            raise UsageError(f"size is {self.size[0]}x{self.size[1]}, expected multiples of {encoder.factor} for this codec")
        waiting = [clip for clip in clips if not self.place(clip).exists()]
        for number, clip in enumerate(waiting):
            progress(Step(len(clips) - len(waiting) + number, len(clips)))
            target = self.place(clip)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(".part")
            save_file(_encode(clip, encoder, self.size, device), part, {"clip": clip.name, "codec": self.codec})
            part.replace(target)
        progress(Step(len(clips), len(clips)))
        return len(waiting)


class LatentDataset(Dataset[LatentItem]):
    """Cached latents of `frames` frames, drawn from their posterior by (seed, epoch, index); windows as in `ClipDataset`.

    Latents are of the middle of the picture and never mirrored: neither can be changed after encoding. Raises UsageError when clips are
    not in the cache.
    """

    def __init__(
        self,
        manifest: str | Path | Sequence[Clip],
        cache: LatentCache,
        frames: int,
        fps: float | None = None,
        seed: int = 0,
        *,
        split: Split | None = "train",
        sampling: Sampling = "random",
        stride: int | None = None,
    ) -> None:
        clips = chosen_clips(manifest, split)
        missing = sum(not cache.place(clip).exists() for clip in clips)
        if missing:
            raise UsageError(
                f"{missing} of {len(clips)} clips are not in the cache {cache.folder / cache.codec}; run framefill data cache first"
            )
        self.cache, self.frames, self.seed = cache, frames, seed
        self.windows = [window for clip in clips for window in windows_of(clip, frames, fps, sampling, stride)]
        if not self.windows:
            raise UsageError(f"none of {len(clips)} clips has {frames} frames; ask for fewer frames or another rate")
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the draws of another epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> LatentItem:
        window = self.windows[index]
        rng = np.random.default_rng([self.seed, self._epoch, index])
        numbers = np.array(window.draw(rng, self.frames)) - window.clip.start
        path = self.cache.place(window.clip)
        try:
            with safe_open(path, framework="pt") as file:
                stretch, chosen = slice(int(numbers[0]), int(numbers[-1]) + 1), torch.from_numpy(numbers - numbers[0])
                mean, logvar = (file.get_slice(name)[stretch][chosen].float() for name in ("mean", "logvar"))
        except (SafetensorError, OSError) as error:
            raise UnreadableMedia(f"{path} is damaged ({error}); remove it and run framefill data cache again") from error
        noise = torch.from_numpy(rng.standard_normal(mean.shape, np.float32))
        return {"latents": mean + torch.exp(0.5 * logvar) * noise, "index": index}


def codec_key(folder: str | Path) -> str:
    """Name a diffusers autoencoder by what it does: 16 hex digits of a hash of its weights and its config, whatever its folder is called.

    Raises WeightsError for a folder without config.json and safetensors.
    """
    whole = hashlib.sha256()
    try:
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        kept = {key: value for key, value in config.items() if not key.startswith("_") or key == "_class_name"}
        whole.update(json.dumps(kept, sort_keys=True).encode())
        files = sorted(Path(folder).glob("*.safetensors"))
        for path in files:
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    except (OSError, ValueError) as error:
        raise WeightsError(f"no autoencoder in {folder}: {error}; give a diffusers folder with config.json and safetensors") from error
    if not files:
        raise WeightsError(f"{folder} holds no safetensors; give a diffusers folder with config.json and safetensors")
    return whole.hexdigest()[:16]


@torch.no_grad()
def _encode(clip: Clip, encoder: Encoder, size: tuple[int, int], device: str) -> dict[str, torch.Tensor]:
    footage = Footage(clip.path)
    covering = cover(footage.meta, size)
    means, logvars = [], []
    for start in range(clip.start, clip.end, ENCODED_AT_ONCE):
        numbers = range(start, min(start + ENCODED_AT_ONCE, clip.end))
        frames = crop(np.stack(footage.read(numbers, covering)), size, MIDDLE)
        video = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)[None]  # 1 t c h w
        encoded = encoder.posterior(video)
        means.append(encoded.mean[0].half().cpu())
        logvars.append(encoded.logvar[0].half().cpu())
    return {"mean": torch.cat(means).contiguous(), "logvar": torch.cat(logvars).contiguous()}


def cache_for(folder: str | Path, codec_folder: str | Path, size: int | tuple[int, int]) -> LatentCache:
    """Make the cache for latents of one diffusers autoencoder at one size."""
    return LatentCache(Path(folder), codec_key(codec_folder), pair(size))
