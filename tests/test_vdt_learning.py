"""That the whole training core learns: small nets on simple clips, for minutes on one core, against thresholds measured once and frozen.

The checks of learning for VDT: overfit, generalise, every task in one net, and what the modern form must gain. Each runs on its own; nets
that several of them need are trained once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("accelerate")

from learning_kit import SIDE, Learned, Recipe, Shapes, T, centre_of, made_psnr, train  # noqa: E402
from sampling import Features  # noqa: E402

from framefill.evaluation.baselines import get_model  # noqa: E402
from framefill.evaluation.metrics.frechet import frechet_distance  # noqa: E402
from framefill.families.whole import fill_whole  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.learning]

SEVEN = ("predict", "backward", "interpolate", "generate", "single", "random", "completion")
SHORT = 1_600  # samples of the nets that are compared with each other
Run = Callable[[Recipe], Learned]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Train by a recipe, once."""
    kept: dict[Recipe, Learned] = {}

    def run(recipe: Recipe) -> Learned:
        if recipe not in kept:
            kept[recipe] = train(recipe, tmp_path_factory.mktemp("run"))
        return kept[recipe]

    return run


def frames_unknown(*known: int) -> np.ndarray:
    mask = np.ones((T, SIDE, SIDE), np.bool_)
    mask[list(known)] = False
    return mask


@pytest.mark.parametrize("process", ["flow", "eps"])
def test_eight_clips_are_learned_by_heart(learned: Run, process: str) -> None:
    net = learned(Recipe("square", ("predict",), 6_400, clips=8, process=process))
    clips, mask = np.stack(Shapes("square", 8, seed=1).clips()), frames_unknown(0, 1)
    generators = [torch.Generator().manual_seed(number) for number in range(len(clips))]
    made = net.pipeline(clips, np.stack([mask] * len(clips)), num_inference_steps=25, generator=generators).frames
    scores = [made_psnr(one, clip, mask) for one, clip in zip(made, clips, strict=True)]
    if process == "eps":
        assert net.losses[0] > 0.5
        assert np.mean(net.losses[-5:]) < 0.1
    assert np.mean(scores) > 20


def test_a_disc_between_two_frames_is_found_half_way(learned: Run) -> None:
    net = learned(Recipe("disc", ("interpolate",), 12_000))
    clips, mask = np.stack(Shapes("disc", 32, seed=2).clips()), frames_unknown(0, T - 1)
    generators = [torch.Generator().manual_seed(number) for number in range(len(clips))]
    made = net.pipeline(clips, np.stack([mask] * len(clips)), num_inference_steps=20, generator=generators).frames
    half_way = [(centre_of(clip[0]) + centre_of(clip[-1])) / 2 for clip in clips]
    found = [(centre_of(one[T // 2 - 1]) + centre_of(one[T // 2])) / 2 for one in made]
    away = np.linalg.norm(np.array(found) - np.array(half_way), axis=1)
    scores = {"net": np.mean([made_psnr(one, clip, mask) for one, clip in zip(made, clips, strict=True)])}
    for name in ("nearest", "average", "linear"):
        model = get_model(name)
        scores[name] = np.mean([made_psnr(fill_whole(clip, mask, model).frames, clip, mask) for clip in clips])
    assert (away < 1.5).mean() >= 0.8
    assert scores["net"] > max(scores["nearest"], scores["average"])


def test_one_net_for_seven_tasks_is_hardly_worse_than_seven_nets(learned: Run) -> None:
    clips = Shapes("disc", 48, seed=2).clips()
    unified = learned(Recipe("disc", SEVEN, SHORT))
    ratios = {task: unified.loss(task, clips) / learned(Recipe("disc", (task,), SHORT)).loss(task, clips) for task in SEVEN}
    assert max(ratios.values()) < 1.3


def test_a_mask_channel_and_a_clean_mark_are_worth_their_cost(learned: Run) -> None:
    clips = Shapes("disc", 48, seed=2).clips()
    told, plain = learned(Recipe("disc", SEVEN, SHORT)), learned(Recipe("disc", SEVEN, SHORT, options=(("conditioning", "compose"),)))
    losses = {name: np.mean([net.loss(task, clips) for task in SEVEN]) for name, net in (("told", told), ("plain", plain))}
    assert losses["told"] <= losses["plain"]


def test_twenty_steps_of_flow_are_as_good_as_a_hundred_of_ddpm(learned: Run) -> None:
    real = Shapes("disc", 512 + 48, seed=3).clips()
    features = Features.of(real[48:])
    truth, mask = features(real[:48]), np.ones((48, T, SIDE, SIDE), np.bool_)
    distances = {}
    for process, method, steps in (("flow", "euler", 20), ("eps", "ancestral", 100)):
        net = learned(Recipe("disc", ("generate",), SHORT, process=process))
        generators = [torch.Generator().manual_seed(number) for number in range(48)]
        made = net.pipeline(np.stack(real[:48]), mask, num_inference_steps=steps, generator=generators, method=method).frames
        distances[process] = frechet_distance(features(list(made)), truth)
    assert distances["flow"] <= distances["eps"]
