"""The ``bullet/`` tasks: bullet-safety-gym 1.4.0, made a function of the seed.

That package draws from NumPy's and Python's global generators, ignores ``reset(seed=...)``, and
moves the box of its Reach tasks by the clock on the wall. Here its modules are given a ``numpy``, a
``random`` and a ``time`` of their own, which belong to the environment that is running: nobody
else's random state is read or moved, and time is the simulation's.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import importlib
import random
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from handrail.envs.cmdp import CMDP, Task
from handrail.errors import HandrailError

_INSTALL = 'the bullet tasks need pybullet: pip install "handrail[bullet]" (Python 3.11)'

# Horizons as bullet-safety-gym 1.4.0 registers them; cost limits: OmniSafe, DSRL and GOLD's code.
_OUTSIDE = "1 a step while |x| > 6 m"
_FAST = "1 a step beyond the speed limit or outside the corridor"
_TRAP = "1 a step that touches a bomb, which then vanishes"
_CONTACT = "1 a step in contact with an obstacle"
_AGENTS = ("Ball", "Car", "Drone", "Ant")
_UNITS = {  # what a step within the limit earns, about; CarCircle's expert: 1.3
    "BallCircle": 3.5, "CarCircle": 1.0, "DroneCircle": 2.5, "AntCircle": 0.5,
    "BallRun": 6.0, "CarRun": 2.8, "DroneRun": 2.0, "AntRun": 3.0,
}  # fmt: skip
_TASKS = [
    *(Task(f"bullet/{agent}{kind}", horizon, cost_limit, costs, _UNITS.get(agent + kind))
      for kind, horizons, cost_limit, costs in (
          ("Circle", (200, 300, 300, 500), 20.0, _OUTSIDE),
          ("Run", (100, 200, 200, 200), 20.0, _FAST),
          ("Gather", (250, 500, 500, 1000), 0.5, _TRAP),
          ("Reach", (250, 500, 500, 1000), 10.0, _CONTACT),
      )
      for agent, horizon in zip(_AGENTS, horizons, strict=True)),
    # GOLD's benchmark (ICRA 2024): the same tasks with 500-step episodes.
    Task("bullet/CarCircle-gold", 500, 10.0, _OUTSIDE, _UNITS["CarCircle"]),
    Task("bullet/CarGather-gold", 500, 0.5, _TRAP),
]  # fmt: skip


def tasks() -> list[Task]:
    """The tasks of this suite; needs no pybullet."""
    return list(_TASKS)


class _StandIns:
    """What the package's modules have for ``numpy``, ``random`` and ``time``."""

    def __init__(self) -> None:
        self.numpy = types.ModuleType("numpy")
        self.numpy.__dict__.update(np.__dict__)
        self.random = types.ModuleType("random")
        self.time = types.ModuleType("time")

    def use(self, generator: np.random.RandomState, uniform, seconds) -> None:
        """Let them be those of one environment, until it is another's turn."""
        vars(self.numpy)["random"] = generator
        vars(self.random)["uniform"] = uniform
        vars(self.time)["time"] = seconds


@contextlib.contextmanager
def _own_streams() -> Iterator[None]:
    """Where the package is loaded or builds: it warns, and silences the process's streams, which it
    knows by name; one that was put in their place (by a notebook, by pytest) has no such name.
    """
    streams = contextlib.redirect_stdout(sys.__stdout__), contextlib.redirect_stderr(sys.__stderr__)
    with warnings.catch_warnings(), streams[0], streams[1]:
        warnings.simplefilter("ignore")
        yield


def _load() -> tuple[Any, _StandIns]:
    """Import the package once and give its modules their stand-ins."""
    try:
        with _own_streams():
            builder: Any = importlib.import_module("bullet_safety_gym.envs.builder")
    except ImportError as error:
        raise HandrailError(_INSTALL) from error
    if not hasattr(builder, "_handrail"):
        own = _StandIns()
        for name in ("agents", "bases", "obstacles", "sensors", "tasks", "worlds"):
            module = importlib.import_module(f"bullet_safety_gym.envs.{name}")
            for alias, stand_in in (("np", own.numpy), ("random", own.random), ("time", own.time)):
                if hasattr(module, alias):
                    setattr(module, alias, stand_in)
        builder._handrail = own
    return builder, builder._handrail


def _plain(value: object) -> bool:
    """Whether a value is data alone: numbers, arrays, and containers of them."""
    if isinstance(value, list | tuple | collections.deque):
        return all(map(_plain, value))
    return value is None or isinstance(value, bool | int | float | str | np.ndarray | np.generic)


class _Seeded(gymnasium.Wrapper):
    """An episode of the wrapped environment depends on its seed and the actions alone.

    Besides the random generators and the clock, three things outlive an episode in the package:
    attributes of its objects (goal flags, last actions, positions changed in place), the motors'
    targets, and the world saved at the first reset. The first two are put back to what they were
    when built, the third is saved under a seed of its own.
    """

    def __init__(self, build, stand_ins: _StandIns):
        self._stand_ins = stand_ins
        self._entropy = np.random.SeedSequence()
        self._seed(0)
        super().__init__(build())
        world: Any = self.unwrapped
        self._world = world
        self._objects = [world, world.agent, world.task, world.world, *world.obstacles]
        self._objects += [v for o in self._objects[:3] for v in vars(o).values()
                          if type(v).__module__.startswith("bullet_safety_gym")]  # fmt: skip
        self._attributes = [self._data(o) for o in self._objects]
        self.env.reset()

    @staticmethod
    def _data(object_) -> dict:
        return {k: copy.deepcopy(v) for k, v in vars(object_).items()
                if _plain(v) and k != "stored_state_id"}  # fmt: skip

    def _seed(self, seed: int) -> None:
        self._generator = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
        self._uniform = random.Random(seed).uniform
        self._take_turn()

    def _take_turn(self) -> None:
        self._stand_ins.use(self._generator, self._uniform, self._seconds)

    def _seconds(self) -> float:
        """Simulated time since the reset: the box's speed is that of a run in real time."""
        return self._world.iteration * self._world.dt

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        if seed is None:
            seed = int(self._entropy.spawn(1)[0].generate_state(1)[0])
        self._seed(seed)
        for object_, attributes in zip(self._objects, self._attributes, strict=True):
            vars(object_).update(copy.deepcopy(attributes))
        for joint in self._world.agent.joint_list:
            joint.init_motor()
        return self.env.reset()

    def step(self, action):
        self._take_turn()
        return self.env.step(action)

    def render(self) -> np.ndarray:
        self._take_turn()
        return np.asarray(self._world.render("rgb_array"), np.uint8)


def make(name: str, pictures: bool = False) -> CMDP:
    """The task ``bullet/...`` as a CMDP; it draws pictures without being told before.

    Raises:
        HandrailError: pybullet or bullet-safety-gym is not installed, or the name is unknown.
    """
    task = next((t for t in _TASKS if t.name == name), None)
    if task is None:
        raise HandrailError(f"unknown task {name!r}; `handrail tasks` lists them")
    builder, stand_ins = _load()
    layout = name.removeprefix("bullet/").removesuffix("-gold")
    kwargs = gymnasium.spec(f"Safety{layout}-v0").kwargs
    with _own_streams():
        return CMDP(_Seeded(lambda: builder.EnvironmentBuilder(**kwargs), stand_ins), task)
