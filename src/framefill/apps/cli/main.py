"""The program: `framefill VERB ...`. Every command imports what it needs when it is called, so that `--help` comes at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from framefill.apps.cli import options as o
from framefill.apps.cli.convert import convert
from framefill.apps.cli.data import data_app
from framefill.apps.cli.evaluate import eval_app
from framefill.apps.cli.frames import add_to
from framefill.apps.cli.stereo import stereo
from framefill.apps.cli.train import EPILOG, EXTRA, train
from framefill.apps.cli.weights import weights_app
from framefill.samples import Scene

app = typer.Typer(
    name="framefill",
    help="Fill what a video is missing: holes in its frames, and the picture outside them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
mask_app = typer.Typer(help="Look at masks.", no_args_is_help=True)
app.add_typer(mask_app, name="mask")
app.add_typer(eval_app, name="eval")
app.add_typer(weights_app, name="weights")
app.add_typer(data_app, name="data")
app.command(context_settings=EXTRA, epilog=EPILOG)(train)
app.command()(convert)


def main(arguments: list[str] | None = None) -> int:
    """Run the program on `arguments` (the command line by default) and return its exit status: 0, 1 failure, 2 usage, 130 Ctrl-C."""
    try:
        given = sys.argv[1:] if arguments is None else arguments
        status = app(given, prog_name="framefill", standalone_mode=False, obj=given)
    except TyperException as error:
        if message := error.format_message():
            stop = "" if message.endswith((".", "?")) else "."
            print(f"framefill: {message}{stop} Try framefill --help.", file=sys.stderr)
        return error.exit_code
    return status if isinstance(status, int) else 0


def _print_version(asked: bool) -> None:
    if asked:
        from framefill import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version)] = False,
) -> None:
    """Stand for the options before any verb; `version` has done its work by now."""


@app.command()
def inpaint(
    context: typer.Context,
    output: o.Output,
    videos: o.Videos = None,
    video: o.MoreVideos = None,
    fps: o.Fps = None,
    mask: o.MaskFile = None,
    box: o.Boxes = None,
    threshold: o.Threshold = None,
    ids: o.Ids = None,
    invert: o.Invert = False,
    mask_encoding: o.Encoding = "auto",
    keep_affected: o.KeepAffected = False,
    dilate: o.Dilate = 0,
    erode: o.Erode = 0,
    close: o.Close = 0,
    feather: o.Feather = 0,
    mask_length: o.MaskLength = "error",
    mask_match: o.MaskMatch = "auto",
    mask_key: o.MaskKey = None,
    start: o.Start = 0.0,
    end: o.End = None,
    roi: o.Roi = None,
    preview: o.Preview = None,
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    lossless: o.Lossless = False,
    provenance: o.Provenance = None,
    report: o.Report = None,
    overwrite: o.Overwrite = False,
    model: o.Model = "auto",
    seed: o.Seed = None,
    steps: o.Steps = None,
    device: o.Device = None,
    dtype: o.Dtype = None,
    fff_mode: o.FFFMode = None,
    long_video: o.LongVideo = None,
    guidance: o.Guidance = None,
    flow: o.Flow = None,
    inversion: o.Inversion = None,
    memory: o.Memory = None,
    keep_job: o.KeepJob = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Fill the masked part of a video, and leave every other pixel as it is."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.apps.cli.fill import Printing, fill_all, mask_rule
        from framefill.apps.cli.make import sampling
        from framefill.jobs.settings import FillSettings, optional, parse_fps, parse_memory, parse_roi

        rule = mask_rule(
            ids, mask_encoding, mask_length, mask_match, threshold=threshold, invert=invert, keep_affected=keep_affected,
            dilate=dilate, erode=erode, close=close, feather=feather, key=mask_key,
        )  # fmt: skip
        settings = FillSettings(
            input="", output=output, fps=optional(parse_fps, fps), mask=mask, boxes=tuple(box or ()), rule=rule,
            model=model, sampling=sampling(seed, steps, device, dtype, fff_mode, long_video, guidance, flow, inversion),
            start=start, end=float("inf") if end is None else end,
            roi=optional(parse_roi, roi), preview=preview, codec=codec, crf=crf, lossless=lossless,
            memory=optional(parse_memory, memory), provenance=provenance, report=report, overwrite=overwrite, keep_job=keep_job,
        )  # fmt: skip
        fill_all(settings, [*(videos or ()), *(video or ())], Printing(context.obj, json, quiet, debug))


@app.command()
def outpaint(
    context: typer.Context,
    output: o.Output,
    videos: o.Videos = None,
    video: o.MoreVideos = None,
    fps: o.Fps = None,
    pad: Annotated[str | None, typer.Option("--pad", metavar="L,T,R,B", help="Pixels to add on each side.")] = None,
    aspect: Annotated[
        str | None,
        typer.Option("--aspect", metavar="W:H", help="Widen or heighten to this shape, such as 16:9; the new side becomes even."),
    ] = None,
    start: o.Start = 0.0,
    end: o.End = None,
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    lossless: o.Lossless = False,
    provenance: o.Provenance = None,
    report: o.Report = None,
    overwrite: o.Overwrite = False,
    model: o.Model = "auto",
    seed: o.Seed = None,
    steps: o.Steps = None,
    device: o.Device = None,
    dtype: o.Dtype = None,
    fff_mode: o.FFFMode = None,
    long_video: o.LongVideo = None,
    guidance: o.Guidance = None,
    flow: o.Flow = None,
    inversion: o.Inversion = None,
    memory: o.Memory = None,
    keep_job: o.KeepJob = False,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Make the picture larger and fill what lies outside the old one, which stays bit for bit."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.apps.cli.fill import Printing, fill_all
        from framefill.apps.cli.make import sampling
        from framefill.jobs.settings import FillSettings, optional, parse_aspect, parse_fps, parse_memory, parse_pad

        settings = FillSettings(
            input="", output=output, fps=optional(parse_fps, fps), pad=optional(parse_pad, pad), aspect=optional(parse_aspect, aspect),
            model=model, sampling=sampling(seed, steps, device, dtype, fff_mode, long_video, guidance, flow, inversion),
            start=start, end=float("inf") if end is None else end,
            codec=codec, crf=crf, lossless=lossless,
            memory=optional(parse_memory, memory), provenance=provenance, report=report, overwrite=overwrite, keep_job=keep_job,
        )  # fmt: skip
        fill_all(settings, [*(videos or ()), *(video or ())], Printing(context.obj, json, quiet, debug))


add_to(app)
app.command()(stereo)


@mask_app.command("check")
def mask_check(
    video: o.Video,
    mask: o.MaskFile = None,
    box: o.Boxes = None,
    sheet: Annotated[Path, typer.Option("-o", "--output", metavar="PNG", help="Where to draw the mask over some frames.")] = Path(
        "mask-check.png"
    ),
    fps: o.Fps = None,
    threshold: o.Threshold = None,
    ids: o.Ids = None,
    invert: o.Invert = False,
    mask_encoding: o.Encoding = "auto",
    keep_affected: o.KeepAffected = False,
    dilate: o.Dilate = 0,
    erode: o.Erode = 0,
    close: o.Close = 0,
    feather: o.Feather = 0,
    mask_length: o.MaskLength = "error",
    mask_match: o.MaskMatch = "auto",
    mask_key: o.MaskKey = None,
    debug: o.Debug = False,
) -> None:
    """Say how a mask is understood, and draw it over the frames."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.apps.cli.fill import mask_rule
        from framefill.apps.cli.look import check_mask
        from framefill.jobs.settings import optional, parse_fps

        rule = mask_rule(
            ids, mask_encoding, mask_length, mask_match, threshold=threshold, invert=invert, keep_affected=keep_affected,
            dilate=dilate, erode=erode, close=close, feather=feather, key=mask_key,
        )  # fmt: skip
        check_mask(video, optional(parse_fps, fps), mask, box or [], rule, sheet)


@app.command()
def info(video: o.Video, json: o.Json = False, debug: o.Debug = False) -> None:
    """Say what a video is: size, times, colour, sound."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.apps.cli.look import print_info

        print_info(video, json)


@app.command()
def demo(
    context: typer.Context,
    sample: Annotated[
        Scene | None,
        typer.Option(
            "--sample", help="vtest (default): a person is removed, the camera stands; city: wires are removed, the camera moves."
        ),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train a small net from nothing instead, and show what it learned: three minutes.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option("--minutes", metavar="M", help="With --train: how long the training goes, 2.3 by default.")
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where to put the result.")] = Path("framefill-demo"),
    debug: o.Debug = False,
) -> None:
    """Fill a sample clip that comes along, and say where the result and its report lie; or show how a net is trained."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        if train:
            from framefill.apps.demo import run_training_demo

            run_training_demo(sample, minutes, folder)
        else:
            from framefill.apps.cli.look import run_demo

            run_demo(sample, minutes, folder, context.obj)
