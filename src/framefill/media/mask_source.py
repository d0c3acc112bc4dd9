"""Where masks come from: pictures, folders, videos, animations, numpy arrays and run-length JSON, one frame at a time.

A source yields `RawMask`s, values as they lie in the file (a palette's indices, not its colours); what they mean is decided in
`mask_encoding`. Every source can be read again from its beginning and holds one frame at a time in memory.
"""

from __future__ import annotations

import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from framefill.errors import MaskMismatch, UnreadableMedia
from framefill.media.mask_encoding import RawMask
from framefill.media.mask_rle import read_rle_file

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[np.generic]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".apng", ".pgm", ".pbm", ".ppm")
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "PPM")


class MaskSource(ABC):
    """One mask clip. `name` says what it is in a few words; `fps` is None when it has no clock; `lossy` when a codec blurred its levels.

    `warnings` is filled while reading, one line each. `size` (height, width) is told by a source that knows it before decoding.
    """

    size: tuple[int, int] | None = None

    def __init__(self, name: str, *, lossy: bool = False, fps: float | None = None) -> None:
        self.name = name
        self.lossy = lossy
        self.fps = fps
        self.warnings: list[str] = []

    @abstractmethod
    def __iter__(self) -> Iterator[RawMask]: ...


def open_source(source: str | Path | Array, key: str | None = None) -> MaskSource:
    """The reader for a mask given as a path (file, folder, glob) or as an array H W or T H W (bool, integer, float in 0..1 or 0..255).

    key: which array of an .npz file. Raises UnreadableMedia when there is no such file or it holds no picture, MaskMismatch when
    an array's shape or values cannot be a mask.
    """
    if isinstance(source, np.ndarray):
        return ArraySource(f"array {_shape(source)}", source)
    path = Path(source)
    suffix = path.suffix.lower()
    if path.is_dir():
        return _open_pictures(sorted((p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_natural), path)
    if not path.exists():
        found = _glob(path)
        if found:
            return _open_pictures(sorted(found, key=_natural), path)
        raise UnreadableMedia(f"{path}: no such mask file or folder; check the path")
    if path.stat().st_size == 0:
        raise UnreadableMedia(f"{path}: the mask file is empty (0 bytes); write it again")
    if suffix == ".npy":
        return ArraySource(f"numpy file {path.name}", _load_npy(path))
    if suffix == ".npz":
        return NpzSource(path, _npz_member(path, key))
    if suffix == ".json":
        return RleSource(path)
    return _open_picture_or_video(path)


class PictureSource(MaskSource):
    """One picture, or a folder of them in natural order (2.png before 10.png)."""

    def __init__(self, name: str, paths: list[Path], lossy: bool) -> None:
        super().__init__(name, lossy=lossy)
        self._paths = paths

    def __iter__(self) -> Iterator[RawMask]:
        from PIL import ImageOps

        for path in self._paths:
            with _open_image(path) as image:
                try:
                    raw = _raw(ImageOps.exif_transpose(image))
                except (OSError, SyntaxError, ValueError) as error:
                    raise UnreadableMedia(f"{path}: the mask picture is damaged ({error}); write it again") from error
            yield raw


class AnimationSource(MaskSource):
    """An animated GIF, WebP or APNG, or a TIFF of several pages, with its own frame times where the format has them."""

    def __init__(self, name: str, path: Path, lossy: bool, fps: float | None) -> None:
        super().__init__(name, lossy=lossy, fps=fps)
        self._path = path

    def __iter__(self) -> Iterator[RawMask]:
        from PIL import ImageSequence

        with _open_image(self._path) as image:
            elapsed = 0.0
            for page in ImageSequence.Iterator(image):
                try:
                    raw = _raw(page if image.format == "TIFF" else page.convert("RGBA"))
                except (OSError, SyntaxError, ValueError) as error:
                    raise UnreadableMedia(f"{self._path}: the mask animation is damaged ({error}); write it again") from error
                yield replace(raw, seconds=elapsed) if self.fps else raw
                elapsed += float(page.info.get("duration", 0)) / 1000


class VideoSource(MaskSource):
    """A mask video; its values are the decoded RGB, its times those of its frames."""

    def __init__(self, name: str, path: Path, lossy: bool, fps: float | None) -> None:
        super().__init__(name, lossy=lossy, fps=fps)
        self._path = path

    def __iter__(self) -> Iterator[RawMask]:
        from framefill.media.reader import open_video

        with open_video(self._path) as reader:
            for frame in reader:
                yield RawMask("rgb", frame.rgb, seconds=reader.seconds(frame))
            self.warnings = [f"mask: {line}" for line in reader.warnings]


class ArraySource(MaskSource):
    """A numpy array H W or T H W, in memory or mapped from a file; frames are converted one at a time."""

    def __init__(self, name: str, array: Array) -> None:
        super().__init__(name)
        self._frames = _as_frames(array)
        self._scale = _float_scale(iter(self._frames)) if self._frames.dtype.kind == "f" else 1.0

    def __iter__(self) -> Iterator[RawMask]:
        return (_raw_array(frame, self._scale) for frame in self._frames)


class NpzSource(MaskSource):
    """One array of an .npz archive, unpacked frame by frame so that a long mask never lies in memory whole."""

    def __init__(self, path: Path, member: str) -> None:
        super().__init__(f"array {Path(member).stem!r} of {path.name}")
        self._path, self._member = path, member
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            self._shape, self._fortran, self._dtype = _npy_header(stream, path)
        _check_shape(self._shape, self._dtype)
        self._scale = _float_scale(self._arrays()) if self._dtype.kind == "f" else 1.0

    def __iter__(self) -> Iterator[RawMask]:
        return (_raw_array(frame, self._scale) for frame in self._arrays())

    def _arrays(self) -> Iterator[Array]:
        count, height, width = _squeezed(self._shape)
        if self._fortran:  # columns first: a frame is spread over the whole stream
            with np.load(self._path, allow_pickle=False) as archive:
                yield from _as_frames(archive[Path(self._member).stem])
            return
        with zipfile.ZipFile(self._path) as archive, archive.open(self._member) as stream:
            _npy_header(stream, self._path)
            length = height * width * self._dtype.itemsize
            for _ in range(count):
                try:
                    content = stream.read(length)
                except (zipfile.BadZipFile, OSError) as error:
                    raise UnreadableMedia(f"{self._path}: the array {self._member} is damaged ({error}); write it again") from error
                if len(content) < length:
                    raise UnreadableMedia(f"{self._path}: the array {self._member} is cut off; write it again")
                yield np.frombuffer(content, self._dtype).reshape(height, width)


class RleSource(MaskSource):
    """A JSON file of run-length masks in the layout of `mask_rle`."""

    def __init__(self, path: Path) -> None:
        self._content = read_rle_file(path)
        super().__init__(f"run-length JSON {path.name}", fps=self._content.fps)
        self.size = self._content.size

    def __iter__(self) -> Iterator[RawMask]:
        for index, mask in enumerate(self._content):
            yield RawMask("bool", mask, seconds=index / self.fps if self.fps else None)


def _open_pictures(paths: list[Path], given: Path) -> MaskSource:
    if not paths:
        raise UnreadableMedia(f"{given}: no mask pictures in it (looked for {', '.join(IMAGE_SUFFIXES[:6])}); check the folder")
    if len(paths) == 1 and not given.is_dir():
        return _open_picture_or_video(paths[0])
    lossy = any(path.suffix.lower() in (".jpg", ".jpeg") for path in paths)
    return PictureSource(f"{len(paths)} picture{'s' * (len(paths) > 1)} in {given}", paths, lossy)


def _open_picture_or_video(path: Path) -> MaskSource:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as image:
            pages = int(getattr(image, "n_frames", 1))
            lossy = image.format == "JPEG" or (image.format == "WEBP" and not _webp_is_lossless(path))
            if pages > 1:
                fps = _animation_fps(image, pages)
                return AnimationSource(f"animated {image.format} {path.name}", path, lossy, fps)
            return PictureSource(f"still {image.format} {path.name}", [path], lossy)
    except UnidentifiedImageError:
        return _open_mask_video(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableMedia(f"{path}: the mask picture is damaged ({error}); write it again") from error


def _open_mask_video(path: Path) -> MaskSource:
    from framefill.media.reader import open_video

    with open_video(path) as reader:
        meta = reader.meta
    lossless = meta.codec in ("ffv1", "png", "rawvideo", "huffyuv", "ffvhuff", "utvideo", "qtrle", "apng", "gif", "bmp", "tiff")
    fps = None if meta.fps is None else float(meta.fps)
    return VideoSource(f"video {path.name} ({meta.codec})", path, not lossless, fps)


def _animation_fps(image: Image.Image, pages: int) -> float | None:
    total = 0.0
    for page in range(pages):
        image.seek(page)
        image.load()  # Pillow tells a WebP or APNG frame's duration only after loading it
        total += float(image.info.get("duration", 0))
    return 1000 * pages / total if total > 0 else None


def _webp_is_lossless(path: Path) -> bool:
    with path.open("rb") as stream:
        return b"VP8L" in stream.read(1 << 16)


def _open_image(path: Path) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadableMedia(f"{path}: not a picture that can be read; the mask folder must hold pictures only") from error
    except OSError as error:
        raise UnreadableMedia(f"{path}: cannot be opened ({error.strerror or error}); check the file") from error


def _raw(image: Image.Image) -> RawMask:
    """Values of a picture as stored: indices of a palette, 16 bits where the file has them, alpha apart."""
    mode = image.mode
    if mode == "1":
        return RawMask("bool", np.asarray(image, np.bool_))
    if mode == "P":
        palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        colors = np.zeros((256, 3), np.uint8)
        colors[: len(palette)] = palette
        return RawMask("palette", np.asarray(image, np.uint8), colors=colors)
    if mode.startswith("I") or mode == "F":
        values = np.asarray(image)
        scale = _float_scale(iter([values])) if values.dtype.kind == "f" else 1.0
        return _raw_array(values, scale)
    if mode == "L":
        return RawMask("grey", np.asarray(image, np.uint8))
    if mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        pixels = np.asarray(image.convert("RGBA"), np.uint8)
        return RawMask("rgb", np.ascontiguousarray(pixels[..., :3]), alpha=np.ascontiguousarray(pixels[..., 3]))
    return RawMask("rgb", np.asarray(image.convert("RGB"), np.uint8))


def _raw_array(frame: Array, scale: float) -> RawMask:
    """One H W array as levels: bool as it is, floats times `scale`, integers checked to fit 16 bits."""
    if frame.dtype == np.bool_:
        return RawMask("bool", np.asarray(frame, np.bool_))
    if frame.dtype.kind == "f":
        return RawMask("grey", np.rint(np.asarray(frame, np.float64) * scale).astype(np.uint8))
    if frame.dtype == np.uint8:
        return RawMask("grey", np.asarray(frame, np.uint8))
    low, high = int(frame.min()), int(frame.max())
    if low < 0 or high > 65535:
        raise MaskMismatch(f"mask array holds {low} to {high}, expected 0 to 65535 (0/1, 0/255 or object ids); convert it")
    return RawMask("grey", frame.astype(np.uint8) if high <= 255 else frame.astype(np.uint16))


def _float_scale(frames: Iterator[Array]) -> float:
    """255 when all values lie in 0..1, 1 when they lie in 0..255. Raises MaskMismatch for anything else, NaN too."""
    low, high = np.inf, -np.inf
    for frame in frames:
        values = np.asarray(frame, np.float64)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if not (values.min() >= 0 and values.max() <= 255):  # so written, NaN is refused too
            raise MaskMismatch("mask array of floats holds a value below 0, above 255 or NaN, expected 0 to 1 or 0 to 255; convert it")
    return 255.0 if high <= 1 else 1.0


def _load_npy(path: Path) -> Array:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError) as error:
        raise UnreadableMedia(f"{path}: not a numpy array that can be read ({error}); save it again with numpy.save") from error


def _npz_member(path: Path, key: str | None) -> str:
    """The archive's member to read: the named one, the only one, or the one called mask or masks."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [Path(name).stem for name in archive.namelist() if name.endswith(".npy")]
    except (zipfile.BadZipFile, OSError) as error:
        raise UnreadableMedia(f"{path}: not an .npz archive that can be read ({error}); save it again with numpy.savez") from error
    if not names:
        raise UnreadableMedia(f"{path}: holds no numpy array; save the mask with numpy.savez")
    if key is not None:
        if key not in names:
            raise MaskMismatch(f"{path.name} has no array {key!r}; it holds {', '.join(names)}; choose one with --mask-key")
        return f"{key}.npy"
    likely = names if len(names) == 1 else [name for name in names if name.lower() in ("mask", "masks")]
    if len(likely) != 1:
        raise MaskMismatch(f"{path.name} holds {len(names)} arrays ({', '.join(names[:8])}); choose one with --mask-key")
    return f"{likely[0]}.npy"


def _npy_header(stream: IO[bytes], path: Path) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(stream)
    except ValueError as error:
        raise UnreadableMedia(f"{path}: holds an array that cannot be read ({error}); save it again with numpy.savez") from error


def _check_shape(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
    if dtype.kind not in "buif":
        raise MaskMismatch(f"mask array is of type {dtype}, expected bool, integers or floats; convert it")
    _squeezed(shape)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """T H W of H W, T H W, T H W 1 or T 1 H W. Raises MaskMismatch for another shape or one without pixels."""
    found = shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    elif len(shape) == 4 and shape[1] == 1:
        shape = (shape[0], *shape[2:])
    elif len(shape) == 3 and shape[2] == 1:
        shape = (1, *shape[:2])
    elif len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or 0 in shape:
        raise MaskMismatch(f"mask array is {' x '.join(map(str, found))}, expected H W, T H W or T H W 1 with T, H, W >= 1; reshape it")
    return shape[0], shape[1], shape[2]


def _as_frames(array: Array) -> Array:
    _check_shape(array.shape, array.dtype)
    return array.reshape(_squeezed(array.shape))


def _shape(array: Array) -> str:
    return " x ".join(map(str, array.shape))


def _glob(pattern: Path) -> list[Path]:
    """Files that a pattern such as masks/*.png stands for; wildcards in the file name only."""
    return list(pattern.parent.glob(pattern.name)) if pattern.name and set("*?[") & set(pattern.name) else []


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key with whole numbers as numbers: frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", path.name)]
