"""`framefill stereo`: a second eye for a video."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from framefill.apps.cli import options as o

EYES, DEPTH, HOLES, LAYOUT = "Eyes", "Depth", "Holes", "Layout"


def stereo(
    video: o.Video,
    output: Annotated[str | None, Option("-o", "--output", metavar="OUT", help="The file to write, or a folder for PNG frames.")] = None,
    layout: Annotated[
        str,
        Option(
            "--layout",
            metavar="NAME",
            help="sbs, half-sbs, tb, half-tb, cross, anaglyph, anaglyph-half-colour, anaglyph-grey, rgbd, vr180.",
            rich_help_panel=LAYOUT,
        ),
    ] = "sbs",
    vr_view: Annotated[
        float, Option("--vr-view", metavar="DEG", help="vr180: how wide the picture stands before the eyes.", rich_help_panel=LAYOUT)
    ] = 90.0,
    divergence: Annotated[
        float, Option("--divergence", metavar="PERCENT", help="How strong: the eyes' distance, of the longer side.", rich_help_panel=EYES)
    ] = 2.0,
    convergence: Annotated[
        float, Option("--convergence", metavar="0-1", help="The depth on the screen: 0 far, 1 near.", rich_help_panel=EYES)
    ] = 0.5,
    eye: Annotated[
        str, Option("--eye", metavar="WHICH", help="Which eyes are made: both, left, right; another is the source.", rich_help_panel=EYES)
    ] = "both",
    method: Annotated[
        str, Option("--method", metavar="NAME", help="backward (no cracks), forward (what is behind thin things).", rich_help_panel=EYES)
    ] = "backward",
    depth: Annotated[
        str,
        Option(
            "--depth",
            metavar="SPEC",
            help="heuristic, files:FOLDER, onnx:FILE, hf:ID-or-FOLDER, constant, synthetic:SEED.",
            rich_help_panel=DEPTH,
        ),
    ] = "heuristic",
    depth_resolution: Annotated[
        int | None, Option("--depth-resolution", metavar="PX", help="Shorter side at which depth is looked for.", rich_help_panel=DEPTH)
    ] = None,
    mapper: Annotated[
        str | None,
        Option(
            "--mapper",
            metavar="NAME",
            help="From depth to disparity: none, mul_1..3, inv_mul_1..3, div_25|10|6|4|2|1.",
            rich_help_panel=DEPTH,
        ),
    ] = None,
    ema: Annotated[
        str,
        Option(
            "--ema",
            metavar="DECAY,N",
            help="Steady depth: decay and frames ahead; frame: each by itself; none: as it is.",
            rich_help_panel=DEPTH,
        ),
    ] = "0.75,30",
    edge_dilation: Annotated[
        int, Option("--edge-dilation", metavar="N", help="Steps by which near things grow over their edges.", rich_help_panel=DEPTH)
    ] = 2,
    cuts: Annotated[bool, Option("--cuts/--no-cuts", help="Begin anew at each cut.", rich_help_panel=DEPTH)] = True,
    inpaint_model: Annotated[
        str,
        Option("--inpaint-model", metavar="NAME|FOLDER", help="What fills the holes: stretch, a family, a folder.", rich_help_panel=HOLES),
    ] = "auto",
    overlap: Annotated[
        str | None,
        Option("--overlap", metavar="PRE,POST", help="Frames a window sees before and after its own.", rich_help_panel=HOLES),
    ] = None,
    inner_dilation: Annotated[
        int, Option("--inner-dilation", metavar="N", help="Grow the holes towards the object.", rich_help_panel=HOLES)
    ] = 0,
    outer_dilation: Annotated[
        int, Option("--outer-dilation", metavar="N", help="Grow the holes away from the object.", rich_help_panel=HOLES)
    ] = 0,
    export: Annotated[
        str | None,
        Option("--export", metavar="DIR", help="Write depth and frames there; DIR is a VIDEO in its turn.", rich_help_panel=o.OUT),
    ] = None,
    fps: o.Fps = None,
    codec: o.Codec = "auto",
    crf: o.Crf = None,
    lossless: o.Lossless = False,
    overwrite: o.Overwrite = False,
    device: Annotated[
        str, Option("--device", metavar="NAME", help="Where the depth net runs: cpu or cuda.", rich_help_panel=o.RUN)
    ] = "cpu",
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Turn 2D into 3D: make what the other eye sees, fill what it uncovers, and keep sound and times."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from typing import cast

        from framefill.apps.cli.make import stereo_file
        from framefill.jobs.eyes import Eyes, EyeSettings, Method
        from framefill.jobs.settings import optional, parse_fps
        from framefill.jobs.stereo import StereoSettings, parse_overlap, parse_range
        from framefill.media.stereo_layout import Layout

        eyes = EyeSettings(
            divergence=divergence, convergence=convergence, eyes=cast("Eyes", eye), depth=depth, resolution=depth_resolution, mapper=mapper,
            range=parse_range(ema), edge_dilation=edge_dilation, method=cast("Method", method), inner=inner_dilation, outer=outer_dilation,
            model=inpaint_model, overlap=optional(parse_overlap, overlap), cuts=cuts, device=device,
        )  # fmt: skip
        settings = StereoSettings(
            video, output, cast("Layout", layout), eyes, vr_view, export, optional(parse_fps, fps), codec, crf, lossless, overwrite
        )
        stereo_file(settings, json, quiet)
