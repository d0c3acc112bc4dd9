"""`framefill train PRESET`: one training run from a recipe, a file and flags."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from framefill.apps.cli import options as o

if TYPE_CHECKING:
    from framefill.training.config import TrainConfig

EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}  # --section.key value
EPILOG = (
    "Any setting of the recipe can be given as --section.key value, such as --optim.lr 3e-4; --dry-run prints them all. "
    "Sections: --run --data --model --tasks --objective --loss --fff --adversary --optim --ema --compute --log --validate. "
    "--data DIR is --data.records DIR, --loss NAME sets the weights of a loss by its name. With --slurm FILE, --slurm.nodes, .gpus, .cpus, "
    ".time, .partition, .account, .qos, .constraint."
)


def train(
    context: typer.Context,
    preset: Annotated[str | None, typer.Argument(metavar="PRESET", help="A recipe's name; without one, the recipes are listed.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="YAML", help="Settings by section that override the recipe's.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings, the parameter count and the memory needed; train nothing.")
    ] = False,
    reset_state: Annotated[
        bool, typer.Option("--reset-state", help="Begin another round from what the run of this name has learnt; that run is set aside.")
    ] = False,
    slurm: Annotated[
        Path | None,
        typer.Option("--slurm", metavar="FILE", help="Write a job for Slurm that trains this, resumes and comes back; train nothing here."),
    ] = None,
    debug: o.Debug = False,
) -> None:
    """Train a network; the same command again goes on where the run stopped."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.errors import UsageError
        from framefill.training.config import resolve, to_yaml
        from framefill.training.presets import PRESETS, get_preset
        from framefill.training.shorthand import spelled_out

        if preset is None:
            for name, recipe in PRESETS.items():
                print(f"{name:12} {(recipe.__doc__ or '').splitlines()[0]}")
            return
        if preset.startswith("-"):
            raise UsageError(f"{preset} came first; give the recipe's name first: framefill train PRESET {preset} ...")
        flags = list(context.args)
        if slurm is not None:
            from framefill.training.slurm import take_slurm, write_slurm

            job, flags = take_slurm(flags)
        chosen = resolve(get_preset(preset), config, spelled_out(flags))
        if slurm is not None:
            given = [preset, *(("--config", str(config)) if config else ()), *(("--reset-state",) if reset_state else ()), *flags]
            write_slurm(slurm, job, chosen, given)
            print(slurm)
            return
        if dry_run:
            print(to_yaml(chosen))
            print("\n".join(_needed(chosen)))
            return
        from framefill.training.build import build_trainer

        if reset_state:
            from framefill.training.rounds import begin_round

            chosen = begin_round(chosen)
        if chosen.model.family == "fff" and os.environ.get("RANK", "0") == "0":  # what is long and large is told before it begins
            print("\n".join(_needed(chosen)), file=sys.stderr)
        model = build_trainer(chosen).fit()
        if os.environ.get("RANK", "0") == "0":  # under accelerate launch, one of several processes
            print(model)


def _needed(config: TrainConfig) -> list[str]:
    """What a run will need, in lines; of one process of those that were started."""
    if config.model.family == "fff":
        from framefill.training.fff_estimate import fff_estimate

        return fff_estimate(config, int(os.environ.get("WORLD_SIZE", "1"))).lines()
    from framefill.training.build import build_objective
    from framefill.training.estimate import estimate

    return estimate(config, build_objective(config)).lines()
