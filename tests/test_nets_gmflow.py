"""GMFlow: its parts against closed forms and, with the real weights, the flow of scenes whose motion is known."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nets_kit import Moved, at_random, moved, real  # noqa: E402
from scenes import texture  # noqa: E402

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.evaluation.metrics.flow import dis  # noqa: E402
from framefill.media.reader import open_video  # noqa: E402
from framefill.nets import gmflow as module  # noqa: E402
from framefill.nets.gmflow import FACTOR, LAYERS, RADIUS, WIDTH, FlowBetween, Gmflow  # noqa: E402
from framefill.weights.layouts_motion import gmflow  # noqa: E402


@pytest.fixture(scope="module")
def net() -> Gmflow:
    return at_random(Gmflow())


def pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.tensor(texture(seed, height, width)).permute(2, 0, 1)[None] / 255 for seed in (1, 2))


def features(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Features of unlike pixels, so strong that a softmax takes the best alone."""
    made = torch.randn(1, WIDTH, height, width, generator=torch.Generator().manual_seed(seed))
    return 40 * made / made.norm(dim=1, keepdim=True)


@pytest.mark.parametrize("size", [(33, 70), (1, 50)])
def test_any_size_comes_back_as_it_was(net: Gmflow, size: tuple[int, int]) -> None:
    one, other = pair(*size)
    with torch.inference_mode():
        flow, again = net(one, other), net(one, other)
    assert flow.shape == (1, 2, *size)
    assert torch.isfinite(flow).all()
    assert torch.equal(flow, again)


def test_a_batch_gives_what_its_pictures_give_alone(net: Gmflow) -> None:
    one, other = pair(64, 64)
    with torch.inference_mode():
        both = net(torch.cat((one, other)), torch.cat((other, one)))
        alone = torch.cat((net(one, other), net(other, one)))
    assert torch.allclose(both, alone, atol=1e-3)


def test_pictures_of_two_sizes_are_refused(net: Gmflow) -> None:
    with pytest.raises(UsageError, match="one size"):
        net(pair(32, 32)[0], pair(32, 64)[0])
    with pytest.raises(UsageError, match="one size"):
        FlowBetween(net)(texture(1, 32, 32), texture(1, 32, 64))


def test_matching_over_the_whole_picture_finds_a_shift() -> None:
    one = features(20, 30)
    other = torch.roll(one, (7, -11), (2, 3))
    flow = module._match_all(one, other)[0]
    assert torch.allclose(flow[:, :13, 11:], torch.tensor([-11.0, 7])[:, None, None].expand(-1, 13, 19), atol=1e-3)


def test_matching_around_finds_a_small_shift_and_stays_in_the_picture() -> None:
    one = features(20, 30)
    other = torch.roll(one, (RADIUS, -3), (2, 3))
    flow = module._match_around(one, other)[0]
    assert torch.allclose(flow[:, :-RADIUS, 3:], torch.tensor([-3.0, RADIUS])[:, None, None].expand(-1, 16, 27), atol=1e-3)
    # Where all fits alike the match is the mean of what there is: in the corner that lies inwards.
    assert torch.allclose(module._match_around(torch.zeros_like(one), other)[0, :, 0, 0], torch.tensor([RADIUS / 2, RADIUS / 2]))


def test_enlarging_a_constant_flow_multiplies_it() -> None:
    flow = torch.tensor([1.5, -2.0])[None, :, None, None].expand(1, 2, 6, 8)
    mask = torch.randn(1, 9 * FACTOR**2, 6, 8, generator=torch.Generator().manual_seed(0))
    large = module._enlarge(flow, mask)
    assert large.shape == (1, 2, 24, 32)
    assert torch.allclose(large[..., FACTOR:-FACTOR, FACTOR:-FACTOR], FACTOR * flow[..., :1, :1].expand(1, 2, 16, 24), atol=1e-5)


def test_enlarging_puts_each_new_pixel_in_its_place() -> None:
    flow = torch.arange(48.0).view(1, 1, 6, 8).repeat(1, 2, 1, 1)
    mask = torch.zeros(1, 9, FACTOR**2, 6, 8)
    mask[:, 4] = 100  # the pixel itself
    expected = FACTOR * flow.repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)
    assert torch.allclose(module._enlarge(flow, mask.flatten(1, 2)), expected)
    mask = torch.zeros(1, 9, FACTOR, FACTOR, 6, 8)
    mask[:, 4], mask[:, 5, :, 2:] = 100, 200  # in the right half of each pixel: the neighbour to the right
    right = module._enlarge(flow, mask.flatten(1, 3))[0, 0, 0, : 2 * FACTOR] / FACTOR
    assert right.tolist() == pytest.approx([0, 0, 1, 1, 1, 1, 2, 2])


def test_shifted_windows_do_not_join_opposite_edges() -> None:
    height, width, windows, shift = 8, 12, 2, (2, 3)
    allowed = module._same_side(height, width, windows, shift, torch.device("cpu"))[0]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = torch.stack((y, x), 2)[None].roll((-2, -3), (1, 2))
    window_y, window_x = module._cut(places, windows)[0].unbind(2)  # n l
    apart_y = (window_y[:, :, None] - window_y[:, None]).abs()
    apart_x = (window_x[:, :, None] - window_x[:, None]).abs()
    assert torch.equal(allowed, (apart_y < height // windows) & (apart_x < width // windows))


def test_cut_and_join_are_inverse() -> None:
    x = torch.arange(2 * 8 * 12 * 3.0).view(2, 8, 12, 3)
    cut = module._cut(x, 2)
    assert cut.shape == (2, 4, 24, 3)
    assert torch.equal(cut[0, 1], x[0, :4, 6:].reshape(24, 3))
    assert torch.equal(module._join(cut, 2, 4, 6), x)


def test_places_are_sines_of_the_share_of_the_way() -> None:
    places = module._places(4, 10, torch.zeros(()))
    assert places.shape == (WIDTH, 4, 10)
    assert places[0, 2, 7].item() == pytest.approx(math.sin(2 * math.pi * 3 / 4), abs=1e-6)
    assert places[1, 2, 7].item() == pytest.approx(math.cos(2 * math.pi * 3 / 4), abs=1e-6)
    assert places[64, 2, 7].item() == pytest.approx(math.sin(2 * math.pi * 8 / 10), abs=1e-6)
    assert places[66, 2, 7].item() == pytest.approx(math.sin(2 * math.pi * 8 / 10 / 10000 ** (2 / 64)), abs=1e-6)


class Answer(torch.nn.Module):
    """A net that always says the same flow, and keeps what it was asked."""

    def __init__(self, x: float, y: float) -> None:
        super().__init__()
        self.flow = torch.nn.Parameter(torch.tensor([float(x), float(y)])[None, :, None, None])

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        self.asked = first
        return self.flow.expand(1, 2, *first.shape[2:])


def test_flow_comes_back_in_pixels_of_the_pictures() -> None:
    picture = texture(1, 160, 224)  # half and a quarter of the size that is worked at
    flow = FlowBetween(Answer(8, 6))(picture, picture)  # type: ignore[arg-type]
    assert flow.shape == (160, 224, 2)
    assert flow.dtype == np.float32
    assert np.allclose(flow, (2, 3))


def test_pictures_higher_than_wide_are_laid_on_their_side() -> None:
    answer = Answer(8, 6)
    picture = texture(1, 224, 160)
    flow = FlowBetween(answer)(picture, picture)  # type: ignore[arg-type]
    assert flow.shape == (224, 160, 2)
    assert np.allclose(flow, (3, 2))
    lying = torch.tensor(picture.transpose(2, 1, 0)[None] / 255, dtype=torch.float32)
    assert torch.allclose(answer.asked, torch.nn.functional.interpolate(lying, module.SIZE, mode="bilinear"), atol=1e-5)


def test_weights_saved_and_loaded_make_the_same(net: Gmflow, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(net.state_dict(), tmp_path / "gmflow.safetensors")
    other = Gmflow().eval()
    other.load_state_dict(safetensors.load_file(tmp_path / "gmflow.safetensors"))
    with torch.inference_mode():
        assert torch.equal(net(*pair(40, 70)), other(*pair(40, 70)))


def published() -> dict[str, torch.Tensor]:
    """The tensors of the published file by name and shape."""
    shapes: dict[str, tuple[int, ...]] = {"backbone.conv1.weight": (64, 3, 7, 7), "backbone.conv2.weight": (128, 128, 1, 1)}
    shapes |= {"backbone.conv2.bias": (128,), "backbone.trident_conv.weight": (128, 128, 3, 3)}
    before = 64
    for stage, width in ((1, 64), (2, 96), (3, 128)):
        name = f"backbone.layer{stage}"
        shapes |= {f"{name}.{i}.conv{k}.weight": (width, width, 3, 3) for i in (0, 1) for k in (1, 2)}
        shapes[f"{name}.0.conv1.weight"] = (width, before, 3, 3)
        if before != width:
            shapes |= {f"{name}.0.downsample.0.weight": (width, before, 1, 1), f"{name}.0.downsample.0.bias": (width,)}
        before = width
    for number in range(LAYERS):
        for attention in ("self_attn", "cross_attn_ffn"):
            name = f"transformer.layers.{number}.{attention}"
            shapes |= {f"{name}.{part}.weight": (128, 128) for part in ("q_proj", "k_proj", "v_proj", "merge")}
            norms = ("norm1",) if attention == "self_attn" else ("norm1", "norm2")
            shapes |= {f"{name}.{norm}.{part}": (128,) for norm in norms for part in ("weight", "bias")}
        shapes |= {f"{name}.mlp.0.weight": (1024, 256), f"{name}.mlp.2.weight": (128, 1024)}
    for part in ("q_proj", "k_proj"):
        shapes |= {f"feature_flow_attn.{part}.weight": (128, 128), f"feature_flow_attn.{part}.bias": (128,)}
    shapes |= {"upsampler.0.weight": (256, 130, 3, 3), "upsampler.0.bias": (256,)}
    shapes |= {"upsampler.2.weight": (144, 256, 1, 1), "upsampler.2.bias": (144,)}
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


def test_the_layout_fits_the_published_names_and_no_others() -> None:
    raw = published()
    assert len(raw) == 124
    Gmflow().load_state_dict(gmflow(raw))
    with pytest.raises(WeightsError, match="refine"):
        gmflow({**raw, "refine.conv.weight": torch.zeros(1)})


def scene(vtest: Path, city: Path, shift: float, seed: int) -> Moved:
    pictures = []
    for path, index in ((vtest, seed), (city, 7 * seed)):
        with open_video(path) as reader:
            pictures.append(next(islice(reader, index, None)).rgb)
    background, thing = (cv2.resize(picture, (640, 480), interpolation=cv2.INTER_AREA) for picture in pictures)
    return moved(background, thing, shift, seed)


@pytest.mark.weights
@pytest.mark.parametrize(("shift", "seed"), [(8, 2), (24, 3), (48, 5)])
def test_known_motion_is_found_better_than_by_dis(vtest: Path, city: Path, shift: float, seed: int) -> None:
    net = Gmflow()
    net.load_state_dict(real("gmflow"))
    truth = scene(vtest, city, shift, seed)
    error = truth.error(FlowBetween(net)(truth.first, truth.second))
    assert error < 0.3
    assert error < 0.7 * truth.error(dis(truth.first, truth.second))
