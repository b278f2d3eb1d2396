"""What ``handrail table`` measured: results of cells, and their learning curves, checked."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from handrail import envs
from handrail.errors import HandrailError
from handrail.offline_methods import CPQ, BEARLag, Clone
from handrail.results import COLUMNS, CURVE_COLUMNS, RANK_COLUMNS, read_rows


@dataclass(frozen=True)
class Result:
    """A run of one seed, judged on its evaluation episodes. Returns and costs are undiscounted sums
    over an episode; means unless they say otherwise."""

    seed: int
    env_steps: int
    episodes: int
    """By how many it was judged."""
    return_: float
    return_min: float
    """Of a single episode."""
    cost: float
    cost_max: float
    """Of a single episode."""
    violation_rate: float
    """Share of episodes whose cost exceeds the limit."""
    training_cost: float | None
    """Of all training episodes together; None where a method does not act in the simulator."""
    wall_seconds: float
    commit: str
    begun_apart: bool
    """What it begins with, a guide or an offline policy, was fitted by a run of its own, whose time
    is not in ``wall_seconds``."""
    normalised_return: float | None
    """0 and 1 at the least and largest return of DSRL's data set; None where it has none."""
    normalised_cost: float | None
    """1 at the limit that the run was judged by."""
    cost_limit: float | None
    """Of an episode, undiscounted, that the run was judged by: the row's own, or else the task's;
    None where that is unknown."""


Results = Mapping[tuple[str, str], tuple[Result, ...]]
"""By task and method; seeds rise."""

Curve = Mapping[str, Float[np.ndarray, " E"]]
"""``step``, ``return``, ``cost``, ``train_cost`` and ``multiplier`` at each evaluation of a run;
steps rise. The last two are NaN where a run has none."""

Curves = Mapping[tuple[str, str], tuple[Curve, ...]]
"""By task and method; one of each seed, seeds rise."""

Rank = Mapping[str, tuple[float | None, float | None]]
"""Of ``q`` and ``qc``: the rank correlation with returns before and after pre-alignment; None where
all steps cost the same."""

Ranks = Mapping[tuple[str, str], tuple[Rank, ...]]
"""By task and method; one of each seed, seeds rise."""


def read_results(file: Path) -> Results:
    """The table; of several rows of a task, method and seed the last counts.

    Raises:
        HandrailError: there is no file, it is another table, has no rows, or a value is no number.
    """
    cells: dict[tuple[str, str], dict[int, Result]] = {}
    for where, row in _rows(file, COLUMNS):
        of = _Fields(where, row)
        settings = of.settings()
        cells.setdefault((row["task"], row["method"]), {})[of.whole("seed")] = Result(
            seed=of.whole("seed", least=0),
            env_steps=of.whole("env_steps", least=0),
            episodes=of.whole("episodes", least=1),
            return_=of.number("return"),
            return_min=of.number("return_min"),
            cost=of.number("cost", least=0),
            cost_max=of.number("cost_max", least=0),
            violation_rate=of.number("violation_rate", least=0, most=1),
            training_cost=of.optional("cumulative_cost"),
            wall_seconds=of.number("wall_seconds"),
            commit=row["commit"],
            begun_apart=_begun_apart(settings),
            normalised_return=of.optional("normalised_return"),
            normalised_cost=of.optional("normalised_cost"),
            cost_limit=of.limit(settings),
        )
    return {cell: tuple(of[seed] for seed in sorted(of)) for cell, of in cells.items()}


def _begun_apart(settings: Mapping[str, Any]) -> bool:
    """Whether it begins with another run's guide or offline policy, not with one of its own."""
    own = {"guide": ("bc", "dt"), "offline": (CPQ.name, BEARLag.name, Clone.name)}
    return any(settings.get(name, names[0]) not in names for name, names in own.items())


def read_curves(file: Path) -> Curves:
    """The learning curves; of several rows of a task, method, seed and step the last counts.

    Raises:
        HandrailError: there is no file, it is another table, has no rows, or a value is no number.
    """
    cells: dict[tuple[str, str], dict[int, dict[int, list[float]]]] = {}
    for where, row in _rows(file, CURVE_COLUMNS):
        of = _Fields(where, row)
        seeds = cells.setdefault((row["task"], row["method"]), {})
        points = seeds.setdefault(of.whole("seed"), {})
        step = of.whole("step")
        points[step] = [of.number("return"), of.number("cost")]
        spare = [of.optional(column) for column in ("train_cost", "multiplier")]
        points[step] += [math.nan if value is None else value for value in spare]
    return {cell: tuple(_curve(of[seed]) for seed in sorted(of)) for cell, of in cells.items()}


def read_ranks(file: Path) -> Ranks:
    """The rank correlations; of several rows of a task, method and seed the last counts.

    Raises:
        HandrailError: as of :func:`read_curves`; or one is beyond -1 and 1.
    """
    cells: dict[tuple[str, str], dict[int, Rank]] = {}
    for where, row in _rows(file, RANK_COLUMNS):
        of = _Fields(where, row)
        for column in RANK_COLUMNS[3:]:
            if abs(of.optional(column) or 0) > 1:
                raise HandrailError(f"{where}: {column} is {row[column]}, beyond -1 and 1")
        cells.setdefault((row["task"], row["method"]), {})[of.whole("seed")] = {
            critic: (of.optional(f"{critic}_before"), of.optional(f"{critic}_after"))
            for critic in ("q", "qc")
        }
    return {cell: tuple(of[seed] for seed in sorted(of)) for cell, of in cells.items()}


def _curve(points: Mapping[int, Sequence[float]]) -> Curve:
    steps = sorted(points)
    values = np.array([points[step] for step in steps], np.float64)
    names = ("return", "cost", "train_cost", "multiplier")
    return {"step": np.array(steps, np.float64), **dict(zip(names, values.T, strict=True))}


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row and, for a complaint, where it is."""
    try:
        rows = read_rows(file, columns)
    except FileNotFoundError:
        raise HandrailError(f"{file}: no such file; `handrail table` writes it") from None
    if not rows:
        raise HandrailError(f"{file} has no rows; `handrail table` adds them")
    for number, row in enumerate(rows, 1):
        where = f"{file}, row {number}"
        if any(value is None for value in row.values()):
            raise HandrailError(f"{where} is cut short; remove it, `handrail table` mends it")
        yield where, row


@dataclass(frozen=True)
class _Fields:
    where: str
    row: Mapping[str, str]

    def number(self, column: str, least: float = -math.inf, most: float = math.inf) -> float:
        try:
            value = float(self.row[column])
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._wrong(column, "number")
        if not least <= value <= most:
            most_ = f", and {most:g} at most" if most < math.inf else ""
            raise self._wrong(column, f"number of {least:g} or more{most_}")
        return value

    def optional(self, column: str) -> float | None:
        """None where the cell is empty."""
        return self.number(column) if self.row[column] else None

    def whole(self, column: str, least: float = -math.inf) -> int:
        try:
            found = int(self.row[column])
        except ValueError:
            raise self._wrong(column, "whole number") from None
        self.number(column, least)
        return found

    def settings(self) -> dict:
        try:
            found = json.loads(self.row["settings"])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._wrong("settings", "JSON object")
        return found

    def limit(self, settings: Mapping[str, Any]) -> float | None:
        limit = settings.get("cost_limit")
        if limit is None:
            return envs.cost_limit(self.row["task"])
        if type(limit) not in (int, float) or not 0 <= limit < math.inf:
            raise self._wrong("settings", "JSON object with a cost_limit of 0 or more")
        return limit

    def _wrong(self, column: str, wanted: str) -> HandrailError:
        return HandrailError(
            f"{self.where}: {column} is {self.row[column]!r}, not a {wanted}; remove the row and "
            "have its run judged again"
        )
