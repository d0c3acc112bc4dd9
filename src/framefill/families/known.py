"""Which tasks a mask stands for, and the refusal of one that a model was not trained on."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError

HOLES = (
    "inpaint-box", "inpaint-stroke", "inpaint-blob", "inpaint-object", "moving-box", "static-shape", "moving-shape", "completion", "dust",
    "text", "stereo",
)  # fmt: skip
WHO_CAN = {  # for the line that refuses
    "interpolate": "--model flow makes frames between known ones",
    "random": "--model flow makes frames between known ones",
    "outpaint": "--model auto fills it",
    **dict.fromkeys(HOLES, "--model auto fills it"),
    **dict.fromkeys(("predict", "backward", "single", "generate"), "--model vdt-tiny was, and so is what framefill train vdt-tiny makes"),
}


def tasks_of(mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Name the tasks (of media.tasks) that a mask bool T H W may be drawn for; a model trained on any of them can fill it.

    The most particular comes first. Empty for an empty mask.
    """
    flat = mask.reshape(len(mask), -1)
    unknown, whole = (np.asarray(flags, np.bool_) for flags in (flat.any(1), flat.all(1)))
    if not unknown.any():
        return ()
    if not np.array_equal(unknown, whole):
        return ("outpaint", *HOLES) if _is_border(mask[unknown]) and unknown.all() else HOLES
    known = np.flatnonzero(~unknown)
    if not known.size:
        return ("generate",)
    found = []
    if known.size == 1:
        found.append("single")
    if known[-1] == known.size - 1:
        found.append("predict")
    if known[0] == len(mask) - known.size:
        found.append("backward")
    if not unknown[0] and (not unknown[-1] or len(mask) == 2):  # of two frames, the task hides the second
        found.append("interpolate")
    return (*found, "random")


def refuse_untrained(mask: NDArray[np.bool_], trained: Collection[str], model: str) -> None:
    """Raise UsageError, naming who can, when none of the tasks that a mask bool T H W stands for is among the `trained` ones."""
    tasks = tasks_of(mask)
    if not tasks or set(tasks) & set(trained):
        return
    raise UsageError(f"{model} was not trained on {tasks[0]!r}, only on {', '.join(sorted(trained))}; {WHO_CAN[tasks[0]]}")


def _is_border(mask: NDArray[np.bool_]) -> bool:
    """Whether what is known is the same rectangle in every frame."""
    known: NDArray[np.bool_] = np.logical_not(mask[0])
    rows, columns = (np.asarray(known.any(axis), np.bool_) for axis in (1, 0))
    square = known.any() and np.array_equal(known, np.outer(rows, columns)) and _run(rows) and _run(columns)
    return bool(square and np.array_equal(mask, np.broadcast_to(mask[0], mask.shape)))


def _run(flags: NDArray[np.bool_]) -> bool:
    found = np.flatnonzero(flags)
    return bool(found[-1] - found[0] + 1 == found.size)
