"""How a command ends when it does not end well: in one line and an exit status, without a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from framefill.errors import FramefillError

EXTRAS = {
    **dict.fromkeys(("torch", "safetensors", "diffusers"), "networks"),
    **dict.fromkeys(("matplotlib", "scipy"), "eval"),
    **dict.fromkeys(("accelerate", "pydantic", "yaml"), "train"),
    **dict.fromkeys(("onnxruntime", "transformers"), "depth"),
}  # packages that the main job does without, and what brings them


@contextmanager
def guarded(debug: bool) -> Iterator[None]:
    """Turn what a command raises into one line on stderr and its exit status; with `debug`, show the traceback too."""
    try:
        yield
    except (FramefillError, KeyboardInterrupt, OSError, MemoryError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and _extra(error) is None:
            raise  # a fault of framefill's own
        if debug:
            import traceback

            traceback.print_exception(error)
        say(one_line(error))
        raise typer.Exit(exit_code(error)) from error


def say(line: str) -> None:
    """Print a line about the program itself, on stderr."""
    print(f"framefill: {line}", file=sys.stderr, flush=True)


def one_line(error: BaseException) -> str:
    """Say an error in one line."""
    if isinstance(error, ModuleNotFoundError):
        return f"this needs {error.name}, which is not installed: pip install 'framefill[{_extra(error)}]'"
    if isinstance(error, MemoryError):
        return "out of memory; try --memory with less than the machine has, --roi or --preview"
    return " ".join(str(error).split()) or "interrupted"


def exit_code(error: BaseException) -> int:
    """Return 2 for a wrong request, 130 for Ctrl-C, 1 for every other failure."""
    if isinstance(error, FramefillError):
        return error.exit_code
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _extra(error: ModuleNotFoundError) -> str | None:
    return EXTRAS.get((error.name or "").partition(".")[0])
