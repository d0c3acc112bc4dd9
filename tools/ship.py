"""Put the model of a finished run into the package: weights in half precision, its card with figures and curve, its provenance.

    python tools/ship.py runs/vdt-tiny          to src/framefill/weights/shipped/vdt-tiny
    python tools/ship.py runs/light             to src/framefill/weights/shipped/light
    python tools/ship.py runs/light-stereo      to src/framefill/weights/shipped/light-stereo

The figures in the card are measured here, of the weights as they are shipped: for vdt what benchmarks/tasks.py prints, for light what the
protocol `completion` measures on the packaged clips, for a net of stereo holes alone what benchmarks/stereo_holes.py prints.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from framefill import samples
from framefill.data.manifest import read_manifest
from framefill.families.light import LightPipeline
from framefill.families.trained import SHIPPED, class_in
from framefill.families.vdt import VDTPipeline
from framefill.media.synthetic import make_clip
from framefill.training.card import without_places
from framefill.training.config import TrainConfig, from_tree, read_yaml, to_tree
from framefill.training.journal import read_records

MOST_BYTES = 8_000_000
SAME = 45.0  # dB; below, half precision would change what is made


def main() -> None:
    """Ship a run's model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--begun", type=Path, nargs="+", default=[], help="the runs whose models this one started from, the last one last")
    parser.add_argument("--clips", type=int, default=64, help="clips of the figures in the card")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 20], help="sampler steps of the figures in the card")
    args = parser.parse_args()
    config = from_tree(read_yaml(args.run / "config.yaml"))
    target = SHIPPED / config.run.name
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    save_half(args.run / "model", new)
    shutil.copy(args.run / "curves.png", new / "curves.png")
    (new / "provenance.json").write_text(json.dumps(provenance(config, args.run, args.begun), indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)  # before they are measured: `auto` takes the weights of the package
    figures = FIGURES[class_in(target)](target, args)
    card = (args.run / "model" / "README.md").read_text(encoding="utf-8")
    if args.begun:
        earlier = " and ".join(f"{read_records(run)[-1]['samples']:,.0f}" for run in args.begun)
        card += f"\nThis run went on from earlier ones, of {earlier} samples: their recipes stand in `provenance.json`.\n"
    (target / "README.md").write_text(f"{card}\n## Figures\n\n{figures}\n## Curve\n\n![loss over samples](curves.png)\n", encoding="utf-8")
    print(figures)
    print(f"{target}: {sum(file.stat().st_size for file in target.rglob('*') if file.is_file()):,} bytes")


def of_tasks(model: Path, args: argparse.Namespace) -> str:
    """Measure every task on procedural clips."""
    command = [sys.executable, "benchmarks/tasks.py", str(model), "--clips", str(args.clips), "--steps", *map(str, args.steps)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def of_holes(model: Path, args: argparse.Namespace) -> str:  # noqa: ARG001 - its settings are the protocol's
    """Measure holes in the packaged clips, none of which it was trained on, or the holes of views."""
    if LightPipeline.from_pretrained(model).tasks == ("stereo",):
        return of_views(model)
    with tempfile.TemporaryDirectory() as folder:
        clips = [part for name, _ in samples.SCENES.values() for part in ("--clip", name.removesuffix(".mp4"))]
        models = [part for name in ("telea", "auto-smooth", "auto", str(model)) for part in ("--model", name)]
        where = ["--clips", str(samples.sample("city.mp4").parent), "-o", folder, "--save", "none", "--set", "frames=40", "--quiet"]
        metrics = ["--metrics", "psnr-hole,ssim-hole,lpips-alex-hole,ewarp-hole,unseen"]
        subprocess.run([sys.executable, "-m", "framefill", "eval", "run", "completion", *where, *clips, *models, *metrics], check=True)
        return results_in((Path(folder) / "report.md").read_text(encoding="utf-8"))


def of_views(model: Path) -> str:
    """Measure the holes of procedural scenes' other eyes."""
    command = [sys.executable, "benchmarks/stereo_holes.py", "stretch", "propagate", str(model), "auto"]
    table = subprocess.run(command, check=True, capture_output=True, text=True).stdout.replace(str(model), "this net alone")
    about = "Right eyes of procedural scenes that it was not trained on, 16 frames of 320x192: PSNR in dB in the holes"
    return f"{about} (`auto` is `propagate`, then this net).\n\n{table}"


def results_in(report: str) -> str:
    """Return the tables of a report of `completion`, and what they are of."""
    tables = report[report.index("### ") : report.index("## How to read this")].replace("\n### ", "\n#### ").replace("### ", "#### ", 1)
    about = "The protocol `completion` on the packaged clips, which it was not trained on: the first 40 frames at 432x240."
    return f"{about} Means, in parentheses their 95 % intervals.\n\n{tables}"


FIGURES: dict[str, Callable[[Path, argparse.Namespace], str]] = {"VDTPipeline": of_tasks, "LightPipeline": of_holes}


def save_half(model: Path, target: Path) -> None:
    """Save a model's folder in half precision, and make sure that it is small and makes the same."""
    kind: type[VDTPipeline] | type[LightPipeline] = LightPipeline if class_in(model) == "LightPipeline" else VDTPipeline
    whole = kind.from_pretrained(model)
    made = made_by(whole)
    whole.to("cpu", torch.float16).save_pretrained(target)
    again = made_by(kind.from_pretrained(target).to("cpu", torch.float32))
    apart = 10 * np.log10(255**2 / max(float(np.square(made - again).mean()), 1e-9))
    size = sum(file.stat().st_size for file in target.rglob("*.safetensors"))
    if apart < SAME or size > MOST_BYTES:
        raise SystemExit(
            f"{model} in half precision: {apart:.1f} dB from itself (at least {SAME}), {size:,} bytes (at most {MOST_BYTES:,})"
        )
    print(f"half precision is {apart:.1f} dB from the trained weights")


def made_by(pipeline: VDTPipeline | LightPipeline) -> NDArray[np.float64]:
    """Return what a pipeline makes of half a procedural clip, or of a box in one."""
    clip = make_clip(np.random.default_rng(0), pipeline.window, pipeline.size, pipeline.size)
    mask = np.zeros(clip.shape[:3], np.bool_)
    if isinstance(pipeline, LightPipeline):
        mask[:, pipeline.size // 4 : pipeline.size // 2, pipeline.size // 4 : pipeline.size // 2] = True
        made = pipeline(clip, mask)
    else:
        mask[pipeline.window // 2 :] = True
        made = pipeline(clip, mask, generator=torch.Generator().manual_seed(0))
    return np.asarray(made.frames[mask], np.float64)


def provenance(config: TrainConfig, run: Path, begun: Sequence[Path]) -> dict[str, object]:
    """Say what the weights learned from, file by file, and how; no path of the machine that trained."""
    files: dict[str, dict[str, object]] = {}
    for clip in read_manifest(Path(config.data.manifest)) if config.data.manifest else []:
        new = {"name": clip.path.name, "split": clip.split, "licence": clip.licence, "sha256": clip.sha256, "frames": 0}
        row = files.setdefault(clip.sha256, new)
        row["frames"] = int(str(row["frames"])) + clip.end - clip.start
    for told in sorted(Path(config.data.records).rglob("record.json")) if config.data.records else []:
        source = json.loads(told.read_text(encoding="utf-8"))["source"]
        split = "train" if "train" in told.parts else "val"
        new = {"name": source["name"], "split": split, "licence": source["licence"], "sha256": source["sha256"], "frames": 0}
        row = files.setdefault(source["sha256"], new)
        row["frames"] = int(str(row["frames"])) + len(source["frames"])
    return {
        "procedural_share": config.data.procedural if files else 1.0,
        "procedural": "made by framefill.media.synthetic as they were needed",
        "samples": int(read_records(run)[-1]["samples"]),
        "begun_from": [recipe_of(earlier) for earlier in begun],
        "files": list(files.values()),
        "recipe": "README.md",
    }


def recipe_of(run: Path) -> dict[str, object]:
    """Return the samples and the settings of an earlier run."""
    config = from_tree(read_yaml(run / "config.yaml"))
    return {"samples": int(read_records(run)[-1]["samples"]), "config": to_tree(without_places(config))}


if __name__ == "__main__":
    main()
