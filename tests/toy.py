"""A tiny task with a cost, as a user's own module would register it: ``gym/toy:Toy-v0``.

A point on a line earns its position and pays in the zone beyond 0.5, so that a return of more than
half a unit a step costs. ``ToyEnds-v0`` ends at a step that each episode draws, from 3 on,
``ToyEndsLarge-v0`` is the same with four times the rewards;
``ToyForgets-v0`` does not repeat itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from handrail import envs
from handrail.data import sources
from handrail.data.episodes import Episodes
from handrail.rollout import play
from handrail.types import Draws, Step

TOY, ENDS, LARGE, FORGETS = (
    f"gym/toy:{name}-v0" for name in ("Toy", "ToyEnds", "ToyEndsLarge", "ToyForgets")
)
HORIZON = 20
EDGE = 0.5


class Toy(gymnasium.Env):
    """Observes position, speed, and the part of the horizon that is over."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)  # not the unit box

    _resets = itertools.count()

    def __init__(self, ends: bool = False, forgets: bool = False, scale: float = 1.0):
        self.ends, self.forgets, self.scale = ends, forgets, scale

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        self.x, self.v, self.t = self.np_random.uniform(-0.5, 0.5), 0.0, 0
        self.end = self.np_random.integers(3, HORIZON) if self.ends else HORIZON + 1
        if self.forgets:
            self.x += 1e-3 * next(self._resets)
        return self._observation(), {}

    def step(self, action: np.ndarray):
        self.v = 0.5 * self.v + 0.1 * float(action[0])
        self.x, self.t = self.x + self.v, self.t + 1
        info = {"cost": float(self.x > EDGE)}
        over = bool(self.t >= self.end), self.t >= HORIZON
        return self._observation(), self.scale * self.x, *over, info

    def _observation(self) -> np.ndarray:
        return np.array([self.x, self.v, self.t / HORIZON], np.float32)


for _name, _options in (
    ("Toy", {}),
    ("ToyEnds", {"ends": True}),
    ("ToyEndsLarge", {"ends": True, "scale": 4.0}),
    ("ToyForgets", {"forgets": True}),
):
    gymnasium.register(f"{_name}-v0", Toy, max_episode_steps=HORIZON, kwargs=_options)


@dataclass(frozen=True)
class Steady:
    """Goes to ``goal`` with some noise; remembers in its carry how often it was asked."""

    goal: float = 0.3
    noise: float = 0.2

    def initial(self, batch: int) -> np.ndarray:
        return np.zeros(batch, int)

    def act(self, carry: Any, step: Step, draws: Draws) -> tuple[np.ndarray, Any]:
        x, v = step.observation[:, 0], step.observation[:, 1]
        action = 3 * (self.goal - x) - 2 * v + self.noise * draws.normal[:, 0]
        return np.clip(action, -1, 1)[:, None].astype(np.float32), carry + 1


def demonstrations(
    task: str = TOY, episodes: int = 8, seed: int = 0, goal: float = 0.3
) -> Episodes:
    played = play(Steady(goal), [envs.make(task)], range(seed, seed + episodes))
    return Episodes(tuple(played), task)


def demonstration_file(path: Path, task: str = TOY, episodes: int = 8) -> Path:
    sources.write(demonstrations(task, episodes), path)
    return path


@contextlib.contextmanager
def all_closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever simulator is made within it is closed at its end."""
    from handrail.envs.cmdp import CMDP

    opened: list[CMDP] = []
    closed: list[CMDP] = []
    init, close = CMDP.__init__, CMDP.close

    def opening(self: CMDP, *given: Any) -> None:
        init(self, *given)
        opened.append(self)

    def closing(self: CMDP) -> None:
        close(self)
        closed.append(self)

    monkeypatch.setattr(CMDP, "__init__", opening)
    monkeypatch.setattr(CMDP, "close", closing)
    yield
    assert opened
    assert {id(env) for env in opened} == {id(env) for env in closed}


@contextlib.contextmanager
def compiled_once(directory: Path) -> Iterator[None]:
    """Within it what was compiled is read back from ``directory``, by subprocesses too."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    settings = {
        "jax_compilation_cache_dir": str(directory),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
        "jax_compilation_cache_max_size": 2**34,  # with any, processes wait for each other's writes
    }
    before = {name: getattr(jax.config, name) for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def handrail(*arguments: object, group: int | None = None) -> subprocess.Popen:
    """The command in a process of its own, as a user types it; ``group=0``: at the head of a
    process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen(
        [Path(sys.executable).parent / "handrail", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=group,
    )
