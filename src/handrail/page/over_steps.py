"""The parts of the page that follow training over environment steps."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from handrail.figures import over_seeds
from handrail.page import panels, step_panels
from handrail.page.sources import Sources
from handrail.page.words import bold, number, paragraphs, table


def curve(sources: Sources, task: str, method: str) -> step_panels.Curve | None:
    """Return and cost; None where there is none, or its seeds share no step."""
    returns, costs = (_values(sources, task, method, name) for name in ("return", "cost"))
    return None if returns is None or costs is None else (*returns, costs[1])


def _values(
    sources: Sources, task: str, method: str, name: str
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "R S"]] | None:
    """Steps, and each seed's values at them; None where there is no such curve."""
    return over_seeds(sources.curves.get((task, method), ()), name)


# -- return and cost -----------------------------------------------------------------------------


def curves(sources: Sources) -> str:
    shown, drawn = [], set()
    for task in sources.tasks:
        lines = {m: c for m in sources.methods if (c := curve(sources, task, m)) is not None}
        if not lines:
            continue
        levels = {
            m: (float(sources.returns(task, m).mean()), float(sources.costs(task, m).mean()))
            for m in sources.methods
            if (task, m) in sources.results and not acts(sources, m)
        }
        plain = sources.paper.plain(task)
        shown.append(step_panels.TaskCurves(plain, sources.limits(task), lines, levels))
        drawn |= {*lines, *levels}
    if not shown:
        return ""
    step_panels.curves(shown, [m for m in sources.methods if m in drawn], sources.figure("curves"))
    return paragraphs(
        "## Learning curves",
        sources.shown("curves", "Return and cost over environment steps, a pair of panels a task"),
        "Of validation episodes during training: lines are means over seeds, bands reach from "
        "the lowest seed to the highest; dotted: the level of methods that do not act in the "
        f"simulator, on evaluation episodes. Cost panels end at {panels.HIGHEST:g} times the "
        "limit at most.",
    )


def acts(sources: Sources, method: str) -> bool:
    """Whether the method acts in the simulator to learn."""
    return any(run.env_steps for run in sources.runs_of(method))


# -- what learning costs -------------------------------------------------------------------------


def training_cost(sources: Sources) -> str:
    methods = [m for m in sources.methods if acts(sources, m)]
    rows = [
        [sources.paper.label(task), *_spent(sources, task, methods)]
        for task in sources.tasks
        if any((task, m) in sources.results for m in methods)
    ]
    if not rows:
        return ""
    parts = [
        "## Cost of training",
        "What all training episodes of a run cost together: how safe the learning "
        "itself is. Means over seeds; bold: the least, which says nothing of what was learnt.",
        table(["task", *methods], rows, "l" + "r" * len(methods)),
    ]
    if _draw(sources, "train_cost", "spent", "cost so far"):
        parts.append(sources.shown("spent", "Cost of training so far over environment steps"))
        parts.append(_BANDS)
    return paragraphs(*parts)


def _spent(sources: Sources, task: str, methods: list[str]) -> list[str]:
    spent = {m: cost for m in methods if (cost := sources.training_cost(task, m)) is not None}
    least = min(spent.values(), default=None)
    return [
        bold(number(spent[m], 0), spent[m] == least)
        if m in spent
        else "unknown"
        if (task, m) in sources.results
        else "not run"
        for m in methods
    ]


_BANDS = "Lines are means over seeds, bands reach from the lowest seed to the highest."


def multipliers(sources: Sources) -> str:
    if not _draw(sources, "multiplier", "multiplier", "multiplier"):
        return ""
    return paragraphs(
        "## Multiplier",
        sources.shown("multiplier", "The multiplier over environment steps, a panel a task"),
        "What the cost counts for in the policy's loss (lambda), reward units for a unit of cost. "
        + _BANDS,
    )


def _draw(sources: Sources, column: str, figure: str, unit: str) -> bool:
    """Whether there was anything to draw."""
    shown = []
    for task in sources.tasks:
        found = {m: _values(sources, task, m, column) for m in sources.methods}
        lines = {m: values for m, values in found.items() if values is not None}
        if lines:
            shown.append(step_panels.TaskLines(sources.paper.plain(task), lines))
    drawn = [m for m in sources.methods if any(m in task.methods for task in shown)]
    if shown:
        step_panels.lines(shown, drawn, unit, sources.figure(figure))
    return bool(shown)
