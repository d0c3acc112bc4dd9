"""The page of the transformer says what the nets are: every count in it is counted again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("diffusers")

import torch

from framefill.media.tasks import TASKS
from framefill.nets.vdt import PRESETS, VDT
from framefill.training.presets import PRESETS as RECIPES

PAGE = Path(__file__).parents[1] / "docs" / "vdt.md"


def count(net: str, channels: int) -> str:
    with torch.device("meta"):
        return f"{sum(p.numel() for p in VDT(**PRESETS[net](channels)).parameters()):,}"


def channels_of(recipe: str) -> int:
    side = int(RECIPES[recipe]().model.codec.partition("/")[2] or 1)
    return 3 * side * side


def test_counts() -> None:
    rows = {cells[0].strip("` "): cells for line in PAGE.read_text("utf-8").splitlines() if (cells := line.split("|")[1:-1])}
    for net, build in PRESETS.items():
        _, layers, width, heads, latents, as_trained = (cell.strip(" *") for cell in rows[net])
        config = build(4)
        assert [int(layers), int(width), int(heads)] == [config["num_layers"], config["hidden_size"], config["num_heads"]]
        assert latents == count(net, 4)
        if net in RECIPES:
            assert as_trained.startswith(count(net, channels_of(net)))


def test_every_task_is_told() -> None:
    told = re.findall(r"^\| (`[^|]+)\|", PAGE.read_text("utf-8"), re.MULTILINE)
    names = {name for cell in told for name in re.findall(r"`([\w-]+)`", cell)}
    full = {name if name in TASKS else f"inpaint{name}" for name in names}
    assert set(TASKS) <= full
