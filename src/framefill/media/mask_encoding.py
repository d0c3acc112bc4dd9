"""What the values of a mask mean: every encoding met in the wild, decided once for the whole clip and said in words.

A decision from one frame would be wrong too often (a first frame that is black, a 0/1 file, an object that appears later), so a
`Survey` looks at every frame first and `understand` decides from its totals. The four-level quad-mask is the one of VOID
(Netflix, 2026): 0 remove, 63 overlap, 127 affected, 255 keep.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch
from framefill.media.mask_rule import Encoding, MaskRule, parse_color

Layout = Literal["bool", "grey", "palette", "rgb"]

DEFAULT_THRESHOLD = 127
QUAD_LEVELS = {0: "remove", 63: "overlap", 127: "affected", 255: "keep"}
_MANY_LEVELS = 64  # more distinct values than this are a gradient, not object ids
_COLOURED = {False: 8, True: 40}  # spread of a pixel's channels from which it counts as coloured; by lossy: chroma noise of a codec
_COLOURED_SHARE = 0.0005  # of a frame's pixels; below it colour is noise
_DARKEST_LABEL = 63  # half of 128, the darkest channel in use among label colours (the VOC and DAVIS palette)
_QUAD_TOLERANCE = 8  # levels; a lossy codec's error on a flat area
_INVERTED_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class RawMask:
    """One picture of a mask source before its meaning is known.

    values: bool H W ("bool"), uint8 or uint16 H W ("grey"), uint8 H W indices ("palette", colours uint8 N 3), uint8 H W 3 ("rgb").
    alpha: uint8 H W when the picture has an alpha channel. seconds: its time from the mask's start, None when the source has no clock.
    """

    layout: Layout
    values: NDArray[np.bool_] | NDArray[np.uint8] | NDArray[np.uint16]
    alpha: NDArray[np.uint8] | None = None
    colors: NDArray[np.uint8] | None = None
    seconds: float | None = None


@dataclass
class Survey:
    """Totals over all frames of a mask source; memory is independent of the frame size and 32 bytes for each frame."""

    lossy: bool
    threshold: int
    count: int = 0
    layout: Layout = "bool"
    size: tuple[int, int] = (0, 0)  # height, width
    seconds: list[float | None] = field(default_factory=list)
    levels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    indices: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    alphas: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    has_alpha: bool = False
    neutral_palette: bool = True
    coloured: bool = False
    colors: NDArray[np.bool_] | None = None  # one flag for each of the 2**24 colours, once a coloured pixel is met
    whites: list[tuple[float, float, float]] = field(default_factory=list)  # per frame: share above threshold, above 0, alpha above

    def add(self, raw: RawMask) -> None:
        """Count one frame in. Raises MaskMismatch when its size or kind differs from the frames before."""
        size = (raw.values.shape[0], raw.values.shape[1])
        if self.count == 0:
            self.size, self.layout = size, raw.layout
        if size != self.size:
            before = f"{self.size[1]}x{self.size[0]}"
            raise MaskMismatch(f"mask frame {self.count} is {size[1]}x{size[0]}, frames before it {before}; make them all one size")
        if (raw.layout == "palette") != (self.layout == "palette"):
            raise MaskMismatch(f"mask frame {self.count} is {raw.layout}, frames before it are {self.layout}; save them all alike")
        if raw.layout == "rgb" or (raw.layout == "grey" and self.layout == "bool"):
            self.layout = raw.layout
        grey = self._grey(raw)
        counts = _histogram(grey)
        if len(counts) > len(self.levels):
            self.levels = np.pad(self.levels, (0, len(counts) - len(self.levels)))
        self.levels[: len(counts)] += counts
        above_alpha = 0.0
        if raw.alpha is None:
            self.alphas[255] += grey.size
        else:
            counts_alpha = _histogram(raw.alpha)
            self.has_alpha = True
            self.alphas += counts_alpha
            above_alpha = float(counts_alpha[self.threshold + 1 :].sum() / raw.alpha.size)
        cut = 0 if raw.layout == "palette" and not self.neutral_palette else self.threshold
        self.whites.append((float(counts[cut + 1 :].sum() / grey.size), float(1 - counts[0] / grey.size), above_alpha))
        self.seconds.append(raw.seconds)
        self.count += 1

    def _grey(self, raw: RawMask) -> NDArray[np.uint8] | NDArray[np.uint16]:
        """The frame's brightness, with what its colours tell noted on the way."""
        if raw.layout == "palette":
            assert raw.colors is not None
            used = _histogram(raw.values.astype(np.uint8, copy=False))
            self.indices += used
            colors = raw.colors[np.flatnonzero(used)]
            self.neutral_palette &= bool((np.ptp(colors.astype(np.int16), axis=1) == 0).all())
            self._note_colors(colors)
            return raw.colors[:, 1][raw.values]
        if raw.layout != "rgb":
            return as_grey(raw)
        rgb = raw.values.astype(np.uint8, copy=False)
        if not self.coloured:
            # A lossy file is judged by a share of its pixels, for which every second row and column will do.
            self.coloured = (
                _coloured_share(rgb[::2, ::2], _COLOURED[True]) > _COLOURED_SHARE
                if self.lossy
                else _coloured_share(rgb, _COLOURED[False]) > 0
            )
        if self.coloured and not self.lossy:
            self._note_colors(rgb)
        return as_grey(raw)

    def _note_colors(self, rgb: NDArray[np.uint8]) -> None:
        if self.colors is None:
            self.colors = np.zeros(1 << 24, np.bool_)
        self.colors[_packed(rgb)] = True


@dataclass(frozen=True)
class Reading:
    """How values become a mask: `table` maps a level (grey, palette index or alpha) to unknown; colours have their own list."""

    by: Literal["bool", "grey", "index", "alpha", "colors", "brightest"]
    table: NDArray[np.uint8]
    colors: tuple[int, ...] = ()  # packed 0xRRGGBB that are unknown
    invert: bool = False
    understood: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def apply(self, raw: RawMask) -> NDArray[np.bool_]:
        """The mask bool H W, True = unknown, of one frame of the surveyed source."""
        mask = self._unknown(raw)
        return ~mask if self.invert else mask

    def _unknown(self, raw: RawMask) -> NDArray[np.bool_]:
        if raw.layout == "bool":
            return raw.values.astype(np.bool_)
        if self.by == "colors":
            return np.isin(_packed(_as_rgb(raw)), np.array(self.colors, np.int32))
        if self.by == "brightest":
            return _look_up(self.table, _as_rgb(raw).max(axis=2))
        if self.by == "index":
            return _look_up(self.table, raw.values)
        if self.by == "alpha":
            opaque = np.full(raw.values.shape[:2], 255, np.uint8) if raw.alpha is None else raw.alpha
            return _look_up(self.table, opaque)
        return _look_up(self.table, as_grey(raw))


def as_grey(raw: RawMask) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The brightness of one frame, uint8 (uint16 for 16-bit files) H W."""
    if raw.layout == "rgb":
        return np.asarray(cv2.cvtColor(raw.values.astype(np.uint8, copy=False), cv2.COLOR_RGB2GRAY), np.uint8)
    if raw.layout == "palette":
        assert raw.colors is not None
        return np.asarray(cv2.cvtColor(raw.colors[None], cv2.COLOR_RGB2GRAY)[0][raw.values], np.uint8)
    if raw.values.dtype == np.bool_:
        return raw.values.astype(np.uint8) * np.uint8(255)
    return raw.values  # type: ignore[return-value]


def understand(survey: Survey, rule: MaskRule) -> Reading:
    """Decide what the surveyed values mean under `rule`, in the order: what the rule says, colours, alpha, palette, grey levels.

    Raises MaskMismatch when no reading makes sense (ids that do not occur, an alpha channel that is not there, levels that a
    threshold would turn into nothing).
    """
    encoding = rule.encoding
    if encoding == "auto":
        encoding = _guess(survey, rule)
    if encoding == "alpha":
        reading = _by_alpha(survey)
    elif encoding == "colors":
        reading = _by_color(survey, rule)
    elif encoding == "ids":
        reading = _by_id(survey, rule)
    elif encoding == "quad":
        reading = _by_quad(rule)
    else:
        reading = _by_grey(survey, rule)
    reading = replace(reading, warnings=(*reading.warnings, *_without_effect(reading, rule, encoding)))
    return _with_polarity(reading, survey, rule, quad=encoding == "quad")


def _without_effect(reading: Reading, rule: MaskRule, encoding: Encoding) -> list[str]:
    """Options that this reading has no use for: said, so that nobody waits for what they would have done."""
    lines = []
    if rule.keep_affected and encoding != "quad":
        lines.append("--keep-affected has no effect: this is not a quad-mask; pass --mask-encoding quad if it is one")
    by_level = (encoding in ("grey", "alpha") and reading.by != "bool") or reading.by == "brightest"
    if rule.threshold is not None and not by_level:
        lines.append("--threshold has no effect: this mask is not read by grey levels")
    return lines


def _guess(survey: Survey, rule: MaskRule) -> Encoding:
    if any(isinstance(label, str) for label in rule.ids):
        return "colors"
    if rule.ids:
        return "ids"
    if survey.has_alpha and np.count_nonzero(survey.alphas) > 1:  # a channel of one value says nothing
        return "alpha"
    if survey.layout == "bool" or rule.threshold is not None:
        return "grey"
    if survey.layout == "palette":
        # Black and white saved with a palette: its indices are in any order, so the colours decide.
        shades = survey.neutral_palette and int(np.flatnonzero(survey.levels)[-1]) > DEFAULT_THRESHOLD
        return "grey" if shades else "ids"
    if survey.coloured:
        return "colors"
    if _looks_quad(survey):
        return "quad"
    return "grey"


def _by_alpha(survey: Survey) -> Reading:
    if not survey.has_alpha:
        raise MaskMismatch("the mask has no alpha channel; pass another --mask-encoding or save it with alpha")
    threshold = survey.threshold
    line = f"alpha channel: unknown where it is above {threshold} (opaque = unknown; --invert for transparent = unknown)"
    return Reading("alpha", _above(threshold), understood=(line,))


def _by_color(survey: Survey, rule: MaskRule) -> Reading:
    if survey.lossy and not rule.ids:
        cut = _DARKEST_LABEL if rule.threshold is None else rule.threshold
        line = f"colour labels from a lossy file: unknown where the brightest channel is above {cut}, black is background"
        return Reading("brightest", _above(cut), understood=(line,))
    present = _present_colors(survey)
    if rule.ids:
        wanted = tuple(parse_color(label) for label in rule.ids)
        missing = [_hex(color) for color in wanted if color not in present]
        if missing:
            known = ", ".join(_hex(color) for color in present[:8])
            raise MaskMismatch(f"colour {', '.join(missing)} does not occur in the mask; it has {known}; choose among them with --ids")
        return Reading("colors", _above(0), wanted, understood=("colour labels: unknown where " + _listed(wanted),))
    labels = tuple(color for color in present if color != 0)
    if len(labels) > _MANY_LEVELS:
        line = f"{len(present)} colours: unknown wherever the brightest channel is above {_DARKEST_LABEL}"
        warning = f"the mask has {len(present)} different colours: is it a picture, not a mask? Choose --mask-encoding or --threshold"
        return Reading("brightest", _above(_DARKEST_LABEL), understood=(line,), warnings=(warning,))
    line = f"{len(labels)} colour labels ({_listed(labels)}), black is background: any label is unknown"
    return Reading("colors", _above(0), labels, understood=(line,))


def _by_id(survey: Survey, rule: MaskRule) -> Reading:
    counts = survey.indices if survey.layout == "palette" else survey.levels
    present = np.flatnonzero(counts).tolist()
    source = "palette indices" if survey.layout == "palette" else "object ids"
    by: Literal["index", "grey"] = "index" if survey.layout == "palette" else "grey"
    if not rule.ids:
        return Reading(by, _above(0, len(counts)), understood=(f"{source} {_ranges(present)}: any id above 0 is unknown",))
    wanted = [int(label) for label in rule.ids]
    missing = [label for label in wanted if label not in present]
    if missing:
        raise MaskMismatch(f"id {_ranges(missing)} does not occur in the mask; it has {_ranges(present)}; choose among them with --ids")
    table = np.zeros(len(counts), np.uint8)
    table[wanted] = 1
    warnings = ("ids read from a lossy file: values near an id do not count; use a lossless mask",) if survey.lossy else ()
    return Reading(by, table, understood=(f"{source} {_ranges(present)}: unknown where id is {_ranges(wanted)}",), warnings=warnings)


def _by_quad(rule: MaskRule) -> Reading:
    table = np.zeros(256, np.uint8)
    last = 95 if rule.keep_affected else 191  # half way from one level to the next: 95 lies between 63 and 127, 191 before 255
    table[: last + 1] = 1
    affected = "left known" if rule.keep_affected else "unknown too (--keep-affected leaves it known)"
    line = f"quad-mask, levels 0 remove, 63 overlap, 127 affected, 255 keep: remove and overlap are unknown, affected is {affected}"
    return Reading("grey", table, understood=(line,))


def _by_grey(survey: Survey, rule: MaskRule) -> Reading:
    if survey.layout == "bool":
        return Reading("bool", _above(0), understood=("true/false values: true is unknown",))
    present = np.flatnonzero(survey.levels)
    low, high, distinct = int(present[0]), int(present[-1]), len(present)
    shown = _ranges(present.tolist()) if distinct <= 6 else f"{low} to {high}"
    if rule.threshold is None and high > 255:
        if high < 65535 and distinct <= _MANY_LEVELS:
            line = f"16-bit object ids {shown}: any id above 0 is unknown"
            return Reading("grey", _above(0, 65536), understood=(line,))
        line = f"16-bit grey levels {shown}: unknown above half of the range (128 of 255)"
        return Reading("grey", _above(32767, 65536), understood=(line,))
    if rule.threshold is None and high == 1:
        noise = ("a 0/1 mask in a lossy file: codec noise may count as unknown; use a lossless mask",) if survey.lossy else ()
        return Reading("grey", _above(0), understood=("values 0 and 1: 1 is unknown",), warnings=noise)
    if rule.threshold is None and 1 < high <= DEFAULT_THRESHOLD:
        return _dark(survey, shown, distinct, high)
    cut = survey.threshold if high <= 255 else survey.threshold * 257 + 256
    if rule.threshold is not None and high > 255:
        shown += f" (16 bits, threshold {survey.threshold} of 255)"
    exact = set(present.tolist()) <= {0, 255}
    line = f"grey levels {shown}: " + ("255 is unknown" if exact and cut == DEFAULT_THRESHOLD else f"unknown above {survey.threshold}")
    if high == 0:
        line = "grey level 0 only: nothing is unknown"
    warnings: tuple[str, ...] = ()
    if rule.threshold is None and distinct == 3 and {0, 127, 255} == set(present.tolist()):
        warnings = ("levels 0, 127 and 255: read as grey; if this is a quad-mask (0 = remove), pass --mask-encoding quad",)
    return Reading("grey", _above(cut, len(survey.levels)), understood=(line,), warnings=warnings)


def _dark(survey: Survey, shown: str, distinct: int, high: int) -> Reading:
    """Grey levels of which none reaches the default threshold: ids when there are few, else nothing or a question."""
    if not survey.lossy and distinct <= _MANY_LEVELS:
        line = f"object ids {shown} (no level above {DEFAULT_THRESHOLD}): any id above 0 is unknown"
        return Reading("grey", _above(0), understood=(line,))
    if survey.lossy and high < 16:
        return Reading("grey", _above(DEFAULT_THRESHOLD), understood=(f"grey levels {shown}: black, nothing is unknown",))
    raise MaskMismatch(f"mask has grey levels {shown}, none above the threshold {DEFAULT_THRESHOLD}; pass --threshold, e.g. {high // 2}")


def _with_polarity(reading: Reading, survey: Survey, rule: MaskRule, quad: bool) -> Reading:
    """Add the rule's inversion, and the suspicion of one that the rule does not ask for."""
    understood, warnings = list(reading.understood), list(reading.warnings)
    if rule.invert:
        understood.append("inverted (--invert): what was read as unknown is known and the other way round")
    column = {"alpha": 2, "index": 1, "colors": 1, "brightest": 1}.get(reading.by, 0)
    if reading.by == "grey" and reading.table[1]:
        column = 1  # any value above 0 counts
    shares = np.array([white[column] for white in survey.whites])
    white = int(np.count_nonzero(shares > _INVERTED_SHARE))
    if not rule.invert and not rule.ids and not quad and 2 * white > survey.count:
        warnings.append(
            f"more than 60 % of the frame is unknown in {white} of {survey.count} mask frames: the mask looks inverted "
            "(white must be what is to be filled); pass --invert if black is what is to be filled"
        )
    return replace(reading, invert=rule.invert, understood=tuple(understood), warnings=tuple(warnings))


def _looks_quad(survey: Survey) -> bool:
    """Levels 63 and 255 stand out and (nearly) every pixel is at one of the four: a soft edge alone has no peak at 63."""
    levels = survey.levels.astype(np.float64)
    if len(levels) > 256 or levels[255 - _QUAD_TOLERANCE :].sum() == 0:
        return False
    if not survey.lossy:
        return levels[63] > 0 and bool(set(np.flatnonzero(levels).tolist()) <= set(QUAD_LEVELS))
    near = np.zeros(256, np.bool_)
    for level in QUAD_LEVELS:
        near[max(0, level - _QUAD_TOLERANCE) : level + _QUAD_TOLERANCE + 1] = True
    peak = levels[63 - _QUAD_TOLERANCE : 63 + _QUAD_TOLERANCE + 1].mean()
    beside = np.concatenate([levels[20:50], levels[80:110]]).mean()
    return bool(levels[near].sum() > 0.95 * levels.sum() and peak > 5 * beside and peak > 0)


def _histogram(values: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.int64]:
    if values.dtype == np.uint8:  # four times as fast as bincount
        return cv2.calcHist([np.ascontiguousarray(values)], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    counts = np.bincount(values.ravel(), minlength=256)
    return np.pad(counts, (0, 65536 - len(counts))) if len(counts) > 256 else counts


def _look_up(table: NDArray[np.uint8], values: NDArray[np.generic]) -> NDArray[np.bool_]:
    if values.dtype == np.uint8:
        return np.asarray(cv2.LUT(np.ascontiguousarray(values), table[:256]), np.uint8).view(np.bool_)
    return np.asarray(table[values.astype(np.intp)]).view(np.bool_)


def _above(cut: int, length: int = 256) -> NDArray[np.uint8]:
    return (np.arange(length) > cut).astype(np.uint8)


def _coloured_share(rgb: NDArray[np.uint8], spread: int) -> float:
    channels = cv2.split(rgb)
    spreads = cv2.max(cv2.absdiff(channels[0], channels[1]), cv2.absdiff(channels[1], channels[2]))
    return float(np.count_nonzero(spreads > spread) / spreads.size)


def _packed(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    wide = rgb.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _as_rgb(raw: RawMask) -> NDArray[np.uint8]:
    if raw.layout == "palette":
        assert raw.colors is not None
        return raw.colors[raw.values]
    values = raw.values.astype(np.uint8, copy=False)
    return values if raw.layout == "rgb" else np.repeat(values[..., None], 3, axis=2)


def _present_colors(survey: Survey) -> list[int]:
    if survey.colors is None:  # every frame was grey, so a grey level is the only colour there can be
        return [level * 0x010101 for level in np.flatnonzero(survey.levels).tolist()]
    return [int(color) for color in np.flatnonzero(survey.colors)]


def _hex(color: int) -> str:
    return f"#{color:06x}"


def _listed(colors: tuple[int, ...]) -> str:
    names = [_hex(color) for color in colors[:6]]
    return ", ".join(names) + (f" and {len(colors) - 6} more" if len(colors) > 6 else "")


def _ranges(values: list[int]) -> str:
    """Whole numbers in words: 0-7, or 0, 3, 5 and so on."""
    values = sorted(set(values))
    if len(values) > 2 and values[-1] - values[0] == len(values) - 1:
        return f"{values[0]}-{values[-1]}"
    shown = ", ".join(str(value) for value in values[:10])
    return shown + (f" and {len(values) - 10} more" if len(values) > 10 else "")
