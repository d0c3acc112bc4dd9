"""The learned completion of flow: its size, what it reads and keeps, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scenes import seen_at, texture  # noqa: E402

from framefill.errors import MissingWeights, UsageError, WeightsError  # noqa: E402
from framefill.families.fff.flow import flows_of  # noqa: E402
from framefill.nets.flow_completion import FlowCompletion  # noqa: E402

Clip = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def net() -> FlowCompletion:
    """A net of random weights, its offsets too."""
    torch.manual_seed(0)
    made = FlowCompletion().eval()
    for name in ("backward_", "forward_"):
        torch.nn.init.normal_(made.feat_prop_module.deform_align[name].conv_offset[-1].weight, std=0.05)
    return made


def clip(pairs: int = 3, height: int = 24, width: int = 32, seed: int = 0) -> Clip:
    drawn = torch.Generator().manual_seed(seed)
    there, back = (torch.randn(1, pairs, 2, height, width, generator=drawn) for _ in range(2))
    mask = torch.zeros(1, pairs + 1, 1, height, width)
    for frame in range(pairs + 1):
        mask[:, frame, :, 6:14, 4 + 2 * frame : 16 + 2 * frame] = 1
    return there, back, mask


def test_it_has_the_published_number_of_weights(net: FlowCompletion) -> None:
    assert sum(weight.numel() for weight in net.parameters()) == 5_079_555


@pytest.mark.parametrize("pairs", [1, 2, 4])
@pytest.mark.parametrize("size", [(24, 32), (17, 13)])
def test_any_clip_comes_back_as_it_was_outside_the_mask(net: FlowCompletion, pairs: int, size: tuple[int, int]) -> None:
    there, back, mask = clip(pairs, *size)
    with torch.no_grad():
        made = net(there, back, mask)
    for flow, measured, hole in zip(made, (there, back), (mask[:, :-1], mask[:, 1:]), strict=True):
        assert flow.shape == measured.shape
        inside = hole.bool().expand_as(flow)
        assert torch.equal(flow[~inside], measured[~inside])
        assert not torch.equal(flow[inside], measured[inside])
        assert torch.isfinite(flow).all()


def test_what_stands_under_the_mask_is_not_read(net: FlowCompletion) -> None:
    there, back, mask = clip()
    with torch.no_grad():
        made = net(there, back, mask)
        other = net(there.masked_fill(mask[:, :-1] > 0, torch.nan), back.masked_fill(mask[:, 1:] > 0, 99.0), mask)
    assert all(torch.equal(one, another) for one, another in zip(made, other, strict=True))


def test_a_clip_turned_round_has_its_flows_turned_round(net: FlowCompletion) -> None:
    there, back, mask = clip()
    with torch.no_grad():
        forth = net(there, back, mask)
        turned = net(back.flip(1), there.flip(1), mask.flip(1))
    assert torch.equal(turned[0], forth[1].flip(1))
    assert torch.equal(turned[1], forth[0].flip(1))


def test_every_flow_is_told_by_every_other(net: FlowCompletion) -> None:
    there, back, mask = clip(5)
    with torch.no_grad():
        before = net(there, back, mask)[0]
        for changed in (0, 4):
            other = there.clone()
            other[:, changed] += 1
            moved = (net(other, back, mask)[0] - before).abs() * mask[:, :-1]
            assert (moved.amax((0, 2, 3, 4)) > 0).all()


def test_it_learns_a_flow_that_it_is_shown() -> None:
    torch.manual_seed(0)
    learner = FlowCompletion()
    ramp = torch.linspace(-2, 2, 16).expand(1, 1, 1, 16, 16)
    truth = torch.cat((1 + ramp, -ramp), 2)
    hole = torch.zeros(1, 1, 1, 16, 16)
    hole[..., 4:12, 4:12] = 1
    optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
    losses = []
    for _ in range(30):
        loss = ((learner.predicted(truth, hole) - truth).abs() * hole).sum() / hole.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 2


def test_edges_are_chances(net: FlowCompletion) -> None:
    with torch.no_grad():
        found = net.edges(clip()[0])
    assert found.shape == (1, 3, 1, 24, 32)
    assert ((found > 0) & (found < 1)).all()


def test_flows_that_do_not_fit_are_refused(net: FlowCompletion) -> None:
    there, back, mask = clip()
    for parts in ((there, back[:, :2], mask), (there, back, mask[:, :-1]), (there[:, :0], back[:, :0], mask[:, :1])):
        with pytest.raises(UsageError, match="expected twice B T-1 2 H W"):
            net(*parts)


def test_its_file_completes_the_flows_of_each_scene(net: FlowCompletion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path))
    pans = [seen_at(texture(seed, 48, 80), (48, 64), [(3 * step, 0) for step in range(3)]) for seed in (1, 2)]
    frames = np.concatenate((pans[0], 255 - pans[1] // 3))
    mask = np.zeros(frames.shape[:3], np.bool_)
    mask[:, 16:32, 20:40] = True
    with pytest.raises(MissingWeights, match=r"put recurrent_flow_completion\.pth into"):
        flows_of(frames, mask, completion="learned")
    file = tmp_path / "weights" / "recurrent_flow_completion.pth"
    file.parent.mkdir()
    torch.save(net.state_dict(), file)
    plain, learned = flows_of(frames, mask), flows_of(frames, mask, completion="learned")
    assert (learned.there[2] == (64, 48)).all()  # the cut
    far = np.ones((48, 64), np.bool_)
    far[12:36, 16:44] = False
    for one, other in ((plain.there, learned.there), (plain.back, learned.back)):
        assert np.array_equal(one[:, far], other[:, far])
        assert all((one[pair, 20:28, 24:36] != other[pair, 20:28, 24:36]).all() for pair in (0, 1, 3, 4))
    hidden = frames.copy()
    hidden[mask] = 0
    assert np.array_equal(flows_of(hidden, mask, completion="learned").there, learned.there)
    with pytest.raises(UsageError, match="expected one of laplace, learned"):
        flows_of(frames, mask, completion="membrane")


def test_a_file_of_another_network_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAMEFILL_HOME", str(tmp_path))
    file = tmp_path / "weights" / "recurrent_flow_completion.pth"
    file.parent.mkdir()
    torch.save({"weight": torch.zeros(1)}, file)
    with pytest.raises(WeightsError, match="no weights of the recurrent flow completion") as caught:
        flows_of(np.zeros((2, 16, 16, 3), np.uint8), np.zeros((2, 16, 16), np.bool_), completion="learned")
    assert "\n" not in str(caught.value)
