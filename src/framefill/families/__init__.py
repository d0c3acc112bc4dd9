"""The families of fillers and the table that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from framefill.errors import UsageError
from framefill.families.base import Filler


@dataclass(frozen=True)
class Family:
    """One row of the table: what the family does, and how to make a filler of it."""

    does: str
    make: Callable[[], Filler]


def get(name: str) -> Filler:
    """Make a filler for one clip by its family's name, or from the folder of a trained pipeline.

    Raises UsageError for a name that is neither in `FAMILIES` nor such a folder, WeightsError for one that is damaged.
    """
    if name in FAMILIES:
        return FAMILIES[name].make()
    if Path(name, "model_index.json").is_file():
        return _trained(Path(name))
    raise UsageError(f"no model is called {name!r}; there are {', '.join(FAMILIES)}, and folders with a model_index.json")


def _auto() -> Filler:
    from framefill.families.propagate import Propagate
    from framefill.families.still import smooth

    return Propagate("auto", smooth)


def _propagate() -> Filler:
    from framefill.families.propagate import Propagate

    return Propagate("propagate", None)


def _flow() -> Filler:
    from framefill.families.flow_between import FlowBetween

    return FlowBetween()


def _trained(folder: Path) -> Filler:
    from framefill.families.vdt import VDTPipeline
    from framefill.families.vdt_filler import VDTFiller

    return VDTFiller(VDTPipeline.from_pretrained(folder), folder.name)


FAMILIES = {
    "auto": Family("propagate what other frames show, make what none shows once and carry it along", _auto),
    "propagate": Family("bring over what other frames show, leave the rest", _propagate),
    "flow": Family("make wholly unknown frames between known ones along the optical flow, leave the rest", _flow),
}
