"""What lets a large net be trained in little memory: moments in 8 bits, an optimiser in the machine's own, and what a run will need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fff_kit import saved, tiny_pipeline
from fff_training_kit import make_objective
from test_training_cli import invoke
from torch import nn

from framefill.errors import UsageError
from framefill.nets.guide import Guide
from framefill.training.config import OptimConfig, TrainConfig, resolve
from framefill.training.eight_bit import AdamW8bit, quantised, restored, table
from framefill.training.ema import Average, Power
from framefill.training.fff_estimate import fff_estimate, kept
from framefill.training.optim import build_optimizers, state_bytes
from framefill.training.presets import get_preset


def trained(kind: str, steps: int = 30, offload: bool = False, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, list[float]]:
    """A layer that learns a rotation, and its losses."""
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))
    optimizers = build_optimizers(layer, OptimConfig(kind=kind, lr=3e-3, weight_decay=0.01), offload)  # type: ignore[arg-type]
    goal = torch.linalg.qr(torch.randn(64, 64))[0]
    losses = []
    for step in range(steps):
        x = torch.randn(32, 64, generator=torch.Generator().manual_seed(step))
        loss = (layer(x) - x @ goal).square().mean()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return layer, losses


@pytest.mark.parametrize("signed", [True, False])
def test_eight_bits_keep_small_numbers_beside_large_ones(signed: bool) -> None:
    """Six decades in a block: the top one is cut into 64 steps (128 unsigned), each below into half as many; errors are half of one."""
    sizes = torch.logspace(-5.99, 0, 256, dtype=torch.float64)
    values = (sizes * (torch.arange(256) % 2 * 2 - 1 if signed else 1)).float()
    back = restored(*quantised(values, signed), signed)
    decade = (-sizes.log10()).ceil().clamp_min(1) - 1
    steps = 2.0 ** ((6 if signed else 7) - decade)
    assert ((back - values).abs() <= 1.001 * 0.9 * 10.0**-decade / steps / 2).all()
    assert table(signed).unique().numel() == 256
    assert quantised(values, signed)[0].dtype == torch.uint8


def test_blocks_have_scales_of_their_own() -> None:
    values = torch.cat([torch.full((256,), 1e-8), torch.full((100,), 1e3)])
    assert torch.allclose(restored(*quantised(values, False), False), values, rtol=1e-3)


def test_eight_bits_learn_as_thirty_two_do() -> None:
    _, whole = trained("adamw", 120)
    _, eight = trained("adamw-8bit", 120)
    assert eight[-1] < 0.35 * eight[0]
    assert eight[-1] == pytest.approx(whole[-1], rel=0.1)


def test_eight_bits_take_a_quarter_of_the_memory() -> None:
    layer = nn.Linear(256, 256)
    full, eight = (state_bytes(layer, OptimConfig(kind=kind)) for kind in ("adamw", "adamw-8bit"))  # type: ignore[arg-type]
    assert eight < 0.27 * full
    optimizer = build_optimizers(layer, OptimConfig(kind="adamw-8bit"))[0]
    layer(torch.randn(2, 256)).sum().backward()
    optimizer.step()
    held = sum(value.nbytes for state in optimizer.state.values() for value in state.values() if isinstance(value, torch.Tensor))
    assert held == eight


@pytest.mark.parametrize("kind", ["adamw", "adamw-8bit"])
def test_an_optimiser_beside_the_weights_does_the_same_to_the_bit(kind: str) -> None:
    ours, theirs = trained(kind)[0], trained(kind, offload=True)[0]
    for own, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("kind", ["adamw", "adamw-8bit"])
@pytest.mark.parametrize("offload", [False, True])
def test_their_state_comes_back_to_the_bit(kind: str, offload: bool) -> None:
    def fresh() -> tuple[nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(1)
        layer = nn.Linear(128, 64)
        return layer, build_optimizers(layer, OptimConfig(kind=kind, lr=1e-2), offload)[0]  # type: ignore[arg-type]

    def step(layer: nn.Linear, optimizer: torch.optim.Optimizer, number: int) -> None:
        layer(torch.randn(4, 128, generator=torch.Generator().manual_seed(number))).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    layer, optimizer = fresh()
    for number in range(4):
        step(layer, optimizer, number)
    first, began = fresh()
    for number in range(2):
        step(first, began, number)
    again, resumed = fresh()
    again.load_state_dict(first.state_dict())
    resumed.load_state_dict(began.state_dict())
    for number in range(2, 4):
        step(again, resumed, number)
    assert torch.equal(layer.weight, again.weight)
    assert isinstance(optimizer, AdamW8bit) == (kind == "adamw-8bit" and not offload)


def test_an_average_may_lie_elsewhere() -> None:
    layer = nn.Linear(2, 2)
    ours, theirs = Average(layer, Power(0.1)), Average(layer, Power(0.1), torch.device("cpu"))
    for step in range(1, 4):
        with torch.no_grad():
            layer.weight.add_(1.0)
        for average in (ours, theirs):
            average.update(layer, step, 1)
    assert torch.equal(ours.weights["weight"], theirs.weights["weight"])


@pytest.mark.slow
def test_the_published_configuration_is_counted_without_weights() -> None:
    """Section 12 of the recipe: 1,544,658,826 weights with the refiner, 417,656,224 of them trained; two small frames, for speed."""
    config = resolve(
        get_preset("fff-svd"), None, ["--data.frames", "2", "--data.size", "64", "--data.width", "64", "--objective.mask-patch", "1"]
    )
    found = fff_estimate(config, 8)
    assert (found.trained, found.frozen) == (417_656_224, 1_544_658_826 - 417_656_224)
    assert found.gradients == 4 * found.trained
    lines = "\n".join(found.lines())
    assert "parameters: 417,656,224 trained" in lines
    assert "hours" in lines
    little = replace(config, fff=replace(config.fff, train="refiner"), compute=replace(config.compute, offload=True))
    assert fff_estimate(little, 8).trained == 20_035_744
    assert fff_estimate(little, 8).total < 0.8 * found.total


def test_what_is_kept_on_shapes_is_what_is_kept(tmp_path: Path) -> None:
    """The bytes that the meta device counts are those that autograd holds on a CPU, and fewer with checkpointing."""
    saved(tmp_path, tiny_pipeline(clip=False, window=3, size=16))
    config = resolve(
        get_preset("fff-nano"), None,
        ["--model.start", str(tmp_path), "--data.frames", "3", "--data.size", "16", "--compute.precision", "fp32"],
    )  # fmt: skip
    objective = make_objective(config.fff)
    net = objective.net.to("meta")
    everything = kept(net, config)
    again = kept(net, replace(config, compute=replace(config.compute, checkpointing=True)))
    assert again < 0.7 * everything
    held: dict[int, int] = {}
    fresh = make_objective(config.fff).net
    own = {p.untyped_storage().data_ptr() for p in fresh.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    guide = Guide(torch.ones(1, 3, 1, 8, 8), torch.zeros(1, 2, 2, 8, 8), torch.zeros(1, 2, 2, 8, 8))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        fresh(torch.randn(1, 3, 8, 8, 8), torch.ones(1), torch.zeros(1, 1, 32), torch.ones(1, 3), guide=guide)
    assert everything == pytest.approx(sum(held.values()), rel=0.05)


def test_settings_that_exclude_each_other_are_told() -> None:
    def chosen(*flags: str) -> TrainConfig:
        return resolve(get_preset("fff-svd"), None, list(flags))

    for flags, words in [
        (("--fff.frozen", "fp16"), "fff.frozen fp16 goes with compute.precision fp16"),
        (("--fff.train", "refiner", "--fff.refiner", "false"), "exclude each other"),
        (("--fff.noise", "propagated"), "two modes of filling the first frame"),
        (("--fff.noise", "propagated", "--fff.shown", "first", "--fff.refiner", "false"), "hides nothing that noise could be carried into"),
        (("--fff.shown", "first"), "nothing that a refiner could fill"),
        (("--fff.dropout", "0.5"), "0 to a third"),
        (("--fff.motion", "300"), "0 to 255"),
        (("--compute.offload", "true", "--compute.parallel", "fsdp"), "compute.offload"),
        (("--compute.offload", "true", "--optim.kind", "lion"), "compute.offload"),
        (("--model.process", "edm"), "model.process means nothing to family fff"),
        (("--data.records", "clips"), "leave data.width out"),
        (("--data.width", "-1"), "data.width is -1"),
        (("--objective.mask-patch", "3"), "a divisor of data.size 256 and data.width 512"),
        (("--fff.lora-rank", "0"), "1 or more"),
    ]:
        with pytest.raises(UsageError) as error:
            chosen(*flags)
        assert words in str(error.value), (flags, str(error.value))


def test_a_run_that_cannot_begin_is_one_line(tmp_path: Path) -> None:
    folder = saved(tmp_path / "start", tiny_pipeline(clip=False, window=3, size=16))
    common = ["--run.folder", str(tmp_path / "runs"), "--data.workers", "0"]
    for arguments, code, words in [
        (["fff-nano", "--model.start", str(tmp_path / "none")], 1, "config.json"),
        (["svd-nano", "--model.codec", str(tmp_path)], 2, "framefill train svd-nano-vae"),
        (["fff-nano", "--model.start", str(folder), "--data.size", "18", "--objective.mask-patch", "1"], 2, "multiples of 4"),
        (["svd-nano", "--model.codec", str(folder), "--model.net", "huge"], 2, "there are svd-nano"),
    ]:
        result = invoke(*arguments, *common)
        assert result.exit_code == code, (arguments, result.output)
        assert words in result.stderr.splitlines()[-1], (arguments, result.stderr)
        assert not (tmp_path / "runs").exists()
