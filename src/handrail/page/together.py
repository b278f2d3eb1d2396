"""The part of the page that sets what joins both papers beside the two."""

from __future__ import annotations

from handrail.page.sources import Sources
from handrail.page.words import bold, number, paragraphs, table

GOLD = "GOLD (DT-IQL)"
TRIOS = ((GOLD, "Marvel", "Handrail"), (GOLD, "Marvel (BEAR-Lag)", "Handrail (BEAR-Lag)"))
OTHER_START = (
    "Marvel and Handrail from the policy of BEAR-Lag instead of that of CPQ, on the same data; "
    "GOLD has no offline policy, its column is the same."
)


def together(sources: Sources) -> str:
    first, from_bear = (_compared(sources, *trio) for trio in TRIOS)
    if not first and not from_bear:
        return ""
    return paragraphs(
        "## GOLD, Marvel and both joined",
        "The two papers answer one question; Handrail joins them (`docs/handrail.md`). From the "
        "same data sets, at equal online steps: return / cost, the cost of all training episodes "
        "of a run. Ahead: it earns more than either of the two that keeps within the limit, and "
        "keeps within it. Seeds: the fewest of the three.",
        *((first,) if first else ()),
        *((OTHER_START, from_bear) if from_bear else ()),
    )


def _compared(sources: Sources, gold: str, marvel: str, joined: str) -> str:
    """A row a task that all three have been run on, and how many `joined` leads; "" without one."""
    trio = [gold, marvel, joined]
    rows, ahead = [], []
    for task in sources.has_run(trio):
        best = sources.best(task, trio)
        cells = [_told(sources, task, m, best) for m in trio]
        seeds = min(len(sources.results[task, m]) for m in trio)
        ahead.append(best == joined)
        rows.append([sources.paper.label(task), *cells, "yes" if ahead[-1] else "no", f"{seeds}"])
    if not rows:
        return ""
    rows.append(["ahead on", "", "", "", bold(f"{sum(ahead)} of {len(ahead)}"), ""])
    return table(["task", *trio, "ahead of both", "seeds"], rows, "lrrrlr")


def _told(sources: Sources, task: str, method: str, best: str | None) -> str:
    told = sources.pair(task, method, best)
    spent = sources.training_cost(task, method)
    return told if spent is None else f"{told}, {number(spent, 0)}"
