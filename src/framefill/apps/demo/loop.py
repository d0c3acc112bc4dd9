"""The whole loop: clips, training, filling, measuring, one page. The same command again goes on where the last one stopped."""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from framefill.apps.demo.clips import make_clips
from framefill.apps.demo.measure import fill_all, score_all
from framefill.apps.demo.page import Story, demo_page
from framefill.apps.demo.recipe import RUN, TASKS, Scale, recipe
from framefill.data.dataset import ClipDataset
from framefill.data.manifest import Split
from framefill.data.progress import silent
from framefill.errors import UsageError
from framefill.evaluation.report import write_text
from framefill.families.vdt import VDTPipeline
from framefill.jobs.batch import make_folder
from framefill.jobs.lock import FolderLock
from framefill.media.part import writing
from framefill.media.video import Frames
from framefill.training.build import build_trainer
from framefill.training.checkpoint import PROGRESS, Progress, States
from framefill.training.config import TrainConfig
from framefill.training.journal import read_records

PAGE = "training.html"
SPENT = "minutes"  # a file in the run's folder: how long the calls that came to their end have trained it
SAMPLE_ROWS = 8  # clips on the contact sheet

Say = Callable[[str], None]


def train_demo(folder: Path, minutes: float, say: Say, scale: Scale = Scale()) -> Path:  # noqa: B008 - frozen
    """Run the loop in `folder` and return its page; `minutes` is how long the training goes in all, over every call.

    What is there already is not made again: clips, and the training so far. Raises UsageError for minutes that are none, JobError when
    another process is at work there, UnwritableMedia; Ctrl-C ends it as KeyboardInterrupt with a line that says what remains.
    """
    if not 0 < minutes < math.inf:
        raise UsageError(f"--minutes is {minutes:g}, expected a number above 0, such as 2")
    make_folder(folder)
    with writing(folder):
        lock = FolderLock(folder / ".lock")
    try:
        return _loop(folder, minutes, say, scale)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; what is in {folder} stays, and the same command goes on from there") from None
    finally:
        lock.release()


def _loop(folder: Path, minutes: float, say: Say, scale: Scale) -> Path:
    seconds: dict[str, float] = {}
    counts: dict[Split, int] = {"train": scale.clips, "val": scale.held_out}
    with _timed(seconds, "making clips"):
        say(f"1/4 drawing {scale.clips} clips to train on and {scale.held_out} to hold out, in {folder / 'clips'}")
        manifest = make_clips(folder / "clips", counts, scale.clip_frames, scale.side, silent)
    config = recipe(folder, manifest, max(minutes - _spent(folder), 0.0), scale)
    seconds["training"] = 60 * _train(folder, config, say)
    with _timed(seconds, "filling"):
        say(f"3/4 filling {scale.held_out} clips that it never saw, by each of {len(TASKS)} tasks")
        pipeline = VDTPipeline.from_pretrained(folder / RUN / "model")
        filled = fill_all(pipeline, _clips(config, "val", scale.held_out), TASKS, scale.patch, scale.steps)
    with _timed(seconds, "measuring"):
        say("4/4 measuring, and writing the page")
        scores = score_all(filled)
    story = Story(
        config=config,
        parameters=pipeline.net.num_parameters(),
        samples=_progress(folder).samples,
        records=read_records(folder / RUN),
        trained_on=_clips(config, "train", SAMPLE_ROWS),
        filled=filled,
        scores=scores,
        seconds=seconds,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        folder=folder,
        minutes=minutes,
    )
    return write_text(folder / PAGE, demo_page(story))


def _train(folder: Path, config: TrainConfig, say: Say) -> float:
    """Train for what is left of the time and return the minutes of training so far, over every call."""
    spent = _spent(folder)
    if not config.run.minutes:
        say(f"2/4 trained already, for {spent:.2g} minutes; a longer --minutes goes on, another --folder begins anew")
        return spent
    say(f"2/4 training for {config.run.minutes:.2g} minutes; Ctrl-C stops it, and the same command goes on")
    begun = time.monotonic()
    trainer = build_trainer(config)
    try:
        trainer.fit()
    except UsageError as error:  # the trainer finds another config there: nothing else of it is the user's
        raise UsageError(f"{folder} was begun in another place, or by another version; another --folder begins anew") from error
    spent += (time.monotonic() - begun) / 60
    write_text(folder / RUN / SPENT, f"{spent:.4f}\n")
    return spent


def _spent(folder: Path) -> float:
    """Minutes of training so far: those of the calls that came to their end, or the steps alone where one was stopped."""
    stepping, noted = _progress(folder).seconds / 60, folder / RUN / SPENT
    return max(stepping, float(noted.read_text(encoding="utf-8"))) if stepping and noted.exists() else stepping


def _progress(folder: Path) -> Progress:
    state = States(folder / RUN / "state", 1).newest()
    return Progress() if state is None else Progress(**json.loads((state / PROGRESS).read_text(encoding="utf-8")))


def _clips(config: TrainConfig, split: Split, count: int) -> list[Frames]:
    """Read `count` clips of a split, spread evenly over it, as the trainer reads them."""
    data = ClipDataset(config.data.manifest, config.data.frames, config.data.size, split=split, sampling="strided")
    places = np.linspace(0, len(data) - 1, min(count, len(data)))
    return [data[int(place)]["video"].numpy() for place in places]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    seconds[name] = time.monotonic() - begun
