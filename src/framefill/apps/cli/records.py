"""`framefill data records`: from videos to what a light net is trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from framefill.apps.cli import options as o

HOLES, CLIPS = "Holes", "Clips"


def records(
    videos: Annotated[list[str] | None, typer.Argument(metavar="VIDEO", help="Video files, folders of frames, quoted patterns.")] = None,
    more: Annotated[list[str] | None, typer.Option("-i", "--video", metavar="VIDEO", help="The same; may be repeated.")] = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="data writes data/train and data/eval; data/train that one alone.")
    ] = Path("data"),
    prefix: Annotated[str, typer.Option("--prefix", metavar="NAME", help="What the records' names begin with.")] = "",
    masks: Annotated[
        str,
        typer.Option(
            "--masks", metavar="KIND=WEIGHT,...", rich_help_panel=HOLES,
            help="Kinds and weights; there is completion too. 1 where none stands.",
        ),
    ] = "stereo=4,object=2,stroke,blob,box,dust,text,outpaint",
    depth: Annotated[
        str,
        typer.Option(
            "--depth", metavar="PROVIDER", rich_help_panel=HOLES,
            help="heuristic, hf:ID-or-DIR, onnx:FILE, files:DIR, synthetic:SEED; none draws stereo holes without depth.",
        ),
    ] = "heuristic",
    resolution: Annotated[
        int | None, typer.Option("--resolution", metavar="PX", help="Shorter side at which depth is estimated.", rich_help_panel=HOLES)
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", help="Frames of which depth is estimated at once.", rich_help_panel=HOLES)
    ] = 2,
    divergence_level: Annotated[
        int, typer.Option("--divergence-level", metavar="1..3", help="How far apart the eyes are.", rich_help_panel=HOLES)
    ] = 1,
    size: Annotated[int, typer.Option("--size", metavar="PX", help="Height and width of a record.", rich_help_panel=CLIPS)] = 512,
    short_side: Annotated[
        str,
        typer.Option("--short-side", metavar="PX,...", help="Pictures are shrunk to one of these, then cropped.", rich_help_panel=CLIPS),
    ] = "720,1080,1080",
    num_samples: Annotated[int, typer.Option("--num-samples", metavar="N", help="Crops of each clip.", rich_help_panel=CLIPS)] = 1,
    seq: Annotated[int, typer.Option("--seq", metavar="N", help="Frames of a record.", rich_help_panel=CLIPS)] = 16,
    max_fps: Annotated[float, typer.Option("--max-fps", metavar="RATE", help="Leave frames out above it.", rich_help_panel=CLIPS)] = 30.0,
    skip_first: Annotated[int, typer.Option("--skip-first", metavar="N", help="Frames left out at first.", rich_help_panel=CLIPS)] = 0,
    skip_interval: Annotated[
        int, typer.Option("--skip-interval", metavar="N", help="Frames left out after each clip.", rich_help_panel=CLIPS)
    ] = 16,
    cuts: Annotated[
        str, typer.Option("--cuts", metavar="NAME", help="How shots are found: auto, histogram, transnet, none.", rich_help_panel=CLIPS)
    ] = "auto",
    eval_share: Annotated[
        float | None, typer.Option("--eval-share", metavar="SHARE", help="Of the videos, for evaluation; -o DIR: 0.1, -o DIR/train: 0.")
    ] = None,
    licence: Annotated[str, typer.Option("--licence", metavar="TEXT", help="Written into every record, for the model card.")] = "",
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives other records.")] = 71,
    workers: Annotated[int, typer.Option("--workers", metavar="N", help="Clips made side by side.")] = 2,
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="Of hf: depth: auto, cpu, cuda, mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:  # fmt: skip
    """Make training records: 16 frames, a mask, and what was drawn. Stopped, the same command goes on; done, it adds what is missing."""
    from framefill.apps.cli.guard import guarded, say

    with guarded(debug):
        from framefill.apps.cli.steps import telling
        from framefill.errors import UsageError
        from framefill.jobs.record_draws import parse_masks
        from framefill.jobs.records import RecordSettings, make_records
        from framefill.training.cuts import cutting_by

        sources = [*(videos or ()), *(more or ())]
        if not sources:
            raise UsageError("no video was given; give files, folders of frames or patterns: framefill data records VIDEO -o data")
        cutting, line = cutting_by(cuts)
        settings = RecordSettings(
            prefix=prefix, depth=depth, masks=parse_masks(masks), size=size, short_sides=_numbers(short_side), num_samples=num_samples,
            seq=seq, max_fps=max_fps, skip_first=skip_first, skip_interval=skip_interval, resolution=resolution, batch_size=batch_size,
            divergence_level=divergence_level, seed=seed, eval_share=eval_share, licence=licence, cutting=cutting, workers=workers,
            device=_device(device, depth),
        )  # fmt: skip
        if not quiet:
            say(line)
        with telling("clips", quiet) as progress:
            made = make_records(sources, output, settings, progress)
        if not quiet:
            say(made.summary())
        if json:
            from json import dumps

            counts = {"records": made.records, "there": made.there, "skipped": made.skipped, "clips": made.clips, "lines": made.lines}
            print(dumps({"output": str(made.root), **counts}))
        else:
            print(made.root)


def _numbers(text: str) -> tuple[int, ...]:
    from framefill.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--short-side {text}: give pixels with commas between, as 720,1080,1080")
    return tuple(int(part) for part in parts)


def _device(name: str, depth: str) -> str:
    """Where a network of torch runs; nothing else asks, and torch is not loaded for it."""
    if name != "auto" or not depth.startswith("hf:"):
        return "cpu" if name == "auto" else name
    import torch

    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found.type if found is not None else "cpu"
