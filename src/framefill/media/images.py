"""Pictures as video: folders, globs and patterns of frames, one still image, animated GIF, APNG and WebP (by Pillow; 16-bit by OpenCV)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framefill.errors import UnreadableMedia
from framefill.media.video import Frame, VideoMeta

if TYPE_CHECKING:
    from PIL import Image

STILL = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".apng"})
ANIMATED = frozenset({".gif", ".apng", ".png", ".webp"})
DEFAULT_FPS = Fraction(25)
DEFAULT_DELAY_MS = 100  # what browsers show for a GIF frame with no delay
PATTERN = re.compile(r"%0?\d*d")
FULL_RANGE, RGB_MATRIX = 2, 0


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """A sort key under which "f2.png" comes before "f10.png"."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name.lower()) if part]


def find_frames(path: Path) -> list[Path] | None:
    """The frames that a folder, glob or `%04d` pattern names, in natural order; None when `path` is none of these.

    Raises `UnreadableMedia` when it is one and holds no image.
    """
    named = _named(path)
    if named is None:
        return None
    frames = [name for name in named if name.suffix.lower() in STILL]
    if not frames:
        where = f"folder {path}" if path.is_dir() else f"no file matches {path}: it"
        raise UnreadableMedia(f"{where} holds no image; give frames as PNG, JPEG, TIFF, WebP or BMP")
    return sorted(frames, key=lambda name: (natural_key(name), name.name))


def _named(path: Path) -> list[Path] | None:
    """The files that a folder, glob or pattern names, of whatever kind; None when `path` is none of these."""
    if path.is_dir():
        names = list(path.iterdir())
    elif not path.exists() and (PATTERN.search(path.name) or any(sign in path.name for sign in "*?[")):
        names = _matching(path)
    else:
        return None
    return [name for name in names if not name.name.startswith(".") and name.is_file()]


def _matching(path: Path) -> list[Path]:
    if PATTERN.search(path.name):
        wanted = re.compile("".join(r"\d+" if PATTERN.fullmatch(part) else re.escape(part) for part in re.split(r"(%0?\d*d)", path.name)))
        return [name for name in path.parent.glob("*") if wanted.fullmatch(name.name)]
    return list(path.parent.glob(path.name))


class ImageSequence:
    """Still images of one size as frames of a constant rate; `fps` None assumes 25 and warns."""

    def __init__(self, path: Path, files: list[Path], fps: Fraction | float | None) -> None:
        self.warnings: list[str] = []
        self._files = files
        if fps is None:
            self.warnings.append(f"the images carry no times: {DEFAULT_FPS} frames per second assumed; --fps sets another rate")
        rate = DEFAULT_FPS if fps is None else Fraction(fps).limit_denominator(1001)
        width, height = _size(files[0])
        for name in files[1:]:
            if (size := _size(name)) != (width, height):
                raise UnreadableMedia(f"{name} is {size[0]}x{size[1]}, but {files[0].name} is {width}x{height}; give frames of one size")
        depth, alpha = _depth(files[0]), _has_alpha(files[0])
        if depth > 8:
            self.warnings.append(f"{depth}-bit images: worked on in 8 bit")
        if alpha:
            self.warnings.append("the images have transparency: it is not kept")
        others = sorted(name.name for name in _named(path) or () if name.suffix.lower() not in STILL)
        if others:
            self.warnings.append(
                f"only the images in {path} are read: {others[0]}{f' and {len(others) - 1} more' * (len(others) > 1)} left out"
            )
        self.meta = VideoMeta(
            width=width,
            height=height,
            time_base=1 / rate,
            fps=rate,
            num_frames=len(files),
            pix_fmt="rgb24",
            bit_depth=depth,
            color_range=FULL_RANGE,
            color_space=RGB_MATRIX,
            codec=files[0].suffix.lower().lstrip("."),
            container="images",
            duration=float(len(files) / rate),
            kind="images",
        )

    def frames(self, start: int) -> Iterator[Frame]:
        """Frames from number `start` on; the pictures before it are not opened."""
        for index in range(start, len(self._files)):
            yield Frame(index, read_image(self._files[index]), index, 1)


class Animation:
    """An animated GIF, APNG or WebP, its frame delays kept to the millisecond (GIF: its own hundredths)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        with _open(path) as image:
            count: int = getattr(image, "n_frames", 1)
            loop = image.info.get("loop")
            if "transparency" in image.info or image.mode in ("RGBA", "LA"):
                self._warn("the animation has transparency: it is not kept")
            self.meta = VideoMeta(
                width=image.width,
                height=image.height,
                time_base=Fraction(1, 1000),
                num_frames=count,
                pix_fmt="rgb24",
                color_range=FULL_RANGE,
                color_space=RGB_MATRIX,
                codec=(image.format or "").lower(),
                container=(image.format or "").lower(),
                kind="animation",
                metadata={} if loop is None else {"loop": str(loop)},
            )

    def frames(self, start: int) -> Iterator[Frame]:
        """Frames from number `start` on; those before it are decoded, since each builds on the last."""
        pts = 0
        with _open(self.path) as image:
            for index in range(self.meta.num_frames or 1):
                try:
                    image.seek(index)
                    rgb = _rgb(image)
                except (EOFError, OSError, SyntaxError, ValueError) as error:
                    if index == 0:
                        raise UnreadableMedia(f"{self.path} holds no picture that could be decoded ({error})") from error
                    self._warn(f"the file ends early: {index} of {self.meta.num_frames} frames read")
                    return
                delay = round(image.info.get("duration", 0)) or DEFAULT_DELAY_MS
                if index >= start:
                    yield Frame(index, rgb, pts, delay)
                pts += delay

    def _warn(self, line: str) -> None:
        if line not in self.warnings:
            self.warnings.append(line)


def is_animated(path: Path) -> bool:
    """Whether an image file holds more than one frame. Raises `UnreadableMedia` when it is no image."""
    with _open(path) as image:
        return bool(getattr(image, "is_animated", False))


def read_image(path: Path) -> NDArray[np.uint8]:
    """One image file as uint8 H W 3 RGB, turned as its EXIF flag asks, opaque, 16 bit rounded to 8. Raises `UnreadableMedia`."""
    if _depth(path) > 8:
        return _read_deep(path)
    with _open(path) as image:
        try:
            return _rgb(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise UnreadableMedia(f"{path} is damaged ({error}); replace this frame or leave it out") from error


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    from PIL import ImageOps

    if _exif_orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow's advice for palettes with transparency; the colour is the same
    return np.array(image.convert("RGB"))


def _read_deep(path: Path) -> NDArray[np.uint8]:
    import cv2

    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise UnreadableMedia(f"{path} is damaged or of an unknown kind; replace this frame or leave it out")
    if picture.dtype != np.uint16:
        raise UnreadableMedia(f"{path} holds {picture.dtype} samples; give 8 or 16-bit images")
    eight = ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if eight.ndim == 2:
        return np.repeat(eight[:, :, None], 3, axis=2)
    return np.ascontiguousarray(eight[:, :, 2::-1])


def _open(path: Path) -> Image.Image:
    from PIL import Image

    if path.stat().st_size == 0:
        raise UnreadableMedia(f"{path} is empty (0 bytes); give an image or a video file")
    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableMedia(f"{path} is not an image that can be read ({str(error).splitlines()[0]})") from error


def _size(path: Path) -> tuple[int, int]:
    if _depth(path) > 8 and path.suffix.lower() in (".tif", ".tiff"):
        height, width = _read_deep(path).shape[:2]
        return width, height
    with _open(path) as image:
        return (image.height, image.width) if _exif_orientation(image) >= 5 else image.size


def _exif_orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF's tag 274 has it; only where cameras write it (looking for it in a PNG would decode the whole picture)."""
    orientation: int = image.getexif().get(0x0112, 1) if image.format in ("JPEG", "MPO", "TIFF", "WEBP") else 1
    return orientation


def _depth(path: Path) -> int:
    """Bits a sample, from the header: PNG's IHDR, TIFF's tag 258, Pillow's mode for the others."""
    suffix = path.suffix.lower()
    if suffix in (".png", ".apng"):
        with path.open("rb") as file:
            head = file.read(25)
        return 16 if len(head) == 25 and head[:4] == b"\x89PNG" and head[24] == 16 else 8
    if suffix in (".tif", ".tiff"):
        from PIL import Image

        try:
            with Image.open(path) as image:
                return 16 if image.mode.startswith("I;16") or max(image.tag_v2.get(258, (8,))) > 8 else 8  # type: ignore[attr-defined]
        except OSError:
            return 16  # Pillow takes every 8-bit TIFF, but not 16-bit RGB
    return 8


def _has_alpha(path: Path) -> bool:
    if _depth(path) > 8:
        return False
    with _open(path) as image:
        return image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
