"""That the whole training core learns: a small net, some minutes on one core, against a threshold measured and frozen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from learning_kit import SIDE, Recipe, Shapes, T, train  # noqa: E402

from framefill.evaluation.metrics.pixels import mean_psnr, psnr  # noqa: E402

SEVEN = ("predict", "backward", "interpolate", "generate", "single", "random", "completion")
pytestmark = [pytest.mark.slow, pytest.mark.learning]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def frames_unknown(*known: int) -> np.ndarray:
    mask = np.ones((T, SIDE, SIDE), np.bool_)
    mask[list(known)] = False
    return mask


def test_eight_clips_are_learned_by_heart(tmp_path: Path) -> None:
    net = train(Recipe("square", ("predict",), 6_400, clips=8), tmp_path)
    clips, mask = np.stack(Shapes("square", 8, seed=1).clips()), frames_unknown(0, 1)
    generator = torch.Generator().manual_seed(0)
    made = net.pipeline(clips, np.stack([mask] * len(clips)), num_inference_steps=25, generator=generator).frames
    scores = [mean_psnr(psnr(one[2:], clip[2:]), "cap") for one, clip in zip(made, clips, strict=True)]
    assert np.mean(net.losses[-5:]) < 0.05  # measured: 0.018
    assert np.mean(scores) > 24  # measured: 29.0


def test_one_net_for_seven_tasks_is_hardly_worse_than_seven_nets(tmp_path: Path) -> None:
    clips = Shapes("disc", 48, seed=2).clips()
    unified = train(Recipe("disc", SEVEN, 2_400), tmp_path / "all")
    ratios = {task: unified.loss(task, clips) / train(Recipe("disc", (task,), 2_400), tmp_path / task).loss(task, clips) for task in SEVEN}
    assert max(ratios.values()) < 1.3, ratios  # measured: 1.05 (predict, backward, completion) to 1.15 (interpolate)
