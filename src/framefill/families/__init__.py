"""The families of fillers and the table that names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from framefill.errors import UsageError, WeightsError
from framefill.families.base import Filler
from framefill.families.fff.source import AFTER_AUTO, is_fff
from framefill.families.trained import SHIPPED, Sampling, Trained, class_in, folder_of

FFF_OPTIONS = "--fff-mode, --long-video, --guidance, --flow and --inversion"


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
        if sampling is not None and sampling.fff is not None:
            raise UsageError(
                f"{FFF_OPTIONS} are for image-to-video nets, and {name} has no use for them: leave them out, or give --model fff:FOLDER"
            )
        if sampling is not None:
            raise UsageError(
                f"--seed, --steps, --device and --dtype are for trained models, and {name} has no use for them: leave them out, or give "
                f"--model {TRAINED[0]}"
            )
        return FAMILIES[name].make()
    folder = folder_of(name)
    if folder is None:
        return load(name, Sampling())
    if name.startswith(AFTER_AUTO):
        return _after_auto(folder, sampling or Sampling(), fff=is_fff(name))
    return _read(folder, sampling or Sampling(), fff=is_fff(name))


def load(name: str, sampling: Sampling) -> Trained:
    """Make a trained model that makes whole frames, by the name of shipped weights or by its folder.

    Raises UsageError and WeightsError as `get` does, and UsageError for a model that only fills holes.
    """
    folder = folder_of(name)
    if folder is not None:
        made = _read(folder, sampling)
        if not isinstance(made, Trained):
            raise UsageError(f"{name} fills holes and makes no whole frames; --model {TRAINED[0]} does, and so does a folder of such a net")
        return made
    if name in TRAINED:
        raise WeightsError(f"the weights of {name} are not in this installation ({SHIPPED / name}); install framefill anew, or train them")
    if name in FAMILIES:
        raise UsageError(
            f"{name} can only {FAMILIES[name].does}; --model {TRAINED[0]} makes new frames, and so does a folder of your own net"
        )
    raise UsageError(f"no model is called {name!r}; there are {', '.join(FAMILIES)}, and folders with a model_index.json")


def _read(folder: Path, sampling: Sampling, fff: bool = False) -> Filler:
    """Make the filler of whatever pipeline a folder holds; with `fff`, of an image-to-video net."""
    name = class_in(folder)
    if fff:
        _refuse_others(folder)
    if name not in PIPELINES:
        raise WeightsError(f"{folder} holds a {name}, expected one of {', '.join(PIPELINES)}; was it saved by another program?")
    if sampling.fff is not None and name not in IMAGE_TO_VIDEO:
        raise UsageError(f"{FFF_OPTIONS} are for image-to-video nets (fff:...), and {folder} holds none; leave them out")
    return PIPELINES[name](folder, sampling)


def _refuse_others(folder: Path) -> None:
    """Raise WeightsError for a folder that holds another net than an image-to-video one."""
    if (name := class_in(folder)) not in IMAGE_TO_VIDEO:
        raise WeightsError(f"{folder} holds a {name}, which is no image-to-video net; give --model {folder}, without fff:")


def _vdt(folder: Path, sampling: Sampling) -> Filler:
    from framefill.families.vdt_filler import load_filler

    return load_filler(folder, sampling)


def made_by(name: str) -> Path | None:
    """The folder of the weights by which a model makes what no frame shows; None where it does without.

    `auto` takes the light net that comes along, wherever torch and diffusers are installed.
    """
    if name != "auto":
        return folder_of(name)
    return at_hand("light")


def at_hand(name: str) -> Path | None:
    """The folder of a net that comes along, if it does and torch and diffusers are installed; None otherwise."""
    return folder_of(name) if all(find_spec(needed) for needed in ("torch", "diffusers", "safetensors")) else None


def _light(folder: Path, sampling: Sampling) -> Filler:
    from framefill.families.light_filler import load_filler

    return load_filler(folder, sampling)


def _light_compat(folder: Path, sampling: Sampling) -> Filler:
    from framefill.families.light_compat_filler import load_filler

    return load_filler(folder, sampling)


def _fff(folder: Path, sampling: Sampling) -> Filler:
    from framefill.families.fff.filler import load_filler

    return load_filler(folder, sampling)


def _after_auto(folder: Path, sampling: Sampling, fff: bool) -> Filler:
    from framefill.families.after_auto import AfterAuto, Net
    from framefill.families.light_filler import LightFiller

    filler = _read(folder, sampling, fff)
    if isinstance(filler, LightFiller):
        filler = filler.longer()
    if not isinstance(filler, Net):
        raise UsageError(f"{AFTER_AUTO} is for light nets and image-to-video nets, and {folder} holds a {class_in(folder)}; leave it out")
    return AfterAuto(filler)


def _auto() -> Filler:
    from framefill.families.propagate import Propagate
    from framefill.families.still import Smooth

    folder = made_by("auto")
    if folder is None:
        return Propagate("auto", Smooth())
    from framefill.families.light_still import LightStill

    return Propagate("auto", LightStill(folder))


def _propagate() -> Filler:
    from framefill.families.propagate import Propagate

    return Propagate("propagate", None)


def _flow() -> Filler:
    from framefill.families.flow_between import FlowBetween

    return FlowBetween()


TRAINED = ("vdt-tiny", "light")  # families whose weights come with the package
PIPELINES: dict[str, Callable[[Path, Sampling], Filler]] = {  # by the class that a folder's model_index.json names
    "VDTPipeline": _vdt,
    "LightPipeline": _light,
    "LightCompatPipeline": _light_compat,
    "FFFPipeline": _fff,
    "StableVideoDiffusionPipeline": _fff,  # as it lies on the hub
}
IMAGE_TO_VIDEO = ("FFFPipeline", "StableVideoDiffusionPipeline")
FAMILIES = {
    "auto": Family("propagate what other frames show, make what none shows once and carry it along", _auto),
    "propagate": Family("bring over what other frames show, leave the rest", _propagate),
    "flow": Family("make wholly unknown frames between known ones along the optical flow, leave the rest", _flow),
    "light": Family("fill any hole with a small net in one pass", partial(get, "light", Sampling())),
    "vdt-tiny": Family("make whatever is unknown with a small transformer trained on every task", partial(get, "vdt-tiny", Sampling())),
}
