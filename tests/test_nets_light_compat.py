"""The published light nets: their sizes and names, against the net written down plainly, and what may not reach what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reference_light import PlainLight  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from framefill.errors import UsageError, WeightsError  # noqa: E402
from framefill.nets.light_compat import FRAMES, PRESETS, GatedConvolution, LightCompat, OverTime  # noqa: E402
from framefill.nets.saved import load_net  # noqa: E402

KEYS = ("proj_in", "proj_spatial", "proj_out")
BLOCK = {
    *(f"gmlp.gmlp.{key}.{part}" for key in KEYS for part in ("weight", "bias")),
    *(f"glu_conv.{key}.{part}" for key in ("w1", "w2") for part in ("weight", "bias")),
    "norm1.weight",
    "norm2.weight",
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def alive(channels: int = 8, frames: int = FRAMES, expansion: int = 1) -> LightCompat:
    """A net in double precision whose every weight has a say, and whose answers are about as large as a picture's values."""
    torch.manual_seed(0)
    net = LightCompat(channels, expansion, frames).double().eval()
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
        last = net.to_image if isinstance(net.to_image, nn.Conv2d) else net.to_image[1]
        last.weight.mul_(0.02)
    return net


def clip(frames: int = FRAMES, height: int = 64, width: int = 128, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(batch, frames, 3, height, width, generator=generator, dtype=torch.float64) * 2 - 1
    soft = torch.zeros(batch, frames, 1, height, width, dtype=torch.float64)
    soft[..., 20:40, 30:50] = 1
    soft[:, frames // 2, :, 5, 7] = 1
    return x, soft


@pytest.mark.parametrize(
    ("preset", "count"),
    [
        ("light-compat", 2_311_528),
        ("light-compat-medium", 4_580_392),
        ("light-compat-large", 10_103_848),
        ("light-compat-image", 2_259_888),
    ],
)
def test_the_nets_are_of_the_published_sizes(preset: str, count: int) -> None:
    with torch.device("meta"):
        assert sum(weight.numel() for weight in LightCompat(**PRESETS[preset]).parameters()) == count
        assert sum(weight.numel() for weight in LightCompat(channels=16).parameters()) == 207_368


def test_the_tensors_have_the_published_names() -> None:
    for frames, blocks, ends in ((FRAMES, 5, ("patch", "to_image")), (1, 4, ("patch.0", "to_image.1"))):
        state = LightCompat(8, 1, frames).state_dict()
        names = {f"{block}.{key}" for block in ("enc1", "dec1", *(f"enc2.{i}" for i in range(blocks))) for key in BLOCK}
        names |= {f"{layer}.{part}" for layer in ("down", "up", *ends) for part in ("weight", "bias")} | {"mask_bias"}
        assert set(state) == names
        assert state["mask_bias"].shape == (1, 8, 1, 1)
        assert state["enc1.gmlp.gmlp.proj_spatial.weight"].shape == (256, 256, 1)
        assert state["enc2.1.gmlp.gmlp.proj_spatial.weight"].shape == ((12, 12, 1) if frames == FRAMES else (64, 64, 1))


@pytest.mark.parametrize("expansion", [1, 2])
def test_it_is_the_plain_net(expansion: int) -> None:
    net = alive(expansion=expansion)
    plain = PlainLight(8, expansion).double().eval()
    plain.load_state_dict(net.state_dict())
    x, soft = clip(batch=2)
    x[1] = x[1].flip(-1)
    expected = torch.stack([plain(*pair) for pair in zip(x, soft, strict=True)])
    assert 0.1 < float(expected.detach().std()) < 10
    assert torch.allclose(net(x, soft), expected, atol=1e-9)
    with torch.inference_mode():
        assert torch.allclose(net(x, soft), expected, atol=1e-9), "a few frames at a time"
        assert torch.allclose(net(x, soft, slice(3, 9)), expected[:, 3:9], atol=1e-9)


def test_no_gradient_passes_the_repeated_edge_as_in_the_published_training() -> None:
    part = GatedConvolution(6).double()
    x, weigh = (torch.randn(2, 6, 5, 7, dtype=torch.float64) for _ in range(2))
    x.requires_grad_()
    (made,) = torch.autograd.grad((part(x) * weigh).sum(), x)
    gated = functional.pad(functional.glu(part.w1(x), 1), (1, 1, 1, 1))  # zeros pass none either
    (expected,) = torch.autograd.grad((part.w2(gated) * weigh).sum(), x)
    assert torch.allclose(made, expected)
    edged = functional.pad(functional.glu(part.w1(x), 1), (1, 1, 1, 1), mode="replicate")
    assert torch.equal(part(x), part.w2(edged))
    assert not torch.allclose(torch.autograd.grad((part.w2(edged) * weigh).sum(), x)[0], expected)


def test_what_stands_in_hidden_cells_is_not_looked_at_and_time_is_alive() -> None:
    net = alive()
    x, soft = clip()
    with torch.inference_mode():
        made = net(x, soft)
        other = x.clone()
        other[..., 20:40, 32:48] = 0.7  # whole cells of the hole
        assert torch.equal(net(other, soft), made)
        other = x.clone()
        other[:, 0, :, 22:38, 60:70] += 0.5
        moved = (net(other, soft) - made).abs().amax((0, 2, 3, 4))
        assert float(moved[11]) > 1e-6, "the first frame reaches the last"
        for block in net.enc2:
            if isinstance(block.gmlp, OverTime):
                block.gmlp.gmlp.proj_spatial.weight.zero_()
        alone = (net(other, soft) - net(x, soft)).abs().amax((0, 2, 3, 4))
        assert float(alone[0]) > 1e-6
        assert alone[1:].eq(0).all(), "with the matrices over time at zero, no other"


def test_a_cell_is_hidden_by_one_pixel_and_not_by_its_rim() -> None:
    net = alive()
    x, _ = clip(width=64)
    with torch.inference_mode():
        for value, looks in ((0.98, True), (0.995, False)):
            soft = torch.zeros(1, FRAMES, 1, 64, 64, dtype=torch.float64)
            soft[..., 9, 9] = value
            other = x.clone()
            other[..., 8:12, 8:12] = 0
            assert torch.equal(net(other, soft), net(x, soft)) != looks


def test_the_net_of_single_pictures_knows_no_other_frame() -> None:
    net = alive(frames=1, expansion=2)
    x, soft = clip(1, batch=3)
    with torch.inference_mode():
        together = net(x, soft)
        assert together.shape == (3, 1, 3, 64, 128)
        for index in range(3):
            assert torch.allclose(net(x[index : index + 1], soft[index : index + 1]), together[index : index + 1])


def test_a_new_net_draws_no_grid() -> None:
    net = LightCompat(8)
    x, soft = clip(width=64)
    made = net(x.float(), soft.float()).detach()
    cells = made.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4))
    assert torch.allclose(cells, cells[..., :1, :, :1].expand_as(cells), atol=1e-3 * float(made.std()))


def test_other_lengths_and_sizes_are_refused() -> None:
    net = LightCompat(8)
    for size, words in (((11, 64, 64), "11 frames, this net sees 12"), ((12, 60, 64), "64x60, expected multiples of 64")):
        with pytest.raises(UsageError, match=words):
            net(*clip(*size))
    with pytest.raises(UsageError, match="channels are even"):
        LightCompat(7)


def test_saved_and_read_again(tmp_path: Path) -> None:
    net = alive().float()
    net.save_pretrained(tmp_path / "net")
    again = load_net(LightCompat, tmp_path / "net")
    x, soft = (part.float() for part in clip(width=64))
    with torch.inference_mode():
        assert torch.equal(again(x, soft), net(x, soft))
    file = tmp_path / "net" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    save_file({key: value for key, value in tensors.items() if key != "mask_bias"}, file, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"lack 1 tensors \(mask_bias"):
        load_net(LightCompat, tmp_path / "net")
    with pytest.raises(WeightsError, match="cannot read the net"):
        load_net(LightCompat, tmp_path)
