"""When a run must stop: a loss or gradient that is no number, or a loss that has left its recent level for good."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

LONG, SHORT = 200, 10  # steps of the level before, and of the level now


def reason_to_stop(loss: float, gradient_norm: float, recent: Sequence[float], divergence: float, scaled: bool) -> str | None:
    """Return why a step may not count, None when all is well.

    recent: the losses of up to LONG steps before. divergence: how many times its recent median the median of the last SHORT losses
    may be, 0 = any; it is asked once LONG steps are known. scaled: an infinite gradient is then the fp16 scaler's own affair.
    """
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(gradient_norm) and not scaled:
        return f"the gradient's norm is {gradient_norm}"
    if divergence > 0 and len(recent) >= LONG:
        level, now = median(recent), median([*recent[-SHORT + 1 :], loss])
        if now > divergence * level:
            return f"the loss has gone from {level:.4g} to {now:.4g}, more than {divergence:g} times"
    return None
