"""How far an evaluation is, as it tells whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """`done` of `total` results are scored; `line` says something that the user should know, once."""

    done: int
    total: int
    line: str = ""


Progress = Callable[[Step], None]
