"""`framefill convert FILE... -o FOLDER`: published weights that come as pickles, as a folder that framefill loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framefill.apps.cli import options as o


def convert(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="taef2_encoder.pth and taef2_decoder.pth, or iw3_light_video_inpaint_v1_....pth (iw3)."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="The folder to write, new or empty.")],
    debug: o.Debug = False,
) -> None:
    """Convert published weights to a folder: an autoencoder's for --model.codec and --codec, a light inpainting net's for --model."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.weights.published import convert_published

        print(convert_published(files, output))
