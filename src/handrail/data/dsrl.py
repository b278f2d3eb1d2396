"""DSRL (Liu et al. 2024, arXiv 2306.09303): its data sets by our names of their tasks, and its
normalised figures."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class DataSet:
    """What DSRL says of one of its sets; returns and costs are undiscounted sums of an episode."""

    task: str
    """By our name."""
    horizon: int
    trajectories: int
    returns: tuple[float, float]
    """Least and largest."""
    cost: int
    """Largest."""

    @property
    def file(self) -> str:
        """What DSRL calls the file."""
        return file_name(self.task, self.cost, self.trajectories)

    def normalised_return(self, return_: float) -> float:
        """0 at the set's least return, 1 at its largest."""
        low, high = self.returns
        return (return_ - low) / (high - low)


@cache
def sets() -> dict[str, DataSet]:
    """By task."""
    file = resources.files("handrail") / "assets" / "published" / "dsrl.toml"
    read = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        (task := f"{suite}/{name}"): DataSet(task, **values | {"returns": tuple(values["returns"])})
        for suite, tasks in read.items()
        for name, values in tasks.items()
    }


def normalised_cost(cost: float, cost_limit: float) -> float:
    """(C + eps) / (limit + eps), eps = 1 where the limit is 0, else 0: 1 at the limit."""
    epsilon = 0.0 if cost_limit else 1.0
    return (cost + epsilon) / (cost_limit + epsilon)


def file_name(task: str, cost: float, trajectories: int) -> str:
    """Safety<Task>-v0-<largest cost>-<trajectories>.hdf5; of Safety-Gymnasium's tasks the name ends
    in Gymnasium, and the velocity tasks are v1."""
    suite, _, name = task.partition("/")
    kind = {"native": "Gymnasium-v0", "gym": "Gymnasium-v1"}.get(suite, "-v0")
    return f"Safety{name}{kind}-{round(cost)}-{trajectories}.hdf5"
