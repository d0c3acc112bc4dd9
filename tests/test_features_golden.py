"""The feature networks with their real weights, against the numbers that the literature and public examples give."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from framefill.errors import MissingWeights, UsageError  # noqa: E402
from framefill.evaluation.features import load  # noqa: E402
from framefill.evaluation.features.lpips import Backbone, perceptual  # noqa: E402
from framefill.evaluation.features.mobilenet import frame_features  # noqa: E402
from framefill.evaluation.features.video import Recipe, features_of  # noqa: E402
from framefill.evaluation.metrics.frechet import frechet_distance  # noqa: E402
from framefill.media.images import read_image  # noqa: E402
from framefill.media.reader import open_video  # noqa: E402
from framefill.weights import store  # noqa: E402

Frames = NDArray[np.uint8]
pytestmark = pytest.mark.weights

# Kinetics-400's classes are numbered in alphabetical order.
CLASSES = {22: "biking through snow", 55: "cheerleading", 267: "riding a bike", 271: "riding mountain bike"}


@pytest.fixture(autouse=True)
def _weights(request: pytest.FixtureRequest) -> None:
    for name in ("i3d", "lpips-alex", "lpips-vgg", "mobilenetv2"):
        try:
            store.find(name)
        except MissingWeights as error:
            pytest.skip(str(error))


def clip(path: Path, frames: int, step: int = 1) -> Frames:
    with open_video(path) as reader:
        return np.stack([frame.rgb for frame in islice(reader, 0, frames * step, step)])


# I3D


@pytest.mark.parametrize(
    ("recipe", "frames", "distance"),
    [("fvd", 30, 151.39), ("fvd", 16, 152.90), ("fvd", 10, 569.77), ("fvd", 21, 78.25), ("stylegan-v", 16, 152.90)],
)
def test_fvd_of_black_against_white(recipe: Recipe, frames: int, distance: float) -> None:
    black = np.zeros((frames, 64, 64, 3), np.float32)
    sides = (features_of([shade, shade], recipe, declared="0..1", cached=False) for shade in (black, black + 1))
    assert frechet_distance(*sides) == pytest.approx(distance, abs=0.2)


def test_i3d_says_what_people_do(shared: Path) -> None:
    dev = shared / "data" / "dev"
    clips = [clip(dev / "bmx-trees" / "frames", 40), clip(dev / "schoolgirls" / "video.mp4", 40)]
    logits = [features_of([frames], "fvd", cached=False)[0] for frames in clips]
    shares = [np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in logits]
    assert {CLASSES.get(int(place)) for place in np.argsort(shares[0])[-3:]} == {
        "biking through snow",
        "riding a bike",
        "riding mountain bike",
    }
    assert shares[0][[place for place, name in CLASSES.items() if "bik" in name]].sum() > 0.9
    assert CLASSES.get(int(shares[1].argmax())) == "cheerleading"  # a line of girls who run in step
    assert shares[1].max() > 0.5


def test_pooled_features_of_a_whole_clip(city: Path) -> None:
    frames = clip(city, 9)
    small = np.stack([cv2.resize(frame, (432, 240)) for frame in frames])
    pooled = features_of([small, small[::-1]], "vfid", "pooled", cached=False)
    assert pooled.shape == (2, 1024)
    assert (pooled >= 0).all()  # means of rectified maps
    assert np.abs(pooled[0] - pooled[1]).max() > 1e-3  # time has a direction
    with pytest.raises(UsageError, match="declared 0"):
        features_of([small / np.float32(127.5) - 1], "vfid", "pooled", declared="0..1", cached=False)


@pytest.mark.slow
def test_fvd_rises_with_damage(city: Path, vtest: Path) -> None:
    """Four clips; each kind of damage at two strengths is nearer to the clean set when weaker, and never as near as the set itself."""
    length = 16
    clean = [clip(city, 80)[start : start + length] for start in (0, 32, 64)] + [clip(vtest, length)]
    generator = np.random.default_rng(0)

    def noisy(frames: Frames, strength: float) -> Frames:
        return (frames + generator.normal(0, strength, frames.shape)).clip(0, 255).astype(np.uint8)

    def blurred(frames: Frames, strength: float) -> Frames:
        return np.stack([cv2.GaussianBlur(frame, (0, 0), strength) for frame in frames])

    def shuffled(frames: Frames, strength: float) -> Frames:
        return frames[np.argsort(np.arange(length) + generator.uniform(0, strength, length))]

    real = features_of(clean, "stylegan-v", cached=False)
    kinds: list[tuple[Callable[[Frames, float], Frames], float, float]] = [(noisy, 8, 32), (blurred, 1.5, 6), (shuffled, 3, 100)]
    for damage, weak, strong in kinds:
        near, far = (
            frechet_distance(real, features_of([damage(frames, much) for frames in clean], "stylegan-v", cached=False))
            for much in (weak, strong)
        )
        assert 1 < near < far, f"{damage.__name__}: {near:.1f}, {far:.1f}"
    assert frechet_distance(real, real) < 1e-3


# LPIPS


@pytest.mark.parametrize(("backbone", "near", "far"), [("alex", 0.138, 0.722), ("vgg", 0.422, 0.569)])
def test_lpips_of_the_public_example(shared: Path, backbone: Backbone, near: float, far: float) -> None:
    folder = shared / "data" / "dev"
    if not (folder / "lpips_ex_ref.png").is_file():
        pytest.skip("the three pictures of the LPIPS example are not in ../shared/data/dev")
    pictures = {name: read_image(folder / f"lpips_ex_{name}.png")[None] for name in ("ref", "p0", "p1")}
    net = load.lpips(backbone)
    assert perceptual(net, pictures["ref"], pictures["p0"]).value[0] == pytest.approx(far, abs=5e-4)
    assert perceptual(net, pictures["ref"], pictures["p1"]).value[0] == pytest.approx(near, abs=5e-4)
    assert perceptual(net, pictures["ref"], pictures["ref"]).value[0] == 0


def test_lpips_of_black_against_white() -> None:
    black = np.zeros((2, 64, 64, 3), np.uint8)
    found = perceptual(load.lpips("alex"), black, black + 255)
    assert found.map.mean() == pytest.approx(0.81401, abs=1e-4)  # the public figure is the mean of the enlarged map
    assert found.value[0] == pytest.approx(found.map.mean(), abs=2e-4)


# MobileNetV2


def test_frames_of_one_clip_are_nearer_than_those_of_another(city: Path, vtest: Path) -> None:
    net = load.mobilenetv2()
    rows = [frame_features(net, clip(path, 5, 8)) for path in (city, vtest)]
    one, other = (found / np.linalg.norm(found, axis=1, keepdims=True) for found in rows)
    assert min((one @ one.T).min(), (other @ other.T).min()) > 0.88
    assert (one @ other.T).max() < 0.65
