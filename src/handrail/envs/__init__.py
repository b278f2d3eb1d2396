"""Tasks by name: ``suite/Name``. A suite is a module with ``tasks()`` and ``make(name)``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from handrail.envs import bullet, gym, native
from handrail.envs.cmdp import CMDP, Task
from handrail.errors import HandrailError
from handrail.types import Spec

SUITES = {"native": native, "bullet": bullet, "gym": gym}

__all__ = ["CMDP", "SUITES", "Task", "cost_limit", "make", "several", "spec", "tasks"]


def tasks() -> list[Task]:
    """Every named task, suite by suite."""
    return [task for suite in SUITES.values() for task in suite.tasks()]


def cost_limit(name: str) -> float | None:
    """Of an episode of the task where none is stated; None where no suite names the task. Needs no
    simulator."""
    if name.startswith("gym/"):
        return next((t.cost_limit for t in gym.tasks() if t.name == name), gym.COST_LIMIT)
    return next((task.cost_limit for task in tasks() if task.name == name), None)


def make(name: str, pictures: bool = False) -> CMDP:
    """The task's simulator; with ``pictures``, one whose ``picture`` can be asked for.

    Raises:
        HandrailError: no such task, or its suite is not installed; the line says what to do.
    """
    suite = SUITES.get(name.split("/", 1)[0])
    known = [task.name for task in tasks()]
    if suite is None or (suite is not gym and name not in known):
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise HandrailError(f"unknown task {name!r}; {hint}`handrail tasks` lists them")
    return suite.make(name, pictures)


def spec(name: str) -> Spec:
    """Of the task, as its simulator has it.

    Raises:
        HandrailError: as of :func:`make`.
    """
    with closing(make(name)) as env:
        return env.spec_


@contextmanager
def several(name: str, count: int) -> Iterator[list[CMDP]]:
    """So many simulators of the task, closed at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(make(name))) for _ in range(count)]
