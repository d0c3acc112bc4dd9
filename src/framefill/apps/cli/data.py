"""`framefill data ...`: from a folder of videos to what a training reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from framefill.apps.cli import options as o
from framefill.apps.cli.records import records
from framefill.apps.cli.steps import telling

if TYPE_CHECKING:
    from framefill.data.manifest import Split

data_app = typer.Typer(help="Prepare videos for training: list, check, pack, encode, make.", no_args_is_help=True)

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="A file made by framefill data scan.")]
Folder = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write.")]
Size = Annotated[int, typer.Option("--size", metavar="PX", help="Pixels of the shorter side.")]
WhichSplit = Annotated[str, typer.Option("--split", metavar="NAME", help="train, val, test or all.")]
Workers = Annotated[int, typer.Option("--workers", metavar="N", help="Sources read side by side.")]
Rate = Annotated[float | None, typer.Option("--fps", metavar="RATE", help="Frames per second, met by leaving frames out.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@data_app.command()
def scan(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of videos, of folders of frames, or a data set as it came.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The manifest to write.")] = Path("manifest.jsonl"),
    layout: Annotated[
        str,
        typer.Option(
            "--layout", metavar="NAME",
            help="auto, any, videos, frames, splits, youtube-vos, davis, ucf101, sky, taichi, clevrer or cityscapes.",
        ),
    ] = "auto",
    fps: Annotated[float | None, typer.Option("--fps", metavar="RATE", help="Frames per second of folders of frames.")] = None,
    licence: Annotated[str, typer.Option("--licence", metavar="TEXT", help="Written into every line.")] = "",
    cuts: Annotated[
        str,
        typer.Option("--cuts", metavar="NAME", help="How to cut at shots: histogram, transnet (finds dissolves too), none, or auto."),
    ] = "auto",
    min_frames: Annotated[int, typer.Option("--min-frames", metavar="N", help="Leave shorter shots out.")] = 16,
    min_side: Annotated[int, typer.Option("--min-side", metavar="PX", help="Leave smaller pictures out.")] = 64,
    min_motion: Annotated[
        float, typer.Option("--min-motion", metavar="LEVELS", help="Leave shots out whose frames differ by less, of 255 levels.")
    ] = 0.1,
    near: Annotated[
        float, typer.Option("--near", metavar="BITS", help="Leave copies out that differ by up to so many bits of 64; 0 = equal files.")
    ] = 6.0,
    val_share: Annotated[float, typer.Option("--val-share", metavar="SHARE", help="Set this share of sources apart, if none is.")] = 0.05,
    workers: Workers = 2,
    json: Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:  # fmt: skip
    """Look through a folder and write its manifest: one line a clip, cut at shots. Stopped, the same command goes on."""
    from framefill.apps.cli.guard import guarded, say

    with guarded(debug):
        from framefill.data.scan import Filters, ScanSettings
        from framefill.data.scan import scan as run
        from framefill.training.cuts import cutting_by

        cutting, line = cutting_by(cuts)
        if not quiet:
            say(line)
        filters = Filters(min_frames, min_side, min_motion, near)
        settings = ScanSettings(root, layout, fps, licence, cutting, filters, val_share, workers)
        with telling("sources", quiet) as progress:
            scanned = run(settings, output, progress)
        seconds = sum(len(clip) / clip.fps for clip in scanned.clips)
        splits = {split: sum(clip.split == split for clip in scanned.clips) for split in ("train", "val", "test")}
        if not quiet:
            for line in scanned.lines:
                say(line)
            left_out = ", ".join(f"{count} {reason}" for reason, count in scanned.dropped.most_common())
            parts = ", ".join(f"{count} {split}" for split, count in splits.items() if count)
            say(f"{len(scanned.clips)} clips of {seconds:.0f} s ({parts})" + (f"; left out: {left_out}" if left_out else ""))
        if json:
            from json import dumps

            counts = {"clips": len(scanned.clips), "seconds": round(seconds, 3), "splits": splits, "left_out": dict(scanned.dropped)}
            print(dumps({"output": str(output), **counts}))
        else:
            print(output)


@data_app.command()
def check(
    manifest: Manifest,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every frame; slow.")] = False,
    workers: Workers = 2,
    json: Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Say what is wrong with a manifest: missing, changed or damaged files, wrong sizes, test clips in training. Exit status 1 if any."""
    from framefill.apps.cli.guard import guarded, say

    with guarded(debug):
        from framefill.data.check import check as run

        with telling("sources", quiet) as progress:
            problems = run(manifest, decode, workers, progress)
        if json:
            from dataclasses import asdict
            from json import dumps

            print(dumps({"manifest": str(manifest), "problems": [asdict(problem) for problem in problems]}))
        else:
            for problem in problems:
                print(f"{manifest}:{problem.line}: {problem.kind}: {problem.text}")
        if problems:
            raise typer.Exit(1)
        if not quiet:
            say(f"{manifest}: nothing wrong")


@data_app.command()
def shard(
    manifest: Manifest,
    output: Folder,
    size: Size,
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="Cut clips into pieces of so many frames at most.")] = 64,
    least: Annotated[int, typer.Option("--least", metavar="N", help="Leave shorter rests out.")] = 16,
    fps: Rate = None,
    encoding: Annotated[str, typer.Option("--encoding", metavar="NAME", help="npy (exact) or jpg (a fraction of the size).")] = "npy",
    quality: Annotated[int, typer.Option("--quality", metavar="N", help="Of jpg, 1 to 100.")] = 95,
    each: Annotated[int, typer.Option("--each", metavar="N", help="Pieces of one shard.")] = 256,
    split: WhichSplit = "train",
    seed: Annotated[int, typer.Option("--seed", help="Of the order in which pieces are mixed.")] = 0,
    workers: Workers = 2,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Pack clips into tar files that WebDataset and framefill read. Stopped, the same command goes on."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.data.shards import Encoding, ShardSettings, write_shards

        chosen = cast("Encoding", encoding)
        settings = ShardSettings(size, frames, least, fps, chosen, quality, each, _split(split), seed)
        with telling("pieces", quiet) as progress:
            for path in write_shards(manifest, output, settings, workers, progress):
                print(path)


@data_app.command()
def cache(
    manifest: Manifest,
    codec: Annotated[Path, typer.Option("--codec", metavar="DIR", help="A diffusers autoencoder: config.json and safetensors.")],
    output: Folder,
    size: Size,
    split: WhichSplit = "all",
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, mps.")] = "auto",
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Encode every clip once, in squares of --size pixels, so that a training reads latents. Stopped, the same command goes on."""
    from framefill.apps.cli.guard import guarded, say

    with guarded(debug):
        from framefill.weights.store import require_torch

        require_torch("the latent cache needs")
        import torch

        from framefill.data.latents import cache_for
        from framefill.data.windows import chosen_clips

        latents, clips = cache_for(output, codec, size), chosen_clips(manifest, _split(split))
        from framefill.nets.codec import load_autoencoder  # takes seconds: after what may be wrong with the request

        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        where = device if device != "auto" else (found.type if found is not None else "cpu")
        encoder = load_autoencoder(codec)
        encoder.to(where)
        with telling("clips", quiet) as progress:
            made = latents.write(clips, encoder, where, progress)
        if not quiet:
            say(f"{made} clips encoded")
        print(latents.folder / latents.codec)


data_app.command()(records)


@data_app.command()
def make(
    output: Folder,
    count: Annotated[int, typer.Option("--count", metavar="N", help="How many clips.")] = 100,
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="Frames of each.")] = 16,
    size: Annotated[str, typer.Option("--size", metavar="PX or WxH", help="Pixels.")] = "64",
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives other clips.")] = 0,
    val: Annotated[int, typer.Option("--val", metavar="N", help="How many of them are for validation.")] = 0,
    truth: Annotated[bool, typer.Option("--truth", help="Write flow, depth, objects and the other eye's view as well.")] = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Make procedural clips with a manifest: textured things in space before a moving camera. Stopped, the same command goes on."""
    from framefill.apps.cli.guard import guarded

    with guarded(debug):
        from framefill.data.make import make_clips

        with telling("clips", quiet) as progress:
            print(make_clips(output, count, frames, _height_width(size), seed, val=val, truth=truth, progress=progress))


def _split(name: str) -> Split | None:
    from framefill.data.manifest import SPLITS
    from framefill.errors import UsageError

    if name != "all" and name not in SPLITS:
        raise UsageError(f"--split {name}: give {', '.join(SPLITS)} or all")
    return None if name == "all" else cast("Split", name)


def _height_width(text: str) -> tuple[int, int]:
    from framefill.errors import UsageError

    width, _, height = text.lower().partition("x")
    if not width.isdecimal() or not (height or width).isdecimal():
        raise UsageError(f"--size {text}: give pixels, as 64 or 96x64 (width x height)")
    return int(height or width), int(width)
