"""Where depth comes from: one contract, several providers, chosen by a word.

Raw depth is float32 with larger = nearer, of any range and of the provider's own size; `normalise` brings it to 0..1, `upsample` to the
frame's size and edges.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

Depth = NDArray[np.float32]  # H W or T H W
Frames = NDArray[np.uint8]  # T H W 3


class DepthProvider(Protocol):
    """What gives depth to frames in their order.

    `name` fits into a file's name. `is_metric`: the raw depth is a distance with its sign turned, not a disparity, and wants a mapper of
    the `div` family.
    """

    name: str
    is_metric: bool

    def infer(self, frames: Frames) -> Depth:
        """Give the raw depth float32 T h w, larger = nearer, of the next frames uint8 T H W 3 of the video."""
        ...

    def reset(self) -> None:
        """Forget what earlier frames showed: the next one belongs to another shot."""
        ...


@runtime_checkable
class NumberedDepth(Protocol):
    """A provider whose depth goes with the frame's number, not with what it shows."""

    def seek(self, index: int) -> None:
        """Say that the next frame has the number `index` >= 0 in its video."""
        ...


def seek(provider: DepthProvider, index: int) -> None:
    """Tell a provider that the next frame has the number `index` in its video: after frames were left out, or before a second pass.

    Providers that look at pictures only have no use for it. It is not a cut: call `reset` too where the pictures do not go on.
    """
    if isinstance(provider, NumberedDepth):
        provider.seek(index)


@dataclass(frozen=True)
class Spec:
    """A provider in words, taken apart: `kind:what?key=value&key=value`."""

    kind: str
    what: str
    options: dict[str, str]


def get_provider(spec: str, *, resolution: int | None = None, device: str = "cpu") -> DepthProvider:
    """Make the provider that a spec names, ready to be asked.

    spec: `heuristic`, `constant[:VALUE]`, `synthetic:SEED[/CLIP]`, `files:FOLDER`, `onnx:FILE`, `hf:ID-or-FOLDER`. resolution: shorter
    side in pixels at which a picture is looked at, None for the provider's own. device: of torch, for `hf` alone.
    Raises UsageError for a spec that cannot be meant, UnreadableMedia for a folder without depth, WeightsError for a net that cannot be
    read and MissingWeights for one that is not on this machine.
    """
    taken = parse(spec)
    if resolution is not None and resolution < 16:
        raise UsageError(f"a depth resolution of {resolution} pixels was asked for; expected 16 or more, or none for the provider's own")
    make = KINDS.get(taken.kind)
    if make is None:
        raise UsageError(f"depth provider {spec!r} is not known; expected one of {', '.join(SPECS)}")
    return make(taken, resolution, device)


def parse(spec: str) -> Spec:
    """Take a spec apart; what lies at a path as it stands is taken as a path, question marks and all. Raises UsageError."""
    kind, _, what = spec.partition(":")
    path, mark, query = what.rpartition("?")
    if not mark or Path(what).exists():
        return Spec(kind, what, {})
    options = {}
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        if not (key and equals and value):
            raise UsageError(f"{part!r} in the depth provider {spec!r} is no option; expected KEY=VALUE after the question mark")
        options[key] = value
    return Spec(kind, path, options)


def file_safe(name: str) -> str:
    """Turn a word into one that can be part of a file's name: letters, digits, `.` and `-`."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "net"


def check_frames(frames: Frames) -> None:
    """Raise UsageError unless `frames` are uint8 T H W 3 with at least one frame and one pixel."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or frames.size == 0:
        raise UsageError(f"frames are {frames.dtype} {frames.shape}, expected uint8 T H W 3")


@dataclass(frozen=True)
class Reading:
    """What a net's or a folder's numbers mean: whether the `larger` of two is nearer, and whether they are distances."""

    larger_is_nearer: bool = True
    is_metric: bool = False

    def raw(self, values: Depth) -> Depth:
        """Turn the sign where it has to be turned, so that larger = nearer."""
        return values if self.larger_is_nearer else -values


def reading(options: dict[str, str], usual: Reading) -> Reading:
    """Read the options `nearer` and `metric` of a spec over what is usual. The options were checked by `checked`."""
    nearer, metric = options.get("nearer"), options.get("metric")
    return Reading(
        larger_is_nearer=usual.larger_is_nearer if nearer is None else nearer == "larger",
        is_metric=usual.is_metric if metric is None else metric == "yes",
    )


MEANING: dict[str, tuple[str, ...]] = {"nearer": ("larger", "smaller"), "metric": ("yes", "no")}


def checked(spec: Spec, allowed: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the options of a spec, all of them among the `allowed` names and values. Raises UsageError."""
    for key, value in spec.options.items():
        if key not in allowed:
            names = ", ".join(allowed) or "none"
            raise UsageError(f"depth provider {spec.kind!r} has no option {key!r}; it has {names}")
        if value not in allowed[key]:
            raise UsageError(f"option {key}={value} of the depth provider {spec.kind!r} is not known; expected {', '.join(allowed[key])}")
    return spec.options


def _heuristic(spec: Spec, resolution: int | None, _: str) -> DepthProvider:
    from framefill.stereo.heuristic import SHORTER, HeuristicDepth

    checked(spec, {})
    if spec.what:
        raise UsageError(f"heuristic:{spec.what} was asked for; the provider 'heuristic' takes nothing after its name")
    return HeuristicDepth(resolution or SHORTER)


def _constant(spec: Spec, _: int | None, __: str) -> DepthProvider:
    from framefill.stereo.constant import ConstantDepth

    checked(spec, {})
    try:
        value = float(spec.what or 0.5)
    except ValueError as error:
        raise UsageError(f"constant:{spec.what} is no depth; expected a number, as in constant:0.5") from error
    return ConstantDepth(value)


def _synthetic(spec: Spec, _: int | None, __: str) -> DepthProvider:
    from framefill.stereo.procedural import ProceduralDepth

    checked(spec, {})
    if not re.fullmatch(r"\d+(/\d+)?", spec.what):
        raise UsageError(
            f"synthetic:{spec.what} names no procedural scene; expected its seed, as synthetic:7, or SEED/CLIP, as synthetic:0/3"
        )
    return ProceduralDepth(*(int(number) for number in spec.what.split("/")))


def _files(spec: Spec, _: int | None, __: str) -> DepthProvider:
    from framefill.stereo.folder import FolderDepth

    return FolderDepth(_path(spec, "a folder of PNGs"), reading(checked(spec, MEANING), Reading()))


def _onnx(spec: Spec, resolution: int | None, _: str) -> DepthProvider:
    from framefill.stereo.onnx_file import MULTIPLE, MULTIPLES, SCALES, OnnxDepth

    options = checked(spec, {**MEANING, "input": tuple(SCALES), "multiple": MULTIPLES})
    multiple = int(options.get("multiple", MULTIPLE))
    return OnnxDepth(_path(spec, "a network's .onnx file"), reading(options, Reading()), options.get("input"), resolution, multiple)


def _hub(spec: Spec, resolution: int | None, device: str) -> DepthProvider:
    from framefill.stereo.hub import HubDepth

    options = checked(spec, MEANING)
    if not spec.what:
        raise UsageError("hf: names no network; expected hf:OWNER/NAME of one that was fetched, or hf:FOLDER")
    return HubDepth(spec.what, options, resolution, device)


def _path(spec: Spec, expected: str) -> Path:
    if not spec.what:
        raise UsageError(f"{spec.kind}: names nothing; expected the path of {expected}, as in {spec.kind}:PATH")
    return Path(spec.what)


SPECS = ("heuristic", "constant[:VALUE]", "synthetic:SEED[/CLIP]", "files:FOLDER", "onnx:FILE", "hf:ID-or-FOLDER")
KINDS: dict[str, Callable[[Spec, int | None, str], DepthProvider]] = {
    "heuristic": _heuristic,
    "constant": _constant,
    "synthetic": _synthetic,
    "files": _files,
    "onnx": _onnx,
    "hf": _hub,
}
