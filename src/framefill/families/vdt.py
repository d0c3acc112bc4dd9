"""VDT as a pipeline: a video and a mask in, the same video with the masked part made, by one net for every task it was trained on.

The three verbs are `prepare`, `denoise` and `decode`; training calls the first two. Hidden content cannot reach the net: the known content
that it is shown is encoded from the video with the hole blanked, so that not even an autoencoder's wide view carries it over (VDT,
arXiv 2305.13311, encodes the whole frame). With a `prior` a net is shown a first guess at the hole, made from what is known, and noise and
all are counted from it: what is learnt is the difference (as Yang et al., arXiv 2203.09481, do frame by frame). Known pixels are put back
bit for bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from framefill.diffusion.guidance import Denoise, classifier_free
from framefill.diffusion.known import Keep
from framefill.diffusion.noise import Generators, normal
from framefill.diffusion.precond import Precond, Process
from framefill.diffusion.samplers import Callback, Method, sample
from framefill.diffusion.variance import Both, LearnedSteps
from framefill.errors import MaskMismatch, UsageError
from framefill.families.chain import chain
from framefill.families.guess import guess
from framefill.families.known import refuse_untrained
from framefill.families.saved import index_of, write_index
from framefill.media.composite import composite
from framefill.media.tasks import TASKS
from framefill.media.tensors import from_tensor, mask_to_tensor, to_tensor
from framefill.media.windows import Plan, Window, assemble
from framefill.nets.codec import Codec, load_codec
from framefill.nets.saved import load_net
from framefill.nets.vdt import VDT

Frames = NDArray[np.uint8]  # B T H W 3, or T H W 3
Mask = NDArray[np.bool_]  # B T H W, or T H W
Condition = dict[str, Tensor]
Prior = Literal["none", "motion"]
OVERLAP = 4  # frames that a window of a long video shares with the one before
# What a guess leaves has a root mean square of 0.13 (between frames) to 0.25 (around a picture), videos have 0.5: procedural clips.
GUESS_ERROR = 0.3


@dataclass(frozen=True)
class Prepared:
    """A video in the net's terms: `x0` float B T C h w, clean, in the hole what training aims at; what the net is told; what is kept.

    base: B T C h w, what `x0` is counted from: the known content with the guess of a net that has a prior, else zeros.
    scale: B 1 1 1 1, how much of the picture a unit of `x0` is: less than 1 where it is counted from a guess.
    cond, null_cond: arguments of the net, with the known content and without any. size: pixels H, W that `decode` gives.
    """

    x0: Tensor
    cond: Condition
    null_cond: Condition
    keep: Keep
    base: Tensor
    scale: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Output:
    """What a pipeline's call gives: `frames` uint8 in the shape of the video, equal to it wherever the mask is False."""

    frames: Frames


class VDTPipeline:
    """A net, the process it was trained for, the codec of its space, and what it was trained on.

    tasks: names from media.tasks; the call refuses others. window: frames that it was trained on; longer videos go in windows.
    size: pixels of the shorter side that it was trained on. prior: "none", or "motion": the net is shown the guess of `families.guess` in
    the hole and makes only what differs from it. Raises UsageError for parts that do not fit each other.
    """

    def __init__(  # noqa: PLR0917 - one part after the other, as they are saved
        self, net: VDT, process: Process, codec: Codec, tasks: Sequence[str], window: int = 16, size: int = 64, prior: Prior = "none"
    ) -> None:
        if net.config.in_channels != codec.channels:
            raise UsageError(f"the net has {net.config.in_channels} channels, the codec {codec.channels}; make the net with the codec's")
        if unknown := sorted(set(tasks) - set(TASKS)):
            raise UsageError(f"unknown task {unknown[0]!r}; there are {', '.join(TASKS)}")
        if prior not in get_args(Prior):
            raise UsageError(f"prior is {prior!r}, expected one of {', '.join(get_args(Prior))}")
        self.net = net
        self.process = process
        self.codec = codec
        self.tasks = tuple(tasks)
        self.window = window
        self.size = size
        self.prior = prior

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> VDTPipeline:
        """Read a pipeline that `save_pretrained` wrote; the net is ready for inference.

        Raises WeightsError for a folder that holds none, or a net whose weights are not all there.
        """
        folder = Path(folder)
        with index_of(folder, cls.__name__) as index:
            process, codec = Process(**index["process"]), load_codec(index["codec"], folder)
            net = load_net(VDT, folder / "transformer").eval()
            return cls(net, process, codec, index["tasks"], index["window"], index["size"], index["prior"])

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write the folder that `from_pretrained` reads: model_index.json, transformer/, and vae/ where there is one."""
        folder = Path(save_directory)
        self.net.save_pretrained(folder / "transformer", safe_serialization=True)
        told: dict[str, object] = {"transformer": ["framefill.nets.vdt", "VDT"], "codec": self.codec.save(folder)}
        told |= {"process": asdict(self.process), "tasks": list(self.tasks), "window": self.window, "size": self.size, "prior": self.prior}
        write_index(folder, type(self).__name__, told)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> VDTPipeline:
        """Move the net (and cast it) and the codec; returns itself."""
        nn.Module.to(self.net, device, dtype)  # that of diffusers warns of modules to be kept in float32, of which there are none
        self.codec.to(device)
        return self

    def prepare(self, video: Tensor, mask: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Prepared:
        """Turn video B T 3 H W in [-1, 1] and mask B T 1 H W (1 = unknown) into the net's terms.

        A position of the net's grid is unknown when any pixel under it is. What `video` holds in the hole reaches `x0` there, which
        training aims at, and nothing else. The generator draws an autoencoder's latents; without it they are the mean.
        """
        height, width = video.shape[-2:]
        video, mask = (_padded(part, self.codec.factor) for part in (video, mask))
        seen = torch.where(mask > 0, self._guessed(video, mask), video)
        known = self.codec.encode(seen, generator)
        unknown = functional.max_pool2d(mask.flatten(0, 1), self.codec.factor).unflatten(0, mask.shape[:2])
        # Frames, or with a prior clips, of which nothing is known: an encoded blank says nothing, either.
        nothing = unknown.amin((2, 3, 4) if self.prior == "none" else (1, 2, 3, 4), keepdim=True) > 0
        known = torch.where(nothing, torch.zeros_like(known), known)
        x0 = known if torch.equal(seen, video) else torch.where(unknown > 0, self.codec.encode(video, generator), known)
        base = torch.zeros_like(known) if self.prior == "none" else known
        return self._told(x0, known, base, unknown, labels, (height, width))

    def prepare_latents(self, latents: Tensor, unknown: Tensor, labels: Tensor | None = None) -> Prepared:
        """The same from cached latents B T C h w and a mask of whole frames, B T 1 h w.

        Raises UsageError for a frame that is known in part where the codec's latents would tell of hidden pixels, and for a net with a
        prior, which is made of pixels.
        """
        if self.prior != "none":
            raise UsageError(f"this net is shown a guess by {self.prior}, which cached latents cannot give; train it on pixels")
        flat = unknown.flatten(2)
        if not self.codec.local and bool((flat.amax(2) != flat.amin(2)).any()):
            raise UsageError("a mask hides parts of frames, whose cached latents tell of what it hides; encode the masked video instead")
        known = torch.where(unknown > 0, torch.zeros_like(latents), latents)
        height, width = (side * self.codec.factor for side in latents.shape[-2:])
        return self._told(latents, known, torch.zeros_like(known), unknown, labels, (height, width))

    def denoise(self, prepared: Prepared) -> Denoise:
        """The denoiser (x, sigma) -> x0 of what was prepared; known positions come out as they are."""
        predict = self._precond

        def denoised(x: Tensor, sigma: Tensor) -> Tensor:
            return prepared.keep.replace(predict(x, sigma, **prepared.cond))

        return denoised

    def denoise_with_variance(self, prepared: Prepared) -> Both:
        """The same denoiser with what the net says of each step's variance beside: (x, sigma) -> x0, r; for a net that learned it."""
        said: list[Tensor] = []

        def estimate(x: Tensor, noise_level: Tensor, **cond: Tensor) -> Tensor:
            made, learned = self.net(x.to(self.net.dtype), noise_level, **cond).to(x.dtype).split(self.codec.channels, 2)
            said[:] = [learned]
            return made

        def denoised(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
            return prepared.keep.replace(Precond(estimate, self.process)(x, sigma, **prepared.cond)), said[0]

        return denoised

    def decode(self, latents: Tensor, prepared: Prepared) -> Tensor:
        """Turn latents B T C h w into video B T 3 H W of the size that was prepared."""
        height, width = prepared.size
        return self.codec.decode(latents * prepared.scale + prepared.base)[..., :height, :width]

    @torch.no_grad()
    def __call__(  # noqa: PLR0913 - the names are those of diffusers' pipelines
        self,
        video: Frames,
        mask: Mask,
        *,
        num_inference_steps: int = 20,
        generator: Generators,
        guidance_scale: float = 1.0,
        method: Method = "euler",
        labels: Tensor | None = None,
        windows: Literal["chain", "blend"] = "chain",
        overlap: int | None = None,
        callback: Callback | None = None,
    ) -> Output:
        """Make what `mask` (bool, True = unknown) hides of `video` (uint8), T H W 3 or a batch of clips B T H W 3, whatever stands there.

        generator: all noise comes from it; one a clip makes a batch equal its singles. guidance_scale: above 1, further away from what
        the net makes without the known content. A clip longer than `window` is made in windows that share `overlap` frames (4, or half a
        window where that is less): "chain" takes them as known from the window before, "blend" makes them twice and cross-fades.
        Raises MaskMismatch for a mask of another size, UsageError for an untrained task and for windows that cannot be.
        """
        if guidance_scale != 1 and self.prior != "none":
            raise UsageError(
                f"guidance_scale is {guidance_scale}, and this net counts from a guess that it cannot do without; leave it at 1"
            )
        clips, holes = _as_batch(video, mask)
        overlap = min(OVERLAP, self.window // 2) if overlap is None else overlap
        chained = windows == "chain"
        cut = chain(holes, self.window, overlap) if chained else Plan("blend", self.window, overlap).windows(holes.shape[1])
        parts = list(_holes(cut, holes, chained))
        for _, hole in parts:
            for clip in hole:
                refuse_untrained(clip, self.tasks, f"this net, {self.window} frames at a time," if len(parts) > 1 else "this net")

        def fill(frames: Frames, hole: Mask) -> Frames:
            steps, scale = num_inference_steps, guidance_scale
            return self._fill(frames, hole, steps, generator, scale, method, labels, callback)

        made = np.where(holes[..., None], np.uint8(0), clips)
        if not chained:
            twice = ((window, fill(made[:, window.start : window.stop], hole).swapaxes(0, 1)) for window, hole in parts)
            made = np.stack([np.asarray(frame, np.uint8) for frame in assemble(twice)], 1)
        else:
            for window, hole in parts:
                new = fill(made[:, window.start : window.stop], hole)
                made[:, window.keep_start : window.keep_stop] = new[:, window.kept]
        frames = _pasted(clips, made, holes)
        return Output(frames if video.ndim == 5 else frames[0])

    def _fill(  # noqa: PLR0917 - the call is its only caller
        self,
        frames: Frames,
        hole: Mask,
        steps: int,
        generator: Generators,
        scale: float,
        method: Method,
        labels: Tensor | None,
        callback: Callback | None,
    ) -> Frames:
        """Sample one window, uint8 B T H W 3; what stands in its hole is not looked at."""
        if not hole.any():
            return frames
        device = self.net.device
        video, mask = to_tensor(frames).to(device), mask_to_tensor(hole).to(device)
        prepared = self.prepare(torch.where(mask > 0, torch.zeros_like(video), video), mask, labels=labels)
        sigmas = self.process.sigmas(steps)
        start = self.process.start(normal(prepared.x0.shape, generator, device), sigmas[0])
        own = LearnedSteps() if method == "ancestral" and self.net.config.learned_variance else None
        made = sample(
            own.watching(self.denoise_with_variance(prepared)) if own else self.denoise(prepared),
            start,
            sigmas,
            process=self.process,
            method=own or method,
            guide=None if scale == 1 else classifier_free(self._precond, prepared.null_cond, scale),
            keep=prepared.keep,
            generator=generator,
            callback=callback,
        )
        return _pasted(frames, from_tensor(self.decode(made, prepared)), hole)

    def _guessed(self, video: Tensor, mask: Tensor) -> Tensor:
        """What stands in the hole of the content that the net is shown, B T 3 H W; nothing under the mask is looked at."""
        blank = torch.zeros_like(video)  # mid-grey
        if self.prior == "none":
            return blank
        frames, holes = from_tensor(torch.where(mask > 0, blank, video)), (mask[:, :, 0] > 0).cpu().numpy()
        return to_tensor(np.stack([guess(*clip) for clip in zip(frames, holes, strict=True)])).to(video)

    def _told(self, x0: Tensor, known: Tensor, base: Tensor, unknown: Tensor, labels: Tensor | None, size: tuple[int, int]) -> Prepared:
        cond = {"mask": unknown, "known": known}
        blind = {"mask": torch.ones_like(unknown), "known": torch.zeros_like(known)}
        if labels is not None:
            cond["labels"] = labels
        told = (unknown == 0).flatten(1).any(1) & (self.prior != "none")
        scale = torch.where(told, GUESS_ERROR, 1.0).to(base).view(-1, 1, 1, 1, 1)
        return Prepared((x0 - base) / scale, cond, blind, Keep((known - base) / scale, unknown), base, scale, size)

    @property
    def _precond(self) -> Precond:
        return Precond(self._net, self.process)

    def _net(self, x: Tensor, noise_level: Tensor, mask: Tensor, known: Tensor, labels: Tensor | None = None) -> Tensor:
        """The net without the variance that it may have learned beside."""
        made = self.net(x.to(self.net.dtype), noise_level, mask, known, labels)
        return made[:, :, : self.codec.channels].to(x.dtype)


def _as_batch(video: Frames, mask: Mask) -> tuple[Frames, Mask]:
    """Check a video and its mask and give both a batch axis."""
    if video.dtype != np.uint8 or video.ndim not in (4, 5) or video.shape[-1] != 3:
        raise UsageError(f"video is {video.dtype} {video.shape}, expected uint8 T H W 3 or B T H W 3")
    if mask.dtype != np.bool_ or mask.shape != video.shape[:-1]:
        raise MaskMismatch(f"mask is {mask.dtype} {mask.shape}, video is {video.shape}; expected bool {video.shape[:-1]}")
    return (video, mask) if video.ndim == 5 else (video[None], mask[None])


def _holes(windows: Iterable[Window], holes: Mask, chained: bool) -> Iterator[tuple[Window, Mask]]:
    """Windows with what is unknown in each, bool B T H W; chained, frames that a window before has made are known."""
    left = holes.copy()
    for window in windows:
        yield window, left[:, window.start : window.stop].copy()
        if chained:
            left[:, window.keep_start : window.keep_stop] = False


def _pasted(frames: Frames, made: Frames, mask: Mask) -> Frames:
    """Every known pixel as it was, uint8 B T H W 3."""
    out = np.empty_like(frames)
    for place in np.ndindex(mask.shape[:2]):
        out[place] = composite(frames[place], made[place], np.ascontiguousarray(mask[place]))
    return out


def _padded(part: Tensor, multiple: int) -> Tensor:
    """B T C H W continued to the right and below to a multiple."""
    sides = (0, -part.shape[-1] % multiple, 0, -part.shape[-2] % multiple)
    if not any(sides):
        return part
    return functional.pad(part.flatten(0, 1), sides, mode="replicate").unflatten(0, part.shape[:2])
