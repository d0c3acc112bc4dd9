"""The families of fillers and the table that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from framefill.errors import UsageError, WeightsError
from framefill.families.base import Filler
from framefill.families.trained import SHIPPED, Sampling, Trained, folder_of


@dataclass(frozen=True)
class Family:
    """One row of the table: what the family does, and how to make a filler of it; None for weights that come with the package."""

    does: str
    make: Callable[[], Filler]


def get(name: str, sampling: Sampling | None = None) -> Filler:
    """Make a filler for one clip by its family's name, or from the folder of a trained pipeline.

    `sampling` is how a trained net is run, None for the defaults. Raises UsageError for a name that is neither in `FAMILIES` nor such a
    folder, and for a sampling where there is no net; WeightsError for weights that are damaged or not there.
    """
    if name in FAMILIES and name not in TRAINED:
        if sampling is not None:
            raise UsageError(
                f"--seed, --steps, --device and --dtype are for trained models, and {name} has no use for them: leave them out, or give "
                f"--model {TRAINED[0]}"
            )
        return FAMILIES[name].make()
    return load(name, sampling or Sampling())


def load(name: str, sampling: Sampling) -> Trained:
    """Make a trained model by the name of shipped weights or by its folder. Raises UsageError and WeightsError as `get` does."""
    folder = folder_of(name)
    if folder is not None:
        from framefill.families.vdt_filler import load_filler

        return load_filler(folder, sampling)
    if name in TRAINED:
        raise WeightsError(f"the weights of {name} are not in this installation ({SHIPPED / name}); install framefill anew, or train them")
    if name in FAMILIES:
        raise UsageError(
            f"{name} can only {FAMILIES[name].does}; --model {TRAINED[0]} makes new frames, and so does a folder of your own net"
        )
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


TRAINED = ("vdt-tiny",)  # families whose weights come with the package
FAMILIES = {
    "auto": Family("propagate what other frames show, make what none shows once and carry it along", _auto),
    "propagate": Family("bring over what other frames show, leave the rest", _propagate),
    "flow": Family("make wholly unknown frames between known ones along the optical flow, leave the rest", _flow),
    "vdt-tiny": Family("make whatever is unknown with a small transformer trained on every task", partial(load, "vdt-tiny", Sampling())),
}
