"""One picture as the token that Stable Video Diffusion attends to: CLIP's image embedding.

The picture is made small the way SVD's own pipeline does it: a Gaussian against aliasing, then bicubic with corners on corners
(Blattmann et al. 2023, arXiv 2311.15127, as published with the weights).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from framefill.errors import WeightsError

if TYPE_CHECKING:
    from transformers import CLIPVisionModelWithProjection

Colours = tuple[float, float, float]
MEAN: Colours = (0.48145466, 0.4578275, 0.40821073)  # CLIP's, of 0..1
DEVIATION: Colours = (0.26862954, 0.26130258, 0.27577711)
NET, ENTRY = "image_encoder", Path("feature_extractor") / "preprocessor_config.json"


class Embedder:
    """CLIP's image encoder with the colours that it expects; frozen."""

    def __init__(self, net: CLIPVisionModelWithProjection, mean: Colours = MEAN, deviation: Colours = DEVIATION) -> None:
        self.net = net.eval().requires_grad_(False)
        self.mean = mean
        self.deviation = deviation
        self.size = int(net.config.image_size)
        self.channels = int(net.config.projection_dim)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Embed pictures B 3 H W in [-1, 1] as tokens B 1 D, float32, on the pictures' device."""
        small = (shrunk(pictures, self.size) + 1) / 2
        mean, deviation = (small.new_tensor(colours).view(1, 3, 1, 1) for colours in (self.mean, self.deviation))
        seen = ((small - mean) / deviation).to(self.net.device, self.net.dtype)
        return self.net(seen).image_embeds.unsqueeze(1).to(pictures.device, torch.float32)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> None:
        """Move the encoder, and cast it."""
        self.net.to(device=device, dtype=dtype or self.net.dtype)

    def save(self, folder: Path) -> None:
        """Write image_encoder/ and feature_extractor/ as published pipelines have them."""
        from transformers.utils import logging

        logging.disable_progress_bar()  # the program draws its own
        self.net.save_pretrained(folder / NET)
        (folder / ENTRY).parent.mkdir(parents=True, exist_ok=True)
        size = {"height": self.size, "width": self.size}
        told: dict[str, object] = {"image_processor_type": "CLIPImageProcessor", "crop_size": size, "size": {"shortest_edge": self.size}}
        told |= {"image_mean": list(self.mean), "image_std": list(self.deviation)}
        (folder / ENTRY).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def load_embedder(folder: Path) -> Embedder | None:
    """Read the encoder of a pipeline's folder; None where the pipeline has none.

    Raises WeightsError for one that is damaged, ModuleNotFoundError without transformers.
    """
    if not (folder / NET).is_dir():
        return None
    from transformers import CLIPVisionModelWithProjection
    from transformers.utils import logging

    logging.disable_progress_bar()  # the program draws its own
    try:
        net, found = CLIPVisionModelWithProjection.from_pretrained(
            folder / NET, local_files_only=True, use_safetensors=True, variant=variant_in(folder / NET, "model"), output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"cannot read the image encoder in {folder / NET}: {str(error).strip().splitlines()[0]}") from error
    if found["missing_keys"]:
        raise WeightsError(f"the weights in {folder / NET} lack {len(found['missing_keys'])} tensors ({min(found['missing_keys'])}, ...)")
    mean, deviation = _colours(folder / ENTRY)
    return Embedder(net, mean, deviation)


def variant_in(folder: Path, stem: str) -> str | None:
    """The variant of weights that a folder holds: "fp16" where only `stem`.fp16.safetensors (or its shards) lies there, else None."""
    plain = [file for file in folder.glob(f"{stem}*.safetensors") if ".fp16" not in file.name]
    return "fp16" if not plain and any(folder.glob(f"{stem}.fp16*.safetensors")) else None


def shrunk(pictures: Tensor, size: int) -> Tensor:
    """Pictures B 3 H W as squares of `size`; their shape is not kept, as in training."""
    factors = [side / size for side in pictures.shape[-2:]]
    sigmas = [max((factor - 1) / 2, 0.001) for factor in factors]
    widths = [int(max(4 * sigma, 3)) | 1 for sigma in sigmas]
    blurred = pictures
    for axis, (sigma, width) in enumerate(zip(sigmas, widths, strict=True)):
        blurred = _blurred(blurred, sigma, width, axis)
    return functional.interpolate(blurred, size=(size, size), mode="bicubic", align_corners=True)


def _blurred(pictures: Tensor, sigma: float, width: int, axis: int) -> Tensor:
    """A Gaussian of `width` taps down (axis 0) or across (1)."""
    places = torch.arange(width, device=pictures.device, dtype=pictures.dtype) - width // 2
    taps = torch.exp(-(places**2) / (2 * sigma**2))
    shape = (1, 1, width, 1) if axis == 0 else (1, 1, 1, width)
    kernel = (taps / taps.sum()).view(shape).expand(pictures.shape[1], 1, *shape[2:])
    sides = (0, 0, width // 2, width // 2) if axis == 0 else (width // 2, width // 2, 0, 0)
    return functional.conv2d(functional.pad(pictures, sides, mode="reflect"), kernel, groups=pictures.shape[1])


def _colours(file: Path) -> tuple[Colours, Colours]:
    """Mean and deviation that a preprocessor's file names; CLIP's own where there is no file."""
    if not file.is_file():
        return MEAN, DEVIATION
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        mean, deviation = (tuple(float(value) for value in told[key]) for key in ("image_mean", "image_std"))
        if len(mean) != 3 or len(deviation) != 3:
            raise ValueError("expected three numbers each")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"{file} is damaged: {error!r}") from error
    return (mean[0], mean[1], mean[2]), (deviation[0], deviation[1], deviation[2])
