"""Depth providers: one contract for all, and each one's own promises."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from framefill.errors import FramefillError, MissingWeights, UnreadableMedia, UsageError, WeightsError
from framefill.media.reader import open_video
from framefill.media.synthetic import make_clip, make_scene
from framefill.stereo.depth import Depth, DepthProvider, Frames, NumberedDepth, Reading, get_provider, parse, seek
from framefill.stereo.exchange import DepthWriter
from framefill.stereo.heuristic import HeuristicDepth
from framefill.stereo.normalise import PerFrame

SEED, T, H, W = 7, 5, 48, 80


def scene_frames() -> Frames:
    return make_clip(np.random.default_rng(SEED), T, H, W)


@pytest.fixture
def depth_folder(tmp_path: Path) -> Path:
    with DepthWriter(tmp_path / "depth") as out:
        for t in range(T):
            out.write(np.full((6, 10), t / 10, np.float32))
    return tmp_path / "depth"


@pytest.mark.parametrize("kind", ["heuristic", "constant", "constant:0.25", f"synthetic:{SEED}", "files"])
def test_contract(kind: str, depth_folder: Path) -> None:
    spec = f"files:{depth_folder}" if kind == "files" else kind
    frames = scene_frames()
    provider = get_provider(spec)
    whole = provider.infer(frames)
    assert whole.dtype == np.float32
    assert whole.ndim == 3
    assert len(whole) == T
    assert np.isfinite(whole).all()
    assert provider.is_metric is False
    assert set(provider.name) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")
    again = get_provider(spec)
    parts = np.concatenate([again.infer(frames[:1]), again.infer(frames[1:4]), again.infer(frames[4:])])
    assert np.array_equal(parts, whole), "the chunking of a clip must not be seen"
    with pytest.raises(UsageError, match="expected uint8 T H W 3"):
        provider.infer(frames.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="expected uint8 T H W 3"):
        provider.infer(frames[0])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("midas", "depth provider 'midas' is not known; expected one of heuristic"),
        ("", "is not known"),
        ("heuristic:9", "takes nothing after its name"),
        ("heuristic:x?nearer=smaller", "no option 'nearer'; it has none"),
        ("constant:far", "constant:far is no depth"),
        ("constant:nan", "expected a finite number"),
        ("synthetic", "expected its seed"),
        ("synthetic:-1", "expected its seed"),
        ("synthetic:1/2/3", "expected its seed"),
        ("files:", "names nothing"),
        ("onnx:", "names nothing"),
        ("files:x?nearer=left", "nearer=left of the depth provider 'files' is not known; expected larger, smaller"),
        ("files:x?far", "'far' in the depth provider"),
    ],
)
def test_specs_that_cannot_be_meant(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        get_provider(spec)


def test_a_resolution_that_shows_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="resolution of 8 pixels"):
        get_provider("heuristic", resolution=8)


def test_a_path_with_a_question_mark_in_it_is_a_path(tmp_path: Path) -> None:
    odd = tmp_path / "what?no=yes"
    odd.mkdir()
    assert parse(f"files:{odd}").what == str(odd)
    assert parse(f"files:{tmp_path}?nearer=smaller").options == {"nearer": "smaller"}


def test_reading_turns_the_sign() -> None:
    values = np.array([[[1, 3]]], np.float32)
    assert Reading().raw(values) is values
    assert Reading(larger_is_nearer=False).raw(values).tolist() == [[[-1, -3]]]


# synthetic


def test_synthetic_is_the_disparity_of_the_scene_and_goes_on_where_it_was() -> None:
    scene = make_scene(np.random.default_rng(SEED), 40, H, W)
    provider = get_provider(f"synthetic:{SEED}")
    assert np.array_equal(provider.infer(scene.frames[:3]), scene.disparity[:3])
    provider.reset()
    assert np.array_equal(provider.infer(scene.frames[3:30]), scene.disparity[3:30])  # more than were drawn at first
    seek(provider, 10)
    assert np.array_equal(provider.infer(scene.frames[10:12]), scene.disparity[10:12])


def test_synthetic_knows_the_clips_that_data_make_writes(tmp_path: Path) -> None:
    from framefill.data.make import make_clips

    make_clips(tmp_path, 2, 3, (32, 48), seed=5, truth=True)
    frames = np.stack([frame.rgb for frame in open_video(tmp_path / "clips" / "00001.mkv")])
    with np.load(tmp_path / "truth" / "00001.npz") as truth:
        assert np.array_equal(get_provider("synthetic:5/1").infer(frames), truth["disparity"])


def test_synthetic_refuses_frames_of_another_scene() -> None:
    other = make_clip(np.random.default_rng(SEED + 1), 2, H, W)
    with pytest.raises(UsageError, match="are not those of the procedural scene of synthetic-7 at 80x48"):
        get_provider(f"synthetic:{SEED}").infer(other)


# files


def test_files_follow_the_frames_numbers(depth_folder: Path) -> None:
    frames = scene_frames()
    provider = get_provider(f"files:{depth_folder}")
    assert isinstance(provider, NumberedDepth)
    assert provider.infer(frames[:2])[:, 0, 0] == pytest.approx([0, 0.1], abs=1e-5)
    provider.reset()  # a cut is no reason to begin again
    assert provider.infer(frames[2:3])[0, 0, 0] == pytest.approx(0.2, abs=1e-5)
    seek(provider, 4)
    assert provider.infer(frames[4:])[0, 0, 0] == pytest.approx(0.4, abs=1e-5)
    with pytest.raises(UsageError, match="holds depth for 5 frames, the video has 6 or more"):
        provider.infer(frames[:1])


def test_files_of_eight_bits_and_of_distances(tmp_path: Path) -> None:
    for t, level in enumerate((0, 51, 255)):
        cv2.imwrite(str(tmp_path / f"z{t + 9}.png"), np.full((4, 6), level, np.uint8))  # z9, z10, z11: natural order
    provider = get_provider(f"files:{tmp_path}")
    assert provider.infer(np.zeros((3, 8, 8, 3), np.uint8))[:, 0, 0] == pytest.approx([0, 0.2, 1])
    distances = get_provider(f"files:{tmp_path}?nearer=smaller&metric=yes")
    assert distances.is_metric
    assert distances.infer(np.zeros((3, 8, 8, 3), np.uint8))[:, 0, 0] == pytest.approx([0, -0.2, -1])


def colourful(folder: Path) -> None:
    cv2.imwrite(str(folder / "0.png"), np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8))


def of_two_sizes(folder: Path) -> None:
    cv2.imwrite(str(folder / "0.png"), np.zeros((4, 4), np.uint8))
    cv2.imwrite(str(folder / "1.png"), np.zeros((4, 5), np.uint8))


def cut_short(folder: Path) -> None:
    cv2.imwrite(str(folder / "0.png"), np.random.default_rng(0).integers(0, 65535, (64, 64), dtype=np.uint16))
    whole = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(whole[:30])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda _: None, "holds no image"),
        (lambda folder: (folder / "0.png").write_bytes(b""), "cannot be read|is damaged"),
        (cut_short, "is damaged|cannot be read"),
        (colourful, "is in colour; give depth in grey"),
        (of_two_sizes, "is 5x4, those before it are not"),
    ],
)
def test_folders_that_hold_no_depth(spoil: object, message: str, tmp_path: Path) -> None:
    spoil(tmp_path)  # type: ignore[operator]
    with pytest.raises(UnreadableMedia, match=message) as raised:
        get_provider(f"files:{tmp_path}").infer(np.zeros((len(list(tmp_path.iterdir())), 8, 8, 3), np.uint8))
    assert "\n" not in str(raised.value)


def test_a_missing_folder_is_said() -> None:
    with pytest.raises(UnreadableMedia, match="is no folder"):
        get_provider("files:/no/such/folder")


# heuristic


def test_heuristic_puts_what_moves_before_what_does_not_and_stands_it_on_the_ground(vtest: Path) -> None:
    frames = np.stack([frame.rgb for frame, _ in zip(open_video(vtest), range(16), strict=False)])
    depth = get_provider("heuristic").infer(frames)
    assert depth.min() >= 0
    assert depth.max() <= 1
    rows = depth[-1].mean(axis=1)
    assert np.corrcoef(rows, np.arange(len(rows)))[0, 1] > 0.85  # nearer further down
    moving = moving_people(frames, depth.shape[1:])
    around = cv2.dilate(moving.view(np.uint8), np.ones((9, 31), np.uint8)).view(np.bool_) & ~moving
    rows = [row for row in range(depth.shape[1]) if min(moving[row].sum(), around[row].sum()) > 3]
    ahead = np.array([depth[-1, row, moving[row]].mean() - depth[-1, row, around[row]].mean() for row in rows])
    assert len(ahead) > 40
    assert (ahead > 0).mean() > 0.95  # in the same row, people are nearer than what is beside them
    assert ahead.mean() > 0.05  # 0.082


def moving_people(frames: Frames, size: tuple[int, ...]) -> np.ndarray:
    """What differs strongly from the median picture of a fixed camera, at a size h w."""
    away = np.abs(frames[-1].astype(np.int16) - np.median(frames, axis=0)).max(axis=2).astype(np.float32)
    small = cv2.resize(cv2.blur(away, (5, 5)), size[::-1], interpolation=cv2.INTER_AREA)
    return cv2.erode((small > 60).astype(np.uint8), np.ones((2, 2), np.uint8)).view(np.bool_)


def test_heuristic_is_steady(city: Path) -> None:
    frames = np.stack([frame.rgb for frame, _ in zip(open_video(city), range(10), strict=False)])
    still = HeuristicDepth().infer(np.repeat(frames[:1], 6, axis=0))
    assert np.array_equal(still[1:], np.repeat(still[:1], 5, axis=0))
    depth = HeuristicDepth().infer(frames)
    assert np.abs(np.diff(depth, axis=0)).mean() < 0.004  # the camera tilts; the picture itself changes by some 5 % of its range


def test_heuristic_forgets_at_a_cut_and_at_another_size() -> None:
    frames = scene_frames()
    provider = HeuristicDepth()
    first = provider.infer(frames)
    assert not np.array_equal(provider.infer(frames), first)  # it remembers
    provider.reset()
    assert np.array_equal(provider.infer(frames), first)
    smaller = frames[:, : H // 2]
    assert np.array_equal(provider.infer(smaller), HeuristicDepth().infer(smaller))


@pytest.mark.parametrize("size", [(1, 1), (3, 90), (200, 4)])
def test_heuristic_takes_any_size(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    depth = HeuristicDepth().infer(frames)
    assert np.isfinite(depth).all()
    assert depth.shape[0] == 2


def test_heuristic_is_quick(city: Path) -> None:
    frames = [frame.rgb[None] for frame, _ in zip(open_video(city), range(12), strict=False)]
    provider = HeuristicDepth()
    spent = []
    for frame in frames:
        before = time.process_time()
        provider.infer(frame)
        spent.append(time.process_time() - before)
    assert min(spent) < 0.1  # 0.025 s of one core at 640x360; other work beside it makes it longer


# onnx

onnxruntime_missing = "needs onnxruntime: pip install 'framefill[depth]'"


def onnx_net(path: Path, shape: list[int | str], output: list[int | str], axis: int) -> Path:
    """A network whose answer is the mean of the colours, of 0..255, over 255."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to write a network")
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Div", ["picture", "most"], ["share"]),
        helper.make_node("ReduceMean", ["share", "axes"], ["depth"], keepdims=1),
    ]
    constants = [
        helper.make_tensor("most", TensorProto.FLOAT, [], [255.0]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [axis]),
    ]
    entry = helper.make_tensor_value_info("picture", TensorProto.FLOAT, shape)
    result = helper.make_tensor_value_info("depth", TensorProto.FLOAT, output)
    graph = helper.make_graph(nodes, "brightness", [entry], [result], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def grey_ramp() -> Frames:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    return np.broadcast_to(ramp[None, None, :, None], (2, 32, 64, 3)).copy()


def test_onnx_answers_at_its_own_size_in_either_layout(tmp_path: Path, grey_ramp: Frames) -> None:
    pytest.importorskip("onnxruntime", reason=onnxruntime_missing)
    first = onnx_net(tmp_path / "First net.onnx", [1, 3, 16, 32], [1, 1, 16, 32], 1)
    last = onnx_net(tmp_path / "last.onnx", [1, 16, 32, 3], [1, 16, 32, 1], 3)
    seen = [get_provider(f"onnx:{path}?input=0..255").infer(grey_ramp) for path in (first, last)]
    assert get_provider(f"onnx:{first}?input=0..255").name == "onnx-First-net"
    assert seen[0].shape == (2, 16, 32)
    assert np.allclose(seen[0], seen[1])
    assert np.allclose(seen[0][0, 0], (np.linspace(0, 255, 64).astype(np.uint8) / 255).reshape(32, 2).mean(axis=1), atol=0.01)
    turned = get_provider(f"onnx:{first}?input=0..255&nearer=smaller&metric=yes")
    assert turned.is_metric
    assert np.allclose(turned.infer(grey_ramp), -seen[0])


def test_onnx_scales_the_picture_as_told(tmp_path: Path, grey_ramp: Frames) -> None:
    pytest.importorskip("onnxruntime", reason=onnxruntime_missing)
    net = onnx_net(tmp_path / "net.onnx", [1, 3, 16, 32], [1, 1, 16, 32], 1)
    white = np.full((1, 16, 32, 3), 255, np.uint8)
    for scale, answer in (("0..1", 1 / 255), ("-1..1", 1 / 255), ("imagenet", (2.2489 + 2.4286 + 2.64) / 3 / 255)):
        assert get_provider(f"onnx:{net}?input={scale}").infer(white).mean() == pytest.approx(answer, rel=1e-3)


def test_onnx_of_any_size_keeps_the_shape_in_patches(tmp_path: Path, grey_ramp: Frames) -> None:
    pytest.importorskip("onnxruntime", reason=onnxruntime_missing)
    net = onnx_net(tmp_path / "any.onnx", [1, 3, "h", "w"], [1, 1, "h", "w"], 1)
    assert get_provider(f"onnx:{net}?input=0..1", resolution=56).infer(grey_ramp).shape == (2, 56, 112)
    assert get_provider(f"onnx:{net}?input=0..1&multiple=32", resolution=56).infer(grey_ramp).shape == (2, 64, 128)
    fixed = onnx_net(tmp_path / "fixed.onnx", [1, 3, 16, 32], [1, 1, 16, 32], 1)
    with pytest.raises(UsageError, match="sees pictures of 32x16 and no other"):
        get_provider(f"onnx:{fixed}", resolution=56)


def test_onnx_finds_out_at_which_scale_a_net_tells_the_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime", reason=onnxruntime_missing)
    from framefill.stereo import onnx_file

    net = onnx_net(tmp_path / "net.onnx", [1, 3, 16, 32], [1, 1, 16, 32], 1)
    truths = {}
    for seed in range(onnx_file.TRIALS):
        scene = make_scene(np.random.default_rng(seed), 1, *onnx_file.TRIAL_SIZE)
        truths[scene.frames[0].tobytes()] = scene.disparity[0]
    noise = np.random.default_rng(0)

    def ask(self: object, frame: np.ndarray, scale: str) -> Depth:
        truth = truths[frame.tobytes()]
        return truth + truth.std() if scale == "-1..1" else noise.standard_normal(truth.shape, np.float32)

    monkeypatch.setattr(onnx_file.OnnxDepth, "_ask", ask)
    assert onnx_file.OnnxDepth(net, Reading()).scale == "-1..1"


def test_onnx_refuses_what_is_no_depth_net(tmp_path: Path, grey_ramp: Frames) -> None:
    with pytest.raises(MissingWeights, match=r"give the \.onnx file"):
        get_provider(f"onnx:{tmp_path / 'none.onnx'}")
    pytest.importorskip("onnxruntime", reason=onnxruntime_missing)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match="cannot be loaded as an ONNX network") as raised:
        get_provider(f"onnx:{tmp_path / 'text.onnx'}")
    assert "\n" not in str(raised.value)
    with pytest.raises(WeightsError, match="expected one picture of floats"):
        get_provider(f"onnx:{onnx_net(tmp_path / 'four.onnx', [1, 4, 16, 32], [1, 1, 16, 32], 1)}")
    with pytest.raises(WeightsError, match="gives no map of h w"):
        get_provider(f"onnx:{onnx_net(tmp_path / 'flat.onnx', [1, 3, 16, 32], [1, 3, 1, 32], 2)}?input=0..1").infer(grey_ramp)


def test_a_real_net_sees_people_before_the_wall(shared: Path) -> None:
    pytest.importorskip("onnxruntime", reason=onnxruntime_missing)
    net = shared / "models" / "tcmonodepth_small_192x320.onnx"
    clip = shared / "data" / "dev" / "schoolgirls" / "video.mp4"
    if not (net.is_file() and clip.is_file()):
        pytest.skip("no depth network in ../shared")
    provider = get_provider(f"onnx:{net}")
    assert provider.scale == "0..255"  # type: ignore[attr-defined]
    depth = PerFrame()(provider.infer(next(iter(open_video(clip))).rgb[None]))[0]  # 192 320
    girls, trees, ground = depth[80:110, 90:110], depth[:30, 60:140], depth[180:]
    assert trees.mean() < girls.mean() < ground.mean()


@pytest.mark.parametrize("package", ["onnxruntime", "transformers"])
def test_a_package_that_is_not_installed_is_named_with_the_extra_that_brings_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from framefill.apps.cli.guard import one_line

    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "net.onnx").write_bytes(b"\0")
    with pytest.raises(ModuleNotFoundError) as raised:
        get_provider(f"onnx:{tmp_path / 'net.onnx'}" if package == "onnxruntime" else f"hf:{tmp_path}")
    assert one_line(raised.value) == f"this needs {package}, which is not installed: pip install 'framefill[depth]'"


def test_every_error_is_framefills_own() -> None:
    for spec in ("x", "files:/nowhere", "onnx:/nowhere", "synthetic:z", "constant:z"):
        with pytest.raises(FramefillError):
            get_provider(spec)


def test_a_provider_of_ones_own_fits_the_contract() -> None:
    class Bright:
        name, is_metric = "bright", False

        def infer(self, frames: Frames) -> Depth:
            return frames.mean(axis=3).astype(np.float32)

        def reset(self) -> None:
            pass

    provider: DepthProvider = Bright()
    seek(provider, 3)  # nothing to it
    assert provider.infer(scene_frames()).shape == (T, H, W)
