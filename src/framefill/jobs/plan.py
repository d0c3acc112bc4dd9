"""How a run will go, decided before its first frame: the sizes, the family and how far it may look, what goes into the writer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from framefill.families.base import Filler
from framefill.families.known import refuse_untrained
from framefill.families.memory import Heavy, fit_default, fit_memory
from framefill.families.trained import Trained, enlarging
from framefill.jobs.geometry import Geometry, pad_to_aspect
from framefill.jobs.record import JsonValue, versions
from framefill.jobs.scene import Scene
from framefill.jobs.settings import FillSettings
from framefill.media.codecs import plan_output
from framefill.media.hashes import sha256_of
from framefill.media.mask import open_mask
from framefill.media.reader import VideoReader
from framefill.media.remux import can_remux
from framefill.media.video import VideoMeta

BORDER = np.pad(np.zeros((1, 1, 1), np.bool_), ((0, 0), (1, 1), (1, 1)), constant_values=True)  # what a pad leaves to be made


@dataclass(frozen=True)
class Plan:
    """All that the runner needs to know, fixed."""

    settings: FillSettings
    reader: VideoReader
    geometry: Geometry
    scene: Scene
    filler: Filler
    warnings: tuple[str, ...]

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns of the picture that the filler sees."""
        return (slice(None), slice(None)) if self.scene.roi is None else self.scene.roi.area

    @property
    def area_size(self) -> tuple[int, int]:
        """Height and width of that part."""
        if self.scene.roi is not None:
            return self.scene.roi.height, self.scene.roi.width
        return self.geometry.size[1], self.geometry.size[0]

    @property
    def like(self) -> VideoReader | VideoMeta:
        """What the writer takes sound and metadata from; a preview has neither."""
        return self.scene.meta if self.settings.preview else self.reader

    @property
    def num_frames(self) -> int | None:
        """How many frames will be written, as far as the source says."""
        return self.scene.meta.num_frames

    @property
    def can_copy(self) -> bool:
        """Whether an untouched clip may be copied stream by stream: nothing is asked of the encoder and the container can hold it."""
        if self.settings.asked_encoding or self.geometry.changes or self.reader.meta.kind != "container":
            return False
        return can_remux(self.reader.path, self.settings.output)

    @property
    def mask_in_words(self) -> str:
        """The mask's sources as the user gave them."""
        settings = self.settings
        if settings.pad is not None:
            pad = settings.pad
            return f"the border outside the picture: {pad.left} left, {pad.top} top, {pad.right} right, {pad.bottom} bottom"
        parts = [] if settings.mask is None else [str(settings.mask)]
        return ", ".join([*parts, *(f"box {box}" for box in settings.boxes)])

    def identity(self) -> dict[str, JsonValue]:
        """What decides the made pixels, beside the inputs' bytes."""
        used: dict[str, JsonValue] = dict(versions())
        from framefill.families import made_by

        trained = made_by(self.settings.model)
        family: dict[str, JsonValue] = {"name": self.filler.name, "window": self.filler.window, "reach": self.filler.reach}
        if trained is not None:
            # Trained on, the same folder holds another model.
            net = next(folder for folder in (trained / "transformer", trained / "net", trained / "unet") if folder.is_dir())
            family |= {"weights": sha256_of(net), "index": sha256_of(trained / "model_index.json")}
        return {"settings": self.settings.filling(), "family": family, "versions": used}


def make_plan(settings: FillSettings, reader: VideoReader, filler: Filler | None) -> Plan:
    """Decide how to fill what `reader` opened. Raises UsageError for settings that do not fit the source or the memory asked for."""
    meta = reader.meta
    if settings.aspect is not None:
        settings = replace(settings, pad=pad_to_aspect(meta, settings.aspect), aspect=None)
    geometry = Geometry((meta.width, meta.height), settings.pad, settings.preview is not None)
    roi = settings.roi
    if roi is not None:
        roi.check_inside("--roi", meta.width, meta.height)
        roi = geometry.box(roi)
    masked = settings.mask is not None or settings.boxes
    mask = open_mask(settings.mask, reader, settings.rule, settings.boxes) if masked else None
    scene = Scene(reader, mask, geometry, settings.start, settings.end, roi, settings.preview)
    # A wish that cannot be written is refused before anything is filled.
    plan_output(settings.destination, scene.meta, codec=settings.codec, crf=settings.crf, lossless=settings.lossless)
    chosen = filler or _family(settings)
    plan = Plan(settings, reader, geometry, scene, chosen, _notes(settings, meta))
    if isinstance(chosen, Trained):
        if settings.pad is not None:
            refuse_untrained(BORDER, chosen.tasks, chosen.name)
        note = enlarging(chosen, *plan.area_size)
        plan = plan if note is None else replace(plan, warnings=(*plan.warnings, note))
    width, height = geometry.size
    area_height, area_width = plan.area_size
    pixels, seen = width * height, area_width * area_height
    if settings.memory is None:
        return replace(plan, filler=fit_default(chosen, pixels, seen))
    fitted = fit_memory(chosen, settings.memory, pixels, seen)
    usual = fit_default(chosen, pixels, seen)
    if fitted.reach < usual.reach:
        bounded = f"--memory: the fill looks {fitted.reach} frames ahead and back, not {usual.reach}"
        plan = replace(plan, warnings=(*plan.warnings, bounded))
    if isinstance(chosen, Heavy) and isinstance(fitted, Heavy) and fitted.memory < chosen.memory:
        least = f"--memory: what no frame shows is filled smoothly; the net that makes it takes {chosen.memory // 10**6} MB more"
        plan = replace(plan, warnings=(*plan.warnings, least))
    return replace(plan, filler=fitted)


def _family(settings: FillSettings) -> Filler:
    from framefill.families import get

    return get(settings.model, settings.sampling)


def _notes(settings: FillSettings, meta: VideoMeta) -> tuple[str, ...]:
    if settings.preview is not None and any(track.kind == "audio" for track in meta.tracks):
        return ("a preview has no sound",)
    return ()
