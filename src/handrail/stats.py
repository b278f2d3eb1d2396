"""Interquartile means and bootstrap intervals: what can honestly be said from few runs.

Follows Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264). The intervals are percentile bootstrap intervals; unlike BCa ones they are
defined for constant samples (a cost that is always 0) and for a single one (then the interval is
the value itself, which says that nothing is known of its spread).
"""

from __future__ import annotations

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
