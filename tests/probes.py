"""Tasks whose values are known in closed form, and the real update run on them."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from handrail import training
from handrail.data.episodes import Episode
from handrail.data.replay import Replay
from handrail.types import Batch, Spec

SPEC = Spec("probe/OneByOne", 1, 1, (-1.0,), (1.0,), horizon=2, cost_limit=1.0)
SMALL: dict[str, Any] = {"hidden": (32, 32), "learning_rate": 3e-3, "tau": 0.05}
"""Settings with which a small network settles within some thousand updates."""


block = functools.cache(training.block)  # compiled once for all the probes of a learner


def train(
    learner: training.Learner, data: Batch, *, cost_weight: float = 0.0, state: Any = None
) -> Any:
    """The state after 2000 updates, each on 64 rows of ``data`` drawn uniformly."""
    rows = np.random.default_rng(0).integers(len(data.reward), size=(2000, 64))
    state = learner.init(jax.random.key(0), SPEC) if state is None else state
    return block(learner)(state, Batch(*(x[rows] for x in data)), cost_weight).state


def one_step(observation, action, reward, cost=0.0) -> Batch:
    """Transitions that end at once; one row each, scalars are repeated."""
    o, a, r, c = np.broadcast_arrays(*np.atleast_1d(observation, action, reward, cost))
    f = np.float32
    return Batch(o[:, None].astype(f), a[:, None].astype(f), r.astype(f), c.astype(f),
                 o[:, None].astype(f), np.ones(len(r), f))  # fmt: skip


def episodes_that_end() -> Batch:
    """Reward 2 and cost 1 a step, through replay.

    The task ends one half of the episodes after their second step (they observe 1, then 0); a
    time limit cuts the others after two steps (they observe -1 throughout).
    """
    replay = Replay(2000, SPEC)
    rng = np.random.default_rng(0)
    for observed, terminated in 500 * [([1, 0, 0], True), ([-1, -1, -1], False)]:
        replay.add_episode(
            Episode(
                observations=np.float32(observed)[:, None],
                actions=rng.uniform(-1, 1, (2, 1)).astype(np.float32),
                rewards=np.full(2, 2.0, np.float32),
                costs=np.ones(2, np.float32),
                terminated=terminated,
            )
        )
    return replay.sample(rng, (5000,))


def trade_off() -> Batch:
    """A bandit, r(a) = a and c(a) = a^2: the best action is 1 / (2 w)."""
    a = np.random.default_rng(0).uniform(-1, 1, 4096)
    return one_step(1.0, a, a, a**2)


def expectile(q: np.ndarray, tau: float) -> float:
    """The v with tau E[(q - v)+] = (1 - tau) E[(v - q)+], by bisection."""
    low, high = q.min(), q.max()
    for _ in range(60):
        v = (low + high) / 2
        above = tau * np.maximum(q - v, 0).mean() - (1 - tau) * np.maximum(v - q, 0).mean()
        low, high = (v, high) if above > 0 else (low, v)
    return float(low)
