"""Numbers as a reader wants them: units on, no false precision, thousands apart."""

from __future__ import annotations

import math


def percent(share: float) -> str:
    """A share of 0..1 as a percentage with one decimal; what is not quite nothing, or not quite all, does not pose as it."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 1 else f"{100 * share:.0f} %"


def seconds(time: float) -> str:
    """A time in seconds as `4.04 s`, from a minute on as `2:05.3`, from an hour on as `1:02:05`."""
    if time < 59.995:
        return f"{time:.2f} s"
    if time < 3599.95:
        tenths = round(time * 10)
        return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
    whole = round(time)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def levels(score: float | None) -> str:
    """A difference in 8-bit levels with one decimal, a dash where there is none."""
    return "–" if score is None or math.isnan(score) else f"{score:.1f}"


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 frame`, `3,000 frames`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def ceiling(value: float) -> float:
    """The least of 1, 2, 3, 4, 5, 6, 8 or 10 times a power of ten that is not below `value`: the top of an axis."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * (1 - 1e-9))
