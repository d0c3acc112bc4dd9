"""`framefill weights`: what is printed where, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

from weights_kit import PAYLOAD, enter, row_of, sdist

from framefill.apps.cli.weights import weights_app
from framefill.weights.registry import WEIGHTS, Weights


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weights:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path / "home"))
    return enter(monkeypatch, row_of(sdist(tmp_path, {"toy/w.ckpt": PAYLOAD})))


@pytest.fixture
def kept(row: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run("get", "toy", "--from", str(tmp_path)) == 0
    capsys.readouterr()
    return tmp_path / "home" / "weights" / "toy.safetensors"


def run(*arguments: str) -> int:
    status = weights_app(list(arguments), standalone_mode=False)
    return status if isinstance(status, int) else 0


def test_get_prints_the_path_and_speaks_on_stderr(row: Weights, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("get", "toy", "--from", str(tmp_path)) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'home' / 'weights' / 'toy.safetensors'}\n"
    assert "framefill: toy: nothing but to be tested; licence CC0" in told.err.splitlines()

    assert run("get", "toy") == 0
    again = capsys.readouterr()
    assert again.out == told.out
    assert again.err == "framefill: toy is already there\n"

    assert run("get", "toy", "--quiet", "--force", "--from", str(tmp_path)) == 0
    assert capsys.readouterr() == (told.out, "")


def test_list_says_what_is_here(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    cells = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert {words[0]: words[1] for words in cells if words and words[0] in WEIGHTS} == dict.fromkeys(WEIGHTS, "no") | {"toy": "yes"}
    kept.write_bytes(b"half")
    assert run("list", "--json") == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [entry["name"] for entry in rows] == list(WEIGHTS)
    assert rows[-1]["here"] == "unusable"
    assert rows[-1]["path"] == str(kept)
    assert rows[-1]["licence"] == "CC0"
    assert rows[-1]["bytes"] == len(PAYLOAD)


def test_verify(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify") == 0
    assert capsys.readouterr().out == f"toy: right, {kept}\n"
    assert run("verify", "toy", "i3d") == 1
    told = capsys.readouterr()
    assert told.out == f"toy: right, {kept}\n"
    assert told.err == "framefill: weights 'i3d' are not here; get them with: framefill weights get i3d\n"
    data = bytearray(kept.read_bytes())
    data[-1] ^= 4
    kept.write_bytes(data)
    assert run("verify") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "damaged" in told.err
    assert told.err.count("\n") == 1


def test_verify_of_an_empty_cache(row: Weights, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("verify") == 0
    assert "get some with: framefill weights get NAME" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["get", "tooy"], 2, "no weights are called 'tooy'; did you mean toy?"),
        (["verify", "tooy"], 2, "no weights are called 'tooy'"),
        (["get", "toy", "--from", "absent"], 1, "absent does not exist"),
        (["get", "toy", "--from", "hub:x"], 1, "expected hub:owner/repo/path/to/file"),
        (["get", "toy", "--from", __file__], 1, "neither the weights file of 'toy'"),
    ],
)
def test_bad_requests_end_in_one_line(
    arguments: list[str], status: int, said: str, row: Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == status
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err.splitlines()[-1]
    assert told.err.splitlines()[-1].startswith("framefill: ")
    assert "Traceback" not in told.err


def test_without_torch_list_works_and_get_says_what_to_install(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["torch"] = sys.modules["safetensors"] = None
from framefill.apps.cli.weights import weights_app
sys.exit(weights_app(sys.argv[1:], standalone_mode=False))
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FRAMEFILL_HOME": str(tmp_path)}

    def without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    listed = without_torch("list", "--json")
    assert listed.returncode == 0, listed.stderr
    assert len(listed.stdout.splitlines()) == len(WEIGHTS)
    got = without_torch("get", "i3d")
    assert got.returncode == 1
    assert got.stderr == (
        "framefill: weights are converted with torch and safetensors, which are not installed: pip install 'framefill[networks]'\n"
    )
    assert not list(tmp_path.iterdir())


def test_the_command_line_loads_no_torch_for_a_list(tmp_path: Path) -> None:
    program = "import sys\nfrom framefill.apps.cli.weights import weights_app\nweights_app(['list'], standalone_mode=False)\n"
    program += "assert not {'torch', 'numpy', 'av', 'cv2'} & set(sys.modules), sorted(sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FRAMEFILL_HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True)
