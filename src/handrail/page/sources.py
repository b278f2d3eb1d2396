"""What the page is made from, by task and method."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jaxtyping import Float

from handrail import envs
from handrail.page.measured import Curves, Ranks, Result, Results
from handrail.page.paper import Paper
from handrail.page.words import bold, mean, number
from handrail.types import within


@dataclass(frozen=True)
class Sources:
    """What the page is made from, and where it will lie."""

    paper: Paper
    results: Results
    curves: Curves
    """Empty where none were given."""
    page: Path
    guides: Results = field(default_factory=dict)
    """Of the table ``guides``; empty where none were given."""
    runs: Path | None = None
    """The directory in which a table made its runs."""
    ranks: Ranks = field(default_factory=dict)
    """Rank correlations of critics; empty where none were given."""

    @property
    def tasks(self) -> list[str]:
        """The paper's, in its order, then others that were run."""
        return _ordered(self.paper.tasks, (task for task, _ in [*self.results, *self.curves]))

    @property
    def methods(self) -> list[str]:
        """Those set side by side: the paper's, in its order, then others that were run."""
        return [m for m in self.every_method if m not in self.paper.variants]

    @property
    def every_method(self) -> list[str]:
        """And, after the paper's and those beside them, the variants."""
        known = (*self.paper.methods, *self.paper.beside, *self.paper.variants)
        return _ordered(known, (method for _, method in [*self.results, *self.curves]))

    def runs_of(self, method: str) -> list[Result]:
        """Of all tasks and seeds."""
        return [run for (_, of), cell in self.results.items() if of == method for run in cell]

    def returns(self, task: str, method: str) -> Float[np.ndarray, " R"]:
        """One a seed; none where the cell was not run."""
        return np.array([run.return_ for run in self.results.get((task, method), ())])

    def costs(self, task: str, method: str) -> Float[np.ndarray, " R"]:
        """One a seed; none where the cell was not run."""
        return np.array([run.cost for run in self.results.get((task, method), ())])

    def training_cost(self, task: str, method: str) -> float | None:
        """Mean over seeds; None where the cell was not run, or a seed has none."""
        return mean([run.training_cost for run in self.results.get((task, method), ())])

    def limit(self, task: str, method: str) -> float | None:
        """Of an episode's cost, that the cell was judged by: the strictest, where its seeds have
        several; None where it is unknown."""
        found = [run.cost_limit for run in self.results.get((task, method), ())]
        return min((x for x in found if x is not None), default=None)

    def limits(self, task: str) -> list[float]:
        """By which runs of the task were judged, rising; the task's own where none has been run,
        and none where that is unknown."""
        runs = (run for (of, _), cell in self.results.items() if of == task for run in cell)
        found = {run.cost_limit for run in runs} - {None}
        own = envs.cost_limit(task)
        return sorted(x for x in found or {own} if x is not None)

    def within(self, task: str, method: str, slack: float = 1.0) -> bool:
        """Whether the cell's mean cost keeps its limit, times ``slack``; not where the limit is
        unknown."""
        limit = self.limit(task, method)
        return limit is not None and bool(within(self.costs(task, method).mean(), slack * limit))

    def cost_places(self, task: str) -> int:
        """Decimals of a cost: two where a limit is about one step's."""
        return 1 if min(self.limits(task), default=0.0) >= 2 else 2

    def pair(self, task: str, method: str, best: str | None) -> str:
        """Return / cost of a cell, means over seeds, and how many where there are several; in bold
        where the method is the ``best``."""
        if (task, method) not in self.results:
            return "not run"
        returns, costs = self.returns(task, method), self.costs(task, method)
        figures = f"{number(returns.mean(), 1)} / {number(costs.mean(), self.cost_places(task))}"
        seeds = f" ({len(returns)})" if len(returns) > 1 else ""
        return bold(figures, method == best) + seeds

    def best(self, task: str, methods: Sequence[str] | None = None) -> str | None:
        """Of these (or all) methods the one that earns most with its mean cost within the limit."""
        kept = [
            m
            for m in (self.methods if methods is None else methods)
            if (task, m) in self.results and self.within(task, m)
        ]
        return max(kept, key=lambda m: self.returns(task, m).mean(), default=None)

    @property
    def judged(self) -> list[str]:
        """The methods that the paper's own is judged against, itself among them."""
        return [m for m in self.methods if m not in self.paper.beside]

    def has_run(self, methods: Sequence[str]) -> list[str]:
        """The tasks on which all these methods have been run."""
        return [t for t in self.tasks if all((t, m) in self.results for m in methods)]

    def figure(self, name: str) -> Path:
        """The file of a figure, beside the page."""
        return self.page.parent / "figures" / f"{self.page.stem}-{name}.png"

    def shown(self, name: str, alt: str) -> str:
        """The figure in Markdown, ``alt`` for those who cannot see it."""
        return f"![{alt}]({quote(self.figure(name).relative_to(self.page.parent).as_posix())})"


def _ordered(first: Iterable[str], found: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*first, *found]))
