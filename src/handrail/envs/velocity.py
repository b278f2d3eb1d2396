"""The velocity tasks of Safety-Gymnasium (v1) and DSRL: MuJoCo robots with a speed limit.

    gym/AntVelocity  gym/HalfCheetahVelocity  gym/HopperVelocity  gym/HumanoidVelocity
    gym/SwimmerVelocity  gym/Walker2dVelocity

A step costs 1 where the robot is faster than its limit, of x alone or (Ant, Humanoid) over ground.
The robots are Gymnasium's v4, as there; tests hold these tasks to the original's steps.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium

from handrail.envs.cmdp import Task
from handrail.errors import HandrailError

_INSTALL = 'the velocity tasks need MuJoCo: pip install "handrail[native]"'
HORIZON = 1000


@dataclass(frozen=True)
class _Robot:
    limit: float
    """m/s"""
    reward_unit: float
    """What a step at the limit earns, about: the speed, and what staying upright does."""
    over_ground: bool = False
    """The speed is that over ground, not of x alone."""


_ROBOTS = {
    "Ant": _Robot(2.6222, 3.6, over_ground=True),
    "HalfCheetah": _Robot(3.2096, 3.2),
    "Hopper": _Robot(0.7402, 1.7),
    "Humanoid": _Robot(1.4149, 6.8, over_ground=True),
    "Swimmer": _Robot(0.2282, 0.23),
    "Walker2d": _Robot(2.3415, 3.3),
}


def tasks() -> list[Task]:
    """Needs no MuJoCo."""
    return [
        Task(
            f"gym/{name}Velocity",
            HORIZON,
            25.0,
            f"1 a step faster than {robot.limit:g} m/s",
            robot.reward_unit,
        )
        for name, robot in _ROBOTS.items()
    ]


class Velocity(gymnasium.Wrapper):
    """``info["cost"]`` of a speed limit."""

    def __init__(self, env: gymnasium.Env, robot: _Robot):
        super().__init__(env)
        self._robot = robot

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        speed = info["x_velocity"]
        if self._robot.over_ground:
            speed = math.hypot(speed, info["y_velocity"])
        cost = float(speed > self._robot.limit)
        info |= {"cost": cost, "cost_velocity": cost}
        return observation, reward, terminated, truncated, info


@contextlib.contextmanager
def _quiet_mujoco() -> Iterator[None]:
    """MuJoCo warns of an attribute in HalfCheetah's file, and writes that to a file of its own in
    the working directory."""
    mujoco: Any = importlib.import_module("mujoco")
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def make(name: str, pictures: bool) -> gymnasium.Env:
    """The environment of ``gym/NAME``.

    Raises:
        HandrailError: MuJoCo is not installed.
    """
    robot = name.removeprefix("gym/").removesuffix("Velocity")
    drawn = {"render_mode": "rgb_array"} if pictures else {}
    try:
        with _quiet_mujoco(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there is a v5; the tasks are defined on v4
            env = gymnasium.make(
                f"{robot}-v4", max_episode_steps=-1, disable_env_checker=True, **drawn
            )
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise HandrailError(_INSTALL) from error
    return Velocity(env, _ROBOTS[robot])
