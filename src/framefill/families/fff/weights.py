"""Nets that measure and complete flow, with weights from the cache, or with files that the user has put there.

RAFT's and the flow completion's weights are in no package that `framefill weights` could fetch. RAFT's are torchvision's file, or one
of the authors'; ProPainter's completion is free for non-commercial use only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from framefill.errors import MissingWeights, WeightsError
from framefill.nets.flow_completion import FlowCompletion
from framefill.nets.gmflow import FlowBetween, Gmflow
from framefill.nets.raft import Raft, RaftBetween, renamed
from framefill.weights import store
from framefill.weights.convert import read_torch

RAFT = ("raft_large*.pth", "raft-*.pth")  # torchvision's, and those of the authors
COMPLETION = "recurrent_flow_completion.pth"


def load_gmflow() -> FlowBetween:
    """Read GMFlow from the cache. Raises MissingWeights and WeightsError."""
    return _gmflow(store.find("gmflow"), _device())


def load_raft() -> RaftBetween:
    """Read RAFT from the cache's folder, or from where torchvision keeps what it has fetched.

    Raises MissingWeights when it is in neither place, WeightsError for a file that holds something else.
    """
    places = (store.folder(), Path(torch.hub.get_dir()) / "checkpoints")
    for place in places:
        for pattern in RAFT:
            for file in sorted(place.glob(pattern)):
                return _raft(file, _device())
    raise MissingWeights(
        f"weights of raft are not here; put torchvision's raft_large_C_T_SKHT_V2-ff5fadd5.pth or raft-things.pth into {places[0]}, "
        "or measure the flow by dis or gmflow"
    )


def load_completion() -> FlowCompletion:
    """Read the learned completion of flow from the cache's folder.

    Raises MissingWeights when it is not there, WeightsError for a file that holds something else.
    """
    file = store.folder() / COMPLETION
    if not file.is_file():
        raise MissingWeights(f"weights that complete flow are not here; put {COMPLETION} into {file.parent}, or complete it by laplace")
    return _completion(file, _device())


# The file is a part of each key: another FRAMEFILL_HOME may hold another.


@lru_cache(maxsize=1)
def _gmflow(file: Path, device: torch.device) -> FlowBetween:
    net = Gmflow()
    net.load_state_dict(store.load(file.stem))
    return FlowBetween(net.to(device))


@lru_cache(maxsize=1)
def _raft(file: Path, device: torch.device) -> RaftBetween:
    net = Raft()
    try:
        net.load_state_dict(renamed(_read(file)))
    except WeightsError as error:
        raise WeightsError(f"{file}: {error}") from error
    return RaftBetween(net.to(device))


@lru_cache(maxsize=1)
def _completion(file: Path, device: torch.device) -> FlowCompletion:
    net = FlowCompletion()
    try:
        net.load_state_dict(_read(file))
    except (WeightsError, RuntimeError) as error:
        told = error if isinstance(error, WeightsError) else "these are no weights of the recurrent flow completion"
        raise WeightsError(f"{file}: {told}") from error
    net.to(device).eval().requires_grad_(False)
    return net


def _device() -> torch.device:
    """A GPU where there is one; not in a loader's workers, for a process that was forked cannot use the one its parent uses."""
    alone = torch.utils.data.get_worker_info() is None
    return torch.device("cuda" if alone and torch.cuda.is_available() else "cpu")


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        return read_torch(file.read_bytes())
    except OSError as error:
        raise WeightsError(f"it cannot be read: {error.strerror}") from error
