"""Which sample comes when: a pure function of seed and position."""

from __future__ import annotations

import os
import signal
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from training_kit import Squares

from framefill.errors import JobError, UnreadableMedia, UsageError
from framefill.training.dataflow import ClipLoader, Share, draw_seed, lost_workers_told, order


def positions(share: Share, steps: int) -> list[list[int]]:
    return list(islice(share.positions(), steps * share.accumulate))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_processes_and_micro_batches_share_each_step_out(world: int, micro: int, accumulate: int) -> None:
    batch = world * micro * accumulate
    parts = [positions(Share(batch * 5, batch, micro, rank, world), 3) for rank in range(world)]
    for step in range(3):
        seen = [p for part in parts for chunk in part[step * accumulate : (step + 1) * accumulate] for p in chunk]
        assert sorted(seen) == list(range(batch * (5 + step), batch * (6 + step)))


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UsageError, match="a multiple of 6"):
        Share(0, 8, 3, 0, 2)


def test_every_epoch_is_its_own_whole_order() -> None:
    first, second = order(1, 0, 50), order(1, 1, 50)
    assert sorted(first) == sorted(second) == list(range(50))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, order(1, 0, 50))
    assert not np.array_equal(first, order(2, 0, 50))


def test_resuming_is_counting() -> None:
    loader = ClipLoader(Squares(count=5), seed=4)
    whole = list(islice(loader.batches(Share(0, 2, 2)), 8))
    later = list(islice(ClipLoader(Squares(count=5), seed=4).batches(Share(6, 2, 2)), 5))
    for ours, theirs in zip(whole[3:], later, strict=True):
        assert torch.equal(ours["position"], theirs["position"])
        assert torch.equal(ours["video"], theirs["video"])
    assert not torch.equal(whole[0]["video"], whole[5]["video"])


@pytest.mark.slow
def test_workers_change_nothing_even_where_epochs_meet() -> None:
    alone = list(islice(ClipLoader(Squares(count=5), seed=4).batches(Share(0, 3, 3)), 7))
    helped = list(islice(ClipLoader(Squares(count=5), seed=4, workers=2).batches(Share(0, 3, 3)), 7))
    for ours, theirs in zip(alone, helped, strict=True):
        assert torch.equal(ours["video"], theirs["video"])


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(UsageError, match="no clips"):
        ClipLoader(Squares(count=0), seed=0)


def test_seeds_of_neighbours_differ() -> None:
    seeds = {draw_seed(seed, position, kind) for seed in range(4) for position in range(50) for kind in range(3)}
    assert len(seeds) == 600


class Damaged(Squares):
    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if self.epoch == 1:
            raise UnreadableMedia("cats/a.mp4 is damaged near frame 3 (invalid data); leave it out")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_cannot_be_read_is_one_line_from_a_worker_too(workers: int) -> None:
    batches = ClipLoader(Damaged(4), 0, workers).batches(Share(0, 4, 4))
    assert next(batches)["video"].shape[0] == 4
    with pytest.raises(UnreadableMedia) as caught:
        next(batches)
    assert str(caught.value) == "cats/a.mp4 is damaged near frame 3 (invalid data); leave it out"


class Faulty(Squares):
    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        raise KeyError("a mistake of ours")


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(KeyError, match="a mistake of ours"):
        next(ClipLoader(Faulty(4), 0).batches(Share(0, 4, 4)))


class Lost(Squares):
    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


@pytest.mark.slow
def test_a_worker_that_is_killed_is_one_line() -> None:
    with pytest.raises(JobError, match=r"data\.workers lower"), lost_workers_told():
        next(ClipLoader(Lost(4), 0, 1).batches(Share(0, 4, 4)))
    with pytest.raises(RuntimeError, match="something else"), lost_workers_told():
        raise RuntimeError("something else")
