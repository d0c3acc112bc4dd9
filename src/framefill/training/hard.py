"""Clips that are still badly filled are shown more often: hard-example sampling, as iw3's trainer does it (nunif, MIT), kept on resume.

Each clip of the data set has the mean of its last losses; when a round is over its chance becomes 1/4 to 1, by how many standard
deviations (at most two) that lies above the mean of all. Chances stand still during a round, so which clip is shown when is a function
of (seed, the chances, position), whatever the number of processes and workers.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from framefill.errors import UsageError
from framefill.training.dataflow import Place

LEAST = 0.25  # chance of the easiest clip; the hardest, and one that was never seen, has 1
SPREAD = 2.0  # standard deviations from the mean at which chances end
NEEDED = 4  # clips that have been seen before chances differ


class HardExamples:
    """The chances of `count` clips in rounds of about `samples` (made whole steps of `batch`); a clip's last `history` losses count.

    It is an order for `dataflow.ClipLoader`, to be told the loss of every clip that was shown (`learn`) and when a round ends (`turn`).
    """

    def __init__(self, count: int, samples: int, batch: int, seed: int, history: int = 4) -> None:
        self.round = -(-samples // batch) * batch
        self._seed = seed
        self._losses = np.full((count, history), np.nan, np.float64)
        self._seen = np.zeros(count, np.int64)
        self._chances = np.ones(count, np.float64)
        self._drawn: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def place(self, position: int) -> Place:
        """Return which clip a position shows, with an epoch of its own for every time that the round shows it."""
        number, at = divmod(position, self.round)
        if self._drawn is None or self._drawn[0] != number:
            self._drawn = (number, *self._draw(number))
        _, clips, times = self._drawn
        return Place(position, number * self.round + int(times[at]), int(clips[at]))

    def learn(self, clips: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Take in the losses N of clips N, in the order in which they were shown."""
        history = self._losses.shape[1]
        for clip, loss in zip(clips, losses, strict=True):
            self._losses[clip, self._seen[clip] % history] = loss
            self._seen[clip] += 1

    def turn(self) -> dict[str, float]:
        """Begin the next round with chances by what has been learnt; returns how they lie, for the journal."""
        seen = self._seen > 0
        if seen.sum() >= NEEDED:
            means = np.nanmean(self._losses[seen], axis=1)
            away = (means - means.mean()) / max(float(means.std()), 1e-12)
            share = (np.clip(away, -SPREAD, SPREAD) + SPREAD) / (2 * SPREAD)
            self._chances[seen] = np.clip(4 * share + 1, 1, 4) / 4
        return {"hard/seen": float(seen.mean()), "hard/chance": float(self._chances.mean())}

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that the next draw depends on."""
        tables = {"losses": self._losses, "seen": self._seen, "chances": self._chances}
        return {name: torch.from_numpy(table.copy()) for name, table in tables.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go back to a state. Raises UsageError for one of another number of clips."""
        if len(state["seen"]) != len(self._seen):
            raise UsageError(
                f"the data set has {len(self._seen)} clips, the run began with {len(state['seen'])}; give it the same, or another "
                "--run.name"
            )
        self._losses, self._seen, self._chances = (state[name].numpy().copy() for name in ("losses", "seen", "chances"))
        self._drawn = None

    def _draw(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw a round: clips by their chances, each within one of its due number of times; and which time it is of each."""
        rng = np.random.default_rng([self._seed, number])
        edges = np.cumsum(self._chances) / self._chances.sum() * self.round
        clips = np.searchsorted(edges, rng.random() + np.arange(self.round), side="right").clip(max=len(edges) - 1)
        first = np.searchsorted(clips, clips, side="left")
        shuffled = rng.permutation(self.round)
        return clips[shuffled], (np.arange(self.round) - first)[shuffled]
