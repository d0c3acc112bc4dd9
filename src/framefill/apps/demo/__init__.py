"""`framefill demo --train`: the whole loop in three minutes on a CPU, from clips to a trained net to a page that shows what it learned."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from framefill.apps.cli.guard import say
from framefill.errors import UsageError
from framefill.samples import Scene

MINUTES = 2.3  # of training; the whole loop then takes less than three
PACKAGES = ("accelerate", "pydantic", "yaml", "torch", "diffusers", "safetensors", "matplotlib", "scipy")


def run_training_demo(scene: Scene | None, minutes: float | None, folder: Path) -> None:
    """Train a small net from nothing and print the page about it.

    Raises UsageError for a clip to be filled, which has no part in it, and for minutes that are none; ModuleNotFoundError for the first
    package of training that is not here, before anything is made.
    """
    if scene is not None:
        raise UsageError("--sample names a clip to be filled, and --train makes its own clips; give one of them")
    for name in PACKAGES:
        if find_spec(name) is None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    from framefill.apps.demo.loop import train_demo

    print(train_demo(folder, MINUTES if minutes is None else minutes, say))
