"""The paper's mode against the net written down plainly, weight for weight."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from reference_vdt import PlainVDT, initialised  # noqa: E402
from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from framefill.nets.layers import attended  # noqa: E402
from framefill.nets.vdt import VDT, vdt_s2_paper  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def inputs(frames: int, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, known = (torch.randn(2, frames, 4, side, side, generator=generator) for _ in range(2))
    mask = (torch.rand(2, frames, 1, side, side, generator=generator) < 0.5).float()
    return x, torch.tensor([3.0, 871.0]), mask, known


def both(depth: int) -> tuple[PlainVDT, VDT]:
    """The plain net with weights that all differ from zero, and ours with the same."""
    torch.manual_seed(0)
    plain = PlainVDT(4, 8, 16, depth=depth)
    with torch.no_grad():
        for weight in plain.parameters():
            weight.normal_(0, 0.04)
    ours = VDT(**{**vdt_s2_paper(), "num_layers": depth})
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def test_the_paper_s_net_is_the_plain_one() -> None:
    plain, ours = both(depth=3)
    given = inputs(16, 8)
    with torch.no_grad():
        expected, made = plain(*given), ours(*given)
    assert float(expected.abs().mean()) > 0.1
    assert torch.allclose(made, expected, atol=1e-4, rtol=1e-4)


def test_their_gradients_agree() -> None:
    plain, ours = both(depth=2)
    given = inputs(16, 8)
    for net in (plain, ours):
        net(*given).square().mean().backward()
    own = dict(ours.named_parameters())
    for name, weight in plain.named_parameters():
        scale = float(weight.grad.abs().max())
        assert torch.allclose(own[name].grad, weight.grad, atol=1e-4 * scale + 1e-7), name


def test_the_plain_net_is_of_the_published_size_and_starts_at_zero() -> None:
    plain = initialised(PlainVDT(4, 8, 16))
    assert sum(weight.numel() for weight in plain.parameters()) == 41_361_056
    given = inputs(16, 8)
    with torch.no_grad():
        assert not PlainVDT(4, 8, 16, depth=1)(*given).eq(0).all()
        assert plain(*given).eq(0).all()


@pytest.mark.parametrize("tokens", [8, 64])
def test_the_way_of_attention_in_bf16_that_is_quicker_here_gives_what_the_fused_kernel_gives(tokens: int) -> None:
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(3, 2, tokens, 32, generator=generator, requires_grad=True) for _ in range(3)]
    short = [part.detach().bfloat16().requires_grad_() for part in exact]
    expected, made = functional.scaled_dot_product_attention(*exact), attended(*short)
    expected.square().sum().backward()
    made.float().square().sum().backward()
    assert made.dtype == torch.bfloat16
    assert torch.allclose(made.float(), expected, atol=0.03)
    for own, other in zip(short, exact, strict=True):
        assert float((own.grad.float() - other.grad).abs().max()) < 0.03 * float(other.grad.abs().max())
