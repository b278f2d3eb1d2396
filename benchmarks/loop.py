"""The whole online loop against the slower of its halves: simulator alone, learner alone.

IQL on bullet/CarCircle-gold with the default settings. A loop that overlaps its halves perfectly
runs at the rate of the slower one: ``loop_over_slower_half`` would be 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from handrail import envs
from handrail.behaviour import Alone
from handrail.data.replay import Replay
from handrail.learners import iql
from handrail.multipliers import Fixed
from handrail.online import Online
from handrail.online_settings import OnlineSettings
from handrail.policies import MLPPolicy
from handrail.progress import Watcher
from handrail.rollout import Rollout, episode_seed
from handrail.runs import Run
from handrail.training import block
from handrail.types import Batch

TASK = "bullet/CarCircle-gold"
WARM = 8
"""Blocks before the clock counts: the first updates compile."""


class Clock(Watcher):
    """Notes when each block ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, float]] = []

    def advance(self, done: int, latest: dict) -> None:
        self.ends.append((done, time.perf_counter()))


def loop(settings: OnlineSettings, folder: Path) -> float:
    """Steps/s of a run, from its ``WARM``-th block to the last but one (the last evaluates)."""
    clock = Clock()
    with Run.create(folder, {"task": TASK}) as run:
        online = Online(
            run,
            iql.learner(iql.IQLSettings()),
            settings,
            make_env=lambda: envs.make(TASK),
            behaviour=Alone(0, 2),
            controller=Fixed(2.0),
            seed=0,
        )
        online.train(clock)
    (first, began), (last, ended) = clock.ends[WARM], clock.ends[-2]
    return (last - first) / (ended - began)


def simulator(settings: OnlineSettings, steps: int) -> float:
    """Steps/s of the same simulators with the student acting and nobody learning."""
    simulators = [envs.make(TASK) for _ in range(settings.environments)]
    learner = iql.learner(iql.IQLSettings())
    actor = learner.actor(learner.init(jax.random.key(0), simulators[0].spec_))
    policy, rollout = MLPPolicy.of(actor), Rollout(simulators, lambda n: episode_seed(0, n))
    rollout.advance(policy)
    began = time.perf_counter()
    for _ in range(steps // settings.environments):
        rollout.advance(policy)
    return steps / (time.perf_counter() - began)


def learning(settings: OnlineSettings, blocks: int) -> float:
    """Steps/s that the learner alone would keep up with."""
    spec = envs.make(TASK).spec_
    learner = iql.learner(iql.IQLSettings())
    replay, rng = Replay(10_000, spec), np.random.default_rng(0)
    o, a, n = spec.observation_size, spec.action_size, 10_000
    sizes = ((n, o), (n, a), (n,), (n,), (n, o))
    replay.add(Batch(*(rng.standard_normal(size) for size in sizes), np.zeros(n)))
    update, state = block(learner), learner.init(jax.random.key(0), spec)
    shape = (round(settings.block * settings.updates_per_step), settings.batch)
    state = jax.block_until_ready(update(state, replay.sample(rng, shape), 2.0)).state
    began = time.perf_counter()
    for _ in range(blocks):
        state = jax.block_until_ready(update(state, replay.sample(rng, shape), 2.0)).state
    return blocks * settings.block / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10_000, help="of each run of the loop")
    arguments = parser.parse_args()
    settings = OnlineSettings(
        steps=arguments.steps,
        updates_per_step=1.0,  # GOLD's code, as the batch: a learner that has as much to do
        batch=256,
        evaluate_every=arguments.steps,
        evaluate_episodes=1,
    )
    ratios = []
    print(f"{TASK}, batch {settings.batch}, {settings.updates_per_step:g} updates a step; steps/s")
    print(f"{'round':<8}{'loop':>8}{'simulator':>12}{'learner':>10}{'ratio':>8}")
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            whole = loop(settings, Path(folder) / "run")
        halves = simulator(settings, arguments.steps // 5), learning(settings, 4)
        ratios.append(whole / min(halves))
        print(f"{number:<8}{whole:>8.0f}{halves[0]:>12.0f}{halves[1]:>10.0f}{ratios[-1]:>8.2f}")
    print(json.dumps({"loop_over_slower_half": round(float(np.median(ratios)), 3)}))


if __name__ == "__main__":
    main()
