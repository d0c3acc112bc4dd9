"""The folder of an FFF pipeline: that of diffusers' Stable Video Diffusion, with what else the pipeline is in model_index.json.

A published folder of SVD or SVD-XT is read as it lies on the hub; one that framefill wrote can be read by diffusers in turn, as long as
the net has no refiner.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKLTemporalDecoder

from framefill.errors import WeightsError
from framefill.families.fff.token import load_embedder
from framefill.families.saved import index_of, write_index
from framefill.families.trained import class_in
from framefill.nets.svd import load_unet
from framefill.nets.svd_files import stored

if TYPE_CHECKING:
    from framefill.families.fff.pipeline import FFFPipeline, Levels

OWN, PUBLISHED = "FFFPipeline", "StableVideoDiffusionPipeline"
PUBLISHED_SIZE = 576  # pixels of the shorter side that SVD was trained on (its model card)
REFINED_SIZE = 256  # the same of FFF-VDI's recipe
SCHEDULER = Path("scheduler") / "scheduler_config.json"
STOCK_SCHEDULER: dict[str, object] = {  # what SVD's own folder says beside its levels, for other programs
    "_class_name": "EulerDiscreteScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}


def read_pipeline(folder: Path) -> FFFPipeline:
    """Read the pipeline in a folder of either kind, ready for inference.

    Raises WeightsError for one that holds neither, whose parts are damaged, or whose net was trained for another process.
    """
    from framefill.families.fff.pipeline import FFFPipeline

    name = class_in(folder)
    with index_of(folder, OWN if name != PUBLISHED else PUBLISHED) as index:
        unet, vae, embedder = load_unet(folder / "unet"), _vae(folder / "vae"), load_embedder(folder)
        levels = _levels(folder / SCHEDULER)
        if name == PUBLISHED:
            longest = int(unet.config.sample_size) * 2 ** (len(vae.config.block_out_channels) - 1)
            size = min(REFINED_SIZE if unet.config.refiner else PUBLISHED_SIZE, longest)
            return FFFPipeline(unet, vae, embedder, levels, size=size)
        return FFFPipeline(
            unet, vae, embedder, levels, tasks=index["tasks"], window=index["window"], size=index["size"], steps=index["steps"],
            fps=index["fps"], motion=index["motion"], mode=index["mode"],
        )  # fmt: skip


def write_pipeline(pipeline: FFFPipeline, folder: Path) -> None:
    """Write the folder that `read_pipeline` reads."""
    pipeline.unet.save_pretrained(folder / "unet", safe_serialization=True)
    pipeline.vae.save_pretrained(folder / "vae", safe_serialization=True)
    told: dict[str, object] = {
        "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
        "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
    }
    if pipeline.embedder is not None:
        pipeline.embedder.save(folder)
        told |= {
            "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
        }
    (folder / SCHEDULER).parent.mkdir(parents=True, exist_ok=True)
    levels = asdict(pipeline.levels)
    (folder / SCHEDULER).write_text(json.dumps(STOCK_SCHEDULER | levels, indent=2) + "\n", encoding="utf-8")
    told |= {"scheduler": ["diffusers", "EulerDiscreteScheduler"], "tasks": list(pipeline.tasks), "window": pipeline.window}
    told |= {"size": pipeline.size, "steps": pipeline.steps, "fps": pipeline.fps, "motion": pipeline.motion, "mode": pipeline.mode}
    write_index(folder, OWN, told)


def _vae(folder: Path) -> AutoencoderKLTemporalDecoder:
    """The autoencoder in a folder: every weight must be there, and no other."""
    found = stored(folder)
    try:
        with torch.device("meta"):
            vae = AutoencoderKLTemporalDecoder.from_config(dict(found.config))
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        raise WeightsError(
            f"config.json in {folder} makes no autoencoder of Stable Video Diffusion: {str(error).splitlines()[0]}"
        ) from error
    found.check({name: tuple(weight.shape) for name, weight in vae.state_dict().items()})
    vae.load_state_dict({name: tensor.to(torch.float32) for name, tensor in found.tensors()}, assign=True)
    return vae


def _levels(file: Path) -> Levels:
    """The noise levels that a scheduler's file names; SVD's own where it names none."""
    from framefill.families.fff.pipeline import Levels

    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if (kind := told.get("prediction_type", "v_prediction")) != "v_prediction":
            raise WeightsError(f"{file} says that the net predicts {kind!r}; Stable Video Diffusion's predicts v_prediction")
        usual = Levels()
        low, high = (float(told.get(key) or getattr(usual, key)) for key in ("sigma_min", "sigma_max"))
        levels = Levels(low, high, float(told.get("rho") or usual.rho))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file} is missing or damaged: {error}; get the folder anew, all of its files") from error
    if not 0 < levels.sigma_min < levels.sigma_max:
        raise WeightsError(f"{file} has noise levels from {levels.sigma_min:g} to {levels.sigma_max:g}, expected rising ones above 0")
    return levels
