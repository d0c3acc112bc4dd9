"""RIFE: with random weights what must hold whatever they are, with the real ones how well it interpolates."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from nets_kit import at_random, real  # noqa: E402
from scenes import psnr, texture  # noqa: E402

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.media.reader import open_video  # noqa: E402
from framefill.nets.rife import SCALES, WIDTHS, Interpolator, Rife  # noqa: E402
from framefill.nets.sampling import warp  # noqa: E402
from framefill.weights.layouts_motion import rife  # noqa: E402

Frames = NDArray[np.uint8]


@pytest.fixture(scope="module")
def net() -> Rife:
    return at_random(Rife())


def still() -> Rife:
    """A network that finds no motion and prefers neither picture."""
    net = at_random(Rife())
    for block in net.blocks:
        block.up[0].weight.data.zero_()
        block.up[0].bias.data.zero_()
    return net


def pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor(texture(seed, height, width)).permute(2, 0, 1)[None] / 255 for seed in (1, 2))


@pytest.mark.parametrize("size", [(1, 1), (32, 64), (33, 17)])
def test_any_size_comes_back_as_it_was(net: Rife, size: tuple[int, int]) -> None:
    one, other = pair(*size)
    with torch.inference_mode():
        made = net(one, other, 0.3)
        flow, blend = net.motion(one, other, 0.3)
        again = net(one, other, 0.3)
    assert made.shape == (1, 3, *size)
    assert flow.shape == (1, 4, *size)
    assert blend.shape == (1, 1, *size)
    assert torch.equal(made, again)
    assert made.min() >= 0
    assert made.max() <= 1, "a mixture of the pictures' own colours"


def test_a_batch_gives_what_its_pictures_give_alone(net: Rife) -> None:
    one, other = pair(40, 48)
    with torch.inference_mode():
        both = net(torch.cat((one, other)), torch.cat((other, one)), 0.5)
        alone = torch.cat((net(one, other, 0.5), net(other, one, 0.5)))
    assert torch.allclose(both, alone, atol=1e-5)


def test_without_motion_it_is_the_mean() -> None:
    one, other = pair(30, 40)
    with torch.inference_mode():
        assert torch.allclose(still()(one, other, 0.5), (one + other) / 2, atol=1e-4)  # warping by nothing rounds in places


@pytest.mark.parametrize("block", range(4))
def test_each_block_adds_its_flow_in_pixels_of_the_full_size(block: int) -> None:
    net = still()
    for channel, pixels in enumerate((2, 0, 0, -4)):  # 2 to the right in the first, 4 up in the second
        net.blocks[block].up[0].bias.data[4 * channel : 4 * channel + 4] = pixels / SCALES[block]
    one, other = pair(64, 64)
    with torch.inference_mode():
        made = net(one, other, 0.5)
    expected = (one.roll(-2, 3) + other.roll(4, 2)) / 2
    assert torch.allclose(made[..., 4:, :-2], expected[..., 4:, :-2], atol=1e-4)


def test_the_blend_is_the_share_of_the_first() -> None:
    net = still()
    net.blocks[3].up[0].bias.data[16:20] = 20
    one, other = pair(32, 32)
    with torch.inference_mode():
        assert torch.allclose(net(one, other, 0.5), one, atol=1e-4)


def test_warp_beyond_the_edge() -> None:
    picture = torch.arange(5.0)[None, None, None].expand(1, 1, 3, 5)
    flow = torch.zeros(1, 2, 3, 5)
    flow[:, 0] = 3.5
    assert torch.allclose(warp(picture, flow)[0, 0, 0], torch.tensor([3.5, 4, 4, 4, 4]))
    assert torch.allclose(warp(picture, flow, "zeros")[0, 0, 0], torch.tensor([3.5, 2, 0, 0, 0]), atol=1e-5)
    assert torch.equal(warp(picture[..., :1, :1], flow[..., :1, :1]), picture[..., :1, :1])


@pytest.mark.parametrize("time", [-0.1, 1.1, float("nan")])
def test_a_time_outside_is_refused(net: Rife, time: float) -> None:
    with pytest.raises(UsageError, match=r"0 .* 1"):
        net(*pair(32, 32), time)


def test_weights_saved_and_loaded_make_the_same(net: Rife, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(net.state_dict(), tmp_path / "rife.safetensors")
    other = Rife().eval()
    other.load_state_dict(safetensors.load_file(tmp_path / "rife.safetensors"))
    with torch.inference_mode():
        assert torch.equal(net(*pair(33, 40), 0.4), other(*pair(33, 40), 0.4))


def published() -> dict[str, torch.Tensor]:
    """The tensors of the published file by name and shape."""
    shapes = {}
    for number, width in enumerate(WIDTHS):
        block = f"block{number}"
        convs = {
            "conv0.0.0": (width // 2, 12 if number else 7, 3, 3),
            "conv0.1.0": (width, width // 2, 3, 3),
            **{f"convblock.{i}.conv": (width, width, 3, 3) for i in range(8)},
        }
        for name, shape in convs.items():
            shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
        shapes |= {f"{block}.convblock.{i}.beta": (1, width, 1, 1) for i in range(8)}
        shapes |= {f"{block}.lastconv.0.weight": (width, 24, 4, 4), f"{block}.lastconv.0.bias": (24,)}
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_the_layout_fits_the_published_names_and_no_others() -> None:
    raw = published()
    assert len(raw) == 120
    Rife().load_state_dict(rife(raw))
    with pytest.raises(WeightsError, match="teacher"):
        rife({**raw, "teacher.conv.weight": torch.zeros(1)})


def clip(path: Path, count: int) -> Frames:
    with open_video(path) as reader:
        return np.stack([frame.rgb for frame in islice(reader, count)])


def middles(frames: Frames, gap: int) -> tuple[float, float]:
    """Mean PSNR of the frame in the middle of `gap`, by RIFE and by averaging."""
    net = Rife()
    net.load_state_dict(real("rife"))
    between = Interpolator(net)
    made, mean = [], []
    for start in range(0, len(frames) - gap, 12):
        first, truth, last = frames[start], frames[start + gap // 2], frames[start + gap]
        made.append(psnr(truth, between(first, last, 0.5)))
        mean.append(psnr(truth, np.rint((first.astype(float) + last) / 2).astype(np.uint8)))
    return float(np.mean(made)), float(np.mean(mean))


@pytest.mark.weights
def test_it_is_far_better_than_averaging(city: Path, vtest: Path) -> None:
    made, mean = middles(clip(city, 40), 4)
    assert made > mean + 6  # 31.9 against 23.0 dB
    made, mean = middles(clip(vtest, 40), 2)
    assert made > mean + 1.8  # 30.4 against 27.7 dB


@pytest.mark.weights
def test_it_is_far_better_than_averaging_on_fast_motion(shared: Path) -> None:
    import cv2

    pictures = sorted((shared / "data" / "dev" / "bmx-trees").rglob("*.jpg"))[:40]
    made, mean = middles(np.stack([cv2.imread(str(picture)) for picture in pictures]), 2)
    assert made > mean + 5  # 26.4 against 18.2 dB


@pytest.mark.weights
def test_the_time_asked_for_is_the_time_made(city: Path) -> None:
    frames = clip(city, 13)
    net = Rife()
    net.load_state_dict(real("rife"))
    between = Interpolator(net)
    for number in (2, 6, 9):
        made = between(frames[0], frames[12], number / 12)
        nearest = max(range(13), key=lambda other: psnr(frames[other], made))
        assert abs(nearest - number) <= 1
