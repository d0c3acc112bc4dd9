"""`framefill convert FILE... -o FOLDER`: published weights that come as pickles, as a folder that framefill loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framefill.apps.cli import options as o


def convert(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="taef2_encoder.pth and taef2_decoder.pth, in any order.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The folder to write, new or empty.")],
    debug: o.Debug = False,
) -> None:
    """Convert an autoencoder's published files to a folder for --model.codec of train and --codec of data cache."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.weights.autoencoder import convert_autoencoder

        print(convert_autoencoder(files, output))
