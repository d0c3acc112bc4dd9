"""Whether a manifest still says the truth: files there, whole and unchanged, clips inside of them, and nothing of the test in training."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from framefill.data.footage import Footage
from framefill.data.manifest import Clip, read_numbered
from framefill.data.progress import Progress, Step, silent
from framefill.data.shots import Likeness
from framefill.errors import FramefillError, UsageError
from framefill.media.hashes import files_of, sha256_of


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with line `line` of a manifest: `kind` in a word, `text` in a sentence."""

    line: int
    kind: str
    text: str


def check(manifest: Path, decode: bool = False, workers: int = 2, progress: Progress = silent) -> list[Problem]:
    """List what is wrong with a manifest, by line; an empty list means that it can be trained on.

    Kinds: missing, changed (another content hash), size, length, corrupt, repeated (the same frames twice), leak (one content in train and
    in val or test), likeness (a clip of val or test that looks like one of train). With `decode` every frame is decoded, which is slow;
    without, the first one of each file is, and the rest is known by its hash. Raises what `read_manifest` raises.
    """
    if workers < 1:
        raise UsageError(f"workers is {workers}, expected 1 or more")
    numbered = read_numbered(manifest)
    by_path: dict[Path, list[int]] = defaultdict(list)
    for line, clip in numbered.items():
        by_path[clip.path].append(line)
    problems = [*_repeats(numbered), *_leaks(numbered), *_look_alikes(numbered)]
    with ThreadPoolExecutor(workers) as pool:
        groups = [{line: numbered[line] for line in lines} for lines in by_path.values()]
        for done, found in enumerate(pool.map(lambda group: _check_source(group, decode), groups), start=1):
            problems += found
            progress(Step(done, len(groups)))
    return sorted(problems)


def _check_source(clips: dict[int, Clip], decode: bool) -> list[Problem]:
    """What is wrong with one source and the clips cut from it."""
    first, path = next(iter(clips.items()))[0], next(iter(clips.values())).path
    if not files_of(path):
        return [Problem(line, "missing", f"{path} does not exist") for line in clips]
    problems = []
    try:
        sha256 = sha256_of(path)
        footage = Footage(path)
        size = footage.meta.width, footage.meta.height
        if decode:
            for _ in footage.small():
                pass
    except FramefillError as error:
        return [Problem(first, "corrupt", str(error))]
    for line, clip in clips.items():
        if clip.sha256 and clip.sha256 != sha256:
            problems.append(Problem(line, "changed", f"{path} has changed since it was scanned"))
        if (clip.width, clip.height) != size:
            problems.append(Problem(line, "size", f"{path} is {size[0]}x{size[1]}, the manifest says {clip.width}x{clip.height}"))
        if clip.end > len(footage):
            problems.append(Problem(line, "length", f"{path} has {len(footage)} frames, the clip ends at {clip.end}"))
    return problems


def _repeats(clips: dict[int, Clip]) -> list[Problem]:
    """Clips that share frames with an earlier line of the same source."""
    problems = []
    by_path: dict[Path, list[tuple[int, Clip]]] = defaultdict(list)
    for line, clip in clips.items():
        by_path[clip.path].append((line, clip))
    for entries in by_path.values():
        entries.sort(key=lambda entry: (entry[1].start, entry[0]))
        reach, owner = entries[0][1].end, entries[0][0]
        for line, clip in entries[1:]:
            if clip.start < reach:
                problems.append(Problem(line, "repeated", f"frames from {clip.start} on of {clip.path} are in line {owner} too"))
            if clip.end > reach:
                reach, owner = clip.end, line
    return problems


def _leaks(clips: dict[int, Clip]) -> list[Problem]:
    """Lines of val and test whose content, by its hash, is in train."""
    trained = {clip.sha256: line for line, clip in reversed(clips.items()) if clip.split == "train" and clip.sha256}
    return [
        Problem(line, "leak", f"{clip.path} ({clip.split}) has the content of line {trained[clip.sha256]}, which is in train")
        for line, clip in clips.items()
        if clip.split != "train" and clip.sha256 in trained
    ]


def _look_alikes(clips: dict[int, Clip]) -> list[Problem]:
    """Lines of val and test that look like one of train and are as long, though their files differ."""
    looks = [(line, clip) for line, clip in clips.items() if clip.likeness]
    likeness = Likeness([clip.likeness for _, clip in looks], [len(clip) / clip.fps for _, clip in looks])
    trained = np.array([index for index, (_, clip) in enumerate(looks) if clip.split == "train"], np.intp)
    problems = []
    for index, (line, clip) in enumerate(looks):
        if clip.split == "train":
            continue
        copies = [looks[other] for other in likeness.copies(index, trained) if looks[other][1].sha256 != clip.sha256]
        if copies:
            text = f"{clip.path} ({clip.split}) looks like {copies[0][1].path} of line {copies[0][0]}, which is in train: a copy?"
            problems.append(Problem(line, "likeness", text))
    return problems
