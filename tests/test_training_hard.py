"""Hard examples: chances by the losses seen, an order that is a function of position, kept on resume, whatever the processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from light_training_kit import clips, loader, small_config, small_objective
from safetensors.torch import load_file

from framefill.errors import UsageError
from framefill.training.config import TrainConfig
from framefill.training.dataflow import ClipLoader, Share
from framefill.training.hard import HardExamples
from framefill.training.trainer import Trainer

COUNT = 12
RUN = Path(__file__).parent / "light_training_run.py"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def shown(hard: HardExamples, number: int) -> list[int]:
    return [hard.place(position).item for position in range(number * hard.round, (number + 1) * hard.round)]


def taught(losses: list[float], samples: int = 4000) -> HardExamples:
    hard = HardExamples(len(losses), samples, 4, seed=1)
    hard.learn(np.arange(len(losses)), np.array(losses))
    hard.turn()
    return hard


def test_before_anything_is_known_every_clip_comes_once_a_round() -> None:
    hard = HardExamples(COUNT, COUNT, 4, seed=1)
    assert hard.round == COUNT
    assert sorted(shown(hard, 0)) == sorted(shown(hard, 1)) == list(range(COUNT))
    assert shown(hard, 0) != shown(hard, 1)
    assert HardExamples(COUNT, 13, 4, seed=1).round == 16  # whole steps


def test_chances_are_those_of_the_formula() -> None:
    losses = [0.1, 0.2, 0.3, 0.4, 5.0]
    away = (np.array(losses) - np.mean(losses)) / np.std(losses)
    expected = np.clip(4 * (np.clip(away, -2, 2) + 2) / 4 + 1, 1, 4) / 4
    hard = taught(losses)
    np.testing.assert_allclose(hard.state_dict()["chances"].numpy(), expected, rtol=1e-12)
    counts = np.bincount(shown(hard, 1), minlength=5)
    np.testing.assert_allclose(counts, expected / expected.sum() * hard.round, atol=1.01)  # each within one of its due


def test_equal_clips_stay_equal_and_three_are_too_few_to_tell() -> None:
    assert float(taught([1.0] * 6).state_dict()["chances"].std()) == 0
    assert taught([1.0, 2.0, 9.0]).state_dict()["chances"].tolist() == [1.0, 1.0, 1.0]


def test_a_clip_that_was_never_seen_keeps_the_highest_chance() -> None:
    hard = HardExamples(6, 6, 2, seed=0)
    hard.learn(np.arange(5), np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    told = hard.turn()
    chances = hard.state_dict()["chances"]
    assert float(chances[5]) == 1.0
    assert float(chances[0]) < float(chances[4]) <= 1.0
    assert told["hard/seen"] == pytest.approx(5 / 6)


def test_only_the_last_losses_of_a_clip_count() -> None:
    ours, theirs = (HardExamples(4, 4, 2, seed=0, history=2) for _ in range(2))
    for loss in (9.0, 9.0, 1.0, 3.0):
        ours.learn(np.arange(4), np.array([loss, 2.0, 5.0, 7.0]))
    for loss in (1.0, 3.0):
        theirs.learn(np.arange(4), np.array([loss, 2.0, 5.0, 7.0]))
    ours.turn()
    theirs.turn()
    assert torch.equal(ours.state_dict()["chances"], theirs.state_dict()["chances"])


def test_a_clip_that_comes_twice_in_a_round_is_another_draw_each_time() -> None:
    hard = taught([0.1, 0.1, 0.1, 0.1, 9.0], samples=20)
    places = [hard.place(position) for position in range(2 * hard.round)]
    assert len({(place.item, place.epoch) for place in places}) == len(places)
    assert max(np.bincount([place.item for place in places[: hard.round]])) > 4


def test_what_is_learnt_in_a_round_changes_the_next_and_not_this_one() -> None:
    hard = HardExamples(COUNT, COUNT, 4, seed=1)
    before = shown(hard, 0)
    hard.learn(np.arange(COUNT), np.arange(COUNT, dtype=float))
    assert shown(hard, 0) == before
    plain = shown(HardExamples(COUNT, COUNT, 4, seed=1), 1)
    hard.turn()
    assert shown(hard, 1) != plain


def test_a_state_brings_back_the_same_order() -> None:
    hard = taught([0.1, 0.5, 0.2, 0.9, 3.0])
    other = HardExamples(5, 4000, 4, seed=1)
    other.load_state_dict(hard.state_dict())
    assert shown(other, 1) == shown(hard, 1)
    with pytest.raises(UsageError, match="the data set has 6 clips, the run began with 5"):
        HardExamples(6, 6, 2, seed=1).load_state_dict(hard.state_dict())


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_nothing_of_a_round_is_asked_for_before_the_one_before_is_over(workers: int) -> None:
    """The chances change when the last batch of a round has been taken, and the very next batch is drawn by them."""
    hard = HardExamples(COUNT, COUNT, 4, seed=1)
    batches = ClipLoader(clips(), 0, workers, order=hard).batches(Share(0, 4, 4))
    first = torch.cat([found["index"] for found in islice(batches, 3)]).tolist()
    assert first == shown(hard, 0)
    hard.learn(np.arange(COUNT), np.arange(COUNT, dtype=float))
    hard.turn()
    second = torch.cat([found["index"] for found in islice(batches, 3)]).tolist()
    assert second == shown(hard, 1)
    assert second != shown(HardExamples(COUNT, COUNT, 4, seed=1), 1)


def test_a_run_that_stops_in_the_middle_of_a_round_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    whole, parts = small_config(tmp_path / "whole", 48), tmp_path / "parts"
    fit(whole)
    fit(small_config(parts, 20))
    fit(small_config(parts, 48))
    ours, theirs = states(tmp_path / "whole"), states(parts)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert float(ours["hard/chances"].std()) > 0
    text = (tmp_path / "whole" / "light" / "metrics.jsonl").read_text()
    assert text.count("hard/chance") == 4  # a line a round


def fit(config: TrainConfig) -> None:
    hard = HardExamples(COUNT, COUNT, config.run.batch, config.run.seed)
    Trainer(config, small_objective(), loader(hard), hard=hard).fit()


def states(folder: Path) -> dict[str, torch.Tensor]:
    state = sorted((folder / "light" / "state").glob("step-*"))[-1]
    return {f"{file.stem}/{name}": value.nan_to_num(-1) for file in state.glob("*.safetensors") for name, value in load_file(file).items()}


@pytest.mark.slow
def test_two_processes_learn_the_same_chances_as_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = Path(__file__).resolve().parents[1] / "src"
    around = {**os.environ, "PYTHONPATH": f"{source}{os.pathsep}{RUN.parent}", "OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    subprocess.run(
        [sys.executable, *launch, str(RUN), str(tmp_path / "two")],
        check=True,
        capture_output=True,
        env=around | {"ACCELERATE_USE_CPU": "true"},
    )
    subprocess.run([sys.executable, str(RUN), str(tmp_path / "one")], check=True, capture_output=True, env=around)
    assert "2 x 2 x 1 a step" in (tmp_path / "two" / "light" / "log.txt").read_text()
    one, two = states(tmp_path / "one"), states(tmp_path / "two")
    torch.testing.assert_close(two["hard/losses"], one["hard/losses"], rtol=1e-3, atol=1e-5)
    assert torch.equal(two["hard/seen"], one["hard/seen"])
    # The judge's balance and noise are each process's own, so that the nets are near and not equal; 6 steps of 2e-3 were taken.
    for name in [name for name in one if "net." in name]:
        torch.testing.assert_close(two[name], one[name], rtol=1e-2, atol=1e-3)
