"""From a folder to a manifest: find sources, look through each once, cut at shots, drop what is no use, give every clip its split.

Looking is the slow part. What was found in a source is kept in `MANIFEST.scan` until the manifest is written, so that a scan that was
stopped goes on where it was; sources that changed in between are looked through again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from framefill.data.footage import Footage
from framefill.data.layouts import Source, find_sources
from framefill.data.manifest import Clip, Split, write_manifest
from framefill.data.progress import Progress, Step, silent
from framefill.data.shots import NEAR, Likeness, Picture, Shot, ShotFinder, find_cuts, measure, shots_of, spans_of
from framefill.errors import FramefillError, UsageError
from framefill.media.hashes import files_of, sha256_of

DEFAULT_FPS = 25.0  # of stills whose rate nobody states
ENOUGH = 4  # sources, of which one can be spared for validation


@dataclass(frozen=True)
class Filters:
    """Which shots are kept.

    At least `min_frames` long, with a shorter side of `min_side` pixels, with a mean difference of neighbouring frames of `min_motion`
    levels (at 64x48), and not a copy: no clip of another source is as long, moves alike and looks the same but for `near` bits of 64
    (0 = only equal files count as copies).
    """

    min_frames: int = 16
    min_side: int = 64
    min_motion: float = 0.1
    near: float = NEAR


@dataclass(frozen=True)
class Cutting:
    """How sources are cut at shots: a name for the journal, and what finds them; None = the histogram test, or with UNCUT nothing."""

    name: str
    finder: Callable[[], ShotFinder] | None = None


BY_HISTOGRAM, UNCUT = Cutting("histogram"), Cutting("none")


@dataclass(frozen=True)
class ScanSettings:
    """What to scan and how: `fps` for stills that state no rate, `val_share` of the sources where no split is given.

    `licence` is written into every clip. `workers` threads look at sources side by side.
    """

    root: Path
    layout: str = "auto"
    fps: float | None = None
    licence: str = ""
    cutting: Cutting = BY_HISTOGRAM
    filters: Filters = field(default_factory=Filters)
    val_share: float = 0.05
    workers: int = 2


@dataclass
class Scanned:
    """What a scan gave: the clips, how many shots were dropped and why, and lines for the user."""

    clips: list[Clip]
    dropped: Counter[str]
    lines: list[str]


@dataclass(frozen=True)
class Seen:
    """What one source is, as the journal keeps it; `error` is why it cannot be used ("" = it can)."""

    key: str
    fps: float = 0.0
    width: int = 0
    height: int = 0
    sha256: str = ""
    shots: tuple[Shot, ...] = ()
    guessed: bool = False  # nobody stated the rate
    error: str = ""


def scan(settings: ScanSettings, output: Path, progress: Progress = silent) -> Scanned:
    """Scan a folder and write its manifest to `output`; the same folder gives the same manifest, in any number of threads.

    Raises UnreadableMedia when nothing is found, UsageError for settings out of range or when no clip is left; files that cannot be read
    are left out and said.
    """
    _check(settings)
    sources = find_sources(settings.root, settings.layout)
    output.parent.mkdir(parents=True, exist_ok=True)
    journal = output.with_name(output.name + ".scan")
    parts = _keyed(sources, settings)
    seen = _look_at_all(parts, settings, journal, progress)
    scanned = _choose(parts, seen, settings)
    if not scanned.clips:
        reasons = ", ".join(f"{count} {reason}" for reason, count in scanned.dropped.most_common())
        raise UsageError(f"no clip is left of {len(sources)} sources in {settings.root}: {reasons}; loosen the filters")
    write_manifest(output, scanned.clips)
    journal.unlink(missing_ok=True)
    return scanned


def _check(settings: ScanSettings) -> None:
    filters = settings.filters
    if settings.workers < 1 or (settings.fps is not None and settings.fps <= 0):
        raise UsageError(f"workers {settings.workers}, fps {settings.fps}: expected numbers above 0")
    if not 0 <= settings.val_share < 1:
        raise UsageError(f"val-share is {settings.val_share:g}, expected 0 or more and below 1")
    if filters.min_frames < 1 or filters.min_side < 1 or filters.min_motion < 0 or not 0 <= filters.near < 32:
        raise UsageError("filters: min-frames and min-side are 1 or more, min-motion 0 or more, near 0 or more and below 32 bits")


def _look_at_all(parts: dict[str, Source], settings: ScanSettings, journal: Path, progress: Progress) -> dict[str, Seen]:
    """What is in each source, by key: from the journal where it stands there, else by looking; written down as it comes."""
    found = {key: seen for key, seen in _read_journal(journal).items() if key in parts}
    paths = [dict(group) for _, group in groupby(parts.items(), key=lambda entry: entry[1].path)]
    waiting = [group for group in paths if not group.keys() <= found.keys()]
    done = len(paths) - len(waiting)
    progress(Step(done, len(paths), f"{done} of {len(paths)} sources are known from the scan before" if done else ""))
    with journal.open("a", encoding="utf-8") as file, ThreadPoolExecutor(settings.workers) as pool:
        file.write("\n")  # the scan before may have been stopped within a line
        tasks = [pool.submit(_look_at, group, settings) for group in waiting]
        try:
            for task in as_completed(tasks):
                for each in task.result():
                    found[each.key] = each
                    file.write(json.dumps(asdict(each)) + "\n")
                file.flush()
                done += 1
                progress(Step(done, len(paths)))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def _look_at(group: dict[str, Source], settings: ScanSettings) -> list[Seen]:
    """Look through the parts of one path."""
    source = next(iter(group.values()))
    stated = settings.fps or source.fps
    try:
        footage = Footage(source.path, stated or DEFAULT_FPS)
        meta, sha256 = footage.meta, sha256_of(source.path)
        rate = float(meta.fps) if meta.fps else _average(footage)
        guessed = meta.kind == "images" and stated is None
        return [
            Seen(key, rate, meta.width, meta.height, sha256, tuple(_shots(footage, part, settings.cutting)), guessed=guessed)
            for key, part in group.items()
        ]
    except FramefillError as error:
        return [Seen(key, error=str(error)) for key in group]


def _shots(footage: Footage, source: Source, cutting: Cutting) -> Iterator[Shot]:
    end = len(footage) if source.end is None else source.end
    frames = islice(footage.small(source.start), end - source.start)
    if cutting.finder is not None:
        finder = cutting.finder()
        steps = measure(_shown(frames, finder))
        spans = finder.shots()
    else:
        steps = measure(frames)
        spans = spans_of(steps, find_cuts(steps) if cutting == BY_HISTOGRAM else ())
    for shot in shots_of(steps, spans):
        yield Shot(shot.start + source.start, shot.end + source.start, shot.motion, shot.likeness)


def _shown(frames: Iterable[Picture], finder: ShotFinder) -> Iterator[Picture]:
    for frame in frames:
        finder.show(frame)
        yield frame


def _average(footage: Footage) -> float:
    """The mean rate of an animation, which states none."""
    return len(footage) / footage.meta.duration if footage.meta.duration else DEFAULT_FPS


def _choose(parts: dict[str, Source], seen: dict[str, Seen], settings: ScanSettings) -> Scanned:
    """Apply the filters and give splits; clips in the sources' order."""
    scanned = Scanned([], Counter(), [])
    kept: list[Clip] = []
    for key, source in parts.items():
        look = seen[key]
        if look.error:
            scanned.dropped["unreadable"] += 1
            scanned.lines.append(look.error)
            continue
        split = source.split or _split(look.sha256, settings.val_share)
        path, licence = source.path.absolute(), settings.licence
        for shot in look.shots:
            reason = _reason(shot, look, settings.filters)
            if reason:
                scanned.dropped[reason] += 1
            else:
                size = look.width, look.height
                kept.append(Clip(path, shot.start, shot.end, look.fps, *size, split, licence, look.sha256, shot.likeness, source.label))
    guessed = sum(look.guessed for look in seen.values())
    if guessed:
        scanned.lines.append(f"{guessed} clips of frames state no rate: {DEFAULT_FPS:g} frames per second assumed; --fps sets another")
    scanned.clips = _without_copies(kept, settings.filters.near, scanned.dropped)
    if settings.val_share > 0 and not any(source.split for source in parts.values()):
        _set_one_apart(scanned)
    return scanned


def _set_one_apart(scanned: Scanned) -> None:
    """Among few sources the draw may give none to val: then the one that was nearest to it goes there, from `ENOUGH` sources on."""
    contents = {clip.sha256: clip.path for clip in scanned.clips}
    if len(contents) < ENOUGH or any(clip.split == "val" for clip in scanned.clips):
        return
    chosen = min(contents)
    scanned.clips = [replace(clip, split="val") if clip.sha256 == chosen else clip for clip in scanned.clips]
    apart = contents[chosen].name
    scanned.lines.append(f"none of {len(contents)} sources was drawn for validation: {apart} is set apart; --val-share 0 keeps all")


def _reason(shot: Shot, look: Seen, filters: Filters) -> str:
    """Why a shot is dropped, "" when it is kept."""
    if shot.end - shot.start < filters.min_frames:
        return "too short"
    if min(look.width, look.height) < filters.min_side:
        return "too small"
    return "without motion" if shot.motion < filters.min_motion else ""


def _without_copies(clips: Sequence[Clip], near: float, dropped: Counter[str]) -> list[Clip]:
    """Leave out clips of a file that is there under another name, and clips that look like one of another source.

    Of two copies the one for measuring stays, so that what was set apart for it is not trained on; else the first.
    """
    order = sorted(range(len(clips)), key=lambda number: (clips[number].split == "train", number))
    looks = Likeness([clip.likeness for clip in clips], [len(clip) / clip.fps for clip in clips])
    home: dict[str, Path] = {}  # where each content was met first
    kept: list[int] = []
    for index in order:
        clip = clips[index]
        if home.setdefault(clip.sha256, clip.path) != clip.path:
            dropped["in a file that is there twice"] += 1
        elif near > 0 and any(clips[other].path != clip.path for other in looks.copies(index, np.array(kept, np.intp), near)):
            dropped["like another clip"] += 1
        else:
            kept.append(index)
    return [clips[index] for index in sorted(kept)]


def _split(sha256: str, val_share: float) -> Split:
    """A split drawn by the content: the same file has the same split in every scan, whatever it is called and whatever lies beside it."""
    return "val" if int(sha256[:8], 16) / 16**8 < val_share else "train"


def _keyed(sources: Sequence[Source], settings: ScanSettings) -> dict[str, Source]:
    """Each source under the key of its entry in the journal: path, part, the size and time of the files behind it, how it is looked at."""
    stamps: dict[Path, str] = {}
    parts: dict[str, Source] = {}
    for source in sources:
        if source.path not in stamps:
            stats = [path.stat() for path in files_of(source.path)]
            newest = max((stat.st_mtime_ns for stat in stats), default=0)
            stamps[source.path] = f"{len(stats)} files {sum(stat.st_size for stat in stats)} bytes {newest}"
        how = f"fps {settings.fps or source.fps} cuts {settings.cutting.name}"
        parts[f"{source.path.absolute()}[{source.start}:{source.end}] {stamps[source.path]} {how}"] = source
    return parts


def _read_journal(journal: Path) -> dict[str, Seen]:
    """The entries of a scan that was stopped; a line that was cut off is left out."""
    known: dict[str, Seen] = {}
    if journal.exists():
        for line in journal.read_text(encoding="utf-8").split("\n"):
            with suppress(ValueError):
                row = json.loads(line)
                known[row["key"]] = Seen(**{**row, "shots": tuple(Shot(**shot) for shot in row["shots"])})
    return known
