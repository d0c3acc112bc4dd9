"""Files of nunif's light inpainting nets: converted to a folder for --model, and what is no such file refused in one line."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from nets_kit import at_random  # noqa: E402

from framefill.apps.cli.main import app, main  # noqa: E402
from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.families.light_compat import LightCompatPipeline  # noqa: E402
from framefill.media.reader import open_video  # noqa: E402
from framefill.nets.light_compat import PRESETS, Config, LightCompat  # noqa: E402
from framefill.weights.light_compat import convert_light, shapes_of  # noqa: E402

SMALL: dict[str, Config] = {"video": {"channels": 4}, "wide": {"channels": 6, "expansion": 2}, "image": {"channels": 4, "frames": 1}}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def published(file: Path, config: Config, **more: object) -> LightCompat:
    """Write a file as nunif does, with random numbers, and return the net that it holds."""
    net = at_random(LightCompat(**config))
    told = {"nunif_model": 1, "name": "inpaint.light_video_inpaint_v1", "updated_at": "2025-09-19 00:00:00+00:00"}
    told |= {"kwargs": {"base_dim": 96}, "train_kwargs": None, "state_dict": OrderedDict(net.state_dict()), **more}
    torch.save(told, file)
    return net


@pytest.mark.parametrize("config", [*PRESETS.values(), *SMALL.values()], ids=[*PRESETS, *SMALL])
def test_the_table_of_shapes_is_the_networks(config: Config) -> None:
    with torch.device("meta"):
        net = LightCompat(**config)
    numbers = {key: net.config[key] for key in ("channels", "expansion", "frames")}
    assert shapes_of(numbers) == {key: tuple(value.shape) for key, value in net.state_dict().items()}


@pytest.mark.parametrize("kind", SMALL)
def test_a_converted_file_is_a_pipeline(kind: str, tmp_path: Path) -> None:
    net = published(tmp_path / "iw3.pth", SMALL[kind])
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "iw3.pth"), "-o", str(tmp_path / "below" / "light")])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{tmp_path / 'below' / 'light'}\n"
    pipeline = LightCompatPipeline.from_pretrained(tmp_path / "below" / "light")
    assert (pipeline.window, pipeline.tasks, pipeline.surplus_padding) == (1 if kind == "image" else 12, ("stereo",), True)
    assert {key: net.config[key] for key in SMALL["wide"]} == {key: pipeline.net.config[key] for key in SMALL["wide"]}
    for key, value in net.state_dict().items():
        assert torch.equal(pipeline.net.state_dict()[key], value)
    pipeline.save_pretrained(tmp_path / "again")
    for name in ("model_index.json", "net/diffusion_pytorch_model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "below" / "light" / name).read_bytes()


def test_a_checkpoint_of_training_is_converted_too(tmp_path: Path) -> None:
    state = [{"state": {0: {"step": 3, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]}]
    net = published(tmp_path / "c.pth", SMALL["video"], optimizer_state_dict=state, best_loss=0.1, last_epoch=4)
    folder = convert_light(tmp_path / "c.pth", tmp_path / "light")
    assert torch.equal(LightCompatPipeline.from_pretrained(folder).net.mask_bias, net.mask_bias)


def test_the_folder_is_a_model_of_inpaint(tmp_path: Path, vtest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published(tmp_path / "iw3.pth", SMALL["video"])
    folder = convert_light(tmp_path / "iw3.pth", tmp_path / "light")
    command = ["inpaint", str(vtest), "--roi", "100,100,64,64", "--box", "110,110,20,16", "--end", "8", "--model", str(folder)]
    assert main([*command, "--codec", "ffv1", "-o", str(tmp_path / "out.mkv")]) == 0, capsys.readouterr().err
    with open_video(vtest) as reader, open_video(tmp_path / "out.mkv") as written:
        pairs = [(one.rgb, other.rgb) for one, other in zip(reader, written, strict=False)]
    hole = np.zeros(pairs[0][0].shape[:2], np.bool_)
    hole[110:126, 110:130] = True
    for index, (before, after) in enumerate(pairs[:8]):
        assert (before[hole] != after[hole]).mean() > 0.5, index
    assert main([*command[:3], "100,100,64,64", "--box", "0,0,768,576", "--model", str(folder), "-o", str(tmp_path / "all.mkv")]) == 2
    said = capsys.readouterr().err
    assert "light was not trained on 'generate', only on stereo" in said
    assert main(["predict", str(vtest), "--frames", "2", "--model", str(folder), "-o", str(tmp_path / "more.mkv")]) == 2
    assert "fills holes and makes no whole frames" in capsys.readouterr().err


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("evil",)


def test_what_is_no_such_file_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = published(tmp_path / "right.pth", SMALL["video"])
    state = net.state_dict()
    marked = {"nunif_model": 1, "name": "sod.v1", "kwargs": {}}
    torch.save({**marked, "state_dict": {**state, "more": torch.zeros(2)}}, "more.pth")
    torch.save({**marked, "state_dict": {key: value for key, value in state.items() if key != "up.bias"}}, "less.pth")
    torch.save({**marked, "state_dict": [1]}, "list.pth")
    torch.save(marked, "nothing.pth")
    torch.save({**marked, "state_dict": Evil()}, "evil.pth")
    torch.save(state, "bare.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "right.pth").read_bytes()[:1000])
    cases = {
        "more.pth": "is nunif's 'sod.v1', which is no light inpainting net",
        "less.pth": "is nunif's 'sod.v1', which is no light inpainting net",
        "list.pth": "is nunif's 'sod.v1', which is no light inpainting net",
        "nothing.pth": "is nunif's 'sod.v1', which is no light inpainting net",
        "evil.pth": "more than tensors",
        "cut.pth": "no torch file",
        "bare.pth": "tensors of another network",
    }
    for name, words in cases.items():
        result = CliRunner().invoke(app, ["convert", name, "-o", "light"])
        assert (result.exit_code, result.stdout) == (1, ""), name
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "light").exists()
    assert not (tmp_path / "evil").exists(), "what the pickle asks for was not done"
    result = CliRunner().invoke(app, ["convert", "right.pth", "right.pth", "-o", "light"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "convert it alone" in result.stderr
    with pytest.raises(WeightsError, match="is no file of nunif"):
        convert_light(tmp_path / "bare.pth", tmp_path / "light")
    convert_light(tmp_path / "right.pth", tmp_path / "light")
    with pytest.raises(UsageError, match="new or empty"):
        convert_light(tmp_path / "right.pth", tmp_path / "light")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(tmp_path / "iw3.pth", SMALL["video"])

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        convert_light(tmp_path / "iw3.pth", tmp_path / "out" / "light")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_index_says_what_diffusers_says(tmp_path: Path) -> None:
    published(tmp_path / "iw3.pth", SMALL["video"])
    folder = convert_light(tmp_path / "iw3.pth", tmp_path / "light")
    assert json.loads((folder / "model_index.json").read_text()) == {
        "_class_name": "LightCompatPipeline",
        "net": ["framefill.nets.light_compat", "LightCompat"],
        "tasks": ["stereo"],
        "size": 256,
        "surplus_padding": True,
    }
