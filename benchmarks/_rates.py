"""What benchmarks of learners share: updates per second, ours and those of eager PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from handrail import training
from handrail.training import Learner
from handrail.types import Batch, Spec


def of_block(learner: Learner, spec: Spec, batches: Batch, weight: float) -> Callable[[], float]:
    """A function that trains on all batches as one block and returns its updates per second."""
    run, updates = training.block(learner), len(batches.reward)
    state = learner.init(jax.random.key(0), spec)

    def go() -> float:
        nonlocal state
        start = time.perf_counter()
        state = jax.block_until_ready(run(state, batches, weight)).state
        return updates / (time.perf_counter() - start)

    return go


def of_agent(agent: Any, rows: Sequence[tuple]) -> Callable[[], float]:
    """The same of an agent of PyTorch, whose ``update`` takes a row."""

    def go() -> float:
        start = time.perf_counter()
        for row in rows:
            agent.update(*row)
        return len(rows) / (time.perf_counter() - start)

    return go
