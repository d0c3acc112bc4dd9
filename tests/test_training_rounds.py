"""Short flags, rounds of fine-tuning, and the recipes of the light family."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from light_training_kit import FRAMES, SIZE, small_config
from safetensors.torch import load_file

from framefill.errors import UsageError
from framefill.training.build import build_objective, build_trainer
from framefill.training.config import DataConfig, ModelConfig, OptimConfig, TrainConfig, from_tree, resolve, to_tree
from framefill.training.presets import get_preset
from framefill.training.rounds import begin_round
from framefill.training.shorthand import LOSSES, spelled_out


def test_data_is_a_folder_of_records_and_loss_a_row_of_weights() -> None:
    config = resolve(
        get_preset("light-compat"), None, spelled_out(["--data", "clips", "--loss", "temporal_l1dctlpips", "--optim.lr", "0.1"])
    )
    assert config.data.records == "clips"
    assert config.optim.lr == 0.1
    loss = config.loss
    assert (loss.l1, loss.dct, loss.temporal, loss.smoothness, loss.lpips, loss.gradient, loss.rim) == (0.4, 0.4, 0.2, 0.01, 0.2, 0, 0)
    assert resolve(get_preset("light"), None, spelled_out(["--loss=l1", "--loss.rim", "0.3"])).loss.rim == 0.3


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--data"], "--data has no value; give --data DIR"),
        (["--data", "--optim.lr"], "--data has no value"),
        (["--loss", "l2"], "--loss l2 is unknown; give --loss NAME with one of temporal_l1lpips"),
    ],
)
def test_a_short_flag_that_cannot_be_is_one_line(flags: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        spelled_out(flags)


def test_every_named_loss_can_be_trained() -> None:
    for name in LOSSES:
        resolve(get_preset("light"), None, spelled_out(["--loss", name]))


def test_the_published_recipe_is_the_published_one() -> None:
    config = get_preset("light-compat")
    assert (config.run.epochs, config.run.samples // config.run.batch) == (199, 82_784)  # steps at four clips each
    assert from_tree(to_tree(config)) == config
    net = build_objective(replace(config, loss=replace(config.loss, lpips=0.0))).net
    assert sum(p.numel() for p in net.parameters()) == 2_311_528


def test_the_published_net_is_trained_through_its_own_path(tmp_path: Path) -> None:
    from framefill.families.light_compat import LightCompatPipeline

    config = small_config(tmp_path, 4, model=ModelConfig(net="light-compat", family="light", options={"channels": 16, "frames": FRAMES}))
    folder = build_trainer(replace(config, validate=replace(config.validate, clips=0))).fit()
    saved = LightCompatPipeline.from_pretrained(folder)
    assert saved.window == FRAMES
    again = build_objective(replace(config, model=ModelConfig(family="light", start=str(folder))))
    assert all(torch.equal(p, q) for p, q in zip(again.net.parameters(), saved.net.parameters(), strict=True))
    with pytest.raises(UsageError, match=r"data\.frames is 5; light-compat sees 4 at once"):
        build_objective(replace(config, data=DataConfig(frames=5, size=SIZE)))


def test_a_net_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there are light, light-small, light-compat"):
        build_objective(small_config(tmp_path, model=ModelConfig(family="light", net="ligth")))
    with pytest.raises(UsageError, match=r"unknown key model\.options\.channel; did you mean channels"):
        build_objective(small_config(tmp_path, model=ModelConfig(family="light", net="light", options={"channel": 3})))


def train(config: TrainConfig) -> Path:
    return build_trainer(replace(config, validate=replace(config.validate, clips=0))).fit()


def test_a_round_begins_at_zero_with_what_was_learnt_and_goes_on_when_cut_off(tmp_path: Path) -> None:
    first = small_config(tmp_path, 8)
    train(first)
    fine = replace(first, optim=OptimConfig(kind="adamw", lr=1e-4, warmup=0, schedule="constant"))
    second = begin_round(fine)
    assert second.model.start == str(tmp_path / "light-round-1" / "model")
    net = build_objective(second).net
    learnt = load_file(next((tmp_path / "light-round-1" / "model" / "net").glob("*.safetensors")))
    assert all(torch.equal(value, learnt[name]) for name, value in net.state_dict().items())
    train(replace(second, run=replace(second.run, samples=4)))
    cut = begin_round(fine)  # of 8 samples, 4 are done: the same command goes on
    assert cut == second
    train(cut)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["light", "light-round-1"]
    state = sorted((tmp_path / "light" / "state").glob("step-*"))[-1]
    assert json.loads((state / "progress.json").read_text())["samples"] == 8
    third = begin_round(fine)
    assert third.model.start == str(tmp_path / "light-round-2" / "model")
    assert not (tmp_path / "light").exists()
    assert begin_round(fine) == third  # killed before its first state


def test_a_round_needs_something_to_begin_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which has none yet"):
        begin_round(small_config(tmp_path))
    with pytest.raises(UsageError, match="leave one of them out"):
        begin_round(small_config(tmp_path, model=ModelConfig(family="light", start="elsewhere")))


def test_epochs_are_so_many_samples() -> None:
    config = resolve(TrainConfig(), None, ["--run.epoch", "100", "--run.epochs", "7"])
    assert config.run.samples == 700
    with pytest.raises(UsageError, match=r"run\.epochs is 7, expected 0 or more, with run\.epoch"):
        resolve(TrainConfig(), None, ["--run.epochs", "7"])
    with pytest.raises(UsageError, match="goes by epochs"):
        resolve(TrainConfig(), None, ["--optim.schedule", "step"])
    with pytest.raises(UsageError, match=r"weight_decay_end needs"):
        resolve(TrainConfig(), None, ["--optim.weight-decay-end", "0.1", "--optim.schedule", "constant"])
