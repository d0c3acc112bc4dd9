"""Frames that follow known ones, precede them, or come from noise alone, made by a trained net window after window.

Each window is shown the last frames of what is there, known or made before, as far as they fit beside the new ones. One window is in
memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UsageError
from framefill.families.known import refuse_untrained
from framefill.families.trained import Frames, Trained

CONTEXT = 4  # frames that every window but the first of a generated clip is shown, if the net sees twice as many at once


def onward(
    trained: Trained, known: Frames, count: int, clip: int, told: Callable[[float], None], *, backward: bool = False
) -> Iterator[Frames]:
    """Make `count` frames of the net's size after `known` (uint8 T h w 3; none for a clip from noise), window by window.

    With `backward` they come before `known`, and the windows given are one earlier than the other. `clip` numbers the clip, for its noise.
    `told` is called with the frames done so far, in parts while a window is worked on.
    """
    seen, done = known, 0
    for number, (held, new) in enumerate(_cuts(trained, len(known), count, backward)):
        shown = (seen[:held] if backward else seen[len(seen) - held :], np.zeros((new, *known.shape[1:]), np.uint8))
        window = np.concatenate(shown[::-1] if backward else shown)
        made = trained.make(window, _unknown(held, new, backward), (clip, number), _counting(told, done, new))
        done += new
        yield made[:new] if backward else made[held:]
        seen = np.concatenate((made, seen[held:]) if backward else (seen[: len(seen) - held], made))
        seen = seen[: trained.length] if backward else seen[-trained.length :]


def most_shown(trained: Trained, count: int, backward: bool) -> int:
    """How many known frames the first window of `count` new ones can be shown."""
    return next(_cuts(trained, trained.length, count, backward))[0]


def refuse_onward(trained: Trained, known: int, count: int, *, backward: bool = False) -> None:
    """Raise UsageError, naming who can, when a net was not trained on what making `count` frames beside `known` ones asks of it."""
    if trained.length < 2 and known + count > 1:
        raise UsageError(f"{trained.name} sees one frame at a time, and knows of no motion; give a model that was trained on clips")
    for held, new in set(_cuts(trained, known, count, backward)):
        refuse_untrained(_unknown(held, new, backward)[:, None, None], trained.tasks, trained.name)


def _counting(told: Callable[[float], None], done: int, new: int) -> Callable[[float], None]:
    return lambda share: told(done + share * new)


def _cuts(trained: Trained, known: int, count: int, backward: bool) -> Iterator[tuple[int, int]]:
    """How many frames each window is shown and how many it makes."""
    whole = "backward" if backward else "predict"
    of_one = "single" in trained.tasks and not {whole, "random"} & set(trained.tasks)  # knows what to do with one frame, and no more
    least, most = (1, 1) if of_one else (min(CONTEXT, trained.length // 2), trained.length)
    while count:
        new = min(count, trained.length - min(known, least))
        held = min(known, most, trained.length - new)
        yield held, new
        known, count = known + new, count - new


def _unknown(held: int, new: int, backward: bool) -> NDArray[np.bool_]:
    return np.arange(held + new) < new if backward else np.arange(held + new) >= held
