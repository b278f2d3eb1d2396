"""Who acts while a student learns; GOLD's guidance is one, in ``handrail.guidance``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from handrail.policies import HeldRandom
from handrail.types import Draws, Metrics, Policy, Step


class Ended(NamedTuple):
    """A training episode, as a behaviour sees it."""

    begun: int
    """The run's steps when the block began in which the episode did: whose policy began it."""
    shaped_return: float


class Behaviour(Protocol):
    """Who acts while the student learns. Its state is a dict of JSON values."""

    state: dict[str, Any]

    def policy(self, student: Policy, steps: int) -> Policy:
        """Who acts in the block that begins at ``steps``. Carries must fit from block to block."""
        ...

    def observe(self, ended: Sequence[Ended], steps: int) -> None:
        """Training episodes that ended together, after ``steps`` of the run. None is seen twice."""
        ...

    def part(self, carry: Any, row: int) -> float:
        """Of the row's episode so far, the part of its steps that counts for the student's
        multiplier, 0 to 1: that a student acted in which learns. ``carry`` is the policy's, after
        the last."""
        ...

    def metrics(self, steps: int, carry: Any) -> Metrics:
        """``carry`` is the policy's, after the block that ended at ``steps``."""
        ...


@dataclass
class Alone:
    """The student acts, after ``warmup`` steps of held random actions; the first update comes after
    ``waits`` steps, where that is to be waited for."""

    warmup: int
    action_size: int
    waits: int = 0
    state: dict[str, Any] = field(default_factory=dict)

    def policy(self, student: Policy, steps: int) -> Policy:
        warm, idle = steps < self.warmup, steps < max(self.warmup, self.waits)
        return _WarmUp(HeldRandom(self.action_size), student, warm, idle)

    def observe(self, ended: Sequence[Ended], steps: int) -> None:
        pass

    def part(self, carry: AloneCarry, row: int) -> float:
        return 1 - float(carry.idle[row] / carry.t[row])

    def metrics(self, steps: int, carry: Any) -> Metrics:
        return {}


class AloneCarry(NamedTuple):
    random: Any
    t: np.ndarray  # (B,) steps into the episode
    idle: np.ndarray  # (B,) those in which nothing was learnt yet, or chance acted


@dataclass(frozen=True)
class _WarmUp:
    random: HeldRandom
    student: Policy
    warm: bool
    idle: bool

    def initial(self, batch: int) -> AloneCarry:
        none = np.zeros(batch, int)
        return AloneCarry(self.random.initial(batch), none, none)

    def act(self, carry: AloneCarry, step: Step, draws: Draws) -> tuple[np.ndarray, AloneCarry]:
        t, idle = (np.where(step.first, 0, count) for count in (carry.t, carry.idle))
        random = carry.random
        if self.warm:
            action, random = self.random.act(random, step, draws)
        else:
            action = self.student.act(None, step, draws)[0]
        return action, AloneCarry(random, t + 1, idle + self.idle)
