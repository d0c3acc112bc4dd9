"""`framefill weights ...`: which weights there are, getting them, checking them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from framefill.apps.cli import options as o

if TYPE_CHECKING:
    from framefill.weights.fetch import Progress, Tell
    from framefill.weights.registry import Weights

EVERY = 5.0  # seconds between plain lines of a download

weights_app = typer.Typer(help="Get the weights of networks that measure and interpolate.", no_args_is_help=True)

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Which weights; all for every one.")]
SomeNames = Annotated[list[str] | None, typer.Argument(metavar="[NAME...]", help="Which weights; without a name all that are here.")]
Source = Annotated[
    str | None,
    typer.Option("--from", metavar="SOURCE", help="A weights file, an archive, a folder of them, or hub:owner/repo/path/to/file."),
]
Force = Annotated[bool, typer.Option("--force", help="Get them although they are here.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per name.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print paths only.")]


@weights_app.command("list")
def list_all(json: Json = False, debug: o.Debug = False) -> None:
    """List the weights: what they are for, their size and licence, and whether they are here."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.weights.registry import WEIGHTS

        if json:
            for row in WEIGHTS.values():
                print(_described(row))
        else:
            _print_table(list(WEIGHTS.values()))


@weights_app.command()
def get(names: Names, source: Source = None, force: Force = False, quiet: Quiet = False, debug: o.Debug = False) -> None:
    """Get weights from their packages by pip, or from SOURCE, check their sha256, and print where they are kept."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.weights import fetch
        from framefill.weights.registry import chosen

        with _telling(quiet) as tell:
            for path in fetch.get(chosen(names), tell, source, force):
                print(path, flush=True)


@weights_app.command()
def verify(names: SomeNames = None, debug: o.Debug = False) -> None:
    """Check every byte of weights that are here; exit status 1 when one is not as it was written."""
    from framefill.apps.cli.guard import guarded, say

    with guarded(debug):
        from framefill.errors import MissingWeights, WeightsError
        from framefill.weights import store
        from framefill.weights.registry import WEIGHTS, chosen

        wrong = False
        seen = False
        for row in chosen(names or WEIGHTS):
            try:
                print(f"{row.name}: right, {store.verify(row.name)}", flush=True)
            except MissingWeights as error:
                if names:
                    wrong = True
                    say(str(error))
                continue
            except WeightsError as error:
                wrong = True
                say(str(error))
            seen = True
        if wrong:
            raise typer.Exit(1)
        if not seen:
            say(f"no weights are in {store.folder()}; get some with: framefill weights get NAME")


def _state(row: Weights) -> str:
    from framefill.errors import MissingWeights, WeightsError
    from framefill.weights import store

    try:
        store.find(row.name)
    except MissingWeights:
        return "no"
    except WeightsError:
        return "unusable"
    return "yes"


def _described(row: Weights) -> str:
    from framefill.weights import store

    return json.dumps(
        {
            "name": row.name,
            "does": row.does,
            "here": _state(row),
            "path": str(store.place(row.name)),
            "bytes": row.size,
            "download_bytes": row.archive.size,
            "licence": row.licence,
            "source": row.source,
            "package": row.package,
            "version": row.version,
            "archive": row.archive.file,
            "member": row.member,
            "sha256": row.sha256,
        }
    )


def _print_table(rows: list[Weights]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("for")
    table.add_column("licence")
    for row in rows:
        table.add_row(row.name, _state(row), f"{row.size / 1e6:.0f}", row.does, row.licence)
    Console(highlight=False).print(table)


@contextmanager
def _telling(quiet: bool) -> Iterator[Tell]:
    """Give what shows a get on stderr: a bar for people, a plain line now and then for logs, nothing when told to be quiet."""
    if quiet:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar() as tell:
            yield tell
    else:
        yield _Lines()


class _Lines:
    """Every line once, and one for a download every `EVERY` seconds."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        from framefill.apps.cli.guard import say

        now = time.monotonic()
        if progress.line:
            say(progress.line)
            self._last = now
        elif now - self._last >= EVERY:
            say(f"{progress.file}: {progress.done / 1e6:.0f} of {progress.total / 1e6:.0f} MB")
            self._last = now


@contextmanager
def _bar() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None, visible=False)

        def tell(progress: Progress) -> None:
            if progress.line:
                bars.update(task, visible=False)
                bars.console.print(f"framefill: {progress.line}", markup=False, highlight=False, soft_wrap=True)
            else:
                bars.update(task, description=progress.file, completed=progress.done, total=progress.total, visible=True)

        yield tell
