"""Depth networks of transformers: every family by its real class, tiny and untrained; sign, scale and how a picture goes in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from framefill.errors import MissingWeights, UsageError, WeightsError
from framefill.stereo.depth import get_provider
from framefill.stereo.mapper import default_mapper

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", reason="needs transformers: pip install 'framefill[depth]'")

from depth_nets import NETS, write_net  # noqa: E402

from framefill.stereo.hub import FAMILIES, Entry, entry_of, prepared  # noqa: E402

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 60, 90, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nets")


def folder_of(name: str, folders: Path) -> Path:
    folder = folders / name
    if not folder.is_dir():
        write_net(name, folder)
    return folder


@pytest.mark.parametrize("name", NETS)
def test_larger_is_nearer_in_every_family(name: str, folders: Path) -> None:
    _, _, larger_is_nearer, is_metric = NETS[name]
    net = write_net(name, folders / name)
    provider = get_provider(f"hf:{folders / name}")
    assert provider.name == f"hf-{name}"
    assert provider.is_metric is is_metric
    raw = provider.infer(FRAMES)
    assert raw.dtype == np.float32
    assert raw.shape[0] == 2
    assert np.isfinite(raw).all()
    assert raw.std() > 1e-4, "the net says nothing: the test would not see a wrong sign"
    with torch.inference_mode():
        picture = torch.from_numpy(prepared(FRAMES[1], provider._entry))[None]
        own = net(picture).predicted_depth[0].numpy()
    if name == "depth-pro":
        own = own.clip(1e-4, 1e4)  # as its post-processing does before it inverts
    if name == "zoedepth":  # what it was padded by is cut off again
        rows, columns = (own.shape[axis] - raw.shape[1 + axis] for axis in range(2))
        assert rows > 0
        assert columns > 0
        own = own[rows // 2 : own.shape[0] - rows // 2, columns // 2 : own.shape[1] - columns // 2]
    assert np.allclose(raw[1], own if larger_is_nearer else -own, atol=1e-5 * np.abs(own).max())


def test_a_frame_is_answered_by_itself(folders: Path) -> None:
    provider = get_provider(f"hf:{folder_of('dpt', folders)}")
    both, second = provider.infer(FRAMES), provider.infer(FRAMES[1:])
    assert np.array_equal(both[1:], second)


@pytest.mark.parametrize(("name", "shorter", "size"), [("depth-anything", 70, (70, 112)), ("glpn", 96, (96, 128)), ("dpt", 64, (64, 64))])
def test_resolution_is_the_shorter_side(name: str, shorter: int, size: tuple[int, int], folders: Path) -> None:
    raw = get_provider(f"hf:{folder_of(name, folders)}", resolution=shorter).infer(FRAMES)
    assert raw.shape[1:] == size


def test_depth_pro_sees_one_size_only(folders: Path) -> None:
    with pytest.raises(UsageError, match="leave out the depth resolution"):
        get_provider(f"hf:{folder_of('depth-pro', folders)}", resolution=64)


def test_options_overrule_the_table(folders: Path) -> None:
    folder = folder_of("dpt", folders)
    usual, turned = get_provider(f"hf:{folder}"), get_provider(f"hf:{folder}?nearer=smaller&metric=yes")
    assert turned.is_metric
    assert default_mapper(turned.is_metric) == "div_6"
    assert np.array_equal(turned.infer(FRAMES), -usual.infer(FRAMES))


@pytest.mark.parametrize(
    ("name", "processor", "rim"),
    [
        ("dpt", "DPTImageProcessorPil", 0.15),
        ("dpt-dinov2", "DPTImageProcessorPil", 0.15),
        ("zoedepth", "ZoeDepthImageProcessorPil", 0.15),
        ("glpn", "GLPNImageProcessorPil", 0.05),
    ],
)
def test_a_picture_goes_in_as_transformers_own_processor_puts_it_in(name: str, processor: str, rim: float, city: Path) -> None:
    import transformers

    from framefill.media.reader import open_video

    frame = next(iter(open_video(city))).rgb
    told = {**NETS[name][1]}
    if "size" in told and name != "dpt":
        told["size"] = {"height": 252, "width": 252} if name == "dpt-dinov2" else {"height": 256, "width": 256}
    theirs = getattr(transformers, processor)(**told)(images=frame, return_tensors="np")["pixel_values"][0]
    row = {"dpt": "dpt", "dpt-dinov2": "dpt, dinov2", "zoedepth": "zoedepth", "glpn": "glpn"}[name]
    ours = prepared(frame, entry_of({**theirs_config(processor), **told}, FAMILIES[row].entry))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < rim * theirs.std()
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.97


def theirs_config(processor: str) -> dict[str, object]:
    """What the processor writes when it is saved."""
    import transformers

    saved: dict[str, object] = json.loads(getattr(transformers, processor)().to_json_string())
    return saved


def test_old_files_give_the_size_as_one_number() -> None:
    usual = Entry((384, 384), 1)
    assert entry_of({"size": 256}, usual).size == (256, 256)
    assert entry_of({"size": {"shortest_edge": 256}}, usual).size == (384, 384)
    assert entry_of({"do_resize": False}, usual).size is None
    nothing = dict.fromkeys(("size", "ensure_multiple_of", "image_mean", "image_std", "do_pad", "do_resize"))
    assert entry_of(nothing, FAMILIES["zoedepth"].entry) == FAMILIES["zoedepth"].entry
    with pytest.raises(WeightsError, match="preprocessor_config"):
        entry_of({"ensure_multiple_of": "many"}, usual)


def test_what_is_not_here_is_said_with_the_command_that_fetches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match="hf download nobody/no-such-depth-net"):
        get_provider("hf:nobody/no-such-depth-net")
    with pytest.raises(MissingWeights, match="give OWNER/NAME or the folder"):
        get_provider(f"hf:{tmp_path / 'none'}")
    with pytest.raises(UsageError, match="names no network"):
        get_provider("hf:")


def test_a_folder_that_is_no_depth_network_is_refused_in_one_line(tmp_path: Path, folders: Path) -> None:
    with pytest.raises(WeightsError, match=r"no config\.json"):
        get_provider(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="'bert' network"):
        get_provider(f"hf:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "depth_pro", "patch_size": "x"}')
    with pytest.raises(WeightsError, match=r"no config\.json") as raised:
        get_provider(f"hf:{tmp_path}")
    assert "\n" not in str(raised.value)


def test_weights_that_are_missing_or_cut_short_are_refused(tmp_path: Path, folders: Path) -> None:
    source = folder_of("glpn", folders)
    (tmp_path / "config.json").write_bytes((source / "config.json").read_bytes())
    with pytest.raises(WeightsError, match="safetensors"):
        get_provider(f"hf:{tmp_path}")
    whole = (source / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="safetensors"):
        get_provider(f"hf:{tmp_path}")
    from safetensors.torch import load_file, save_file

    tensors = load_file(source / "model.safetensors")
    tensors.pop(sorted(tensors)[0])
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match="lacks 1 of its network's tensors"):
        get_provider(f"hf:{tmp_path}")


def test_a_device_that_is_not_there_is_refused(folders: Path) -> None:
    with pytest.raises(UsageError, match="device 'abacus'"):
        get_provider(f"hf:{folder_of('dpt', folders)}", device="abacus")
