"""The loop that every offline fit shares: blocks of updates over a fixed data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handrail.data.replay import Replay
from handrail.data.windows import Normaliser
from handrail.errors import Stopped
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.types import Batch, Metrics

BLOCK = 50
"""Updates in one compiled scan; progress, checkpoints and Ctrl-C happen between blocks."""


def sampler(
    replay: Replay, normaliser: Normaliser, reward_unit: float
) -> Callable[[np.random.Generator, tuple[int, int]], Batch]:
    """Draws batches as learners of networks want them: observations behind the normaliser, rewards
    in units."""
    unit = np.float32(reward_unit)

    def sample(rng: np.random.Generator, shape: tuple[int, int]) -> Batch:
        return replay.sample(rng, shape).learnt(normaliser, unit)

    return sample


def fit(
    run: Run,
    state: Any,
    update: Callable[[Any, Any], tuple[Any, Metrics]],
    sample: Callable[[np.random.Generator, tuple[int, int]], Any],
    *,
    what: str,
    updates: int,
    batch: int,
    seed: int,
    watcher: Watcher,
    checkpoint_every: int = 500,
    measure: Callable[[int, Any], Metrics] = lambda done, state: {},
) -> Any:
    """Train ``state`` for ``updates`` updates, from the run's last checkpoint if it has one.

    Args:
        update: ``(state, batches) -> (state, metrics)``, compiled, over N stacked batches.
        sample: ``(rng, (N, B)) -> batches``; the generator is a function of seed and progress, so
            a resumed fit is the same fit.
        checkpoint_every: updates between checkpoints and rows of metrics.
        measure: ``(updates done, state) -> metrics`` for those rows; what it gives before the first
            update is a row of its own.

    Raises:
        Stopped: the watcher asked for it; a checkpoint was written.
    """
    done = 0
    loaded = run.load(state)
    if loaded is not None:
        progress, state = loaded
        done = progress["step"]
    elif first := measure(0, state):
        run.log(0, first)
    watcher.begin(what, updates, "updates", done)
    row: Metrics = {}
    while done < updates:
        n = min(BLOCK, updates - done)
        batches = sample(np.random.default_rng([seed, done]), (n, batch))
        state, metrics = update(state, batches)
        done += n
        if done % checkpoint_every == 0 or done == updates:
            row = {name: float(value) for name, value in metrics.items()} | measure(done, state)
            run.log(done, row)
        stopping = watcher.stopping  # read once: Ctrl-C may come between save and raise
        if done % checkpoint_every == 0 or done == updates or stopping:
            run.save({"step": done}, state)
        watcher.advance(done, row)
        if stopping and done < updates:
            raise Stopped(f"{what} stopped at update {done:,} of {updates:,}")
    return state
