"""`framefill inpaint` and `outpaint` by a trained model: its options reach it, others refuse them, and an untrained task is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jobs_kit import rgb_of, write_clip
from made_kit import save_net

import framefill
from framefill import families
from framefill.apps.cli.main import main
from framefill.errors import FramefillError, UsageError, WeightsError
from framefill.families.trained import SHIPPED, Sampling, Trained, folder_of
from framefill.jobs.settings import FillSettings

CENTRE = "24,16,12,10"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_net(tmp_path_factory.mktemp("nets") / "tiny"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mkv", 9)


def test_seed_and_steps_reach_the_net_and_known_pixels_stay(
    clip: Path, net: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def filled(*options: str) -> np.ndarray:
        command = ["inpaint", str(clip), "--box", CENTRE, "-o", str(tmp_path / "out.mkv"), "--lossless", "--overwrite", "--model", net]
        assert main([*command, "--quiet", "--json", *options]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["model"] == "tiny"
        assert told["outside_max_diff"] == 0
        assert "tiny works at 21x16 pixels: what it makes is enlarged to 64x48" in told["warnings"]
        return rgb_of(tmp_path / "out.mkv")

    first, source = filled("--steps", "1"), rgb_of(clip)
    hole = np.zeros(source.shape[:3], np.bool_)
    hole[:, 16:26, 24:36] = True
    assert np.array_equal(first[~hole], source[~hole])
    assert np.array_equal(first, filled("--steps", "1", "--seed", "0", "--device", "cpu", "--dtype", "fp32"))
    for other in (("--steps", "2"), ("--steps", "1", "--seed", "4"), ("--steps", "1", "--dtype", "bf16")):
        assert not np.array_equal(first[hole], filled(*other)[hole]), other
    memory = framefill.inpaint(source, hole, net, Sampling(steps=1))
    assert np.array_equal(memory.frames, first)


@pytest.mark.parametrize("option", [("--seed", "1"), ("--steps", "9"), ("--device", "cpu"), ("--dtype", "fp32")])
@pytest.mark.parametrize("verb", ["inpaint", "outpaint"])
def test_a_family_without_a_net_refuses_them(
    clip: Path, tmp_path: Path, verb: str, option: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    what = ("--box", CENTRE) if verb == "inpaint" else ("--pad", "8,0,8,0")
    assert main([verb, str(clip), *what, "-o", str(tmp_path / "out.mkv"), *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "auto has no use for them" in line
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mkv"]
    with pytest.raises(UsageError, match="propagate has no use for them"):
        families.get("propagate", Sampling())


@pytest.mark.parametrize(
    ("tasks", "what", "line"),
    [
        (("predict",), ("outpaint", "--pad", "8,0,8,0"), "not trained on 'outpaint', only on predict; --model auto fills it"),
        (("predict",), ("inpaint", "--box", CENTRE), "not trained on 'inpaint-box', only on predict; --model auto fills it"),
        (("inpaint-box",), ("inpaint", "--box", "0,0,64,48@0.4-0.6"), "not trained on 'interpolate', only on inpaint-box; --model flow"),
        (("inpaint-box",), ("inpaint", "--box", "0,0,64,48"), "not trained on 'generate'"),
    ],
)
def test_an_untrained_task_is_refused_in_one_line(
    clip: Path, tmp_path: Path, tasks: tuple[str, ...], what: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    net = save_net(tmp_path / "net", tasks, window=9)
    verb, *options = what
    capsys.readouterr()
    assert main([verb, str(clip), *options, "-o", str(tmp_path / "out.mkv"), "--model", str(net), "--steps", "1", "--quiet"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said
    assert "net was not trained" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mkv", "net"]


def test_a_net_of_holes_fills_a_border_too(clip: Path, tmp_path: Path) -> None:
    net = save_net(tmp_path / "net", ("inpaint-box",))
    out = tmp_path / "out.mkv"
    assert main(["outpaint", str(clip), "--pad", "8,0,8,0", "-o", str(out), "--lossless", "--model", str(net), "--steps", "1"]) == 0
    assert np.array_equal(rgb_of(out)[:, :, 8:-8], rgb_of(clip))


def test_an_interrupted_job_of_another_seed_is_not_gone_on_with(clip: Path, net: str, tmp_path: Path) -> None:
    asked = [FillSettings(clip, tmp_path / "o.mkv", boxes=(CENTRE,), model=net, sampling=sampling) for sampling in (None, Sampling(seed=1))]
    assert asked[0].filling() != asked[1].filling()


def test_windows_of_a_filler_share_frames_and_make_some() -> None:
    pytest.importorskip("torch")
    from framefill.families.vdt_filler import VDTFiller

    class Pipeline:
        def __init__(self, window: int) -> None:
            self.window, self.tasks = window, ()

    found = {window: VDTFiller(Pipeline(window)) for window in (1, 2, 3, 4, 5, 8, 16, 32)}  # type: ignore[arg-type]
    assert {window: (filler.window, filler.reach) for window, filler in found.items()} == {
        1: (1, 0), 2: (2, 0), 3: (1, 1), 4: (2, 1), 5: (1, 2), 8: (4, 2), 16: (8, 4), 32: (24, 4),
    }  # fmt: skip


def test_the_shipped_weights_are_found_by_their_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = families.TRAINED[0]
    assert folder_of(name) in (None, SHIPPED / name)
    assert folder_of("auto") is None
    assert folder_of("") is None
    monkeypatch.setattr("framefill.families.trained.SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match="not in this installation"):
        families.get(name)
    save_net(tmp_path / name)
    model = families.get(name)
    assert isinstance(model, Trained)
    assert model.name == name


def test_what_is_shipped_can_do_every_task_and_keeps_what_is_known() -> None:
    pytest.importorskip("torch")
    name = families.TRAINED[0]
    if folder_of(name) is None:
        pytest.skip("no weights are shipped yet")
    model = families.load(name, Sampling(steps=2))
    assert {"predict", "backward", "interpolate", "single", "generate", "outpaint"} <= set(model.tasks)
    frames = np.random.default_rng(0).integers(0, 256, (9, 40, 56, 3), np.uint8)
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[:, 10:20, 10:30] = True
    filled = framefill.inpaint(frames, mask, name, Sampling(steps=2))
    assert np.array_equal(filled.frames[~mask], frames[~mask])
    other = framefill.inpaint(np.where(mask[..., None], 255 - frames, frames).astype(np.uint8), mask, name, Sampling(steps=2))
    assert np.array_equal(filled.frames, other.frames)
    assert not np.array_equal(filled.frames, framefill.inpaint(frames, mask, name, Sampling(seed=1, steps=2)).frames)


def test_sampling_that_cannot_be_is_refused() -> None:
    for wrong in ({"seed": -1}, {"steps": 0}, {"steps": 1001}, {"device": "tpu"}, {"dtype": "fp8"}):
        with pytest.raises(FramefillError, match=next(iter(wrong))):
            Sampling(**wrong)  # type: ignore[arg-type]
