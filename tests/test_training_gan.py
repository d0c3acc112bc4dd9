"""A judge to train against: who gets which gradient, the warm-up in samples, the balance, and all of it kept on resume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from light_training_kit import FRAMES, SIZE, batch, loader, small_config, small_objective
from safetensors.torch import load_file
from torch import Tensor

from framefill.errors import UsageError
from framefill.nets.discriminator import DISCRIMINATORS, STRIDE
from framefill.training.adversary import LEAST, MOST, Adversary, warmed
from framefill.training.config import AdversaryConfig, ComputeConfig, TrainConfig
from framefill.training.config_checks import check
from framefill.training.ema import trainable
from framefill.training.trainer import Trainer

JUDGE = AdversaryConfig(kind="ffc", warmup=0, frames=1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def clip(seed: int = 0) -> Tensor:
    return torch.rand(1, FRAMES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def hole() -> Tensor:
    mask = torch.zeros(1, FRAMES, 1, SIZE, SIZE)
    mask[..., 8:20, 10:22] = 1
    return mask


def judged(adversary: Adversary, made: Tensor, position: int = 0) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    truth = clip()
    return adversary(made, truth, hole(), (made - truth).abs().mean(), [position])


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_a_judge_answers_for_each_cell_and_listens_to_the_truth(kind: str) -> None:
    torch.manual_seed(0)
    judge = DISCRIMINATORS[kind]().eval()
    pictures, truth = clip()[0], clip(1)[0]
    with torch.no_grad():
        answer = judge(pictures, truth)
        assert answer.shape == (FRAMES, 1, SIZE // STRIDE, SIZE // STRIDE)
        assert not torch.allclose(answer, judge(pictures, 1 - truth))
        assert not torch.allclose(answer, judge(1 - pictures, truth))
        torch.testing.assert_close(judge(pictures[1:2], truth[1:2]), answer[1:2], rtol=1e-3, atol=1e-4)
        assert judge(clip()[0, :, :, :30, :22], truth).shape[-2:] == (3, 2)


def test_each_side_gets_its_own_gradient() -> None:
    adversary = Adversary(JUDGE, seed=0)
    made = clip(1).requires_grad_()
    fooling, caught, _ = judged(adversary, made)
    caught.backward(retain_graph=True)
    assert made.grad is None
    assert all(p.grad is not None and bool(p.grad.any()) for p in adversary.parameters())
    adversary.zero_grad()
    fooling.backward()
    assert bool(made.grad.any())
    assert all(p.grad is None for p in adversary.parameters())
    assert all(p.requires_grad for p in adversary.parameters())


def test_a_fill_beyond_white_is_judged_as_white_and_still_pulled() -> None:
    adversary = Adversary(JUDGE, seed=0)
    white, beyond = torch.ones_like(clip()).requires_grad_(), (torch.ones_like(clip()) * 1.5).requires_grad_()
    adversary.eval()  # else the judge's own power iteration moves between the two
    first, second = judged(adversary, white)[2], judged(adversary, beyond)[2]
    torch.testing.assert_close(first["fooled"], second["fooled"])
    judged(adversary, beyond)[0].backward()
    assert bool(beyond.grad.any())


def test_the_judge_is_asked_about_the_hole_alone() -> None:
    """Cells far from the hole differ between fill and truth, and the judge's loss does not see it."""
    torch.manual_seed(0)
    adversary = Adversary(replace(JUDGE, kind="l3c", frames=0), seed=0)
    side = 192
    truth = torch.rand(1, 1, 3, side, side, generator=torch.Generator().manual_seed(3))
    small = torch.zeros(1, 1, 1, side, side)
    small[..., 16:24, 16:24] = 1
    shown = []
    adversary.judge = torch.nn.Module()
    adversary.judge.forward = lambda pictures, _: torch.nn.functional.avg_pool2d(pictures.mean(1, keepdim=True), STRIDE)
    for corner in (0.0, 5.0):
        made = truth.clone()
        made[..., 150:, 150:] = corner
        made.requires_grad_()
        shown.append(float(adversary(made, truth, small, made.mean(), [0])[1].detach()))
    assert shown[0] == pytest.approx(shown[1])


def test_the_warm_up_goes_by_samples_and_is_silent_at_first() -> None:
    assert warmed(0, 1000) == warmed(450, 1000) == 0
    assert warmed(470, 1000) == pytest.approx(0.104, abs=0.002)
    assert warmed(1000, 1000) == warmed(9000, 1000) == warmed(0, 0) == 1
    assert warmed(750, 1000) == pytest.approx((2.718281828**3 - 1) / (2.718281828**4 - 1))


def test_the_balance_is_the_ratio_of_gradients_and_remembers() -> None:
    adversary = Adversary(JUDGE, seed=0)
    made = clip(1).requires_grad_()
    truth = clip()
    fooling, _, numbers = judged(adversary, made)
    learnt = (made - truth).abs().mean()
    ours = torch.autograd.grad(learnt, made)[0].norm()
    theirs = torch.autograd.grad(fooling / numbers["weight"], made, retain_graph=True)[0].norm()
    expected = min(MOST, max(LEAST, float(ours / theirs)))
    assert float(adversary.balance) == pytest.approx(expected, rel=1e-4)
    before = float(adversary.balance)
    adversary(made, truth, hole(), 1000 * (made - truth).abs().mean(), [0])
    assert before < float(adversary.balance) <= 0.99 * before + 0.01 * MOST + 1e-6


def test_the_judge_is_no_part_of_the_model_or_its_averages(tmp_path: Path) -> None:
    objective = small_objective(adversary=JUDGE)
    assert all(name.startswith("net.") for name in trainable(objective))
    config = small_config(tmp_path, 8, adversary=JUDGE)
    Trainer(config, objective, loader()).fit()
    state = tmp_path / "light" / "state" / "step-000000000008"
    assert all(name.startswith("net.") for name in load_file(state / "ema-power-0.100.safetensors"))
    weights = sum(value.numel() for value in load_file(state / "ema-power-0.100.safetensors").values())
    assert f"{weights:,} trained parameters" in (tmp_path / "light" / "model" / "README.md").read_text()
    assert (state / "optimizer_1.bin").exists()


def test_measuring_asks_no_judge() -> None:
    with torch.no_grad():
        parts = small_objective(adversary=JUDGE)(batch())
    assert "also" not in parts


@pytest.mark.parametrize("kind", ["ffc", pytest.param("l3c", marks=pytest.mark.slow)])
def test_a_run_that_is_resumed_ends_with_the_same_judge(kind: str, tmp_path: Path) -> None:
    judge = replace(JUDGE, kind=kind, warmup=16)
    for folder, ends in ((tmp_path / "whole", (16,)), (tmp_path / "parts", (8, 16))):
        for samples in ends:
            fit(small_config(folder, samples, adversary=judge))
    ours, theirs = (everything(tmp_path / name) for name in ("whole", "parts"))
    assert ours.keys() == theirs.keys()
    assert any("opponent.balance" in name for name in ours)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    start = small_objective(adversary=judge).state_dict()
    assert not torch.equal(ours["model/opponent.judge.answer.real.bias"], start["opponent.judge.answer.real.bias"])


def fit(config: TrainConfig) -> None:
    Trainer(config, small_objective(adversary=config.adversary), loader()).fit()


def everything(folder: Path) -> dict[str, Tensor]:
    state = sorted((folder / "light" / "state").glob("step-*"))[-1]
    found = {f"{file.stem}/{name}": value for file in state.glob("*.safetensors") for name, value in load_file(file).items()}
    moments = torch.load(state / "optimizer_1.bin", weights_only=True)["state"]
    return found | {f"judge/{number}/{name}": value for number, own in moments.items() for name, value in own.items()}


def test_a_judge_cannot_be_split_or_scaled(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"set compute\.parallel ddp"):
        check(small_config(tmp_path, adversary=JUDGE, compute=ComputeConfig(parallel="fsdp")))
    with pytest.raises(UsageError, match=r"adversary\.weight is 0"):
        check(small_config(tmp_path, adversary=replace(JUDGE, weight=0.0)))
