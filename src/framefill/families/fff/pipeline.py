"""Stable Video Diffusion as an inpainter whose first frame is filled from later ones (FFF-VDI, arXiv 2408.11402), as a pipeline.

The three verbs are `prepare`, `denoise` and `decode`; training calls the first two. What the net is told of a clip: the latents of its
masked frames, frame by frame, with a little noise; one picture, the first frame with its hole filled from the frames after it, as a token;
and, by `fff_mode`, where the hole is and how the clip moves ("feature": the net's own refiner carries features back to the first frame;
"latent": the noise in the first frame's hole is that of the frames that show what lies there; "off": nothing).
The preconditioning is EDM's for data of unit variance (Karras et al. 2022, arXiv 2206.00364): SVD's net predicts v, which is minus EDM's
target. Hidden content reaches nothing, known pixels are put back bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from diffusers import AutoencoderKLTemporalDecoder
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from framefill.diffusion.guidance import Denoise, Guide, classifier_free
from framefill.diffusion.known import Keep
from framefill.diffusion.noise import Generators, normal
from framefill.diffusion.precond import Precond, Process
from framefill.diffusion.samplers import Callback, invert, sample
from framefill.diffusion.sigmas import karras
from framefill.errors import MaskMismatch, UsageError
from framefill.families.fff.colour import colours_matched
from framefill.families.fff.flow import FlowName, Flows, filled_first, flows_of, guide_of, propagated_noise
from framefill.families.fff.latents import Portions, decoded, encoded
from framefill.families.fff.long import LongVideo, blended, chained, check_long_video, keyframed
from framefill.families.fff.noise import FrameNoise
from framefill.families.fff.token import Embedder
from framefill.families.known import HOLES, refuse_untrained
from framefill.families.still import smooth
from framefill.media.composite import composite
from framefill.media.tasks import TASKS
from framefill.media.tensors import from_tensor, mask_to_tensor, to_tensor
from framefill.media.windows import Plan, Window, pad_to_multiple, unpad
from framefill.nets.guide import Guide as Motion
from framefill.nets.guide import batched
from framefill.nets.svd import SVDUNet

Frames = NDArray[np.uint8]  # T H W 3
Mask = NDArray[np.bool_]  # T H W
Numbers = NDArray[np.int64]
Condition = dict[str, Tensor]
FFFMode = Literal["feature", "latent", "off"]
NOISE_AUG = 0.02  # on the masked frames, as SVD's own pipeline has it
OVERLAP = 8  # frames that two windows share, at most


@dataclass(frozen=True)
class Levels:
    """The noise levels of a net and the ladder over them (EDM, equation 5); SVD's own by default."""

    sigma_min: float = 0.002
    sigma_max: float = 700.0
    rho: float = 7.0

    def ladder(self, steps: int, start: float | None = None) -> Tensor:
        """`steps` levels down from `start` (the highest by default), then 0; float64. Raises UsageError without a step."""
        return karras(steps, self.sigma_min, self.sigma_max if start is None else start, self.rho)

    def check_inversion(self, level: float | None) -> None:
        """Raise UsageError for a level up to which nothing can be inverted; None is none."""
        if level is not None and not self.sigma_min < level <= self.sigma_max:
            reach = f"{self.sigma_min:g} to {self.sigma_max:g}"
            raise UsageError(f"the video is to be inverted up to noise level {level:g}, expected one within this net's {reach}")


@dataclass(frozen=True)
class Prepared:
    """A clip in the net's terms: `x0` float B T C h w, the clip's own latents, which only training and known places use.

    cond, null_cond: what the net is told, with and without content: `image` B T C h w, `token` B 1 D, `ids` B 3. motion: what its refiner
    is told, None but in the mode "feature". keep: the known places. first: uint8 B H W 3, the filled first frames. size: H, W.
    """

    x0: Tensor
    cond: Condition
    null_cond: Condition
    keep: Keep
    motion: Motion | None
    first: NDArray[np.uint8]
    size: tuple[int, int]


@dataclass(frozen=True)
class Output:
    """What a call gives: `frames` uint8 T H W 3, equal to the video wherever the mask is False; how often the net was asked for it.

    evaluations: of one window by the net, with the condition or without; `steps` with guidance cost twice that for each window.
    """

    frames: Frames
    evaluations: int


@dataclass(frozen=True)
class Recipe:
    """How a clip is sampled; the fields are the keywords of `FFFPipeline.__call__`."""

    mode: FFFMode
    steps: int
    scales: tuple[float, float]
    long_video: LongVideo
    overlap: int
    invert_until: float | None
    keeps_known: bool
    matches_colours: bool
    portions: Portions


class FFFPipeline:
    """A net, its autoencoder, what embeds its picture (None: a zero token), its noise levels, and what it was trained on.

    tasks: names from media.tasks; the call refuses others. window: frames that it sees at once; longer clips go in windows. size: pixels
    of the shorter side that it was trained on. steps: of the sampling, by default. fps, motion: what it is told of every clip, SVD's
    frames per second and motion bucket. mode: of filling the first frame, by default; None for "feature" if the net can, else "off".
    Raises UsageError for parts that do not fit each other.
    """

    def __init__(  # noqa: PLR0913 - one part after the other, as they are saved
        self,
        unet: SVDUNet,
        vae: AutoencoderKLTemporalDecoder,
        embedder: Embedder | None = None,
        levels: Levels | None = None,
        *,
        tasks: Sequence[str] = (*HOLES, "outpaint"),
        window: int | None = None,
        size: int = 256,
        steps: int = 25,
        fps: int = 7,
        motion: int = 127,
        mode: FFFMode | None = None,
    ) -> None:
        channels, latent = int(unet.config.in_channels), int(vae.config.latent_channels)
        if channels != 2 * latent or int(unet.config.out_channels) != latent:
            raise UsageError(
                f"the net has {channels} channels in for an autoencoder of {latent}; expected {2 * latent}: noise and condition"
            )
        if embedder is not None and embedder.channels != unet.config.cross_attention_dim:
            raise UsageError(f"the image encoder gives {embedder.channels} numbers, the net takes {unet.config.cross_attention_dim}")
        if unknown := sorted(set(tasks) - set(TASKS)):
            raise UsageError(f"unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
        self.unet = unet
        self.vae = vae.eval().requires_grad_(False)
        self.embedder = embedder
        self.levels = levels or Levels()
        self.tasks = tuple(tasks)
        self.window = int(unet.config.num_frames) if window is None else window
        self.size = size
        self.steps = steps
        self.fps = fps
        self.motion = motion
        self.mode: FFFMode = self.checked(mode or ("feature" if unet.config.refiner else "off"))
        self.process = Process("edm", sigma_data=1.0)
        self.factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        self.multiple: int = self.factor * 2 ** (len(unet.config.block_out_channels) - 1)
        self.portions = Portions(decode=self.window)
        self.flow: FlowName = "dis"  # by which motion is measured; what else there is takes weights
        self.device = torch.device("cpu")  # where the parts work
        self.offloads = False  # whether a part is there only while it works
        self.evaluations = 0  # of the net, a window each, since the pipeline was made

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> FFFPipeline:
        """Read a folder that `save_pretrained` wrote, or one of Stable Video Diffusion as diffusers has it; ready for inference.

        Raises WeightsError for a folder that holds neither, or parts whose weights are not all there.
        """
        from framefill.families.fff.saved import read_pipeline

        return read_pipeline(Path(folder))

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the folder that `from_pretrained` reads, in the layout of diffusers' Stable Video Diffusion."""
        from framefill.families.fff.saved import write_pipeline

        write_pipeline(self, Path(save_directory))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None, *, offload: bool = False) -> FFFPipeline:
        """Move the parts, and cast them; returns itself. offload: a part is on `device` only while it works, else in main memory.

        An autoencoder that asks for it (`force_upcast`) encodes in float32 where fp16 is asked for: SVD's own overflows (its config).
        """
        self.device, self.offloads = torch.device(device), offload
        rest = "cpu" if offload else device
        nn.Module.to(self.unet, rest, dtype)  # that of diffusers warns of modules to be kept in float32, of which there are none
        nn.Module.to(self.vae, rest, dtype)
        if dtype == torch.float16 and self.vae.config.force_upcast:
            for part in (self.vae.encoder, self.vae.quant_conv):
                part.to(torch.float32)
        if self.embedder is not None:
            self.embedder.to(rest, dtype)
        return self

    def prepare(
        self,
        video: Tensor,
        mask: Tensor,
        generator: Generators | None = None,
        *,
        flows: Sequence[Flows] | None = None,
        fff_mode: FFFMode | None = None,
        noise: Tensor | None = None,
        noise_aug_strength: float | Tensor = NOISE_AUG,
    ) -> Prepared:
        """Turn video B T 3 H W in [-1, 1] and mask B T 1 H W (above 0 = unknown) into the net's terms.

        What `video` holds in the hole reaches `x0`, which training aims at, and nothing else. generator: draws latents and the condition's
        noise; without it the latents are the mean, and the noise is `noise` (like video), or none. noise_aug_strength: of that noise, one
        or B, which the net is told. flows: one a clip, if they are known; else they are measured on the masked frames.
        Raises UsageError for a size that is no multiple of `multiple`.
        """
        mode = self.checked(fff_mode or self.mode)
        self._check_size(video)
        hole = mask > 0
        seen = torch.where(hole, torch.zeros_like(video), video)
        frames, holes = from_tensor(seen), hole[:, :, 0].cpu().numpy()
        if mode != "off" and flows is None:
            flows = [flows_of(*clip, self.flow) for clip in zip(frames, holes, strict=True)]
        strength = torch.as_tensor(noise_aug_strength, dtype=video.dtype, device=video.device).expand(len(video))
        if noise is None and generator is not None:
            noise = normal(video.shape, generator, video.device)
        shown = seen if noise is None else seen + strength.view(-1, 1, 1, 1, 1) * noise.to(video)
        with self._at_work(self.vae):
            image, x0 = (encoded(self.vae, part, generator, self.portions.encode) for part in (shown, video))
        unknown = functional.max_pool2d(hole.to(video).flatten(0, 1), self.factor).unflatten(0, hole.shape[:2])
        first = np.stack([self._first(*clip, flows[n] if flows else None) for n, clip in enumerate(zip(frames, holes, strict=True))])
        ids = torch.stack([torch.full_like(strength, self.fps - 1), torch.full_like(strength, self.motion), strength], 1)
        cond = {"image": image, "token": self.embedded(first).to(video.device), "ids": ids}
        blind = {**cond, "image": torch.zeros_like(image), "token": torch.zeros_like(cond["token"])}
        motion = motion_of(flows, holes, x0) if mode == "feature" and flows is not None else None
        x0 = x0 * self._scale
        return Prepared(x0, cond, blind, Keep(x0, unknown), motion, first, (video.shape[-2], video.shape[-1]))

    def embedded(self, pictures: NDArray[np.uint8]) -> Tensor:
        """The tokens B 1 D of pictures uint8 B H W 3; zeros without an encoder."""
        if self.embedder is None:
            return torch.zeros(len(pictures), 1, int(self.unet.config.cross_attention_dim))
        with self._at_work(self.embedder.net):
            return self.embedder(to_tensor(pictures)[0].to(self.device))

    def denoise(self, prepared: Prepared) -> Denoise:
        """The denoiser (x, sigma) -> x0 of what was prepared; sigma is one a clip, B."""
        predict = self._precond(prepared.motion)

        def denoised(x: Tensor, sigma: Tensor) -> Tensor:
            return predict(x, sigma, **prepared.cond)

        return denoised

    def guide(self, prepared: Prepared, scales: tuple[float, float]) -> Guide | None:
        """Guidance away from the net without the condition, `scales` from the first frame to the last; None where both are 1."""
        if scales == (1.0, 1.0):
            return None
        ramp = torch.linspace(*scales, prepared.x0.shape[1]).expand(prepared.x0.shape[:2])
        return classifier_free(self._precond(prepared.motion), prepared.null_cond, ramp)

    def decode(self, latents: Tensor, prepared: Prepared, portions: Portions | None = None) -> Tensor:
        """Turn latents B T C h w into video B T 3 H W, in the pipeline's own portions by default."""
        height, width = prepared.size
        with self._at_work(self.vae):
            return decoded(self.vae, latents / self._scale, portions or self.portions)[..., :height, :width]

    @torch.no_grad()
    def __call__(  # noqa: PLR0913 - the names are those of diffusers' pipelines
        self,
        video: Frames,
        mask: Mask,
        *,
        generator: torch.Generator,
        fff_mode: FFFMode | None = None,
        num_inference_steps: int | None = None,
        min_guidance_scale: float = 1.0,
        max_guidance_scale: float = 3.0,
        long_video: LongVideo = "blend",
        overlap: int | None = None,
        invert_until: float | None = None,
        keep_known: bool = True,
        match_colours: bool = True,
        decode_chunk_size: int | None = None,
        first_frame: int = 0,
        callback_on_step_end: Callback | None = None,
    ) -> Output:
        """Make what `mask` (bool T H W, True = unknown) hides of `video` (uint8 T H W 3), whatever stands there.

        generator: all noise follows from one draw of it and a frame's number, counted from `first_frame`, so that it does not depend on
        windows. Guidance rises over the frames of a window. A clip longer than `window` goes in windows that share `overlap` frames (8, or
        half a window where that is less; `long_video` tells how). invert_until: a noise level up to which the smoothly filled video is
        inverted first, the first frame apart, whose noise is fresh; it costs `num_inference_steps` - 1 more evaluations. keep_known: hold
        known latents at what they are in every step. match_colours: undo what the autoencoder does to the colours of known pixels.
        Raises MaskMismatch for a mask of another size, UsageError for an untrained task and for what cannot be.
        """
        _check(video, mask)
        refuse_untrained(mask, self.tasks, "this net")
        check_long_video(long_video)
        self.levels.check_inversion(invert_until)
        recipe = Recipe(
            mode=self.checked(fff_mode or self.mode),
            steps=self.steps if num_inference_steps is None else num_inference_steps,
            scales=(float(min_guidance_scale), float(max_guidance_scale)),
            long_video=long_video,
            overlap=min(OVERLAP, self.window // 2) if overlap is None else overlap,
            invert_until=invert_until,
            keeps_known=keep_known,
            matches_colours=match_colours,
            portions=self.portions if decode_chunk_size is None else replace(self.portions, decode=decode_chunk_size),
        )
        noise = FrameNoise.drawn(generator)
        before = self.evaluations

        def fill(frames: Frames, hole: Mask, numbers: Numbers) -> Frames:
            return self._fill(frames, hole, noise.at(first_frame + numbers), recipe, callback_on_step_end)

        shown: Frames = np.where(mask[..., None], np.uint8(0), video)
        if len(video) <= self.window or long_video == "blend":
            made = fill(shown, mask, np.arange(len(video)))
        elif long_video == "chain":
            made = chained(shown, mask, self.window, recipe.overlap, fill)
        else:
            made = keyframed(shown, mask, self.window, fill)
        return Output(_pasted(video, made, mask), self.evaluations - before)

    def _fill(self, frames: Frames, hole: Mask, noise: FrameNoise, recipe: Recipe, callback: Callback | None) -> Frames:
        """Sample frames, uint8 T H W 3, in one window or in windows that are blended; what stands in their hole is not looked at."""
        if not hole.any():
            return frames
        wide, padding = pad_to_multiple(frames, self.multiple)
        holes = np.asarray(pad_to_multiple(hole, self.multiple)[0], np.bool_)
        clip = np.asarray(wide, np.uint8)
        flows = flows_of(clip, holes, self.flow) if recipe.mode != "off" else None
        clip = np.stack([smooth(*one) if one[1].any() else one[0] for one in zip(clip, holes, strict=True)])
        clip[0] = self._first(clip, holes, flows)
        video, mask = to_tensor(clip).to(self.device), mask_to_tensor(holes).to(self.device)
        known = None if flows is None else [flows]
        prepared = self.prepare(video, mask, flows=known, fff_mode=recipe.mode, noise=noise.like(video, "condition"))
        start = noise.like(prepared.x0, "latents")
        if recipe.mode == "latent" and flows is not None:
            start = propagated_noise(start[0], motion_of([flows], holes[None], start))[None]
        with self._at_work(self.unet):
            latents = self._sampled(prepared, start, self._parts(prepared, clip, holes, flows, recipe.overlap), recipe, callback)
        made = from_tensor(self.decode(latents, prepared, recipe.portions))[0]
        if recipe.matches_colours:
            made = colours_matched(made, clip, holes)
        return np.asarray(unpad(made, padding), np.uint8)

    def _sampled(
        self, prepared: Prepared, noise: Tensor, parts: Sequence[tuple[Window, Prepared]], recipe: Recipe, callback: Callback | None
    ) -> Tensor:
        """The latents of a clip from its noise, by one denoiser over all its windows."""
        windows = [window for window, _ in parts]
        plain = blended(windows, [self.denoise(part) for _, part in parts])
        guided = blended(windows, [_guided(self.denoise(part), self.guide(part, recipe.scales)) for _, part in parts])
        ladder = self.levels.ladder(recipe.steps, recipe.invert_until)
        top = ladder[0].expand(1)
        x = noise * (1 + float(ladder[0]) ** 2) ** 0.5  # the data's own variance in it, as SVD starts
        if recipe.invert_until is not None:
            # What was hidden is not in the video that is inverted; nor is its first frame's noise, which is fresh.
            fresh = self.process.noised(prepared.x0[:, :1], noise[:, :1], top)
            x = torch.cat((fresh, invert(plain, prepared.x0, ladder, process=self.process)[:, 1:]), 1)
        keep = prepared.keep if recipe.keeps_known else None
        return sample(guided, x, ladder, process=self.process, keep=keep, callback=callback)

    def _parts(self, prepared: Prepared, clip: Frames, holes: Mask, flows: Flows | None, overlap: int) -> list[tuple[Window, Prepared]]:
        """The windows of a clip with what was prepared of their frames, each with the picture of its own first frame."""
        plan = Plan("blend", self.window, overlap)
        if len(clip) <= self.window:
            return [(window, prepared) for window in plan.windows(len(clip))]
        windows = list(plan.windows(len(clip)))
        first = np.stack([self._first(*_span(clip, holes, flows, window)) for window in windows])
        tokens = self.embedded(first).to(prepared.x0.device)
        return [(window, _part(prepared, window, *own)) for window, *own in zip(windows, tokens.split(1), first[:, None], strict=True)]

    def _first(self, frames: Frames, mask: Mask, flows: Flows | None) -> NDArray[np.uint8]:
        """The first frame H W 3 with its hole filled, from later frames where their motion is known."""
        if not mask[0].any():
            return frames[0]
        return smooth(frames[0], mask[0]) if flows is None else filled_first(frames, mask, flows)

    def _precond(self, motion: Motion | None) -> Precond:
        return Precond(partial(self._net, motion=motion), self.process)

    def _net(self, x: Tensor, noise_level: Tensor, *, image: Tensor, token: Tensor, ids: Tensor, motion: Motion | None) -> Tensor:
        """What EDM's preconditioning expects of a net: minus the v that SVD's predicts."""
        self.evaluations += len(x)
        dtype = self.unet.dtype
        shown = torch.cat((x, image.to(x.dtype)), 2).to(dtype)
        made = self.unet(shown, noise_level, token.to(dtype), ids.to(x), return_dict=False, guide=motion)[0]
        return -made.to(x.dtype)

    @contextmanager
    def _at_work(self, part: nn.Module) -> Iterator[None]:
        """Have a part on the device while it works."""
        if not self.offloads:
            yield
            return
        nn.Module.to(part, self.device)
        try:
            yield
        finally:
            nn.Module.to(part, "cpu")

    @property
    def _scale(self) -> float:
        return float(self.vae.config.scaling_factor)

    def checked(self, mode: FFFMode) -> FFFMode:
        """The mode itself. Raises UsageError for one that there is not, and for "feature" where the net has no refiner."""
        if mode not in get_args(FFFMode):
            raise UsageError(f"fff_mode is {mode!r}, expected one of {', '.join(get_args(FFFMode))}")
        if mode == "feature" and not self.unet.config.refiner:
            raise UsageError(
                "fff_mode is 'feature', and this net has no refiner; give 'latent' or 'off', or train one (framefill train fff-svd)"
            )
        return mode

    def _check_size(self, video: Tensor) -> None:
        height, width = video.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise UsageError(f"video is {width}x{height}, expected multiples of {self.multiple} for this net; pad it first")


def motion_of(flows: Sequence[Flows], holes: NDArray[np.bool_], like: Tensor) -> Motion:
    """The clips' motion and holes (bool B T H W) at the size of latents `like`."""
    return batched([guide_of(*clip, *like.shape[-2:]) for clip in zip(flows, holes, strict=True)]).to(like.device)


def _span(frames: Frames, mask: Mask, flows: Flows | None, window: Window) -> tuple[Frames, Mask, Flows | None]:
    """What a window shows of a clip."""
    own, pairs = slice(window.start, window.stop), slice(window.start, window.stop - 1)
    return frames[own], mask[own], None if flows is None else Flows(flows.there[pairs], flows.back[pairs])


def _part(prepared: Prepared, window: Window, token: Tensor, first: NDArray[np.uint8]) -> Prepared:
    """What was prepared of the frames of a window, with the token of its own first picture."""
    own, pairs = slice(window.start, window.stop), slice(window.start, window.stop - 1)
    cond = {**prepared.cond, "image": prepared.cond["image"][:, own], "token": token}
    blind = {**prepared.null_cond, "image": prepared.null_cond["image"][:, own]}
    motion = prepared.motion
    if motion is not None:
        motion = Motion(motion.mask[:, own], motion.there[:, pairs], motion.back[:, pairs])
    x0, keep = prepared.x0[:, own], Keep(prepared.keep.x0[:, own], prepared.keep.mask[:, own])
    return replace(prepared, x0=x0, cond=cond, null_cond=blind, keep=keep, motion=motion, first=first)


def _guided(denoise: Denoise, guide: Guide | None) -> Denoise:
    """A denoiser with its guidance in it."""
    if guide is None:
        return denoise
    return lambda x, sigma: guide(x, sigma, denoise(x, sigma))


def _check(video: Frames, mask: Mask) -> None:
    if video.dtype != np.uint8 or video.ndim != 4 or video.shape[-1] != 3:
        raise UsageError(f"video is {video.dtype} {video.shape}, expected uint8 T H W 3")
    if mask.dtype != np.bool_ or mask.shape != video.shape[:-1]:
        raise MaskMismatch(f"mask is {mask.dtype} {mask.shape}, video is {video.shape}; expected bool {video.shape[:-1]}")


def _pasted(frames: Frames, made: Frames, mask: Mask) -> Frames:
    """Every known pixel as it was."""
    return np.stack([composite(*parts) for parts in zip(frames, made, np.ascontiguousarray(mask), strict=True)])
