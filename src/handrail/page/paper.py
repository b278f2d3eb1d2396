"""A paper whose table is measured anew: its figures, and what its page differs in from others'."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from handrail.page.sources import Sources


@dataclass(frozen=True)
class Figures:
    """Means over episodes; ``success`` is a share of scenes, None where the paper has none."""

    return_: float
    cost: float
    success: float | None = None

    @property
    def told(self) -> str:
        success = "" if self.success is None else f", {self.success:.0%} succeed"
        return f"{_as_printed(self.return_)} / {_as_printed(self.cost)}{success}"


@dataclass(frozen=True)
class Above:
    """All that is known of a mean return is what it exceeds."""

    return_: float

    @property
    def told(self) -> str:
        return f"above {self.return_:g}"


@dataclass(frozen=True)
class PaperTask:
    label: str
    """The paper's name of the task."""
    methods: Mapping[str, Figures | Above]
    qc_correlation: tuple[float, float] | None = None
    """Rank correlation of Q_c before and after pre-alignment."""


@dataclass(frozen=True)
class Scale:
    """What makes returns of different tasks comparable, as scores."""

    ends: Callable[[str], tuple[float, float] | None]
    """Task -> the returns of the scores 0 and 1, rising; None where there are none."""
    told: str
    """What the two are."""
    undefined: str
    """Of which tasks there are none."""

    def unit(self, task: str) -> float | None:
        """The return between scores 0 and 1."""
        ends = self.ends(task)
        return None if ends is None else ends[1] - ends[0]

    def scores(self, task: str, returns: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """
        Raises:
            ValueError: the task has no scale.
        """
        ends = self.ends(task)
        if ends is None:
            raise ValueError(f"{task} has no scale: {self.undefined}")
        return (returns - ends[0]) / (ends[1] - ends[0])


@dataclass(frozen=True)
class Paper:
    """All that a paper's page differs in from another's."""

    name: str
    """Of the shipped table, and of the file of published figures; "" where there are none."""
    title: str
    own: str
    """The paper's own method."""
    scratch: tuple[str, ...]
    """Methods that begin with nothing."""
    methods: tuple[str, ...]
    """That are set side by side, in this order."""
    beside: tuple[str, ...]
    """From elsewhere: after the paper's methods, and no aim is judged by them."""
    variants: tuple[str, ...]
    """Of these methods: they stand in tables of their own, and in no figure."""
    note: str
    """What to know of the first table: its limits, and what is not in it."""
    published: str
    """Heads the column of published figures."""
    caveat: str
    """Of the published figures."""
    beginning: str
    """What a method may begin with, that a run of its own fitted."""
    scale: Scale
    sections: tuple[Callable[[Sources], str], ...]

    @property
    def tasks(self) -> Mapping[str, PaperTask]:
        return tasks(self.name) if self.name else {}

    def plain(self, task: str) -> str:
        """The paper's name of the task, or else our own."""
        return self.tasks[task].label if task in self.tasks else task

    def label(self, task: str) -> str:
        """The same in Markdown."""
        return self.plain(task) if task in self.tasks else f"`{task}`"


@cache
def tasks(name: str) -> dict[str, PaperTask]:
    """The published tasks of the paper by our names of them, in the paper's order."""
    file = resources.files("handrail") / "assets" / "published" / f"{name}.toml"
    read = tomllib.loads(file.read_text(encoding="utf-8"))
    found = {}
    for task, values in read.items():
        label, ranks = values.pop("label"), values.pop("qc_correlation", None)
        methods = {method: _figures(of) for method, of in values.items()}
        found[task] = PaperTask(label, methods, None if ranks is None else tuple(ranks))
    return found


def _figures(of: Mapping[str, float]) -> Figures | Above:
    if "above" in of:
        return Above(of["above"])
    return Figures(of["return"], of["cost"], of.get("success"))


def _as_printed(x: float) -> str:
    """With one decimal at least, as in the paper."""
    return max(f"{x:.1f}", f"{x:g}", key=len)
