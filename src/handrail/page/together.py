"""The part of the page that sets what joins both papers beside the two."""

from __future__ import annotations

from handrail.page import paper
from handrail.page.sources import Sources
from handrail.page.words import bold, number, paragraphs, table

PARENTS, JOINED = ("GOLD (DT-IQL)", "Marvel"), "Handrail"


def together(sources: Sources) -> str:
    rows, ahead = [], []
    for task in sources.has_run([*PARENTS, JOINED]):
        best = sources.best(task, [*PARENTS, JOINED])
        cells = [_told(sources, task, m, m == best) for m in (*PARENTS, JOINED)]
        seeds = min(len(sources.results[task, m]) for m in (*PARENTS, JOINED))
        ahead.append(best == JOINED)
        rows.append([sources.paper.label(task), *cells, "yes" if ahead[-1] else "no", f"{seeds}"])
    if not rows:
        return ""
    rows.append(["ahead on", "", "", "", bold(f"{sum(ahead)} of {len(ahead)}"), ""])
    return paragraphs(
        "## GOLD, Marvel and both joined",
        "The two papers answer one question; Handrail joins them (`docs/handrail.md`). From the "
        "same data sets, at equal online steps: return / cost, the cost of all training episodes "
        "of a run. Ahead: it earns more than either of the two that keeps within the limit, and "
        "keeps within it. Seeds: the fewest of the three.",
        table(["task", *PARENTS, JOINED, "ahead of both", "seeds"], rows, "lrrrlr"),
    )


def _told(sources: Sources, task: str, method: str, best: bool) -> str:
    cost = number(sources.costs(task, method).mean(), paper.cost_places(task))
    told = bold(f"{number(sources.returns(task, method).mean(), 1)} / {cost}", best)
    spent = sources.training_cost(task, method)
    return told if spent is None else f"{told}, {number(spent, 0)}"
