"""What is carried along flow: warps, trust in a flow, deformable convolution, the refiner's two passes, and the alignment of noise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from torch.nn import functional  # noqa: E402

from framefill.errors import UsageError  # noqa: E402
from framefill.nets import deform  # noqa: E402
from framefill.nets.deform import deform_conv  # noqa: E402
from framefill.nets.dna import DNA, Alignment  # noqa: E402
from framefill.nets.guide import Guide, batched, trusted  # noqa: E402
from framefill.nets.refiner import FOLLOW, LEAD, Refiner  # noqa: E402
from framefill.nets.sampling import warp  # noqa: E402


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def constant(flow: tuple[float, float], height: int = 12, width: int = 16) -> torch.Tensor:
    return torch.tensor(flow, dtype=torch.float32).view(1, 2, 1, 1).repeat(1, 1, height, width)


def guide(frames: int, height: int = 8, width: int = 10, flow: tuple[float, float] = (0.0, 0.0), hole: slice = slice(2, 6)) -> Guide:
    """A clip that moves evenly by `flow`, with a box unknown in every frame."""
    mask = torch.zeros(1, frames, 1, height, width)
    mask[..., hole, hole] = 1
    there = constant(flow, height, width)[:, None].repeat(1, frames - 1, 1, 1, 1)
    return Guide(mask, there, -there)


def asleep(wide: int = 16) -> Refiner:
    torch.manual_seed(0)
    return Refiner(wide)


def test_a_warp_by_whole_pixels_is_a_shift_with_zeros_outside() -> None:
    picture = drawn(1, 3, 12, 16)
    assert torch.allclose(warp(picture, constant((0, 0)), "zeros"), picture, atol=1e-5)
    moved = warp(picture, constant((3, -2)), "zeros")
    assert torch.allclose(moved[..., 2:, :-3], picture[..., :-2, 3:], atol=1e-5)
    assert moved[..., :2, :].abs().max() < 1e-5
    assert moved[..., -3:].abs().max() < 1e-5


def test_flows_that_lead_home_are_trusted_and_others_are_not() -> None:
    assert trusted(constant((3, -2)), constant((-3, 2)))[..., 2:, :-3].all()
    assert not trusted(constant((3, -2)), constant((-3, 2)))[..., :2, :].any()  # they end outside, where nothing leads home
    assert trusted(constant((0.3, 0)), constant((0.3, 0))).all()  # within half a pixel
    assert trusted(4 * drawn(1, 2, 40, 40), 4 * drawn(1, 2, 40, 40, seed=1)).mean() < 0.1


def test_a_guide_of_shapes_that_do_not_fit_is_refused() -> None:
    fine = guide(3)
    for parts in (
        (fine.mask, fine.there[:, :1], fine.back),
        (fine.mask[0], fine.there, fine.back),
        (fine.mask, fine.there, fine.back[..., 1:]),
    ):
        with pytest.raises(UsageError, match="expected B T 1 h w"):
            Guide(*parts)
    both = batched([guide(3), guide(3, flow=(1.0, 0.0))])
    assert both.mask.shape[0] == 2
    assert both.there[:, 0, 0, 0, 0].tolist() == [0, 1]
    with pytest.raises(UsageError, match="for 2 clips and 3 came"):
        both.tiled(3)


def taps(flow: torch.Tensor, groups: int = 1) -> torch.Tensor:
    return flow.flip(1).repeat(1, 9 * groups, 1, 1)


def test_without_offsets_it_is_an_ordinary_convolution() -> None:
    x, weight, bias = drawn(2, 8, 12, 16), drawn(4, 8, 3, 3, seed=1), drawn(4, seed=2)
    made = deform.plain(x, torch.zeros(2, 36, 12, 16), torch.ones(2, 18, 12, 16), weight, bias)
    assert torch.allclose(made, functional.conv2d(x, weight, bias, padding=1), atol=1e-4)


def test_with_one_offset_for_all_it_is_a_convolution_of_what_is_there() -> None:
    x, weight, bias = drawn(1, 8, 12, 16), drawn(8, 8, 3, 3, seed=1), torch.zeros(8)
    made = deform.plain(x, taps(constant((3, -2)), 2), torch.full((1, 18, 12, 16), 0.5), weight, bias)
    shifted = functional.pad(x, (0, 3, 2, 0))[..., :12, 3:]
    expected = functional.conv2d(shifted, weight, bias, padding=1) / 2
    assert torch.allclose(made[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-4)


def test_each_tap_and_group_has_its_own_offset_and_weight() -> None:
    """The layout of offsets, tap by tap against a plain loop."""
    x, weight, bias = drawn(1, 4, 5, 6), drawn(3, 4, 3, 3, seed=1), drawn(3, seed=2)
    offset, modulation = 1.5 * drawn(1, 36, 5, 6, seed=3), drawn(1, 18, 5, 6, seed=4).sigmoid()
    expected = bias.view(1, 3, 1, 1).repeat(1, 1, 5, 6)
    for group in range(2):
        for tap in range(9):
            dy, dx = (offset[:, 18 * group + 2 * tap + axis] for axis in (0, 1))
            flow = torch.stack((dx + tap % 3 - 1, dy + tap // 3 - 1), 1)
            part = warp(x[:, 2 * group : 2 * group + 2], flow, "zeros") * modulation[:, None, 9 * group + tap]
            expected += torch.einsum("oc,bchw->bohw", weight[:, 2 * group : 2 * group + 2, tap // 3, tap % 3], part)
    assert torch.allclose(deform.plain(x, offset, modulation, weight, bias), expected, atol=1e-4)


def test_torchvisions_operator_gives_the_same_where_it_is_installed() -> None:
    run = deform.operator()
    if run is None:
        pytest.skip("torchvision is not installed, or not for this torch")
    parts = (
        drawn(2, 8, 9, 7),
        2 * drawn(2, 72, 9, 7, seed=1),
        drawn(2, 36, 9, 7, seed=2).sigmoid(),
        drawn(6, 8, 3, 3, seed=3),
        drawn(6, seed=4),
    )
    assert torch.allclose(run(*parts), deform.plain(*parts), atol=1e-4)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    deform.operator.cache_clear()
    yield
    deform.operator.cache_clear()


def test_torchvisions_operator_is_called_as_it_wants_to_be(asked_anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def deform_conv2d(
        input: torch.Tensor,  # torchvision's name
        offset: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if mask is None or bias is None:
            return input
        assert (stride, padding, dilation) == (1, 1, 1)
        return -deform.plain(input, offset, mask, weight, bias)

    stand_in = ModuleType("torchvision.ops")
    stand_in.deform_conv2d = deform_conv2d
    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.ops", stand_in)
    parts = drawn(1, 4, 5, 6), drawn(1, 36, 5, 6, seed=1), drawn(1, 18, 5, 6, seed=2).sigmoid(), drawn(3, 4, 3, 3, seed=3), drawn(3, seed=4)
    assert torch.equal(deform_conv(*parts), -deform.plain(*parts))


@pytest.mark.parametrize("fails", [ImportError("none"), RuntimeError("operator torchvision::nms does not exist"), OSError("libtorch.so")])
def test_a_torchvision_that_is_missing_or_broken_is_done_without(
    fails: Exception, asked_anew: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise fails

    monkeypatch.setitem(sys.modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.ops", Broken("torchvision.ops"))
    parts = drawn(1, 4, 5, 6), drawn(1, 36, 5, 6, seed=1), drawn(1, 18, 5, 6, seed=2).sigmoid(), drawn(3, 4, 3, 3, seed=3), drawn(3, seed=4)
    assert torch.equal(deform_conv(*parts), deform.plain(*parts))


def test_half_precision_keeps_places_exact() -> None:
    x, weight, bias = drawn(1, 8, 4, 300), drawn(8, 8, 3, 3, seed=1), torch.zeros(8)
    offset, modulation = taps(constant((0.25, 0), 4, 300)), torch.ones(1, 9, 4, 300)
    exact = deform_conv(x.bfloat16().float(), offset, modulation, weight.bfloat16().float(), bias)
    half = deform_conv(x.bfloat16(), offset, modulation, weight.bfloat16(), bias.bfloat16())
    assert half.dtype == torch.bfloat16
    assert torch.allclose(
        half.float(), exact, atol=0.05, rtol=0.01
    )  # rounded at the end only; places at 300 have steps of 2 pixels in bf16


def test_an_untrained_alignment_is_the_convolution_along_the_flow_at_half_weight() -> None:
    torch.manual_seed(0)
    align = Alignment(16, 16, 36, groups=16, hidden=16)
    x, told, flow = drawn(1, 16, 12, 16), drawn(1, 36, 12, 16, seed=1), constant((2, 1))
    expected = deform.plain(x, taps(flow, 16), torch.full((1, 144, 12, 16), 0.5), align.weight, align.bias)
    assert torch.allclose(align(x, told, flow), expected, atol=1e-6)
    assert align.weight.abs().max() <= 1 / 12
    with pytest.raises(UsageError, match="10 channels cannot be split into 16"):
        Alignment(10, 10, 24, groups=16, hidden=8)


def test_learned_offsets_never_leave_the_flow_by_more_than_their_reach() -> None:
    """With offsets pushed to their end, each tap looks exactly three pixels on."""
    align = Alignment(16, 16, 36, groups=16, hidden=16)
    with torch.no_grad():
        align.conv_offset[-1].bias[:288] = 100.0
    x, told = drawn(1, 16, 12, 16), drawn(1, 36, 12, 16, seed=1)
    expected = deform.plain(x, torch.full((1, 288, 12, 16), 3.0), torch.full((1, 144, 12, 16), 0.5), align.weight, align.bias)
    assert torch.allclose(align(x, told), expected, atol=1e-5)


def test_what_the_last_frame_holds_reaches_the_first_in_the_pass_that_leads_there() -> None:
    net, told = asleep(), guide(4, flow=(0.5, 0.0))
    with torch.no_grad():
        features = drawn(1, 4, 16, 8, 10)
        led = net.propagated(LEAD, features, told)
        for changed, seen in ((3, {0, 1, 2, 3}), (0, {0}), (2, {0, 1, 2})):
            other = features.clone()
            other[:, changed] += 1
            moved = (net.propagated(LEAD, other, told) - led).abs().amax((0, 2, 3, 4))
            assert {frame for frame in range(4) if moved[frame] > 1e-6} == seen
        followed = net.propagated(FOLLOW, features, told)
        other = features.clone()
        other[:, 0] += 1
        moved = (net.propagated(FOLLOW, other, told) - followed).abs().amax((0, 2, 3, 4))
        assert (moved > 1e-6).all()


def test_each_pass_uses_the_flow_that_leads_from_the_frame_to_its_neighbour() -> None:
    """A spot in the last frame is found where `there` leads, and one in the first where `back` leads."""
    net, told = asleep(), guide(2, 9, 17, flow=(4.0, 0.0))
    delta = torch.zeros(1, 2, 16, 9, 17)
    for name, place, came in ((LEAD, 1, 6), (FOLLOW, 0, 14)):
        with torch.no_grad():
            spot = delta.clone()
            spot[0, place, :, 4, 10] = 1
            moved = (net.propagated(name, spot, told) - net.propagated(name, delta, told))[0, 1 - place].abs().sum((0, 1))
        centre = float((moved * torch.arange(17)).sum() / moved.sum())
        assert abs(centre - came) < 0.5


def test_one_frame_has_no_neighbours_and_uses_no_flow() -> None:
    net, told, features = asleep(), guide(1), drawn(2, 1, 16, 8, 10)
    with torch.no_grad():
        assert torch.equal(net(features, told), features)
        torch.nn.init.normal_(net.fuse[-1].weight)
        made = net(features, told)
    assert made.shape == features.shape
    assert not torch.equal(made, features)


def test_it_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        net = Refiner(320)
    assert sum(weight.numel() for weight in net.parameters()) == 20_035_744


def test_it_runs_in_half_precision() -> None:
    net, told, features = asleep(), guide(3, flow=(0.5, 0.0)), drawn(1, 3, 16, 8, 10)
    with torch.no_grad():
        torch.nn.init.normal_(net.fuse[-1].weight, std=0.05)
        exact, half = net(features, told), net.bfloat16()(features.bfloat16(), told)
    assert half.dtype == torch.bfloat16
    assert (half - exact).abs().max() < 0.1


@pytest.mark.parametrize("copies", [False, True])
def test_untrained_alignment_carries_later_frames_into_the_hole_along_the_flow(copies: bool) -> None:
    """Content that moves by (1, 0) a frame, hidden in a box: what the box hides comes from the frame that shows it."""
    told = guide(6, flow=(1.0, 0.0))
    still = drawn(1, 1, 4, 8, 20).repeat(1, 6, 1, 1, 1)
    clean = torch.stack([still[:, frame, :, :, 5 - frame : 15 - frame] for frame in range(6)], 1)
    hidden = torch.where(told.mask > 0, 100.0, clean)
    made = DNA(4, groups=2, copies=copies)(hidden, told)
    assert torch.equal(torch.where(told.mask > 0, torch.zeros(()), made), torch.where(told.mask > 0, torch.zeros(()), hidden))
    assert torch.allclose(made[:, 0], clean[:, 0], atol=1e-3)
    assert (made[:, -1] == hidden[:, -1]).all()  # no frame comes after it


def test_what_no_flow_can_be_trusted_for_stays_as_it_was() -> None:
    wild, features = guide(3), drawn(1, 3, 4, 8, 10)
    told = Guide(wild.mask, 5 + wild.there, 5 + wild.back)
    for copies in (False, True):
        assert torch.equal(DNA(4, copies=copies)(features, told), features)


@pytest.mark.parametrize("learned", [0.0, 0.2])
def test_copied_noise_keeps_mean_and_variance(learned: float) -> None:
    """Through a chain of half-pixel flows, where a mean of neighbours would lose 3/4 of the variance at once; learned offsets or not."""
    torch.manual_seed(0)
    net = DNA(4, groups=4, copies=True)
    torch.nn.init.normal_(net.conv_offset[-1].weight, std=learned)
    noise = drawn(1, 5, 4, 150, 200)
    told = guide(5, 150, 200, flow=(0.5, 0.5), hole=slice(5, 145))
    with torch.no_grad():
        made = net(noise, told)[:, 0, :, 5:145, 5:145]
    assert not torch.equal(made, noise[:, 0, :, 5:145, 5:145])
    assert abs(made.mean()) < (0.05 if learned else 0.02)  # learned offsets look at the noise that they choose from
    assert abs(made.var() - 1) < (0.05 if learned else 0.02)


@pytest.mark.parametrize(("align", "learns"), [("full", True), ("deform", True), ("flow", False), ("none", False)])
def test_learned_offsets_mend_a_flow_that_errs(align: str, learns: bool) -> None:
    """The flow says 1 pixel where the content moves by 2: offsets learn the rest, where there are any."""
    still = functional.avg_pool2d(drawn(1, 4, 20, 40), 5, 1, 2)
    clean = torch.stack([still[:, :, :, 8 - 2 * frame : 28 - 2 * frame] for frame in range(3)], 1)
    told = guide(3, 20, 20, flow=(1.0, 0.0), hole=slice(4, 14))
    hidden = torch.where(told.mask > 0, torch.zeros(()), clean)
    torch.manual_seed(0)
    net = DNA(4, groups=1, copies=True, align=align, hidden=16)
    # The last frame's hole is never filled, so the truth stands there.
    seen = torch.cat((hidden[:, :2], clean[:, 2:]), 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        loss = (net(seen, told)[:, :2] - clean[:, :2]).square().mean()
        losses.append(float(loss.detach()))
        if learns:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert (min(losses) < losses[0] / 5) == learns


def test_an_unknown_split_of_channels_is_refused() -> None:
    with pytest.raises(UsageError, match="4 channels cannot be split into 16"):
        DNA(4, groups=16)
