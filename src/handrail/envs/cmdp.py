"""The CMDP protocol: Gymnasium's five values, with the cost in ``info["cost"]``.

Everything that handrail trains on is a :class:`CMDP`. It adapts six-value tasks by itself, keeps
the parts of the cost (``info["cost_..."]``), takes actions in the unit box, and refuses values
that are not finite.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from handrail.errors import HandrailError
from handrail.types import Spec


@dataclass(frozen=True)
class Task:
    """A line of ``handrail tasks``."""

    name: str
    horizon: int
    cost_limit: float
    costs: str
    """In words: what costs, and how much a step."""
    reward_unit: float | None = None
    """About what a step of a good policy earns; None where nobody knows. Rewards are learnt, and
    cost weights stated, in this unit, so that one setting serves tasks of any scale."""


def _box(space: gymnasium.Space, what: str, wrapper: str) -> gymnasium.spaces.Box:
    if not isinstance(space, gymnasium.spaces.Box):
        raise HandrailError(
            f"{what} are {type(space).__name__}; handrail needs a Box (wrap the environment, e.g. "
            f"with gymnasium.wrappers.{wrapper})"
        )
    return space


def what_broke(error: Exception) -> str:
    """In a line: what it is, what it says, where it was raised."""
    told = " ".join([f"{type(error).__name__}:", *str(error).split()])
    if isinstance(error, SyntaxError):  # which says itself where it is
        return told
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{told}, at {at.filename}:{at.lineno}"


class CMDP(gymnasium.Wrapper):
    """A constrained Markov decision process over a Gymnasium environment.

    ``reset(seed=s)`` returns ``(observation, info)`` and makes the whole episode a function of s.
    ``step(u)`` takes u in [-1, 1]^A (clipped), and returns ``(observation, reward, terminated,
    truncated, info)``: float32 vector, float, bool, bool, and a dict with ``cost`` >= 0 and the
    task's ``cost_...`` parts.

    Raises:
        HandrailError: the spaces are not boxes, an action bound is infinite, or the environment
            breaks its word: other than five or six values, an observation of another size, a value
            that is no finite number, a cost that is missing or below 0.
    """

    def __init__(self, env: gymnasium.Env, task: Task):
        super().__init__(env)
        observations = _box(
            env.observation_space, f"{task.name}: observations", "FlattenObservation"
        )
        actions = _box(env.action_space, f"{task.name}: actions", "TransformAction")
        if not np.issubdtype(actions.dtype, np.floating):
            raise HandrailError(
                f"{task.name}: actions are {actions.dtype}, handrail's are fractions; make the box "
                "one of floats, and round in step"
            )
        if not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
            raise HandrailError(
                f"{task.name}: an action has no finite bound; rescale it to a bounded Box"
            )
        if not (room := np.ravel(actions.low < actions.high)).all():
            raise HandrailError(
                f"{task.name}: action {int(np.argmin(room))} has no room, its bounds are the same; "
                "leave it out of the action space"
            )
        self.task = task
        self.spec_ = Spec(
            task=task.name,
            observation_size=int(np.prod(observations.shape)),
            action_size=int(np.prod(actions.shape)),
            action_low=tuple(float(x) for x in np.ravel(actions.low)),
            action_high=tuple(float(x) for x in np.ravel(actions.high)),
            horizon=task.horizon,
            cost_limit=task.cost_limit,
        )
        self._elapsed = 0

    def _observation(self, observation: Any) -> np.ndarray:
        try:
            flat = np.array(observation, np.float32).ravel()  # a copy: it may be changed in place
        except (TypeError, ValueError):
            raise self._broken(f"an observation is {observation!r}, no array of numbers,") from None
        if flat.size != self.spec_.observation_size:
            raise self._broken(
                f"an observation has {flat.size} numbers where the observation space has "
                f"{self.spec_.observation_size},"
            )
        if not np.isfinite(flat).all():
            raise HandrailError(
                f"{self.task.name}: an observation is not finite at step {self._elapsed}; "
                "the simulator diverged"
            )
        return flat

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        self._elapsed = 0
        result = self._its_own("reset", lambda: self.env.reset(seed=seed, options=options))
        if not (isinstance(result, tuple | list) and len(result) == 2):
            raise self._broken("reset gives no pair (observation, info),")
        observation, info = result
        return self._observation(observation), info

    def _its_own(self, what: str, do: Callable[[], Any]) -> Any:
        """What the environment does there; whatever it raises is told in a line."""
        try:
            return do()
        except HandrailError:
            raise
        except Exception as error:
            raise self._broken(f"{what} breaks ({what_broke(error)})") from error

    def _broken(self, what: str) -> HandrailError:
        what = " ".join(what.split())  # an array is shown in several lines
        return HandrailError(
            f"{self.task.name}: {what} at step {self._elapsed}; mend the environment"
        )

    def _number(self, value: Any, what: str) -> float:
        try:
            if isinstance(value, str):
                raise TypeError
            return float(value.item() if isinstance(value, np.ndarray) else value)
        except (TypeError, ValueError, OverflowError):
            raise self._broken(f"{what} is {value!r}, no number,") from None

    def step(self, action: np.ndarray):
        if not np.isfinite(action).all():
            raise HandrailError(
                f"{self.task.name}: an action is not finite at step {self._elapsed}; the policy "
                "diverged: lower its learning rate, and start anew"
            )
        box = self.spec_.to_box(np.clip(np.asarray(action, np.float32), -1.0, 1.0))
        action = box.reshape(self.env.action_space.shape)
        result = self._its_own("step", lambda: self.env.step(action))
        self._elapsed += 1
        if not (isinstance(result, tuple | list) and len(result) in (5, 6)):
            raise self._broken(
                "step gives neither (observation, reward, terminated, truncated, info) nor "
                "safety-gymnasium's six values,"
            )
        observation, reward, *costs, terminated, truncated, info = result
        if not isinstance(info, dict):
            raise self._broken(f"info is {info!r}, no dict,")
        if costs:  # safety-gymnasium's form: the cost is the third value
            info = {**info, "cost": costs[0]}
        if "cost" not in info:
            raise HandrailError(
                f'{self.task.name}: no info["cost"] at step {self._elapsed}; add it to the '
                "environment (0.0 where nothing costs)"
            )
        reward = self._number(reward, "a reward")
        info["cost"] = self._number(info["cost"], "a cost")
        if not (np.isfinite(reward) and np.isfinite(info["cost"])):
            raise self._broken(f"reward {reward} or cost {info['cost']} is not finite")
        if info["cost"] < 0:
            raise HandrailError(
                f"{self.task.name}: cost {info['cost']:g} is negative at step {self._elapsed}; "
                "what is to be sought belongs in the reward"
            )
        terminated = bool(self._number(terminated, "terminated"))
        truncated = bool(self._number(truncated, "truncated")) or (
            self._elapsed >= self.task.horizon and not terminated
        )
        return self._observation(observation), reward, terminated, truncated, info

    def picture(self) -> np.ndarray:
        """The scene as it is, (height, width, 3) uint8; of an environment made with ``pictures``.

        Raises:
            HandrailError: the environment draws none.
        """
        try:
            picture: Any = self._its_own("render", self.env.render)
        except HandrailError as error:
            if isinstance(error.__cause__, NotImplementedError | gymnasium.error.Error):
                picture = None
            else:
                raise
        if not isinstance(picture, np.ndarray) or picture.ndim != 3 or picture.shape[2] < 3:
            raise HandrailError(f"{self.task.name} draws no pictures (render_mode rgb_array)")
        if picture.dtype != np.uint8:
            raise self._broken(f"render gives pictures of {picture.dtype}, not of uint8,")
        return picture[..., :3]

    def close(self) -> None:
        """What breaks then is passed over: all that was asked of the environment is done."""
        with contextlib.suppress(Exception):
            self.env.close()
