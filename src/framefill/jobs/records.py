"""From videos to records: look through each once, cut at shots, choose clips, and write what each clip gives; stopped, it goes on.

What is finished stands in ROOT/.records/NAME.jsonl, one file a video: the settings, the shots and the split first, then a line a clip.
Everything random follows from (seed, the video's content, the clip's number), so that workers, breaks and other videos change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import cast

from framefill.data.progress import Progress, Step, silent
from framefill.data.records import SIDECAR, SPLITS, Json, Split, record_name, root_of, write_record
from framefill.data.scan import BY_HISTOGRAM, UNCUT, Cutting
from framefill.data.shots import Picture, Span, find_cuts, measure, spans_of
from framefill.errors import FramefillError, UnreadableMedia, UnwritableMedia, UsageError
from framefill.jobs.batch import expand_inputs
from framefill.jobs.lock import FolderLock
from framefill.jobs.record_clip import NO_DEPTH, Making, Source, Stopped, Workshop, enough, open_footage
from framefill.jobs.record_draws import DEFAULT_MASKS, MASKS, SHORT_SIDES, parse_masks
from framefill.media.hashes import sha256_of

HIDDEN = ".records"  # in ROOT: the journals, the lock, and what is not whole yet
EVAL_SHARE = 0.1  # of the videos, where both splits are written and nothing else is said


@dataclass(frozen=True)
class RecordSettings:
    """What records are made, as the options of `framefill data records` say; ranges are checked. Raises UsageError.

    masks: weights by the names of `record_draws.MASKS`. depth: a provider's spec, or "none". eval_share: of the videos; None = a tenth
    where the output holds both splits, else none.
    """

    prefix: str = ""
    depth: str = "heuristic"
    masks: dict[str, float] = field(default_factory=lambda: parse_masks(DEFAULT_MASKS))
    size: int = 512
    short_sides: tuple[int, ...] = SHORT_SIDES
    num_samples: int = 1
    seq: int = 16
    max_fps: float = 30.0
    skip_first: int = 0
    skip_interval: int = 16
    resolution: int | None = None
    batch_size: int = 2
    divergence_level: int = 1
    seed: int = 71
    eval_share: float | None = None
    licence: str = ""
    cutting: Cutting = BY_HISTOGRAM
    workers: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        least = {"size": 16, "num_samples": 1, "seq": 1, "skip_first": 0, "skip_interval": 0, "batch_size": 1, "seed": 0, "workers": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected {low} or more")
        if self.max_fps <= 0:
            raise UsageError(f"--max-fps is {self.max_fps:g}, expected a number above 0")
        if self.divergence_level not in (1, 2, 3):
            raise UsageError(f"--divergence-level is {self.divergence_level}, expected 1, 2 or 3")
        if self.eval_share is not None and not 0 <= self.eval_share <= 1:
            raise UsageError(f"--eval-share is {self.eval_share:g}, expected a share from 0 to 1")

    def identity(self) -> dict[str, Json]:
        """What decides how records look: other values under the same names are another data set."""
        names = ("depth", "size", "num_samples", "seq", "max_fps", "skip_first", "skip_interval", "resolution", "divergence_level", "seed")
        lists: dict[str, Json] = {"masks": dict(sorted(self.masks.items())), "short_sides": list(self.short_sides)}
        return {**{name: getattr(self, name) for name in names}, **lists, "cuts": self.cutting.name}


@dataclass
class RecordsMade:
    """What a run did: `records` written by split, `there` already, `skipped` for too small holes, `clips` in all; lines for the user."""

    root: Path
    records: dict[Split, int]
    there: int = 0
    skipped: int = 0
    clips: int = 0
    lines: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Say it in a line."""
        new = ", ".join(f"{count} in {split}" for split, count in self.records.items() if count) or "none"
        rest = [f"{self.there} were there"] * (self.there > 0) + [f"{self.skipped} had too small a hole"] * (self.skipped > 0)
        if self.skipped > self.there + sum(self.records.values()):
            rest.append("this depth has few edges: try another --depth, a higher --divergence-level, or --depth none, which draws holes")
        return f"{self.clips} clips; new records: {new}" + (f" ({'; '.join(rest)})" if rest else "")


@dataclass(frozen=True)
class _Video:
    """A video that was looked through: its shots (first frame, frame after the last), its rate, and its clips' frame numbers."""

    source: Source
    journal: Path
    split: Split
    clips: tuple[tuple[int, ...], ...]
    done: frozenset[int]


@dataclass(frozen=True)
class _Looked:
    path: Path
    sha256: str
    fps: float
    shorter: int  # side of its pictures
    shots: tuple[Span, ...]


def make_records(videos: Sequence[str], output: Path, settings: RecordSettings, progress: Progress = silent) -> RecordsMade:
    """Make records of videos, folders or patterns; see `data.records` for what stands where.

    output: ROOT, for ROOT/train and ROOT/eval, or one of these. Videos that cannot be read are left out and said. Raises UnreadableMedia
    when none can be, UsageError for settings that cannot be meant or that are not those of the records that are there, UnwritableMedia,
    JobError when another process writes there, and what the provider raises.
    """
    paths = [Path(each) for each in expand_inputs(videos)]
    split_of = _Splitter(output, settings.eval_share)
    shop = Workshop(
        Making(
            settings.size, settings.short_sides, settings.num_samples, settings.masks, settings.depth, settings.resolution,
            settings.batch_size, settings.device, settings.divergence_level, settings.seed,
        )
    )  # fmt: skip
    hidden = root_of(output) / HIDDEN
    try:
        hidden.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(hidden / "lock")
    except OSError as error:
        raise UnwritableMedia(f"{root_of(output)} cannot be written ({error.strerror}); choose another -o") from error
    try:
        made = RecordsMade(root_of(output), dict.fromkeys(SPLITS, 0))
        looked = _look_at_all(paths, hidden, settings, shop, made, progress)
        chosen = _videos(looked, hidden, settings, shop, split_of)
        _make_all(chosen, settings, shop, made, progress)
    finally:
        lock.release()
    return made


def clips_of(shots: Sequence[Span], fps: float, settings: RecordSettings) -> list[tuple[int, ...]]:
    """Number the frames of each clip: `seq` frames at no more than `max_fps`, none across a cut, `skip_interval` left out between.

    `skip_first` frames (at that rate) are left out at the beginning of the video.
    """
    step = max(1.0, fps / settings.max_fps)
    first = int(settings.skip_first * step)
    clips = []
    for start, end in shots:
        start = max(start, first)  # noqa: PLW2901 - the shot as far as it counts
        count = int((end - 1 - start) / step) + 1 if end > start else 0  # frames of the shot at that rate
        begins = range(0, count - settings.seq + 1, settings.seq + settings.skip_interval)
        clips += [tuple(start + int(k * step) for k in range(at, at + settings.seq)) for at in begins]
    return clips


class _Splitter:
    """Which split a video goes to: where it is already, else by its content."""

    def __init__(self, output: Path, share: float | None) -> None:
        self._named: Split | None = next((split for split in SPLITS if output.absolute().name == split), None)
        if self._named == "eval" and share is not None and share < 1:
            raise UsageError(f"-o {output} takes records for evaluation only, and --eval-share is {share:g}; give -o {root_of(output)}")
        default = {"train": 0.0, "eval": 1.0, None: EVAL_SHARE}[self._named]
        self._share = default if share is None else share

    def __call__(self, hashes: Sequence[str], known: dict[str, Split]) -> dict[str, Split]:
        """Return the split of each video by its hash; `known` are those of which there are records.

        At least one of two or more videos is set apart when any share is, unless one is already; and never all of them.
        """
        chosen: dict[str, Split] = {each: "eval" if int(each[:8], 16) / 16**8 < self._share else "train" for each in hashes}
        chosen.update({each: known[each] for each in hashes if each in known})
        new = [each for each in hashes if each not in known]
        if 0 < self._share < 1 and len(hashes) > 1 and new and "eval" not in {*chosen.values(), *known.values()}:
            chosen[min(new)] = "eval"
        if self._share < 1 and new and "train" not in {*chosen.values(), *known.values()}:
            chosen[max(new)] = "train"
        if self._named is not None and self._share in (0, 1):
            wrong = next((each for each in hashes if chosen[each] != self._named), None)
            if wrong is not None:
                raise UsageError(
                    f"there are records of the video {wrong[:8]} for {chosen[wrong]}, and in both splits it would give the answers away; "
                    f"leave it out, or remove those records and {HIDDEN}/*{wrong[:8]}.jsonl"
                )
        return chosen


def _look_at_all(
    paths: Sequence[Path], hidden: Path, settings: RecordSettings, shop: Workshop, made: RecordsMade, progress: Progress
) -> list[_Looked]:
    """Look through every video; of two with the same content the first counts."""
    found: dict[str, _Looked] = {}
    problems: list[FramefillError] = []
    progress(Step(0, 0, f"looking for shots; videos: {len(paths)}"))
    with ThreadPoolExecutor(settings.workers) as pool:
        tasks = [pool.submit(_look_at, path, hidden, settings, shop) for path in paths]
        try:
            for path, task in zip(paths, tasks, strict=True):
                try:
                    looked = task.result()
                except UnreadableMedia as error:
                    if len(paths) == 1:
                        raise
                    problems.append(error)
                    line = f"left out: {error}"
                else:
                    first = found.setdefault(looked.sha256, looked)
                    clips = len(clips_of(looked.shots, looked.fps, settings))
                    line = f"{path}: shots: {len(looked.shots)}, clips: {clips}"
                    if looked.shorter < settings.size:
                        line += f"; enlarged for crops of {settings.size} pixels, which --size {looked.shorter} spares it"
                    if first is not looked:
                        line = f"left out: {path} has the content of {first.path}"
                made.lines.append(line)
                progress(Step(0, 0, line))
        except BaseException:
            shop.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    if not found:
        raise problems[0]
    return list(found.values())


def _look_at(path: Path, hidden: Path, settings: RecordSettings, shop: Workshop) -> _Looked:
    """Hash a video and find its shots, which stand in its journal if it was begun before."""
    sha256 = sha256_of(path)
    footage = open_footage(path)
    fps = float(footage.meta.fps) if footage.meta.fps else 25.0
    head = _read_journal(_journal(hidden, settings, shop, sha256))[0]
    if head is not None:
        spans = [(int(start), int(end)) for start, end in cast("list[Span]", head["shots"])]
    elif settings.cutting == UNCUT:
        spans = [(0, len(footage))]
    elif settings.cutting.finder is not None:
        finder = settings.cutting.finder()
        for frame in _until(shop.stop, footage.small()):
            finder.show(frame)
        spans = finder.shots()
    else:
        steps = measure(_until(shop.stop, footage.small()))
        spans = spans_of(steps, find_cuts(steps))
    return _Looked(path, sha256, fps, min(footage.meta.height, footage.meta.width), tuple(spans))


def _until(stop: Event, frames: Iterable[Picture]) -> Iterator[Picture]:
    """The frames, until the run is stopped: a film takes minutes to look through."""
    for frame in frames:
        if stop.is_set():
            raise Stopped
        yield frame


def _videos(looked: Sequence[_Looked], hidden: Path, settings: RecordSettings, shop: Workshop, split_of: _Splitter) -> list[_Video]:
    """Give each video its split and its journal. Raises UsageError where the journal is of other settings."""
    heads = [head for path in sorted(hidden.glob("*.jsonl")) if (head := _read_journal(path)[0]) is not None]
    known: dict[str, Split] = {str(head["sha256"]): "eval" if head["split"] == "eval" else "train" for head in heads}
    splits = split_of([each.sha256 for each in looked], known)
    found = []
    for each in looked:
        journal = _journal(hidden, settings, shop, each.sha256)
        head, done = _read_journal(journal)
        if head is None:
            row: dict[str, Json] = {
                "sha256": each.sha256, "name": each.path.name, "split": splits[each.sha256],
                "settings": settings.identity(), "shots": [list(shot) for shot in each.shots],
            }  # fmt: skip
            _append(journal, row)
        elif head["sha256"] != each.sha256:
            raise UsageError(f"{each.path} and {head['name']} share the first 8 digits of their hash; give another --prefix for one")
        elif head["settings"] != settings.identity():
            raise UsageError(f"{_difference(head['settings'], settings.identity())} for {each.path}; give another --prefix, or the same")
        clips = clips_of(each.shots, each.fps, settings)
        folder = hidden.parent / splits[each.sha256]
        whole = {number for number, names in done.items() if all((folder / name).is_dir() for name in names)}
        source = Source(each.path, each.sha256, settings.licence)
        found.append(_Video(source, journal, splits[each.sha256], tuple(clips), frozenset(whole)))
    return found


def _make_all(videos: Sequence[_Video], settings: RecordSettings, shop: Workshop, made: RecordsMade, progress: Progress) -> None:
    """Make the clips that are missing, a few at a time; a clip that cannot be decoded is left out and said."""
    made.clips = sum(len(video.clips) for video in videos)
    done = sum(len(video.done) for video in videos)
    if made.clips == 0:
        raise UsageError(f"no video has a shot of {settings.seq} frames at {settings.max_fps:g} a second; lower --seq or --skip-first")
    progress(Step(done, made.clips, f"{done} of {made.clips} clips are there already" if done else ""))
    waiting = ((video, number) for video in videos for number in range(len(video.clips)) if number not in video.done)
    with ThreadPoolExecutor(settings.workers) as pool:
        running: dict[Future[_Written], _Video] = {}
        try:
            while True:
                for video, number in waiting:
                    running[pool.submit(_make, video, number, settings, shop, made.root)] = video
                    if len(running) >= 2 * settings.workers:  # no list grows with the length of a film
                        break
                if not running:
                    return
                for task in wait(running, return_when=FIRST_COMPLETED).done:
                    video = running.pop(task)
                    line = _count(task.result(), video, made)
                    done += 1
                    progress(Step(done, made.clips, line))
        except BaseException:
            shop.stop.set()
            pool.shutdown(cancel_futures=True)
            raise


@dataclass(frozen=True)
class _Written:
    number: int
    names: tuple[str, ...] = ()
    new: int = 0
    skipped: int = 0
    error: str = ""


def _make(video: _Video, number: int, settings: RecordSettings, shop: Workshop, root: Path) -> _Written:
    """Write the records of one clip, those that are not there yet."""
    names, new, skipped = [], 0, 0
    try:
        for made in shop.make(video.source, number, video.clips[number]):
            if not enough(made.mask):
                skipped += 1
                continue
            depth = shop.name if "hole" in made.about else "-".join(part for part in (shop.name, *_short(made.kind)) if part)
            name = record_name(settings.prefix, depth, video.source.sha256, 2 * number + made.slot, made.crop)
            target = root / video.split / name
            if not target.exists():
                write_record(target, root / HIDDEN / "parts", made.video, made.mask, made.about)
                new += 1
            elif not _same(target, made.about):
                raise UsageError(f"{target} was made otherwise, and is left as it is; give another --prefix, or remove it")
            names.append(name)
    except UnreadableMedia as error:
        return _Written(number, error=str(error))
    except Stopped:
        return _Written(number, error="stopped")
    return _Written(number, tuple(names), new, skipped)


def _count(written: _Written, video: _Video, made: RecordsMade) -> str:
    """Add a clip to the journal and to the sums; return what the user should know."""
    if written.error:
        line = f"clip {written.number} of {video.source.path} is left out: {written.error}"
        made.lines.append(line)
        return line
    _append(video.journal, {"clip": written.number, "records": list(written.names), "skipped": written.skipped})
    made.records[video.split] += written.new
    made.there += len(written.names) - written.new
    made.skipped += written.skipped
    return ""


def _short(kind: str) -> list[str]:
    return [name for name, task in MASKS.items() if task == kind]


def _same(target: Path, about: dict[str, Json]) -> bool:
    """Whether a record that is there is the one that would be written, by its sidecar."""
    with suppress(OSError, ValueError):
        return bool(json.loads((target / SIDECAR).read_text(encoding="utf-8")) == json.loads(json.dumps(about)))
    return False


def _journal(hidden: Path, settings: RecordSettings, shop: Workshop, sha256: str) -> Path:
    """Where the finished clips of a video stand: under the name that its records have in common."""
    return hidden / f"{record_name(settings.prefix, shop.name or NO_DEPTH, sha256, 0, 0).removesuffix('_000000_0')}.jsonl"


def _read_journal(path: Path) -> tuple[dict[str, Json] | None, dict[int, list[str]]]:
    """The head and the finished clips with their records' names; lines that were cut off are left out."""
    head: dict[str, Json] | None = None
    done: dict[int, list[str]] = {}
    if path.exists():
        for row in _rows(path.read_text(encoding="utf-8")):
            if "settings" in row:
                head = row
            elif isinstance(number := row.get("clip"), int) and isinstance(names := row.get("records"), list):
                done[number] = [str(name) for name in names]
    return head, done if head is not None else {}


def _rows(text: str) -> Iterator[dict[str, Json]]:
    for line in text.split("\n"):
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict):
                yield row


def _append(journal: Path, row: dict[str, Json]) -> None:
    """Add a line, after an end of line of its own: the one before may have been cut off."""
    with journal.open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(row))


def _difference(there: Json, wanted: dict[str, Json]) -> str:
    """Name the first setting that differs."""
    before = there if isinstance(there, dict) else {}
    name = next(name for name in [*wanted, *before] if before.get(name) != wanted.get(name))
    return f"there are records made with {name} {before.get(name)!r}, and {wanted.get(name)!r} was asked"
