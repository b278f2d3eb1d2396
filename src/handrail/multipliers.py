"""What decides the weight w of the shaped reward r - w·c while a run goes on.

A controller is a frozen settings object with two pure functions: ``init() -> state`` and
``update(state, episode_return, episode_cost, steps, part) -> state``, called once a finished
episode. Its state is a dict of JSON values whose ``"weight"`` is the one in force. Those that bring
the cost to a limit by feedback are in ``handrail.pid``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

from handrail.errors import HandrailError
from handrail.types import within

State = dict[str, Any]


class Controller(Protocol):
    def score(self, return_: float, cost: float) -> tuple[float, ...]:
        """Of two evaluations (means of an episode, the return in reward units) the one with the
        larger score is the better policy."""
        ...

    def init(self) -> State: ...

    def update(
        self, state: State, episode_return: float, episode_cost: float, steps: int, part: float
    ) -> State:
        """``steps`` counts environment steps since the run began; ``part`` of the episode's steps,
        0 to 1, the student acted in."""
        ...


def within_limit(return_: float, cost: float, cost_limit: float) -> tuple[float, ...]:
    """A score: within the limit the larger return, beyond it the smaller cost."""
    return (1.0, return_) if within(cost, cost_limit) else (0.0, -cost)


@dataclass(frozen=True)
class Fixed:
    """The same weight always: GOLD's published form."""

    weight: float

    def score(self, return_: float, cost: float) -> tuple[float, ...]:
        return (return_ - self.weight * cost,)

    def init(self) -> State:
        return {"weight": self.weight}

    def update(
        self, state: State, episode_return: float, episode_cost: float, steps: int, part: float
    ) -> State:
        return state


@dataclass(frozen=True)
class Unshaped:
    """For learners that hold the limit themselves: the reward as it is."""

    cost_limit: float
    """Of an episode's undiscounted cost."""

    def score(self, return_: float, cost: float) -> tuple[float, ...]:
        return within_limit(return_, cost, self.cost_limit)

    def init(self) -> State:
        return {"weight": 0.0}

    def update(
        self, state: State, episode_return: float, episode_cost: float, steps: int, part: float
    ) -> State:
        return state


@dataclass(frozen=True)
class Ramp:
    """No cost until the task is learnt, then a linear ramp, then small steps towards a cost.

    With a weight from the first step an agent learns to stand still, which costs nothing. So the
    ramp starts when the mean return of the last ``window`` episodes reaches ``start_return``, and
    takes ``ramp_steps`` to reach ``weight``. From then on each episode moves the weight by
    ``ease_rate`` x (mean cost of the window - ``ease_cost``), within [``least``, ``weight``].
    """

    start_return: float = 400.0
    """Of an episode, unshaped: the window's mean at which the ramp starts."""
    weight: float = 3.0
    """Largest w."""
    ramp_steps: int = 90_000
    """Environment steps from w = 0 to the largest."""
    window: int = 10
    """Episodes that the means are of."""
    ease_rate: float = 0.01
    """Change of w for each unit of cost and episode; 0: w stays where the ramp ends."""
    ease_cost: float = 3.0
    """Of an episode: above it w grows, below it w shrinks."""
    least: float = 0.75
    """Smallest w after the ramp."""

    def __post_init__(self) -> None:
        for name in ("ramp_steps", "window"):
            if getattr(self, name) < 1:
                raise HandrailError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        for name in ("weight", "least", "ease_rate"):
            if not 0 <= getattr(self, name) < math.inf:  # nor NaN
                raise HandrailError(f"{name} is {getattr(self, name):g}; it must be 0 or more")
        for name in ("start_return", "ease_cost"):
            if not math.isfinite(getattr(self, name)):
                raise HandrailError(f"{name} is {getattr(self, name):g}; it must be finite")

    def score(self, return_: float, cost: float) -> tuple[float, ...]:
        """By the largest weight, wherever it stands."""
        return (return_ - self.weight * cost,)

    def init(self) -> State:
        return {"weight": 0.0, "started": None, "full": False, "returns": [], "costs": []}

    def update(
        self, state: State, episode_return: float, episode_cost: float, steps: int, part: float
    ) -> State:
        returns = [*state["returns"], episode_return][-self.window :]
        costs = [*state["costs"], episode_cost][-self.window :]
        started, full, weight = state["started"], state["full"], state["weight"]
        mean_return, mean_cost = sum(returns) / len(returns), sum(costs) / len(costs)
        if started is None and len(returns) == self.window and mean_return >= self.start_return:
            started = steps
        if full:
            weight += self.ease_rate * (mean_cost - self.ease_cost)
            weight = min(max(weight, self.least), self.weight)
        elif started is not None:
            weight = self.weight * min(1.0, (steps - started) / self.ramp_steps)
            full = steps - started >= self.ramp_steps
        return {
            "weight": weight,
            "started": started,
            "full": full,
            "returns": returns,
            "costs": costs,
        }
