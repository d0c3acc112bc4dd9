"""Which sample is seen when: a pure function of (seed, position), whatever the number of processes, workers and restarts.

A run is an endless line of positions 0, 1, 2, ...; step k takes positions k x batch to (k + 1) x batch. Position p lies in epoch
p // length, and each epoch is its own permutation. So resuming is counting, and two processes see what one would.
"""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from framefill.data.dataset import Clips
from framefill.errors import FramefillError, JobError, UsageError

Batch: TypeAlias = "dict[str, Tensor]"
Beside: TypeAlias = "Callable[[int, Batch], Batch]"  # (position, sample) -> what a worker makes of it beside
CARRIED = ("video", "mask", "task", "latents", "flow", "visible")  # what a sample is made of, where its item has it
LOST = "DataLoader worker (pid"  # how torch begins when a worker is gone


class Loader(Protocol):
    """Where a trainer's batches come from."""

    def batches(self, share: Share) -> Iterator[Batch]:
        """Yield this process's micro-batches, endlessly, from a place in the run on."""
        ...


@dataclass(frozen=True)
class Share:
    """A process's part of each step: `micro` samples a forward, `rank` of `world`, from position `start` (a multiple of batch) on."""

    start: int
    batch: int
    micro: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if self.micro < 1 or self.batch % (self.micro * self.world):
            raise UsageError(
                f"run.batch {self.batch} cannot be split into micro-batches of {self.micro} on {self.world} processes; "
                f"give a run.batch that is a multiple of {max(1, self.micro) * self.world}"
            )

    @property
    def accumulate(self) -> int:
        """Forwards of one step on this process."""
        return self.batch // (self.micro * self.world)

    def positions(self) -> Iterator[list[int]]:
        """Yield the positions of one micro-batch after the other, endlessly."""
        first = self.start + self.rank * self.micro
        while True:
            yield list(range(first, first + self.micro))
            first += self.world * self.micro


class Place(NamedTuple):
    """What a position shows: the item of the data set, and the epoch whose draws it is made with."""

    position: int
    epoch: int
    item: int


class Order(Protocol):
    """Which item each position shows. `round`: positions (whole steps) after which the order may change by what was learnt; 0 = never."""

    @property
    def round(self) -> int:
        """The length of a round."""
        ...

    def place(self, position: int) -> Place:
        """Return what a position shows."""
        ...


class EveryOnce:
    """All items once in every epoch, each epoch in an order of its own."""

    round = 0

    def __init__(self, seed: int, length: int) -> None:
        self._seed, self._length = seed, length
        self._epoch = -1
        self._order: NDArray[np.int64] = np.zeros(0, np.int64)

    def place(self, position: int) -> Place:
        """Return what a position shows."""
        epoch, at = divmod(position, self._length)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, order(self._seed, epoch, self._length)
        return Place(position, epoch, int(self._order[at]))


class ClipLoader:
    """Batches of a clip data set, decoded in `workers` processes: its items stacked, with `position` and `index` (the item), int64 B.

    order: which item is shown when; None shows each once an epoch. beside: what is made of a sample in the worker that reads it, by its
    position; it has to be a pure function, and one that can be pickled.
    """

    def __init__(
        self, clips: Clips, seed: int, workers: int = 0, pin: bool = False, order: Order | None = None, *, beside: Beside | None = None
    ) -> None:
        if len(clips) == 0:
            raise UsageError("the data set has no clips; look at its manifest and split with: framefill data check")
        self._line = _Line(clips, beside)
        self._order = order or EveryOnce(seed, len(clips))
        self._workers = workers
        self._pin = pin

    def batches(self, share: Share) -> Iterator[Batch]:
        """Yield this process's micro-batches, endlessly. Raises what reading a clip raised, its text in one line."""
        loader = DataLoader(
            self._line,
            batch_sampler=_Places(share, self._order),
            num_workers=self._workers,
            pin_memory=self._pin,
            worker_init_fn=_one_core,
            collate_fn=_stacked,
            multiprocessing_context="spawn" if self._workers else None,  # FFmpeg's and OpenCV's threads do not survive a fork
            persistent_workers=self._workers > 0,
        )
        while True:
            with _born_deaf_to_interrupts():
                batches = iter(loader)
            for batch in batches:
                if isinstance(batch, Exception):
                    raise batch
                yield batch


@contextmanager
def _born_deaf_to_interrupts() -> Iterator[None]:
    """Let processes that are begun in the block ignore Ctrl-C, which is for this one to end on: theirs would end in a traceback each."""
    if threading.current_thread() is not threading.main_thread():  # another may not say how signals are taken
        yield
        return
    ours = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, ours)


@contextmanager
def lost_workers_told() -> Iterator[None]:
    """Raise JobError where torch finds that a worker is gone: at any place in the block, since a signal tells it."""
    try:
        yield
    except RuntimeError as error:
        if LOST not in str(error):
            raise
        raise JobError(
            "a process that reads clips was ended from outside, as when memory runs out; set data.workers lower and run again"
        ) from error


def order(seed: int, epoch: int, length: int) -> NDArray[np.int64]:
    """Return the order in which an epoch shows `length` clips: a permutation drawn from (seed, epoch)."""
    return np.random.default_rng([seed, epoch]).permutation(length)


def draw_seed(*numbers: int) -> int:
    """Return a 63-bit seed that mixes numbers (seed, rank, samples seen, ...) so that neighbours have nothing in common."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


class _Line(Dataset["Batch | Exception"]):
    """The endless line of samples, by place."""

    def __init__(self, clips: Clips, beside: Beside | None) -> None:
        self._shared = clips
        self._beside = beside
        self._own: Clips | None = None
        self._epoch = -1

    def __getitem__(self, place: Place) -> Batch | Exception:
        """Return one sample, or what reading it raised: raised here, in a worker, it would come out as the worker's whole traceback."""
        try:
            return self._sample(place)
        except (FramefillError, OSError, MemoryError) as error:
            return error

    def _sample(self, place: Place) -> Batch:
        if self._own is None:
            # A data set may share its epoch among all workers; near the end of an epoch they are not in the same one.
            self._own = copy.deepcopy(self._shared)
        if place.epoch != self._epoch:
            self._epoch = place.epoch
            self._own.set_epoch(place.epoch)
        item = self._own[place.item]
        kept = {key: value for key in CARRIED if isinstance(value := item.get(key), Tensor)}
        if self._beside is not None:
            kept |= self._beside(place.position, kept)
        return {**kept, "position": torch.tensor(place.position), "index": torch.tensor(place.item)}


class _Places:
    """A batch sampler that ends with every round, so that nothing of the next is asked for before its order is known; it then goes on."""

    def __init__(self, share: Share, order: Order) -> None:
        self._order = order
        self._positions = share.positions()
        self._stride = share.world * share.micro

    def __iter__(self) -> Iterator[list[Place]]:
        for positions in self._positions:
            yield [self._order.place(position) for position in positions]
            length, first = self._order.round, positions[0]
            if length and (first + self._stride) // length != first // length:
                return


def _stacked(samples: list[Batch | Exception]) -> Batch | Exception:
    """Stack samples to a batch, or return the first error among them."""
    error = next((sample for sample in samples if isinstance(sample, Exception)), None)
    if error is not None:
        return error
    batch: Batch = default_collate(samples)
    return batch


def _one_core(worker: int) -> None:  # noqa: ARG001 - the loader's interface
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
