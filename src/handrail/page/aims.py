"""The part of the page that sets a paper's own method against what it is to reach."""

from __future__ import annotations

import numpy as np

from handrail.page.sources import Sources
from handrail.page.words import bold, listed, number, paragraphs, table
from handrail.stats import stratified_bootstrap

SLACK = 1.1
"""Of the limit, that a cost at the end may reach."""

_Judged = tuple[bool | None, str]
"""Whether an aim is met, None where it is not known yet; and what tells so."""


def aims(sources: Sources) -> str:
    own, (scratch,) = sources.paper.own, sources.paper.scratch
    rows, met = [], []
    for task in sources.tasks:
        judged = [judge(sources, task) for judge in (_return, _cost, _training)]
        met.append([reached for reached, _ in judged])
        seeds = str(len(sources.results.get((task, own), ())))
        rows.append([sources.paper.label(task), *(_told(*aim) for aim in judged), seeds])
    counts = []
    for of in zip(*met, strict=True):
        known = [reached for reached in of if reached is not None]
        counts.append(bold(f"{sum(known)} of {len(known)}"))
    text = [
        f"What {own} is to reach on every task. Tied: the 95% bootstrap interval of the difference "
        "of the two means holds 0, which few seeds make easy; the mean cost over seeds is held "
        "to the limit itself there. Behind each verdict what it follows from: returns; cost / "
        f"limit; the cost of all training episodes of a run, {own}'s and {scratch}'s."
    ]
    if beside := [m for m in sources.paper.beside if sources.runs_of(m)]:
        text.append(f"Not counted: {listed(beside)}.")
    if gaps := _gaps(sources):
        text.append(
            f"Judged against fewer than all other methods, as not all have been run: {gaps}."
        )
    heads = ["task", "best or tied return within the limit", f"cost / limit at most {SLACK:g}"]
    heads += [f"training costs less than {scratch}", "seeds"]
    rows.append(["met on", *counts, ""])
    return paragraphs("## Aims", " ".join(text), table(heads, rows, "llllr"))


def _told(reached: bool | None, why: str) -> str:
    if reached is None:
        return why
    return f"{'yes' if reached else bold('no')}: {why}"


def _return(sources: Sources, task: str) -> _Judged:
    own, best = sources.paper.own, sources.best(task, sources.judged)
    if (task, own) not in sources.results:
        return None, "not run"
    mine = sources.returns(task, own)
    told = number(mine.mean(), 1)
    if sources.limit(task, own) is None:
        return None, "limit unknown"
    if best is None or not sources.within(task, own):
        return False, f"{told} above the limit"
    if best == own:
        run = sum((task, m) in sources.results for m in sources.judged)
        if run == 1:
            return None, "nothing to compare with"
        return True, f"{told}, the best of {run}"
    theirs = sources.returns(task, best)
    tied = _tied(mine, theirs)
    beside = ", tied with" if tied else " against"
    return tied, f"{told}{beside} {number(theirs.mean(), 1)} of {best}"


def _tied(mine: np.ndarray, theirs: np.ndarray) -> bool:
    def difference(drawn: np.ndarray, axis: int) -> np.ndarray:
        one, other = np.split(drawn, [len(mine)], axis=axis)
        return one.mean(axis=axis) - other.mean(axis=axis)

    low, high = stratified_bootstrap([mine, theirs], difference)
    return low <= 0 <= high


def _cost(sources: Sources, task: str) -> _Judged:
    own = sources.paper.own
    if (task, own) not in sources.results:
        return None, "not run"
    limit, cost = sources.limit(task, own), sources.costs(task, own).mean()
    if not limit:
        return None, "no limit to divide by"
    return sources.within(task, own, SLACK), number(cost / limit, 2)


def _training(sources: Sources, task: str) -> _Judged:
    own, (scratch,) = sources.paper.own, sources.paper.scratch
    spent = [sources.training_cost(task, method) for method in (own, scratch)]
    mine, theirs = spent
    if mine is None or theirs is None:
        return None, f"{own if mine is None else scratch} not run"
    sign = "<" if mine < theirs else "≥"
    return mine < theirs, f"{number(mine, 0)} {sign} {number(theirs, 0)}"


def _gaps(sources: Sources) -> str:
    """Where the return was judged against a part of the other methods, and how many those are."""
    own, others = sources.paper.own, [m for m in sources.judged if m != sources.paper.own]
    told = []
    for task in sources.has_run([own]):
        run = sum((task, m) in sources.results for m in others)
        if run < len(others):
            told.append(f"{sources.paper.label(task)} ({run} of {len(others)})")
    return listed(told) if told else ""
