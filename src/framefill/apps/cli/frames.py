"""`framefill predict`, `interpolate` and `generate`: frames that are not there yet, after, before and between those of a video, or anew."""

from __future__ import annotations

from typing import Annotated

import typer
from typer import Option

from framefill.apps.cli import options as o

NewModel = Annotated[
    str, Option("--model", metavar="NAME|FOLDER", help="A trained model: vdt-tiny, or the folder of one.", rich_help_panel=o.RUN)
]


def predict(
    video: o.Video,
    output: o.OneOutput,
    frames: Annotated[int, Option("--frames", metavar="N", help="How many new frames.")],
    backward: Annotated[bool, Option("--backward", help="Before the first frame, not after the last.")] = False,
    fps: o.Fps = None,
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    lossless: o.Lossless = False,
    overwrite: o.Overwrite = False,
    model: NewModel = "vdt-tiny",
    seed: o.Seed = None,
    steps: o.Steps = None,
    device: o.Device = None,
    dtype: o.Dtype = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Go on where a video ends, or lead up to where it begins, with frames that a trained net makes."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.apps.cli.make import predict_file, sampling
        from framefill.families.trained import Sampling
        from framefill.jobs.extend import ExtendSettings
        from framefill.jobs.settings import optional, parse_fps

        settings = ExtendSettings(
            video, output, frames, backward, model, sampling(seed, steps, device, dtype) or Sampling(), optional(parse_fps, fps), codec,
            crf, lossless, overwrite,
        )  # fmt: skip
        predict_file(settings, json, quiet)


def interpolate(
    video: o.Video,
    output: o.OneOutput,
    factor: Annotated[int | None, Option("--factor", metavar="K", help="K times as many frames.")] = None,
    fps: Annotated[str | None, Option("--fps", metavar="RATE", help="A constant rate, such as 60 or 60000/1001.")] = None,
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    lossless: o.Lossless = False,
    overwrite: o.Overwrite = False,
    model: Annotated[
        str,
        Option("--model", metavar="NAME|FOLDER", help="flow, or a trained model: vdt-tiny, or a folder.", rich_help_panel=o.RUN),
    ] = "flow",
    seed: o.Seed = None,
    steps: o.Steps = None,
    device: o.Device = None,
    dtype: o.Dtype = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Make new frames between those of a video; its own frames stay, and so does its sound."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.apps.cli.make import interpolate_file, sampling
        from framefill.jobs.between import BetweenSettings
        from framefill.jobs.settings import optional, parse_fps

        settings = BetweenSettings(
            video, output, factor, optional(parse_fps, fps), model, sampling(seed, steps, device, dtype), codec, crf, lossless, overwrite
        )
        interpolate_file(settings, json, quiet)


def generate(
    output: Annotated[str, Option("-o", "--output", metavar="OUT", help="The file to write; with --count, the folder for 000.mp4 and on.")],
    frames: Annotated[int, Option("--frames", metavar="N", help="Frames of each clip, the picture among them.")],
    image: Annotated[str | None, Option("--image", metavar="PICTURE", help="Each clip's first frame.")] = None,
    count: Annotated[int, Option("--count", metavar="M", help="How many clips.")] = 1,
    first: Annotated[int, Option("--first", metavar="K", help="The first clip's number; a number's clip is always the same.")] = 0,
    size: Annotated[str | None, Option("--size", metavar="WxH", help="The clips' size (what the net was trained on).")] = None,
    fps: Annotated[str, Option("--fps", metavar="RATE", help="Frames per second.")] = "8",
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    lossless: o.Lossless = False,
    overwrite: o.Overwrite = False,
    model: NewModel = "vdt-tiny",
    seed: o.Seed = None,
    steps: o.Steps = None,
    device: o.Device = None,
    dtype: o.Dtype = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Make clips from nothing but noise, or from one picture that begins to move."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.apps.cli.make import generate_files, sampling
        from framefill.families.trained import Sampling
        from framefill.jobs.generate import GenerateSettings
        from framefill.jobs.settings import optional, parse_fps, parse_size

        settings = GenerateSettings(
            output, frames, count, first, image, optional(parse_size, size), parse_fps(fps), model,
            sampling(seed, steps, device, dtype) or Sampling(), codec, crf, lossless, overwrite,
        )  # fmt: skip
        generate_files(settings, json, quiet)


def add_to(app: typer.Typer) -> None:
    """Make these the program's commands."""
    for command in (predict, interpolate, generate):
        app.command()(command)
