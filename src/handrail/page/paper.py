"""The published table that results stand beside, and the scale that it gives each task."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from jaxtyping import Float

from handrail import envs

ZERO, ONE = "CVPO", "GOLD (DT-IQL)"
"""The methods whose published returns are scores 0 and 1."""


@dataclass(frozen=True)
class Figures:
    """Means over episodes; ``success`` is a share of scenes, None where the paper has none."""

    return_: float
    cost: float
    success: float | None = None


@dataclass(frozen=True)
class PaperTask:
    label: str
    """The paper's name of the task."""
    methods: Mapping[str, Figures]

    @property
    def unit(self) -> float | None:
        """The return between scores 0 and 1; None where the paper's GOLD is not ahead of its CVPO,
        so that a score would not rise with the return."""
        unit = self.methods[ONE].return_ - self.methods[ZERO].return_
        return unit if unit > 0 else None

    def scores(self, returns: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Returns -> scores: 0 as the paper's CVPO, 1 as its GOLD (DT-IQL).

        Raises:
            ValueError: the task has no unit.
        """
        if self.unit is None:
            raise ValueError(f"{self.label} has no scale: in the paper {ONE} is not ahead")
        return (returns - self.methods[ZERO].return_) / self.unit


@cache
def gold() -> dict[str, PaperTask]:
    """Table I of GOLD by our names of its tasks, in the paper's order."""
    file = resources.files("handrail") / "assets" / "published" / "gold.toml"
    read = tomllib.loads(file.read_text(encoding="utf-8"))
    tasks = {}
    for name, task in read.items():
        label = task.pop("label")
        methods = {m: Figures(f["return"], f["cost"], f.get("success")) for m, f in task.items()}
        tasks[name] = PaperTask(label, methods)
    return tasks


@cache
def cost_limit(task: str) -> float | None:
    """Of an episode, undiscounted; None where no suite names the task. Needs no simulator."""
    return next((known.cost_limit for known in envs.tasks() if known.name == task), None)


def within(task: str, cost: float) -> bool:
    """Whether a mean cost keeps the task's limit; not where the limit is unknown."""
    limit = cost_limit(task)
    return limit is not None and cost <= limit


def label(task: str) -> str:
    """The paper's name of the task, or else our own."""
    return gold()[task].label if task in gold() else f"`{task}`"


def cost_places(task: str) -> int:
    """Decimals of a cost: two where a limit is about one step's."""
    limit = cost_limit(task)
    return 1 if limit is not None and limit >= 2 else 2
