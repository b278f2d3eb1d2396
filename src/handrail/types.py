"""The values that pass between the parts.

Legend of shapes, as annotations have them where a module says nothing else:
``B`` environments or batch rows, ``O`` observation size, ``A`` action size, ``T`` steps of an
episode, ``K`` steps of a window, ``N`` gradient updates in one block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int32

Metrics = dict[str, Any]
"""Scalars by name; they flow outwards only: nothing learns from them."""

LOG_STD_RANGE = (-5.0, 2.0)
"""What an actor's log-deviation is cut to, where it learns and where it acts."""


def within(cost: Any, limit: float) -> Any:
    """Whether the cost of an episode, or of each of an array, keeps the limit. Costs are summed
    from float32: 250 steps of 0.1 must not exceed a limit of 25 by rounding."""
    return cost <= limit * (1 + 1e-6)


@dataclass(frozen=True)
class Spec:
    """What a learner has to know of a task.

    Policies emit actions in the unit box [-1, 1]; ``to_box`` and ``to_unit`` convert between it
    and the environment's own box. On a task whose box is the unit box both change no bit.
    """

    task: str
    observation_size: int
    action_size: int
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    horizon: int
    """Steps after which an episode is truncated."""
    cost_limit: float
    """Default limit of an episode's undiscounted cost."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Spec:
        """From the JSON form of its fields."""
        if not isinstance(values["task"], str):
            raise TypeError(f"task is {values['task']!r}")
        low, high = tuple(values["action_low"]), tuple(values["action_high"])
        return cls(**{**values, "action_low": low, "action_high": high})

    @cached_property
    def _affine(self) -> tuple[np.ndarray, np.ndarray]:
        low, high = (
            np.asarray(self.action_low, np.float32),
            np.asarray(self.action_high, np.float32),
        )
        return (high + low) / 2, (high - low) / 2

    @cached_property
    def _inside(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest float32 that do not leave the box."""
        low, high = (np.asarray(bound, np.float64) for bound in (self.action_low, self.action_high))
        least, most = low.astype(np.float32), high.astype(np.float32)
        least = np.where(least < low, np.nextafter(least, np.float32(np.inf)), least)
        return least, np.where(most > high, np.nextafter(most, np.float32(-np.inf)), most)

    def to_box(self, unit: Float32[np.ndarray, "*B A"]) -> Float32[np.ndarray, "*B A"]:
        """From [-1, 1]^A to the task's box, which rounding does not leave."""
        centre, half = self._affine
        least, most = self._inside
        return np.minimum(np.maximum(np.asarray(centre + half * unit, np.float32), least), most)

    def outside(self, action: Float[np.ndarray, "*B A"]) -> Bool[np.ndarray, "*B A"]:
        """Which values lie beyond the task's box, by more than others may have rounded."""
        low, high = (np.asarray(bound, np.float64) for bound in (self.action_low, self.action_high))
        room = 1e-5 * np.maximum((high - low) / 2, 1.0)
        return (action < low - room) | (action > high + room)

    def to_unit(self, action: Float32[np.ndarray, "*B A"]) -> Float32[np.ndarray, "*B A"]:
        centre, half = self._affine
        return np.asarray((action - centre) / half, np.float32)


class Batch(NamedTuple):
    """Transitions as a learner sees them. Reward and cost are apart; ``shaped`` joins them.

    NumPy arrays in replay, JAX arrays in a learner.
    """

    observation: Float[Any, "*B O"]
    action: Float[Any, "*B A"]  # in the unit box
    reward: Float[Any, "*B"]
    cost: Float[Any, "*B"]
    next_observation: Float[Any, "*B O"]
    terminated: Float[Any, "*B"]  # 1.0 cuts the bootstrap; a time limit does not

    def learnt(self, normalise: Callable[[Any], Any], reward_unit: np.float32) -> Batch:
        """The batch as networks learn from it: observations normalised, rewards in units."""
        return self._replace(
            observation=normalise(self.observation),
            reward=self.reward / reward_unit,
            next_observation=normalise(self.next_observation),
        )

    def shaped(self, cost_weight: Float[Array, ""] | float) -> Batch:
        """The batch with reward r - w·c, w >= 0 (GOLD Sec. III-C, with the sign made explicit)."""
        return self._replace(reward=self.reward - cost_weight * self.cost)


class Window(NamedTuple):
    """K steps of B episodes for a sequence model; a window that is short has zeros on its left."""

    observation: Float[Any, "B K O"]  # normalised
    action: Float[Any, "B K A"]  # in the unit box
    return_to_go: Float[Any, "B K"]  # of the shaped reward, over the return scale
    timestep: Int32[Any, "B K"]  # within the episode
    mask: Float[Any, "B K"]  # 1.0 where there is a step, 0.0 on the padding


class Step(NamedTuple):
    """What a policy sees: an observation, and what was *executed* before it, whoever acted.

    Where ``first`` is true an episode begins: the other fields of that row are zero and any
    context kept for it must be dropped.
    """

    observation: Float32[np.ndarray, "B O"]
    action: Float32[np.ndarray, "B A"]
    reward: Float32[np.ndarray, " B"]
    cost: Float32[np.ndarray, " B"]
    first: Bool[np.ndarray, " B"]


class Draws(NamedTuple):
    """The randomness of one step, drawn from each episode's own generator.

    Because every policy gets the same draws, used or not, an episode's randomness depends on its
    seed alone, never on who acts or on what runs beside it.
    """

    normal: Float32[np.ndarray, "B A"]
    uniform: Float32[np.ndarray, " B"]  # in [0, 1]: a float32 may round up to 1


class Policy(Protocol):
    """Anything that acts. The carry is the policy's own memory, a pytree of arrays of B rows."""

    def initial(self, batch: int) -> Any:
        """The carry before the first step of ``batch`` environments."""
        ...

    def act(self, carry: Any, step: Step, draws: Draws) -> tuple[Float32[np.ndarray, "B A"], Any]:
        """Actions in the unit box, and the carry for the next step."""
        ...
