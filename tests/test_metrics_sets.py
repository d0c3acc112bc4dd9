"""Distances between sets, intervals and tests of significance: closed forms, SciPy and torchmetrics, and Frechet's well-known crash."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import linalg, stats
from scipy.spatial.distance import cdist, pdist

from framefill.errors import UsageError
from framefill.evaluation.metrics.frechet import Statistics, few_samples, frechet_distance, kernel_distance, split_half, statistics
from framefill.evaluation.metrics.generation import diversity, memorised, nearest_neighbours
from framefill.evaluation.metrics.intervals import bootstrap_interval, mean_interval
from framefill.evaluation.metrics.paired import EXACT, paired, sign_flip_test

Rows = NDArray[np.float64]


def rows(count: int, width: int, seed: int = 0) -> Rows:
    """Correlated features with a spectrum that falls, as a network's do."""
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, width)) @ (generator.normal(size=(width, width)) / np.arange(1, width + 1)[:, None])


@pytest.mark.parametrize(("count", "width"), [(200, 12), (12, 12), (13, 12), (8, 100)])
def test_frechet_of_a_shifted_set_is_the_squared_shift(count: int, width: int) -> None:
    features = rows(count, width)
    shift = np.linspace(-1, 2, width)
    assert frechet_distance(features, features + shift) == pytest.approx(shift @ shift, rel=1e-10)


@pytest.mark.parametrize(("count", "width"), [(200, 12), (8, 100)])
def test_frechet_of_a_scaled_set_is_analytic(count: int, width: int) -> None:
    features = rows(count, width)
    mean = features.mean(0)
    spread = np.trace(np.cov(features, rowvar=False))
    assert frechet_distance(features, mean + 3 * (features - mean)) == pytest.approx(4 * spread, rel=1e-10)


def test_frechet_of_commuting_covariances_is_analytic() -> None:
    turn = np.linalg.qr(rows(6, 6))[0]
    one, other = np.array([1, 4, 9, 0, 2, 5.0]), np.array([4, 1, 0, 0, 2, 7.0])
    first, second = (Statistics.from_moments(mean, turn * values @ turn.T) for mean, values in ((np.zeros(6), one), (np.ones(6), other)))
    assert frechet_distance(first, second) == pytest.approx(6 + np.square(np.sqrt(one) - np.sqrt(other)).sum(), rel=1e-7)


def test_frechet_equals_the_textbook_formula_by_scipy() -> None:
    one, other = rows(400, 20, 1), rows(300, 20, 2) + 0.3
    covariances = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    shift = one.mean(0) - other.mean(0)
    root = np.real(linalg.sqrtm(covariances[0] @ covariances[1]))
    expected = shift @ shift + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-8)
    moments = [Statistics.from_moments(part.mean(0), np.cov(part, rowvar=False)) for part in (one, other)]
    assert frechet_distance(*moments) == pytest.approx(expected, rel=1e-8)


def test_trap_frechet_of_fewer_clips_than_dimensions_is_real_and_right() -> None:
    """50 videos in 1,024 dimensions: SciPy's root of the singular product is complex, and public scripts raise."""
    one, other = rows(50, 256, 1), rows(50, 256, 2)
    values, vectors = np.linalg.eigh(np.cov(one, rowvar=False))
    half = vectors * np.sqrt(values.clip(0)) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(half @ np.cov(other, rowvar=False) @ half).clip(0)).sum()
    shift = one.mean(0) - other.mean(0)
    expected = shift @ shift + np.trace(np.cov(one, rowvar=False)) + np.trace(np.cov(other, rowvar=False)) - 2 * shared
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-5)
    assert statistics(one).root.shape == (50, 256)
    assert statistics(rows(300, 256)).root.shape == (256, 256)


def test_trap_frechet_of_sets_without_any_spread_is_the_distance_of_their_means() -> None:
    """The golden pair of FVD, all-zero against all-one clips, has such features: 8 equal rows each."""
    one, other = np.full((8, 400), 0.25), np.linspace(0, 1, 400)[None].repeat(8, 0)
    assert frechet_distance(one, other) == pytest.approx(np.square(one[0] - other[0]).sum(), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), count=st.integers(2, 30), more=st.integers(0, 9), width=st.integers(1, 20))
def test_frechet_is_symmetric_never_negative_and_zero_for_equal_sets(seed: int, count: int, more: int, width: int) -> None:
    one, other = rows(count, width, seed), rows(count + more, width, seed + 1)
    distance = frechet_distance(one, other)
    assert distance >= 0
    assert distance == pytest.approx(frechet_distance(other, one), rel=1e-9, abs=1e-9)
    assert frechet_distance(one, one[::-1]) < 1e-9 * max(1, np.square(one).sum())


def test_frechet_rises_with_noise() -> None:
    features = rows(200, 30)
    generator = np.random.default_rng(5)
    distances = [frechet_distance(features, features + level * generator.normal(size=features.shape)) for level in (0, 0.1, 0.3, 1, 3)]
    assert distances == sorted(distances)
    assert distances[0] < 1e-9


def test_kernel_distance_is_the_sum_over_all_pairs() -> None:
    one, other = rows(7, 5, 1), rows(9, 5, 2) + 0.5

    def kernel(x: Rows, y: Rows) -> float:
        return float((x @ y / 5 + 1) ** 3)

    within = [np.mean([kernel(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j]) for a in (one, other)]
    between = np.mean([kernel(x, y) for x in one for y in other])
    assert kernel_distance(one, other) == pytest.approx(sum(within) - 2 * between, rel=1e-12)


def test_kernel_distance_equals_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    poly_mmd = pytest.importorskip("torchmetrics.image.kid").poly_mmd
    one, other = rows(60, 16, 1), rows(60, 16, 2)
    assert kernel_distance(one, other) == pytest.approx(float(poly_mmd(torch.from_numpy(one), torch.from_numpy(other))), rel=1e-9)


def test_kernel_distance_is_unbiased_and_frechet_is_not() -> None:
    parts = np.random.default_rng(0).normal(size=(200, 2, 20, 8))
    kernels = [kernel_distance(*pair) for pair in parts]
    assert abs(np.mean(kernels)) < 3 * np.std(kernels) / math.sqrt(200)
    assert min(kernels) < 0
    assert min(frechet_distance(*pair) for pair in parts) > 0.3


def test_split_half_is_the_floor_that_a_different_set_stands_above() -> None:
    real = rows(200, 10)
    floor = split_half(real, seed=1)
    assert 0 < floor < frechet_distance(real, real + 1)
    assert floor == split_half(real, seed=1)
    assert floor != split_half(real, seed=2)
    assert split_half(real[:5], seed=0, repeats=2) > floor
    with pytest.raises(UsageError, match="at least 4"):
        split_half(real[:3], seed=0)


def test_few_samples_warn_up_to_the_number_of_dimensions() -> None:
    assert few_samples(401, 400) is None
    assert "400 clips for 400 feature dimensions" in str(few_samples(400, 400))


def test_features_that_do_not_fit_are_named() -> None:
    with pytest.raises(UsageError, match="at least 2 row"):
        statistics(rows(1, 5))
    with pytest.raises(UsageError, match="5 and 6 dimensions"):
        frechet_distance(rows(9, 5), rows(9, 6))
    with pytest.raises(UsageError, match="5 and 6 dimensions"):
        kernel_distance(rows(9, 5), rows(9, 6))
    with pytest.raises(UsageError, match="5x5; came"):
        Statistics.from_moments(np.zeros(5), np.eye(4))
    with pytest.raises(UsageError, match="nan"):
        statistics(np.full((3, 3), np.nan))


def test_the_interval_of_a_mean_equals_scipys() -> None:
    values = np.random.default_rng(3).normal(30, 4, 25)
    mine = mean_interval(values, seed=0, resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert mine.value == pytest.approx(values.mean())
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=0.05)
    general = bootstrap_interval(values, np.mean, seed=4, resamples=4000)
    assert (general.low, general.high) == pytest.approx((theirs.low, theirs.high), abs=0.12)


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for seed in range(400):
        found = mean_interval(generator.normal(5, 1, 40), seed, level=0.8, resamples=300)
        held += found.low <= 5 <= found.high
    assert 0.73 < held / 400 < 0.86


def test_the_interval_of_one_clip_is_unknown_and_nan_is_left_out() -> None:
    one = mean_interval(np.array([np.nan, 3.0]), seed=0)
    assert one.value == 3
    assert math.isnan(one.low)
    assert math.isnan(mean_interval(np.array([np.nan]), seed=0).value)
    assert mean_interval(np.array([1, np.nan, 3.0]), seed=0) == mean_interval(np.array([1, 3.0]), seed=0)
    endless = mean_interval(np.array([30, 31, np.inf]), seed=0)
    assert endless.value == endless.high == np.inf
    assert math.isnan(bootstrap_interval(np.array([30, np.inf]), np.mean, seed=0).low)
    assert math.isnan(bootstrap_interval((rows(1, 3), rows(5, 3)), lambda a, b: float(a.mean() - b.mean()), seed=0).low)
    with pytest.raises(UsageError, match="level 95"):
        mean_interval(np.array([1.0, 2.0]), seed=0, level=95)


def test_trap_resampled_frechet_distances_lie_above_the_value_and_the_interval_still_holds_it() -> None:
    generator = np.random.default_rng(0)
    real, made = generator.normal(size=(2, 40, 30))
    drawn = [frechet_distance(real[generator.integers(40, size=40)], made[generator.integers(40, size=40)]) for _ in range(50)]
    value = frechet_distance(real, made)
    found = bootstrap_interval((real, made), frechet_distance, seed=0, resamples=50)
    assert np.quantile(drawn, 0.025) > value
    assert found.value == value
    assert 0 <= found.low < value < found.high
    assert bootstrap_interval((real, real), frechet_distance, seed=0, resamples=50).low == 0


@pytest.mark.parametrize("count", [2, 6, 11])
def test_the_exact_test_equals_scipys(count: int) -> None:
    generator = np.random.default_rng(count)
    one = generator.normal(30, 3, count)
    other = one + generator.normal(0.5, 1, count)
    theirs = stats.permutation_test((other, one), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    found = paired(one, other, seed=0)
    assert found.exact
    assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-12)
    assert found.difference == pytest.approx(theirs.statistic)
    assert found.low <= found.difference <= found.high


@pytest.mark.parametrize("count", [1, 5, EXACT])
def test_differences_of_one_sign_give_the_smallest_p(count: int) -> None:
    assert sign_flip_test(np.linspace(1, 2, count), seed=0) == pytest.approx(2 / 2**count)


def test_the_sampled_test_is_near_the_exact_one_and_never_zero() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1, EXACT + 1)
    exact = np.mean([abs((differences * signs).sum()) >= abs(differences.sum()) - 1e-12 for signs in all_signs(EXACT + 1)])
    assert sign_flip_test(differences, seed=0) == pytest.approx(exact, abs=0.006)
    assert sign_flip_test(differences, seed=0) == sign_flip_test(differences, seed=0)
    assert sign_flip_test(np.full(60, 3.0), seed=0) == pytest.approx(1 / 100_001)


def all_signs(count: int) -> NDArray[np.int64]:
    return 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)


def test_equal_models_do_not_differ_and_what_cannot_be_compared_is_counted() -> None:
    same = paired(np.array([1, 2, 3.0]), np.array([1, 2, 3.0]), seed=0)
    assert (same.difference, same.p_value, same.higher, same.lower) == (0, 1, 0, 0)
    some = paired(np.array([1, np.nan, np.inf, 5.0]), np.array([2, 3, np.inf, 4.0]), seed=0)
    assert (some.clips, some.left_out, some.higher, some.lower, some.difference) == (2, 2, 1, 1, 0)
    none = paired(np.array([np.nan]), np.array([1.0]), seed=0)
    assert none.clips == 0
    assert math.isnan(none.p_value)
    with pytest.raises(UsageError, match="2 and 3"):
        paired(np.zeros(2), np.zeros(3), seed=0)


def test_p_is_uniform_when_there_is_no_difference() -> None:
    generator = np.random.default_rng(0)
    values = np.array([sign_flip_test(generator.normal(size=8), seed=0) for _ in range(400)])
    assert 0.02 < (values <= 0.05).mean() < 0.09
    assert 0.43 < (values <= 0.5).mean() < 0.57


@pytest.mark.parametrize("count", [2, 30, 300])
def test_diversity_is_the_mean_distance_of_pairs(count: int) -> None:
    features = rows(count, 4)
    assert diversity(features) == pytest.approx(pdist(features).mean(), rel=1e-12)
    assert diversity(features[:1].repeat(3, 0)) == 0
    assert math.isnan(diversity(features[:1]))


def test_nearest_neighbours_are_those_of_scipy_and_copies_stand_out() -> None:
    training, generated = rows(50, 6, 1), rows(300, 6, 2)
    generated[7], generated[8] = training[31], training[12] + 1e-9
    distances = np.sort(cdist(generated, training), axis=1)
    found = nearest_neighbours(generated, training)
    np.testing.assert_array_equal(found.nearest, cdist(generated, training).argmin(1))
    np.testing.assert_allclose(found.distance, distances[:, 0], atol=1e-14)
    np.testing.assert_allclose(found.ratio, distances[:, 0] / distances[:, 1], atol=1e-14)
    assert (found.nearest[7], found.distance[7], found.ratio[7]) == (31, 0, 0)
    assert found.distance[8] == pytest.approx(1e-9 * math.sqrt(6), rel=1e-5)
    assert memorised(found) == np.mean(distances[:, 0] < distances[:, 1] / 3) >= 2 / 300
    assert memorised(nearest_neighbours(training, training)) == 1
    twice = nearest_neighbours(training[:1], training[:1].repeat(2, 0))
    assert twice.ratio[0] == 0
    assert math.isnan(nearest_neighbours(generated, training[:1]).ratio[0])
    with pytest.raises(UsageError, match="6 and 5 columns"):
        nearest_neighbours(generated, training[:, :5])


def test_metrics_import_without_torch_or_scipy() -> None:

    names = ["pixels", "structure", "temporal", "perceptual", "consistency", "frechet", "intervals", "editing", "generation", "paired"]
    code = "import sys; sys.modules.update(torch=None, scipy=None, skimage=None, torchmetrics=None)\n"
    code += "\n".join(f"import framefill.evaluation.metrics.{name}" for name in names)
    subprocess.run([sys.executable, "-c", code], check=True)
