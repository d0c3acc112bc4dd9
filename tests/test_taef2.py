"""TAEF2, the small autoencoder: converted from its published files, read as a codec, and what is no such file refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from nets_kit import at_random  # noqa: E402

from framefill.apps.cli.main import app  # noqa: E402
from framefill.data.footage import Footage  # noqa: E402
from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.media.tensors import to_tensor  # noqa: E402
from framefill.nets.codec import load_autoencoder, load_codec  # noqa: E402
from framefill.nets.taef2 import Taef2  # noqa: E402
from framefill.weights.autoencoder import convert_autoencoder, shapes_of  # noqa: E402


@pytest.fixture(scope="module")
def net() -> Taef2:
    return at_random(Taef2())


@pytest.fixture
def files(net: Taef2, tmp_path: Path) -> list[Path]:
    """The decoder's file and the encoder's, as they are published but with random numbers."""
    paths = []
    for name in ("decoder", "encoder"):
        paths.append(tmp_path / f"{name}.pth")
        torch.save({key: value.half() for key, value in getattr(net, name).state_dict().items()}, paths[-1])
    return paths


def picture(seed: int = 0, height: int = 24, width: int = 40) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_the_table_of_shapes_is_the_networks() -> None:
    net = Taef2()
    for name in ("encoder", "decoder"):
        shapes = {key: tuple(value.shape) for key, value in getattr(net, name).state_dict().items()}
        assert shapes == shapes_of(name)
        assert len(shapes) == 79


def test_an_eighth_of_the_side_and_back(net: Taef2) -> None:
    with torch.inference_mode():
        latents = net.encode(picture())
        assert latents.shape == (1, 32, 3, 5)
        assert net.decode(latents).shape == (1, 3, 24, 40)
        # Latents are held within -3 .. 3: beyond, nothing changes.
        assert torch.allclose(net.decode(latents * 0 + 100), net.decode(latents * 0 + 200), atol=1e-4)
        assert not torch.allclose(net.decode(latents * 0 + 1), net.decode(latents * 0 + 2), atol=1e-4)


def test_converted_files_are_a_codec(net: Taef2, files: list[Path], tmp_path: Path) -> None:
    folder = convert_autoencoder(files, tmp_path / "below" / "vae")
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    codec = load_autoencoder(folder)
    assert (codec.factor, codec.channels, codec.local) == (8, 32, False)
    video = torch.stack([picture(0), picture(1)], 1)
    half = at_random(Taef2()).half().float()
    with torch.inference_mode():
        expected = half.encode(picture(1))
        posterior = codec.posterior(video)
        assert torch.allclose(posterior.mean[0, 1], expected[0], atol=1e-5)
        assert torch.equal(codec.encode(video, torch.Generator().manual_seed(0)), posterior.mean), "it knows no spread"
        assert torch.allclose(codec.decode(posterior.mean)[0, 1], half.decode(expected)[0], atol=1e-4)
    again = load_codec(codec.save(tmp_path / "model"), tmp_path / "model")
    assert torch.equal(again.encode(video), codec.encode(video))
    assert json.loads((tmp_path / "model" / "vae" / "config.json").read_text())["_class_name"] == "Taef2"


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("evil",)


def test_what_is_no_such_file_is_refused_in_one_line(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    decoder, encoder = files
    tensors = torch.load(encoder, weights_only=True)
    torch.save({**tensors, "14.weight": torch.zeros(4, 64, 3, 3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save({"0.weight": Evil()}, tmp_path / "evil.pth")
    torch.save({**tensors, "0.weight": "text"}, tmp_path / "text.pth")
    (tmp_path / "cut.pth").write_bytes(encoder.read_bytes()[:1000])
    (tmp_path / "empty.pth").write_bytes(b"")
    cases = {
        "other.pth": "79 tensors of another network",
        "text.pth": "79 tensors of another network",
        "list.pth": "holds a list, expected a dict",
        "evil.pth": "more than tensors",
        "cut.pth": "no torch file",
        "empty.pth": "no torch file",
        "absent.pth": "No such file",
        "decoder.pth": "the encoder is missing",
    }
    for name, words in cases.items():
        result = CliRunner().invoke(app, ["convert", str(decoder), name, "-o", "vae"])
        assert (result.exit_code, result.stdout) == (1, ""), name
        assert words in result.stderr
        assert result.stderr.count("\n") == 1
        assert not (tmp_path / "vae").exists()
    assert not (tmp_path / "evil").exists(), "what the pickle asks for was not done"
    with pytest.raises(WeightsError, match="3 files were given"):
        convert_autoencoder([decoder, encoder, encoder], tmp_path / "vae")
    result = CliRunner().invoke(app, ["convert", str(decoder), str(encoder), "-o", "vae"])
    assert (result.exit_code, result.stdout) == (0, "vae\n")
    with pytest.raises(UsageError, match="new or empty"):
        convert_autoencoder([decoder, encoder], tmp_path / "vae")


def test_a_full_disk_leaves_nothing_behind(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space"):
        convert_autoencoder(files, tmp_path / "out" / "vae")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_published_weights_keep_a_frame_of_video(shared: Path, tmp_path: Path) -> None:
    """28.9 dB on this frame at 640x352; 27.5 on the sample city, 36.7 on a picture with less in it."""
    parts = [shared / "models" / f"taef2_{name}.pth" for name in ("encoder", "decoder")]
    codec = load_autoencoder(convert_autoencoder(parts, tmp_path / "vae"))
    video = to_tensor(np.stack(Footage(shared / "data" / "dev" / "schoolgirls" / "video.mp4").read([0], (352, 640))))
    latents = codec.encode(video)
    made = codec.decode(latents).clamp(-1, 1)
    assert 10 * torch.log10(4 / (made - video).square().mean()) > 28.5
    assert 0.7 < float(latents.std()) < 1.1
