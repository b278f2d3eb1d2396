"""Interquartile means and bootstrap intervals: what can honestly be said from few runs.

Follows Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264). The intervals are percentile bootstrap intervals; unlike BCa ones they are
defined for constant samples (a cost that is always 0) and for a single one (then the interval is
the value itself, which says that nothing is known of its spread).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

Statistic = Callable[..., Any]
"""Maps an array and ``axis`` to the array without that axis, as ``np.mean`` does."""


def iqm(x: ArrayLike, axis: int = -1) -> Any:
    """Interquartile mean: the mean without the lowest and highest quarter.

    A quarter of n values is rounded down, as in scipy's ``trim_mean`` and in rliable.
    """
    ordered = np.sort(np.moveaxis(np.asarray(x, np.float64), axis, -1), axis=-1)
    n = ordered.shape[-1]
    return ordered[..., n // 4 : n - n // 4].mean(axis=-1)


def evenly(statistic: Statistic, sizes: Sequence[int]) -> Statistic:
    """The statistic of values task by task, in which every task weighs the same, however many seeds
    it has: each value counts as often as makes the tasks equally long.

    Args:
        sizes: how many values of each task stand in a row, in their order.
    """
    common = math.lcm(*sizes)
    times = np.repeat([common // size for size in sizes], sizes)

    def even(x: ArrayLike, axis: int = -1) -> Any:
        return statistic(np.repeat(x, times, axis=axis), axis=axis)

    return even


def bootstrap(
    x: ArrayLike,
    statistic: Statistic = np.mean,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a statistic of one sample.

    Raises:
        ValueError: the sample is empty.
    """
    return stratified_bootstrap(
        [np.ravel(x)], statistic, confidence=confidence, resamples=resamples, seed=seed
    )


def stratified_bootstrap(
    tasks: Sequence[ArrayLike],
    statistic: Statistic = iqm,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval of a statistic over tasks x seeds; seeds are drawn anew within each task.

    The tasks are what they are and no sample of anything: only the seeds are resampled.

    Args:
        tasks: for each task its scores, one a seed, normalised so that tasks compare; a matrix
            or, where tasks have different numbers of seeds, a list of vectors.

    Raises:
        ValueError: there is no task, or a task without a score.
    """
    scores = [np.asarray(task, np.float64) for task in tasks]
    if not scores or any(task.ndim != 1 or task.size == 0 for task in scores):
        raise ValueError("a bootstrap needs at least one score of each task")
    rng = np.random.default_rng(seed)
    drawn: Float[np.ndarray, "R S"] = np.concatenate(
        [task[rng.integers(task.size, size=(resamples, task.size))] for task in scores], axis=-1
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(drawn, axis=-1), [tail, 1 - tail])
    return float(low), float(high)


def probability_of_improvement(
    x: Sequence[ArrayLike],
    y: Sequence[ArrayLike],
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, tuple[float, float]]:
    """How likely a run of method X scores above a run of Y on the same task, and its interval.

    The mean over tasks of P(X > Y) + P(X = Y) / 2, each pair of runs of a task counted once: 0 to
    1, and 0.5 where neither is ahead. For the interval the runs of either method are drawn anew
    within each task, independently. Only order counts, so scores need no normalisation.

    Args:
        x, y: for each task the method's scores, one a seed; the methods may differ in seeds.

    Raises:
        ValueError: there is no task, a task without a score, or the two differ in tasks.
    """
    mine, other = ([np.asarray(task, np.float64) for task in method] for method in (x, y))
    if len(mine) != len(other):
        raise ValueError(f"{len(mine)} tasks against {len(other)}: they must be the same tasks")
    if not mine or any(task.ndim != 1 or task.size == 0 for task in mine + other):
        raise ValueError("an improvement needs at least one score of each task and method")
    rng = np.random.default_rng(seed)
    found, drawn = [], []
    for a, b in zip(mine, other, strict=True):
        found.append(_wins(a, b))
        drawn.append(
            _wins(
                a[rng.integers(a.size, size=(resamples, a.size))],
                b[rng.integers(b.size, size=(resamples, b.size))],
            )
        )
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.mean(drawn, axis=0), [tail, 1 - tail])
    return float(np.mean(found)), (float(low), float(high))


def _wins(a: Float[np.ndarray, "*R A"], b: Float[np.ndarray, "*R B"]) -> Float[np.ndarray, "*R"]:
    """The share of pairs in which a is above b; equal ones count half."""
    ahead = np.sign(a[..., :, None] - b[..., None, :])
    return (0.5 + 0.5 * ahead).mean(axis=(-2, -1))


def summary(values: ArrayLike) -> dict[str, Any]:
    """Mean, its 95% interval, IQM, extremes and standard deviation (of the values, not of the
    mean; divided by n), as plain Python numbers.

    Raises:
        ValueError: there is no value.
    """
    x = np.ravel(np.asarray(values, np.float64))
    interval = bootstrap(x)  # first: it refuses an empty sample
    return {
        "mean": float(x.mean()),
        "iqm": float(iqm(x)),
        "ci95": list(interval),
        "min": float(x.min()),
        "max": float(x.max()),
        "std": float(x.std()),
    }
