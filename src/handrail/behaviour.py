"""Who acts while a student learns; GOLD's guidance is one, in ``handrail.guidance``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from handrail.policies import HeldRandom
from handrail.types import Metrics, Policy


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
        multiplier, 0 to 1: that no guide acted in. ``carry`` is the policy's, after the last."""
        ...

    def metrics(self, steps: int, carry: Any) -> Metrics:
        """``carry`` is the policy's, after the block that ended at ``steps``."""
        ...


@dataclass
class Alone:
    """The student acts, after ``warmup`` steps of held random actions."""

    warmup: int
    action_size: int
    state: dict[str, Any] = field(default_factory=dict)

    def policy(self, student: Policy, steps: int) -> Policy:
        return _WarmUp(HeldRandom(self.action_size), student, steps < self.warmup)

    def observe(self, ended: Sequence[Ended], steps: int) -> None:
        pass

    def part(self, carry: Any, row: int) -> float:
        """All: there is no guide; over the warm-up the control fades in by the run's steps."""
        return 1.0

    def metrics(self, steps: int, carry: Any) -> Metrics:
        return {}


@dataclass(frozen=True)
class _WarmUp:
    random: HeldRandom
    student: Policy
    warm: bool

    def initial(self, batch: int) -> Any:
        return self.random.initial(batch)

    def act(self, carry, step, draws):
        if self.warm:
            return self.random.act(carry, step, draws)
        return self.student.act(None, step, draws)[0], carry
