"""Which student a run ends in: the one that validation episodes liked best, averaged on request.

The latest parameters of a policy that learns online are a matter of luck: from one evaluation to
the next the return hardly moves, while a cost that begins at a line goes from 0 to 50. Their
running average goes through the middle of that (Polyak, Juditsky 1992; for actor-critics: Nikishin
et al. 2018, "Improving Stability in Deep Reinforcement Learning with Weight Averaging"), and a cost
near the limit counts with its standard error, lest the lucky one of many evaluations be chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from handrail.envs.cmdp import CMDP
from handrail.errors import HandrailError
from handrail.multipliers import Controller
from handrail.policies import Student
from handrail.rollout import play
from handrail.types import Metrics

VALIDATION_SEED = 500
"""Episodes that watch the training start here: apart from training and from evaluation seeds."""
REPORT_SEED = 750
"""Those that a run reports at its end: others than chose what it ends in."""


@dataclass(frozen=True)
class JudgeSettings:
    """How a run's policy is found; part of ``online_settings.OnlineSettings``."""

    evaluate_episodes: int = 10
    """Episodes of an evaluation of the student, the same each time. The best of them is the run's
    policy; a cost that begins at a line needs more than a few."""
    average: float = 0.0
    """Half-life, in steps, of the running average of the parameters of all that acts but the guide:
    it is evaluated, and a run ends in it; the latest ones act in training. 0: they are evaluated
    themselves."""
    caution: float = 0.0
    """Standard errors >= 0 of an evaluation's mean cost that are added to it before evaluations
    are compared, with the limit or by a weight; none where all its episodes cost the same."""

    def __post_init__(self) -> None:
        if self.evaluate_episodes < 1:
            raise HandrailError(
                f"evaluate_episodes is {self.evaluate_episodes}; it must be 1 or more"
            )
        for name in ("average", "caution"):
            if not 0 <= getattr(self, name) < float("inf"):  # nor NaN
                raise HandrailError(
                    f"{name} is {getattr(self, name):g}; it must be 0 or more, and finite"
                )
        if self.caution and self.evaluate_episodes < 2:
            raise HandrailError(
                "caution needs 2 or more evaluate_episodes, as one has no error; raise them, or "
                "give --caution 0"
            )


class Judge:
    """Follows the student's parameters, evaluates them and keeps the best.

    Parameters are ``training.pack``'s arrays of shape (P,).
    """

    def __init__(
        self,
        settings: JudgeSettings,
        controller: Controller,
        envs: Sequence[CMDP],
        actor: np.ndarray,
        *,
        unit: float,
    ):
        """``actor`` is what the run begins with; ``unit`` divides returns before scores."""
        self.settings = settings
        self._controller, self._envs, self._unit = controller, envs, unit
        self.actor = actor
        """What is evaluated: the average, or the latest parameters."""
        self._mass = 0.0
        """Part of the average that is of parameters that were in force, 0 to 1."""
        self.best_actor = actor
        self.best: list[float] | None = None
        """Return and cost, with its caution, of the best evaluation."""

    def begin(self, actor: np.ndarray) -> None:
        """From here on: what came before is neither part of the average, nor may it be best."""
        self.actor = self.best_actor = actor
        self.best, self._mass = None, 0.0

    def follow(self, actor: np.ndarray, steps: int) -> None:
        """``actor`` is in force for the next ``steps``."""
        if not self.settings.average:
            self.actor = actor
            return
        part = 1 - 0.5 ** (steps / self.settings.average)
        # Divided by it, the average holds nothing of what the run began with: untrained networks.
        self._mass += part * (1 - self._mass)
        self.actor = self.actor + np.float32(part / self._mass) * (actor - self.actor)

    def evaluate(self, policy: Callable[[np.ndarray], Student]) -> Metrics:
        """Play the validation episodes with the policy of these parameters, which are kept if they
        are the best so far; a row of metrics."""
        count = self.settings.evaluate_episodes
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + count)
        played = list(play(policy(self.actor).mode(), self._envs, seeds))
        costs = [e.cost for e in played]
        return_, cost = float(np.mean([e.return_ for e in played])), float(np.mean(costs))
        found = [return_, cost]
        if self.settings.caution:
            found[1] += self.settings.caution * float(np.std(costs, ddof=1)) / count**0.5
        if self.best is None or self._score(found) > self._score(self.best):
            self.best, self.best_actor = found, self.actor
        return {
            "eval/return": return_,
            "eval/cost": cost,
            "eval/return_min": min(e.return_ for e in played),
        }

    def _score(self, found: list[float]) -> tuple[float, ...]:
        return self._controller.score(found[0] / self._unit, found[1])

    def state(self) -> dict[str, Any]:
        """Arrays for a checkpoint; ``best`` goes with its numbers."""
        average = (
            {"average": self.actor, "mass": np.array(self._mass)} if self.settings.average else {}
        )
        return {"best": self.best_actor, **average}

    def restore(self, state: dict[str, Any], best: list[float] | None, actor: np.ndarray) -> None:
        """``actor``: the latest parameters."""
        self.best, self.best_actor = best, state["best"]
        self.actor = state.get("average", actor)
        self._mass = float(state.get("mass", 0.0))
