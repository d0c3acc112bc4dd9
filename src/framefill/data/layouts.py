"""Where the videos of a folder are, for the layouts in which data sets come: each importer lists `Source`s, and opens none.

The layouts are those in which the data sets are handed out by their authors; splits and classes come from their folders and lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from framefill.data.manifest import Split
from framefill.errors import UnreadableMedia, UsageError
from framefill.media.images import STILL, natural_key

VIDEOS = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm", ".mpg", ".mpeg", ".m4v", ".ts", ".gif", ".apng", ".wmv", ".flv"})
SPLIT_NAMES: dict[str, Split] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "eval": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
CITYSCAPES = re.compile(r"(?P<city>.+)_(?P<sequence>\d{6})_(?P<frame>\d{6})_leftImg8bit\.png")
SNIPPET = 30  # frames of one Cityscapes snippet


@dataclass(frozen=True)
class Source:
    """One source of frames: a video, a folder or a glob of frames, or frames `start .. end` of it (end excluded; None = to its end).

    `split` is None where the layout says nothing of it. `fps` is the rate of stills, as the data set's authors give it.
    """

    path: Path
    split: Split | None = None
    label: str = ""
    fps: float | None = None
    start: int = 0
    end: int | None = None


Importer = Callable[[Path], list[Source]]


def find_sources(root: Path, layout: str = "auto") -> list[Source]:
    """List the sources below `root` in natural order; "auto" recognises the layout by its folders.

    Raises UnreadableMedia when the folder does not exist or holds nothing of the layout, UsageError for an unknown layout.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is not known; choose auto, {', '.join(LAYOUTS)}")
    if not root.is_dir():
        raise UnreadableMedia(f"{root} is no folder; give the folder that holds the videos, or folders of frames")
    chosen = recognise(root) if layout == "auto" else layout
    found = LAYOUTS[chosen](root)
    if not found:
        raise UnreadableMedia(f"{root} holds nothing in the layout {chosen}; expected video files or folders of frames")
    return found


def recognise(root: Path) -> str:
    """Name the layout of a folder."""
    if (root / "leftImg8bit_sequence").is_dir() or any(root.glob("*/*/*_leftImg8bit.png")):
        return "cityscapes"
    if _jpeg_images(root):
        return "davis" if (root / "ImageSets").is_dir() else "youtube-vos"
    if any(root.glob("video_train/*")) or any(root.glob("video_validation/*")):
        return "clevrer"
    if any(root.glob("sky_train/*")) or any(root.glob("sky_test/*")):
        return "sky"
    if any(root.glob("*/v_*_g[0-9][0-9]_c[0-9][0-9].avi")) or any(root.glob("*/*/v_*_g[0-9][0-9]_c[0-9][0-9].avi")):
        return "ucf101"
    if any(folder.is_dir() and _split_of(folder) for folder in root.iterdir()):
        return "splits"
    return "any"


def anything(root: Path) -> list[Source]:
    """Every video file below `root`, and every folder that holds pictures, whatever the folders between are called."""
    return [Source(path) for path in _clips_below(root)]


def videos(root: Path) -> list[Source]:
    """Every video file below `root`; pictures are left alone."""
    return [Source(path) for path in _clips_below(root) if not path.is_dir()]


def frames(root: Path) -> list[Source]:
    """Every folder below `root` that holds pictures, as one clip of frames; video files are left alone."""
    return [Source(path) for path in _clips_below(root) if path.is_dir()]


def splits(root: Path) -> list[Source]:
    """Clips in folders `train`, `val`, `test` (TaiChi-HD's layout, and many people's own); what lies outside of them has no split."""
    found = []
    for folder in _folders(root):
        found += [Source(path, _split_of(folder)) for path in _clips_below(folder)]
    return found + [Source(path) for path in _files(root, VIDEOS)]


def youtube_vos(root: Path) -> list[Source]:
    """`[train|valid|test]/JPEGImages/CLIP/*.jpg`: every fifth frame of 30 a second."""
    return [
        Source(clip, _split_of(images.parent), fps=30.0 if images.parent.name.endswith("all_frames") else 6.0)
        for images in _jpeg_images(root)
        for clip in _folders(images)
    ]


def davis(root: Path) -> list[Source]:
    """`JPEGImages/480p/CLIP/*.jpg` at 24 frames a second, the splits of `ImageSets/2017` (or 2016), one resolution of them."""
    images = _jpeg_images(root)
    if not images:
        return []
    named: dict[str, Split] = {}
    for list_name, split in (("train", "train"), ("val", "val"), ("test-dev", "test"), ("test-challenge", "test")):
        for file in sorted(root.glob(f"ImageSets/*/{list_name}.txt")):
            for line in file.read_text(encoding="utf-8").split("\n"):
                clip = Path(line.split()[0]).parent.name if "/" in line else line.strip()
                named.setdefault(clip, SPLIT_NAMES[split])
    sizes = _folders(images[0])
    clips = images[0]
    if sizes and not any(_files(sizes[0], STILL)):
        clips = next((size for size in sizes if size.name == "480p"), sizes[0])
    return [Source(clip, named.get(clip.name), fps=24.0) for clip in _folders(clips)]


def ucf101(root: Path) -> list[Source]:
    """`CLASS/v_CLASS_g01_c01.avi` with the first of the official lists; without lists, groups 1 to 7 are the test set, as in the first."""
    listed: dict[str, Split] = {}
    for name in ("train", "test"):
        for file in (*root.glob(f"{name}list01.txt"), *root.glob(f"*/{name}list01.txt"), *root.parent.glob(f"*/{name}list01.txt")):
            lines = file.read_text(encoding="utf-8").split("\n")
            listed.update({Path(line.split()[0]).name: SPLIT_NAMES[name] for line in lines if line.strip()})
    found = []
    for path in _clips_below(root):
        group = re.search(r"_g(\d\d)_c\d\d$", path.stem)
        if group is not None:
            split = listed.get(path.name) if listed else SPLIT_NAMES["test" if int(group[1]) <= 7 else "train"]
            found.append(Source(path, split, label=path.parent.name))
    return found


def sky(root: Path) -> list[Source]:
    """Sky Time-lapse: `sky_train/VIDEO/CLIP/*.jpg` and `sky_test/...`; a clip is a folder of frames."""
    return [Source(path, SPLIT_NAMES[name], fps=30.0) for name in ("train", "test") for path in _clips_below(root / f"sky_{name}")]


def clevrer(root: Path) -> list[Source]:
    """CLEVRER: `video_train/video_00000-01000/video_00000.mp4`, `video_validation/...`, `video_test/...`."""
    return [Source(path, SPLIT_NAMES[name]) for name in ("train", "validation", "test") for path in _clips_below(root / f"video_{name}")]


def cityscapes(root: Path) -> list[Source]:
    """`leftImg8bit_sequence/{train,val,test}/CITY/CITY_SEQUENCE_FRAME_leftImg8bit.png`: snippets of 30 frames, 17 a second."""
    base = root / "leftImg8bit_sequence" if (root / "leftImg8bit_sequence").is_dir() else root
    return [source for split in _folders(base) for city in _folders(split) for source in _snippets(city, _split_of(split))]


def _snippets(city: Path, split: Split | None) -> Iterator[Source]:
    """Runs of 30 numbers in a row; one sequence number may stand for one snippet or for a whole city."""
    named = [match for file in _files(city, STILL) if (match := CITYSCAPES.fullmatch(file.name))]
    named.sort(key=lambda match: (match["city"], match["sequence"], match["frame"]))
    for (name, sequence), group in groupby(named, key=lambda match: (match["city"], match["sequence"])):
        numbers = [int(match["frame"]) for match in group]
        start = 0
        for index in range(1, len(numbers) + 1):
            if index == len(numbers) or numbers[index] != numbers[index - 1] + 1 or index - start == SNIPPET:
                yield Source(city / f"{name}_{sequence}_*_leftImg8bit.png", split, fps=17.0, start=start, end=index)
                start = index


LAYOUTS: dict[str, Importer] = {
    "any": anything,
    "videos": videos,
    "frames": frames,
    "splits": splits,
    "youtube-vos": youtube_vos,
    "davis": davis,
    "ucf101": ucf101,
    "sky": sky,
    "taichi": splits,
    "clevrer": clevrer,
    "cityscapes": cityscapes,
}


def _clips_below(folder: Path) -> Iterator[Path]:
    """Video files and folders of pictures, depth first, in natural order; hidden ones are passed by.

    A folder of pictures may be called like a file (TaiChi-HD's `NAME.mp4/0000000.png`).
    """
    if not folder.is_dir():
        return
    if any(_files(folder, STILL - VIDEOS)):
        yield folder
    for entry in sorted(folder.iterdir(), key=natural_key):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _clips_below(entry)
        elif entry.suffix.lower() in VIDEOS:
            yield entry


def _files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    wanted = [
        entry for entry in folder.iterdir() if entry.suffix.lower() in suffixes and not entry.name.startswith(".") and entry.is_file()
    ]
    return sorted(wanted, key=natural_key)


def _folders(folder: Path) -> list[Path]:
    return sorted((entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")), key=natural_key)


def _jpeg_images(root: Path) -> list[Path]:
    """The folders JPEGImages at the top, or one or two folders down (YouTube-VOS's splits and its `all_frames`)."""
    return sorted(each for depth in ("", "*/", "*/*/") for each in root.glob(f"{depth}JPEGImages") if each.is_dir())


def _split_of(folder: Path) -> Split | None:
    """What a folder's name says of the split: "train", "valid_all_frames", ..."""
    return SPLIT_NAMES.get(folder.name.lower().split("_")[0])
