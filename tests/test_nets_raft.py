"""RAFT: its parts against closed forms, and the published files' names; its weights are nowhere to be had here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scenes import texture  # noqa: E402

from framefill.errors import MissingWeights, UsageError, WeightsError  # noqa: E402
from framefill.families.fff.flow import flows_of  # noqa: E402
from framefill.families.fff.weights import load_raft  # noqa: E402
from framefill.nets import raft as module  # noqa: E402
from framefill.nets.raft import Raft, RaftBetween, renamed  # noqa: E402

TORCHVISION = "raft_large_C_T_SKHT_V2-ff5fadd5.pth"


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> Raft:
    torch.manual_seed(0)
    return Raft()


def published(net: Raft) -> dict[str, torch.Tensor]:
    """A file as the authors write it: `module.` before each name, the norms of the shortcuts twice."""
    made = {}
    for name, tensor in net.state_dict().items():
        first, *rest = name.split(".")
        if first in ("feature_encoder", "context_encoder"):
            stem = {"feature_encoder": "fnet", "context_encoder": "cnet"}[first]
            inner = ".".join(rest)
            inner = re.sub(r"^convnormrelu\.0", "conv1", inner)
            inner = re.sub(r"^convnormrelu\.1", "norm1", inner)
            inner = re.sub(r"^conv\.", "conv2.", inner)
            inner = re.sub(r"convnormrelu(\d)\.0", r"conv\1", inner)
            inner = re.sub(r"convnormrelu(\d)\.1", r"norm\1", inner)
            made[f"module.{stem}.{inner}"] = tensor
            if "downsample.1" in inner:
                made[f"module.{stem}.{inner.replace('downsample.1', 'norm3')}"] = tensor
        elif first == "mask_predictor":
            made[f"module.update_block.mask.{'0' if rest[0] == 'convrelu' else '2'}.{rest[-1]}"] = tensor
        elif rest[0] == "motion_encoder":
            short = {"convcorr1": "convc1", "convcorr2": "convc2", "convflow1": "convf1", "convflow2": "convf2", "conv": "conv"}[rest[1]]
            made[f"module.update_block.encoder.{short}.{rest[-1]}"] = tensor
        elif rest[0] == "recurrent_block":
            made[f"module.update_block.gru.{rest[2]}{rest[1][-1]}.{rest[-1]}"] = tensor
        else:
            made[f"module.{name}"] = tensor
    return made


def test_it_has_the_published_number_of_weights(net: Raft) -> None:
    assert sum(weight.numel() for weight in net.parameters()) == 5_257_536


def test_the_authors_names_lead_one_to_one_to_the_network(net: Raft) -> None:
    state, file = net.state_dict(), published(net)
    assert len(file) > len(state)
    for held in (file, {name.removeprefix("module."): tensor for name, tensor in file.items()}, state):
        found = renamed(held)
        assert found.keys() == state.keys()
        assert all(found[name] is held_tensor for name, held_tensor in state.items() if held is state)
        assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_weights_of_another_network_are_refused(net: Raft) -> None:
    file = published(net)
    for other in ({}, {**file, "module.fnet.conv9.weight": torch.zeros(1)}, {**file, "module.fnet.conv2.bias": torch.zeros(128)}):
        with pytest.raises(WeightsError, match="no weights of RAFT"):
            renamed(other)


def test_it_stays_frozen_whatever_it_is_a_part_of(net: Raft) -> None:
    before = {name: buffer.clone() for name, buffer in net.named_buffers()}
    owner = torch.nn.Sequential(net, torch.nn.Conv2d(2, 2, 1)).train()
    optimizer = torch.optim.SGD([weight for weight in owner.parameters() if weight.requires_grad], lr=0.1)
    for step in range(3):
        pictures = drawn(1, 3, 128, 128, seed=step)
        owner[1](net(pictures, pictures, 1)).square().mean().backward()
        optimizer.step()
    assert not any(part.training for part in net.modules())
    assert not any(weight.requires_grad for weight in net.parameters())
    assert before
    assert all(torch.equal(buffer, before[name]) for name, buffer in net.named_buffers())


def test_scores_are_found_around_where_the_flow_leads() -> None:
    """Features that only fit their like, moved by (3, -2): the middle of the look-up is the fit where the flow says so."""
    one = 16 * functional_normalised(drawn(1, 256, 20, 24))
    other = one.roll((-2, 3), (2, 3))
    pyramid = module._scores(one, other)
    assert [scores.shape[2:] for scores in pyramid] == [(20, 24), (10, 12), (5, 6), (2, 3)]
    places = module.pixel_grid(20, 24, one)[None]
    flow = torch.tensor((3.0, -2.0)).view(1, 2, 1, 1)
    found = module._looked_up(pyramid, places + flow)
    assert found.shape == (1, 324, 20, 24)
    best = found[:, :81].argmax(1)[..., 4:-4, 5:-5]
    assert (best == 40).all()
    # x steps slowly: with no flow, the fit is three steps of x and minus two of y from the middle.
    best = module._looked_up(pyramid, places)[:, :81].argmax(1)[..., 4:-4, 5:-5]
    assert (best == (4 + 3) * 9 + (4 - 2)).all()
    expected = torch.nn.functional.avg_pool2d(pyramid[0], 2)
    middle = module._looked_up([expected], torch.full((1, 2, 20, 24), 4.0))[0, 40]
    assert torch.allclose(middle.flatten(), expected[:, 0, 4, 4], atol=1e-4)


def functional_normalised(features: torch.Tensor) -> torch.Tensor:
    return features / features.norm(dim=1, keepdim=True)


def test_an_even_flow_is_enlarged_to_an_even_flow() -> None:
    flow = torch.tensor((1.5, -0.5)).view(1, 2, 1, 1).repeat(1, 1, 5, 6)
    made = module._enlarged(flow, drawn(1, 576, 5, 6))
    assert made.shape == (1, 2, 40, 48)
    assert torch.allclose(made[..., 8:-8, 8:-8], 8 * flow[..., :1, :1].expand(1, 2, 24, 32), atol=1e-5)


def test_any_size_comes_back_as_it_was(net: Raft) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 41, 150, 3)).astype(np.uint8)
    flow = RaftBetween(net)(*pictures)
    assert flow.shape == (41, 150, 2)
    assert flow.dtype == np.float32
    with pytest.raises(UsageError, match="multiples of 8 from 128"):
        net(drawn(1, 3, 64, 128), drawn(1, 3, 64, 128))


@pytest.mark.parametrize("where", ["FRAMEFILL_HOME", "TORCH_HOME"])
def test_its_file_is_found_and_used(net: Raft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    for name in ("FRAMEFILL_HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    with pytest.raises(MissingWeights, match=r"raft-things\.pth"):
        load_raft()
    folder = tmp_path / where / ("weights" if where == "FRAMEFILL_HOME" else "hub/checkpoints")
    folder.mkdir(parents=True)
    file, held = (folder / "raft-things.pth", published(net)) if where == "FRAMEFILL_HOME" else (folder / TORCHVISION, net.state_dict())
    torch.save(held, file)
    monkeypatch.setattr(Raft.forward, "__defaults__", (2,))  # look-ups
    frames = np.stack([texture(1, 24, 32), texture(1, 24, 32) // 2 + 60])
    mask = np.zeros((2, 24, 32), np.bool_)
    expected = RaftBetween(net)(*frames)
    assert np.allclose(flows_of(frames, mask, "raft").there[0], expected, atol=1e-4)
    other = file.with_name("raft_large_broken.pth")
    file.unlink()
    other.write_bytes(b"no file of torch")
    with pytest.raises(WeightsError, match=re.escape(str(other))):
        load_raft()
