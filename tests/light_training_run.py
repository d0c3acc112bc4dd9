"""A run of a small light net with hard examples and a judge, as a program of its own, for tests in two processes: its folder."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from light_training_kit import loader, small_config, small_objective

from framefill.training.config import AdversaryConfig
from framefill.training.hard import HardExamples
from framefill.training.trainer import Trainer

if __name__ == "__main__":
    torch.set_num_threads(1)
    judge = AdversaryConfig(kind="ffc", warmup=0, frames=1)
    config = small_config(Path(sys.argv[1]), 24, adversary=judge)
    hard = HardExamples(12, 12, config.run.batch, config.run.seed)
    Trainer(config, small_objective(adversary=judge), loader(hard), hard=hard).fit()
