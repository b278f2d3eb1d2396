"""Intervals against plain NumPy and scipy, and the samples that break the usual formulas."""

import numpy as np
import pytest
import scipy.stats

from handrail.stats import (
    bootstrap,
    evenly,
    iqm,
    probability_of_improvement,
    stratified_bootstrap,
    summary,
)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 11])
def test_iqm_is_the_mean_of_the_middle_half(n):
    x = np.random.default_rng(n).normal(size=n)
    np.testing.assert_allclose(iqm(x), scipy.stats.trim_mean(x, 0.25))


def test_iqm_by_hand():
    assert iqm([1000, 3, 1, 2, -50, 4, 5, 6]) == (2 + 3 + 4 + 5) / 4
    np.testing.assert_array_equal(iqm([[0, 1], [2, 3], [4, 5], [90, 91]], axis=0), [3, 4])


def test_tasks_of_more_seeds_weigh_no_more():
    scores = [[0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [100.0, 200.0]]
    flat = np.concatenate(scores)
    even = evenly(np.mean, [6, 2])
    assert even(flat) == np.mean([5.0, 150.0])
    assert evenly(iqm, [6, 2])(flat) == iqm([*scores[0], *[100.0] * 3, *[200.0] * 3])
    rows = np.stack([flat, flat + 1])
    np.testing.assert_allclose(even(rows, axis=-1), [77.5, 78.5])
    # Of equally many seeds it is the statistic itself.
    assert evenly(iqm, [4, 4])(flat) == iqm(flat)


def test_bootstrap_is_the_resampling_that_it_says():
    x = np.random.default_rng(1).exponential(size=20)
    rng = np.random.default_rng(0)
    means = [x[rows].mean() for rows in rng.integers(20, size=(2000, 20))]
    np.testing.assert_allclose(bootstrap(x), np.percentile(means, [2.5, 97.5]))


def test_bootstrap_agrees_with_scipy():
    x = np.random.default_rng(2).normal(5, 2, size=50)
    theirs = scipy.stats.bootstrap((x,), np.mean, n_resamples=5000, method="percentile", rng=1)
    np.testing.assert_allclose(bootstrap(x, resamples=5000), theirs.confidence_interval, atol=0.06)


def test_bootstrap_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    intervals = [bootstrap(rng.normal(size=40), resamples=300) for _ in range(300)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.90 <= covered <= 0.98  # 0.95, less what small samples take, +- 3 standard errors


def test_of_three_values_the_interval_is_too_narrow_as_the_page_of_results_says():
    rng = np.random.default_rng(6)
    intervals = [bootstrap(rng.normal(size=3), resamples=300) for _ in range(1000)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert covered == pytest.approx(0.74, abs=0.04)  # 3 standard errors


@pytest.mark.parametrize("x", [[3.0], [0.0] * 10, np.full((2, 5), 3.0)])
def test_one_value_or_constant_values_have_an_interval_of_no_width(x):
    value = np.ravel(x)[0]
    for statistic in (np.mean, np.median, iqm):
        assert bootstrap(x, statistic) == (value, value)


def test_confidence_and_seed_are_what_they_say():
    x = np.arange(10.0)
    narrow, wide = bootstrap(x, confidence=0.5), bootstrap(x, confidence=0.99)
    assert wide[0] < narrow[0] < 4.5 < narrow[1] < wide[1]
    assert bootstrap(x) == bootstrap(x)
    assert bootstrap(x**0.5, seed=1) != bootstrap(x**0.5)


def test_seeds_are_drawn_within_their_task():
    # Tasks differ much and seeds not at all: nothing is uncertain.
    assert stratified_bootstrap([[0.0] * 3, [100.0] * 3], np.mean) == (50.0, 50.0)
    # Ragged tasks: each keeps its number of scores.
    assert stratified_bootstrap([[0.0] * 3, [100.0]], np.mean) == (25.0, 25.0)


def test_stratified_bootstrap_against_plain_numpy():
    scores = np.random.default_rng(4).normal(size=(3, 5))
    rng = np.random.default_rng(7)
    drawn = [scores[t][rng.integers(5, size=(500, 5))] for t in range(3)]
    iqms = [scipy.stats.trim_mean(np.concatenate(row), 0.25) for row in zip(*drawn, strict=True)]
    np.testing.assert_allclose(
        stratified_bootstrap(scores, resamples=500, seed=7), np.percentile(iqms, [2.5, 97.5])
    )


@pytest.fixture
def methods():
    """Scores of two methods, seeds x tasks; a task where they overlap, one where they tie."""
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(8, 3)), rng.normal(-0.4, 1.5, size=(6, 3))
    x[:, 2], y[:, 2] = np.round(x[:, 2]), np.round(y[:, 2])
    return x, y


def test_improvement_by_hand():
    # Task 1: of 4 pairs three are won. Task 2: one pair, a tie. Task 3: always lost.
    got, interval = probability_of_improvement([[1, 3], [5.0], [0]], [[0, 2], [5.0], [1, 1]])
    assert got == pytest.approx((0.75 + 0.5 + 0) / 3)
    assert interval[0] <= got <= interval[1]
    # Far apart, no draw of seeds changes anything; turned about, it is the rest.
    assert probability_of_improvement([[5, 6]], [[1, 2, 3]]) == (1, (1, 1))
    assert probability_of_improvement([[1, 2, 3]], [[5, 6]]) == (0, (0, 0))


def test_improvement_against_plain_numpy(methods):
    x, y = (list(method.T) for method in methods)
    got, interval = probability_of_improvement(x, y, resamples=200, seed=3)

    def share(a, b):
        return np.mean([[(i > j) + 0.5 * (i == j) for j in b] for i in a])

    pairs = list(zip(x, y, strict=True))
    assert got == pytest.approx(np.mean([share(a, b) for a, b in pairs]))
    rng = np.random.default_rng(3)
    drawn = []
    for a, b in pairs:
        rows, columns = rng.integers(8, size=(200, 8)), rng.integers(6, size=(200, 6))
        drawn.append([share(a[i], b[j]) for i, j in zip(rows, columns, strict=True)])
    np.testing.assert_allclose(interval, np.percentile(np.mean(drawn, axis=0), [2.5, 97.5]))


def test_improvement_needs_the_same_tasks():
    with pytest.raises(ValueError, match="1 tasks against 2"):
        probability_of_improvement([[1.0]], [[1.0], [2.0]])
    for empty in ([], [[]]):
        with pytest.raises(ValueError, match="at least one score"):
            probability_of_improvement(empty, empty)


def test_figures_are_those_of_rliable(methods):
    """Its estimates exactly, its intervals but for the luck of the draw: ours of 20,000 resamples
    against so many of its own that an end strays by 0.02 (IQM, width 0.83) and 0.01 (width 0.33).
    """
    from rliable import library, metrics

    x, y = methods
    tasks, others = list(x.T), list(y.T)
    np.random.seed(0)  # noqa: NPY002 - rliable draws from the global generator, whatever it is given
    wanted, ends = library.get_interval_estimates(
        {"x": x}, lambda s: np.array([metrics.aggregate_iqm(s)]), reps=2000
    )
    assert iqm(np.ravel(x)) == pytest.approx(wanted["x"].item())
    found = stratified_bootstrap(tasks, resamples=20_000)
    np.testing.assert_allclose(found, ends["x"].ravel(), atol=0.06)

    wanted, ends = library.get_interval_estimates(
        {"x,y": (x, y)},
        lambda a, b: np.array([metrics.probability_of_improvement(a, b)]),
        reps=500,
    )
    got, found = probability_of_improvement(tasks, others, resamples=20_000)
    assert got == pytest.approx(wanted["x,y"].item())
    np.testing.assert_allclose(found, ends["x,y"].ravel(), atol=0.03)


def test_summary_by_hand():
    got = summary(np.float32([1, 2, 3, 10]))
    assert got.pop("ci95") == list(bootstrap([1, 2, 3, 10]))
    assert got == {
        "mean": 4.0,
        "iqm": 2.5,
        "min": 1.0,
        "max": 10.0,
        "std": pytest.approx(np.sqrt((9 + 4 + 1 + 36) / 4)),
    }
    assert {type(v) for v in got.values()} == {float}


@pytest.mark.parametrize("call", [bootstrap, summary, lambda x: stratified_bootstrap([[1.0], x])])
def test_an_empty_sample_is_an_error(call):
    with pytest.raises(ValueError, match="at least one score"):
        call([])
    with pytest.raises(ValueError, match="at least one score"):
        stratified_bootstrap([])
