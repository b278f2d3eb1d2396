"""Who acts: a frozen guide for the first steps of an episode, the student for the rest.

``guided(guide, student, ...)`` is a policy itself: both see every step that was executed, whoever
acted. A schedule says where the guide's part ends, and gives the student more of each episode
until it acts alone. The three schedules are those of GOLD's paper (a prefix, as in JSRL), of
JSRL-random, and of GOLD's published code (a coin at each step).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from handrail.behaviour import Ended
from handrail.errors import HandrailError
from handrail.types import Draws, Metrics, Policy, Step

State = dict[str, Any]
"""JSON values: a schedule's state is part of the checkpoint."""

ScheduleName = Literal["prefix_curriculum", "prefix_random", "bernoulli_decay"]


@dataclass(frozen=True)
class GuidanceSettings:
    """How guidance fades."""

    schedule: ScheduleName = "prefix_curriculum"
    """A prefix that shrinks (GOLD's paper), a random one (JSRL), a coin a step (GOLD's code)."""
    share: float = 0.3
    """Part of the run's steps in which the guide acts at all, above 0 to 1. (The curriculum: where
    every stage advances at once; stages that wait may make it a third longer.)"""
    horizon: int | None = None
    """H1, steps: the guide's part of an episode at first. None: the mean length of the guide's own
    episodes (JSRL), which is the task's horizon where none terminates."""
    stages: int = 10
    """n of JSRL: the prefix shrinks by H1/n at each stage."""
    window: int = 5
    """Episodes in the moving average of shaped returns that a stage is judged by (JSRL: 5)."""
    tolerance: float = 0.05
    """A stage ends when that average is within this part of the best so far (JSRL: 0.05)."""
    probability: float = 0.9
    """p0 of ``bernoulli_decay``: the guide acts with p0 * exp(-decay * t / T_g) (GOLD's code)."""
    decay: float = 5.0
    """Of ``bernoulli_decay``, over T_g = share * steps (GOLD's code: 5)."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise HandrailError(f"share is {self.share}; it must lie in (0, 1]")
        if self.stages < 1 or self.window < 1 or (self.horizon is not None and self.horizon < 1):
            raise HandrailError("horizon, stages and window must be 1 or more")
        if not 0 <= self.decay < float("inf"):  # nor NaN
            raise HandrailError(f"decay is {self.decay}; it must be 0 or more, and finite")
        if not 0 <= self.tolerance < 1 or not 0 <= self.probability <= 1:
            raise HandrailError("tolerance and probability must lie between 0 and 1")


class Schedule(Protocol):
    """Pure functions over a state of JSON values."""

    def init(self) -> State: ...

    def prefix(self, state: State, steps: int, uniform: Float[np.ndarray, " B"]) -> np.ndarray:
        """For episodes that begin now: steps of the guide's part, (B,) int."""
        ...

    def acts(
        self,
        t: Int[np.ndarray, " B"],
        prefix: Int[np.ndarray, " B"],
        steps: int,
        uniform: Float[np.ndarray, " B"],
    ) -> Bool[np.ndarray, " B"]:
        """Whether the guide acts at step ``t`` of each episode."""
        ...

    def over(self, t: Int[np.ndarray, " B"], prefix: Int[np.ndarray, " B"], steps: int) -> bool:
        """Whether the guide acts in none of these episodes any more, so need not be asked."""
        ...

    def observe(self, state: State, ended: Sequence[Ended], steps: int) -> State: ...


@dataclass(frozen=True)
class _Prefix:
    """The guide acts for the first ``prefix`` steps of an episode (Algorithm 1, line 9)."""

    horizon: int
    steps: int
    settings: GuidanceSettings

    def acts(self, t, prefix, steps, uniform):
        return t < prefix

    def over(self, t, prefix, steps):
        return bool((t >= prefix).all())


PATIENCE = 4 / 3
"""Longest stage of the curriculum over its shortest."""


@dataclass(frozen=True)
class PrefixCurriculum(_Prefix):
    """JSRL (arXiv 2204.02372, Alg. 1): h = H1, H1 - H1/n, ..., 0, a stage at a time.

    A stage lasts at least share * steps / n and ends when the moving average of the shaped returns
    of its episodes is within ``tolerance`` of the best average so far; at the latest after a third
    more, so that the student comes to act alone before the run is over. JSRL judges by separate
    evaluation episodes; here the run's own episodes, played by the same mixture, serve: those that
    a policy of this stage began. They end seldom; so that this does not add up, a stage's time
    counts from when the one before it was due to end.
    """

    def init(self) -> State:
        return {"stage": 0, "since": 0, "changed": 0, "best": None, "returns": []}

    def prefix(self, state, steps, uniform):
        h = round(self.horizon * (1 - state["stage"] / self.settings.stages))
        return np.full(len(uniform), h)

    def observe(self, state, ended, steps):
        s = self.settings
        own = [e.shaped_return for e in ended if e.begun >= state["changed"]]
        returns = [*state["returns"], *own][-s.window :]
        state = {**state, "returns": returns}
        pace = s.share * self.steps / s.stages
        best, good = state["best"], False
        if len(returns) == s.window:
            mean = sum(returns) / len(returns)
            best = mean if best is None else max(mean, best)
            good = mean >= best - s.tolerance * abs(best)
        state = {**state, "best": best}
        # Several where stages are shorter than the time between ends: those are not judged.
        while state["stage"] < s.stages:
            due = pace if good else PATIENCE * pace
            if steps - state["since"] < due:
                break
            since = state["since"] + due
            state |= {"stage": state["stage"] + 1, "since": since, "changed": steps, "returns": []}
            good = False
        return state


@dataclass(frozen=True)
class PrefixRandom(_Prefix):
    """JSRL-random: each episode draws h uniformly from 0..H1, in ``share`` of the run."""

    def init(self) -> State:
        return {}

    def prefix(self, state, steps, uniform):
        if steps >= self.settings.share * self.steps:
            return np.zeros(len(uniform), int)
        h = np.floor(uniform * (self.horizon + 1)).astype(int)
        return np.minimum(h, self.horizon)  # float32 rounds the largest draws up to 1

    def observe(self, state, ended, steps):
        return state


@dataclass(frozen=True)
class BernoulliDecay:
    """GOLD's published code: at each step the guide acts with p0 * exp(-decay * t / T_g), t the
    run's steps and T_g = share * steps; not at all after T_g."""

    horizon: int
    steps: int
    settings: GuidanceSettings

    def _probability(self, steps: int) -> float:
        s = self.settings
        end = s.share * self.steps
        return 0.0 if steps >= end else s.probability * float(np.exp(-s.decay * steps / end))

    def init(self) -> State:
        return {}

    def prefix(self, state, steps, uniform):
        return np.full(len(uniform), self.horizon)

    def acts(self, t, prefix, steps, uniform):
        return uniform < self._probability(steps)

    def over(self, t, prefix, steps):
        return self._probability(steps) == 0

    def observe(self, state, ended, steps):
        return state


SCHEDULES: dict[ScheduleName, type] = {
    "prefix_curriculum": PrefixCurriculum,
    "prefix_random": PrefixRandom,
    "bernoulli_decay": BernoulliDecay,
}


class GuidedCarry(NamedTuple):
    guide: Any
    student: Any
    t: np.ndarray  # (B,) steps into the episode
    prefix: np.ndarray  # (B,)
    acted: np.ndarray  # (B,) steps of the episode in which the guide acted
    guided: np.ndarray  # (B,) the same over all episodes


@dataclass(frozen=True)
class guided:
    """pi_{1:h} = guide, pi_{h+1:H} = student (Algorithm 1, line 9)."""

    guide: Policy
    student: Policy
    schedule: Schedule
    state: State
    steps: int

    def initial(self, batch: int) -> GuidedCarry:
        t = np.zeros(batch, int)
        return GuidedCarry(self.guide.initial(batch), self.student.initial(batch), t, t, t, t)

    def act(self, carry: GuidedCarry, step: Step, draws: Draws) -> tuple[np.ndarray, GuidedCarry]:
        t = np.where(step.first, 0, carry.t)
        fresh = self.schedule.prefix(self.state, self.steps, draws.uniform)
        prefix = np.where(step.first, fresh, carry.prefix)
        action, student = self.student.act(carry.student, step, draws)
        guide, acts = carry.guide, np.zeros(len(t), bool)
        # A guide that is not asked keeps a stale context; the next episode begins a new one.
        if not self.schedule.over(t, prefix, self.steps):
            theirs, guide = self.guide.act(carry.guide, step, draws)
            acts = self.schedule.acts(t, prefix, self.steps, draws.uniform)
            action = np.where(acts[:, None], theirs, action)
        acted = np.where(step.first, 0, carry.acted) + acts
        return action, GuidedCarry(guide, student, t + 1, prefix, acted, carry.guided + acts)


class Guidance:
    """The ``behaviour.Behaviour`` of GOLD: a guide, a schedule, and the schedule's state."""

    def __init__(self, guide: Policy, schedule: Schedule):
        self._guide, self._schedule = guide, schedule
        self.state: State = {"schedule": schedule.init(), "steps": 0, "guided": 0}

    @classmethod
    def of(cls, guide: Policy, settings: GuidanceSettings, *, horizon: int, steps: int) -> Guidance:
        """By settings; ``horizon`` is H1, ``steps`` the run's."""
        return cls(guide, SCHEDULES[settings.schedule](horizon, steps, settings))

    def policy(self, student: Policy, steps: int) -> guided:
        return guided(self._guide, student, self._schedule, self.state["schedule"], steps)

    def observe(self, ended: Sequence[Ended], steps: int) -> None:
        schedule = self._schedule.observe(self.state["schedule"], ended, steps)
        self.state = {**self.state, "schedule": schedule}

    def part(self, carry: GuidedCarry, row: int) -> float:
        return 1 - float(carry.acted[row] / carry.t[row])

    def metrics(self, steps: int, carry: GuidedCarry) -> Metrics:
        """The part of the steps since the last call in which the guide acted."""
        count = int(carry.guided.sum())
        share = (count - self.state["guided"]) / max(1, steps - self.state["steps"])
        self.state = {**self.state, "steps": steps, "guided": count}
        return {"guide/share": share}
