"""Sets against sets: FVD and its companions on generated clips, features read from the cache where a clip has been seen before."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from framefill.data.progress import Progress, Step
from framefill.errors import UsageError
from framefill.evaluation import networks
from framefill.evaluation.gather import Entry, describe_run, set_row, write_run
from framefill.evaluation.plan import Plan
from framefill.evaluation.protocols.base import Settings
from framefill.evaluation.protocols.generation import Drawn, draw_real, list_made, read_drawn
from framefill.evaluation.table import SET_METRICS
from framefill.media.hashes import sha256_of

BATCH = 8  # clips read and put through the network at a time
FEATURES = "fvd-logits"


def evaluate_sets(plan: Plan, progress: Progress) -> list[Path]:
    """Compare each folder of generated clips with the real ones and write the run; raises as `run.evaluate` does."""
    begin = time.perf_counter()
    settings, chosen = plan.settings, plan.chosen
    if settings.models or not settings.results:
        raise UsageError(f"{plan.protocol.name} compares folders of generated clips with real ones; name them with --results NAME=DIR")
    if settings.only:
        raise UsageError(f"{plan.protocol.name} draws its clips itself; leave --clip out")
    real, notes = draw_real(settings.clips, chosen, settings.seed)
    sets = {}
    for name, folder in settings.results.items():
        sets[name], more = list_made(folder, chosen)
        notes += more
    plan.claim()
    for note in notes:
        progress(Step(0, 0, note))
    total, done = len(real) + sum(map(len, sets.values())), 0
    features: dict[str, NDArray[np.float32]] = {}
    for name, clips in {"the real clips": real, **sets}.items():
        features[name], done = _features(clips, chosen, done, total, progress)
    rows = []
    for metric in plan.metrics:
        for name in sets:
            found = SET_METRICS[metric].measure(features["the real clips"], features[name], settings.seed)
            notes += [note for note in found.notes if note not in notes]
            rows.append(set_row(name, metric, found, len(features[name])))
    about = describe_run(plan, _clips(real), plan.metrics, notes, time.perf_counter() - begin)
    return write_run(settings.output, about, [], rows)


def _features(clips: Sequence[Drawn], chosen: Settings, done: int, total: int, progress: Progress) -> tuple[NDArray[np.float32], int]:
    parts = []
    for start in range(0, len(clips), BATCH):
        batch = clips[start : start + BATCH]
        parts.append(networks.clip_features([read_drawn(drawn, chosen) for drawn in batch], FEATURES))
        done += len(batch)
        progress(Step(done, total))
    return np.concatenate(parts), done


def _clips(real: Sequence[Drawn]) -> list[Entry]:
    """Name the drawn clips; a video that several were drawn from is hashed once."""
    hashes = {path: sha256_of(path) for path in {drawn.path for drawn in real}}
    size = {"frames": 0, "width": 0, "height": 0}
    names = [f"{drawn.path.stem}@{drawn.start}{'-mirrored' if drawn.mirrored else ''}" for drawn in real]
    return [
        {"name": f"{index:05}-{name}", "case": None, **size, "sha256": hashes[drawn.path]}
        for index, (name, drawn) in enumerate(zip(names, real, strict=True))
    ]
