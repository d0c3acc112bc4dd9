"""`framefill eval ...`: protocols, runs, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from framefill.apps.cli import options as o

eval_app = typer.Typer(help="Measure models by named protocols.", no_args_is_help=True)

WIDE = 140  # columns of a table that goes into a file or a pipe
Name = Annotated[str, typer.Argument(metavar="PROTOCOL", help="A protocol's name; framefill eval list tells them.")]
Clips = Annotated[
    Path, typer.Option("--clips", metavar="DIR", help="The folder of clips; framefill eval describe PROTOCOL tells its layout.")
]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the protocol; repeatable.")]
Only = Annotated[list[str] | None, typer.Option("--clip", metavar="NAME", help="Only these clips (names or patterns); repeatable.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of masks, of drawn clips and of the intervals.")]


@eval_app.command("list")
def list_all(debug: o.Debug = False) -> None:
    """List the protocols, the metrics and the models that can be measured."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        import sys

        from rich.console import Console
        from rich.table import Table

        from framefill.evaluation.baselines import BASELINES
        from framefill.evaluation.protocols import PROTOCOLS
        from framefill.evaluation.table import METRICS, SET_METRICS
        from framefill.families import FAMILIES

        metrics = [
            (name, f"{metric.about} ({metric.better} is better)") for table in (METRICS, SET_METRICS) for name, metric in table.items()
        ]
        for title, rows in (
            ("protocol", [(name, protocol.about) for name, protocol in PROTOCOLS.items()]),
            ("model", [(name, family.does) for name, family in {**BASELINES, **FAMILIES}.items()]),
            ("metric", metrics),
        ):
            shown = Table(box=None, pad_edge=False, header_style="bold")
            shown.add_column(title, no_wrap=True)
            shown.add_column("")
            for row in rows:
                shown.add_row(*row)
            Console(width=None if sys.stdout.isatty() else WIDE).print(shown, "")


@eval_app.command()
def describe(name: Name, setting: Set = None, debug: o.Debug = False) -> None:
    """Print a protocol's definition: what is hidden, what is measured, on which folders, with which settings."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.evaluation.protocols import get_protocol
        from framefill.evaluation.protocols.base import Protocol

        protocol = get_protocol(name)
        chosen = protocol.settle(pairs("--set", setting or ()))
        print(f"{protocol.name}: {protocol.about}\n")
        for line in protocol.define(chosen):
            print(f"- {line}")
        print(f"\nclips    {protocol.layout}")
        print(f"metrics  {', '.join(protocol.metrics)}")
        if isinstance(protocol, Protocol):
            print(f"models   {', '.join(protocol.models)} when none is named")
        print("settings (--set NAME=VALUE)")
        for key, option in protocol.options.items():
            print(f"  {key}={chosen[key]}  {option.about}{': ' + ', '.join(option.choices) if option.choices else ''}")


@eval_app.command("run")
def run_protocol(
    context: typer.Context,
    name: Name,
    clips: Clips,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Where the values and the report go; the same command goes on there.")
    ],
    model: Annotated[list[str] | None, typer.Option("--model", metavar="NAME", help="A model to measure; repeatable.")] = None,
    results: Annotated[
        list[str] | None,
        typer.Option("--results", metavar="NAME=DIR", help="What another program made: DIR/CLIP.mp4 or DIR/CLIP/*.png; repeatable."),
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="A,B", help="Measure these in place of the protocol's own.")] = None,
    clip: Only = None,
    setting: Set = None,
    seed: Seed = 0,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that work side by side.")] = 1,
    save: Annotated[str, typer.Option("--save", metavar="KIND", help="Keep results as video, as frames (PNG), or none.")] = "video",
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Measure models on a folder of clips and write a report; run again, it goes on where it stopped."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        import shlex
        from dataclasses import asdict
        from json import dumps
        from typing import cast

        from framefill.apps.cli.progress import scoring
        from framefill.errors import UsageError
        from framefill.evaluation.plan import EvalSettings
        from framefill.evaluation.run import evaluate
        from framefill.evaluation.unit import Save

        if save not in ("video", "frames", "none"):
            raise UsageError(f"--save {save}: give video, frames or none")
        settings = EvalSettings(
            protocol=name, clips=clips, output=output, models=tuple(model or ()),
            results={key: Path(folder) for key, folder in pairs("--results", results or ()).items()},
            metrics=tuple(part.strip() for part in metrics.split(",") if part.strip()) if metrics else (),
            only=tuple(clip or ()), settings=pairs("--set", setting or ()), seed=seed, workers=workers, save=cast("Save", save),
            command=shlex.join(["framefill", *context.obj]),
        )  # fmt: skip
        with scoring(quiet) as progress:
            files = evaluate(settings, progress)
        if json:
            from framefill.evaluation.report.read import read_run

            rows = read_run(output).rows
            print(dumps({"output": str(output), "files": [str(path) for path in files], "rows": [asdict(row) for row in rows]}))
        else:
            for path in files:
                print(path)


@eval_app.command("inputs")
def write_inputs(
    name: Name,
    clips: Clips,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Where to write them.")],
    clip: Only = None,
    setting: Set = None,
    seed: Seed = 0,
    debug: o.Debug = False,
) -> None:
    """Write what a protocol gives to a model, as PNGs, for other programs: DIR/given/CLIP/*.png and DIR/mask/CLIP/*.png."""
    from framefill.apps.cli.guard import guarded, say

    with guarded(debug):
        from framefill.evaluation.inputs import export

        for line in export(name, clips, output, pairs("--set", setting or ()), tuple(clip or ()), seed):
            say(line)
        print(output)


@eval_app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN[:MODEL]", help="A run's folder, and one of its models.")],
    second: Annotated[str, typer.Argument(metavar="RUN[:MODEL]", help="Another, or the same with another model.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write the comparison as Markdown and HTML too.")
    ] = None,
    metrics: Annotated[str | None, typer.Option("--metrics", metavar="A,B", help="Compare these only.")] = None,
    seed: Seed = 0,
    json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Compare two runs, or two models of one, clip by clip: mean difference, its interval, and a permutation test."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from json import dumps

        from framefill.evaluation.compare import compare_runs, write_compared

        chosen = tuple(part.strip() for part in metrics.split(",") if part.strip()) if metrics else ()
        compared = compare_runs(first, second, chosen, seed)
        if json:
            print(dumps(compared.as_dict()))
        else:
            import sys

            from rich.console import Console

            Console(width=None if sys.stdout.isatty() else WIDE).print(compared.table())
        if output is not None:
            for path in write_compared(compared, output):
                print(path)


@eval_app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    debug: o.Debug = False,
) -> None:
    """Write a finished run's reports anew."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.evaluation.report import write_reports

        for path in write_reports(folder):
            print(path)


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE options; raises UsageError for one without a name or a value, or a name given twice."""
    from framefill.errors import UsageError

    read: dict[str, str] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not (sign and name and value):
            raise UsageError(f"{option} {text}: expected NAME=VALUE")
        if name in read:
            raise UsageError(f"{option} {name} is given twice")
        read[name] = value
    return read
