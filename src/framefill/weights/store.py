"""The cache of converted weights: one safetensors file for each name, written whole or not at all, and checked when it is found.

The file's metadata carries the licence, where the weights come from and two hashes: `sha256` of the original file and `data_sha256` of
the tensors below the header. The header is written in a fixed order, so the same weights give the same file on every machine.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from framefill.errors import MissingWeights, WeightsError
from framefill.weights.registry import Weights, known

if TYPE_CHECKING:
    from torch import Tensor

_HEADER_LIMIT = 10_000_000  # bytes; ours are below 100 kB, and a damaged length must not be believed


def folder() -> Path:
    """Return the cache's folder of weights: `FRAMEFILL_HOME`/weights, by default in the XDG cache; it need not exist."""
    home = os.environ.get("FRAMEFILL_HOME")
    if home:
        return Path(home).expanduser() / "weights"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "framefill" / "weights"


def place(name: str) -> Path:
    """Return where the weights called `name` are kept, whether or not they are there; raises UsageError for an unknown name."""
    return folder() / f"{known(name).name}.safetensors"


def find(name: str) -> Path:
    """Return the cached file of the weights called `name`, after a check of its header, size and origin (not of every byte).

    Raises MissingWeights when it is not here, WeightsError when it is damaged or made from other weights than the table names,
    UsageError for an unknown name.
    """
    row, path = known(name), place(name)
    check_origin(row, path, metadata(path, row))
    return path


def load(name: str) -> dict[str, Tensor]:
    """Return the state dict of the weights called `name`, on the CPU, in the names and shapes of framefill's own module.

    Raises what `find` raises, and WeightsError when torch or safetensors are not installed.
    """
    path = find(name)
    require_torch("the networks need")
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = load_file(path)
    return tensors


def digest(name: str) -> str:
    """Return the sha256 of the whole cached file (64 hex digits), which is the same wherever the same weights were converted.

    Raises what `find` raises.
    """
    return sha256_of(find(name))


def verify(name: str) -> Path:
    """Check every byte of the cached weights called `name` and return their file.

    Raises what `find` raises, and WeightsError when the tensors are not those that were written.
    """
    path = find(name)
    check_data(known(name), path)
    return path


def keep(row: Weights, tensors: Mapping[str, Tensor]) -> Path:
    """Write `tensors` as the cached file of `row`, in one step: until it is complete, what was there before stays.

    Raises WeightsError when the cache cannot be written.
    """
    from safetensors.torch import save

    # Cloned, because a layout may give views of one tensor, which safetensors refuses.
    plain = save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()})
    length = int.from_bytes(plain[:8], "little")
    data = memoryview(plain)[8 + length :]
    about = {
        "name": row.name,
        "package": row.package,
        "version": row.version,
        "member": row.member,
        "sha256": row.sha256,
        "data_sha256": hashlib.sha256(data).hexdigest(),
        "licence": row.licence,
        "source": row.source,
        "layout": row.layout,
        "revision": str(row.revision),
    }
    # safetensors itself writes metadata in a random order; written here, the file's hash can stand in reports.
    header = json.dumps({"__metadata__": about, **json.loads(plain[8 : 8 + length])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with written_whole(place(row.name)) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(data)
    return place(row.name)


def metadata(path: Path, row: Weights) -> dict[str, str]:
    """Return what the safetensors file `path` says of itself, after a check that it holds as many bytes as its header announces.

    Raises MissingWeights when there is no file, WeightsError when it cannot be read or is damaged.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < _HEADER_LIMIT else None
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError as error:
        raise MissingWeights(f"weights {row.name!r} are not here; get them with: framefill weights get {row.name}") from error
    except OSError as error:
        raise WeightsError(f"weights {row.name!r} cannot be read: {path}: {error.strerror}") from error
    except ValueError:
        header = None
    about = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(header, dict) or not isinstance(about, dict) or size != 8 + length + _data_size(header):
        raise _damaged(row, path)
    return {str(key): str(value) for key, value in about.items()}


def check_origin(row: Weights, path: Path, about: Mapping[str, str]) -> None:
    """Raise WeightsError unless the file's metadata names the original and the layout that the table names."""
    made = (about.get("sha256"), about.get("layout"), about.get("revision"))
    if made != (row.sha256, row.layout, str(row.revision)):
        raise WeightsError(
            f"weights {row.name!r} at {path} were made from another file or by another framefill; "
            f"get them again with: framefill weights get {row.name} --force"
        )


def check_data(row: Weights, path: Path) -> None:
    """Raise WeightsError unless the tensors of the safetensors file `path` have the hash that its metadata gives."""
    about = metadata(path, row)
    with path.open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little"), os.SEEK_CUR)
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != about.get("data_sha256"):
        raise _damaged(row, path)


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write that takes the name `path` only when all of it is on the disk; otherwise nothing is left.

    Raises WeightsError when the folder cannot be written or the disk is full.
    """
    with writing(path.parent):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path to call open on
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)  # mkstemp makes it private; a shared cache wants it readable
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


@contextmanager
def writing(cache: Path) -> Iterator[None]:
    """Make the folder `cache` and say in one line what a failure to write there means; raises WeightsError."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise WeightsError(f"the disk of the cache {cache} is full; make room or set FRAMEFILL_HOME to another folder") from error
        raise WeightsError(
            f"the cache {cache} cannot be written: {error.strerror or error}; set FRAMEFILL_HOME to a folder that can be"
        ) from error


def require_torch(purpose: str) -> None:
    """Raise WeightsError unless torch and safetensors can be imported; `purpose` begins the line, as in "the networks need"."""
    try:
        for module in ("torch", "safetensors.torch"):
            importlib.import_module(module)
    except ImportError as error:
        raise WeightsError(f"{purpose} torch and safetensors, which are not installed: pip install 'framefill[networks]'") from error


def _data_size(header: Mapping[str, object]) -> int:
    ends = [0]
    for name, entry in header.items():
        if name != "__metadata__" and isinstance(entry, dict):
            ends.append(int(entry["data_offsets"][1]))
    return max(ends)


def _damaged(row: Weights, path: Path) -> WeightsError:
    return WeightsError(
        f"weights {row.name!r} at {path} are damaged or no safetensors file of framefill; "
        f"get them again with: framefill weights get {row.name} --force"
    )
