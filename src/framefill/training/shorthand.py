"""Short flags of `framefill train`, spelled out: `--data DIR`, and `--loss NAME` by the names of iw3's trainer (nunif)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framefill.errors import UsageError
from framefill.training.config import known_keys

# Weights by the published names; each is taken over the hole here, and the second difference along time. LPIPS has what is on this machine.
LOSSES: dict[str, dict[str, float]] = {
    "temporal_l1lpips": {"l1": 0.8, "temporal": 0.2, "smoothness": 0.01, "lpips": 0.2},
    "temporal_l1dctlpips": {"l1": 0.4, "dct": 0.4, "temporal": 0.2, "smoothness": 0.01, "lpips": 0.2},
    "l1lpips": {"l1": 1.0, "lpips": 0.4},
    "l1dctlpips": {"l1": 0.5, "dct": 0.5, "lpips": 0.2},
    "l1": {"l1": 1.0},
}
WEIGHTS = ("l1", "gradient", "temporal", "smoothness", "rim", "warp", "dct", "lpips")


def spelled_out(flags: Sequence[str]) -> list[str]:
    """Return flags in which short ones are replaced by the `--section.key value` that they stand for, in their place.

    Raises UsageError for a short flag without a value and for a loss that does not exist.
    """
    return list(_spelled_out(iter(flags)))


def _spelled_out(flags: Iterator[str]) -> Iterator[str]:
    for flag in flags:
        name, equals, value = flag.partition("=")
        if name not in ("--data", "--loss"):
            yield flag
            continue
        if not equals:
            value = next(flags, "--")
        if value.startswith("--"):
            raise UsageError(f"{name} has no value; give " + ("--data DIR, a folder of records" if name == "--data" else _known()))
        if name == "--data":
            yield f"--data.records={value}"
            continue
        if value not in LOSSES:
            raise UsageError(f"--loss {value} is unknown; give {_known()}")
        yield from (f"--loss.{key}={LOSSES[value].get(key, 0.0)}" for key in WEIGHTS)


def _known() -> str:
    own = ", ".join(key for key in known_keys() if key.startswith("loss."))
    return f"--loss NAME with one of {', '.join(LOSSES)}, or weights of your own: {own}"
