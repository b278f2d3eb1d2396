"""The part of the page that takes Marvel apart, and sets its multiplier against a plain PID."""

from __future__ import annotations

from collections.abc import Sequence

from handrail.page.sources import Sources
from handrail.page.words import mean, paragraphs, table, told

WHOLE = "Marvel"
VARIANTS = {
    "Warm Start": "no pre-alignment",
    "Marvel (PID)": "PID for adaptive PID",
    "Marvel (entropy)": "entropies in pre-alignment",
    "Marvel (BEAR-Lag)": "BEAR-Lag for CPQ",
}
"""What each differs in from the whole."""
PID = " (PID)"
"""Ends the label of a row whose multiplier is a plain PID, not an adaptive one."""


def ablations(sources: Sources) -> str:
    parts = [_parts(sources), _pid(sources)]
    if not any(parts):
        return ""
    return paragraphs(
        "## Ablations",
        "Normalised return / normalised cost / cost of all training episodes of a run, means over "
        "seeds. Intervals of single cells stand under Task by task.",
        *(part for of in parts for part in of),
    )


def _parts(sources: Sources) -> list[str]:
    """The whole beside what lacks a part, by task."""
    if not any((task, m) in sources.results for task in sources.tasks for m in VARIANTS):
        return []
    tasks = [t for t in sources.tasks if any((t, m) in sources.results for m in (WHOLE, *VARIANTS))]
    rows = [
        [sources.paper.label(task), *(_cell(sources, task, m) for m in (WHOLE, *VARIANTS))]
        for task in tasks
    ]
    rows.append(["difference", "", *(_difference(sources, m) for m in VARIANTS)])
    heads = ["task", WHOLE, *(f"{m}: {what}" for m, what in VARIANTS.items())]
    return [
        table(heads, rows, "l" + "r" * (len(heads) - 1)),
        f"The difference: each variant less {WHOLE}, the mean over the tasks that both have been "
        "run on.",
    ]


def _pid(sources: Sources) -> list[str]:
    """Each method with the adaptive multiplier and with the plain one, over tasks."""
    rows = []
    for method in sources.methods:
        if tasks := sources.has_run([method, method + PID]):
            both = [_over_tasks(sources, tasks, label) for label in (method, method + PID)]
            rows.append([method, *(cell for cells in both for cell in cells), str(len(tasks))])
    if not rows:
        return []
    heads = ["method", "adaptive PID", "within the limit", "PID", "within the limit", "tasks"]
    return [
        table(heads, rows, "lrrrrr"),
        "Means over the tasks that a method has been run on with both multipliers, and on how many "
        "of them the mean cost over seeds is within the limit.",
    ]


def _cell(sources: Sources, task: str, method: str) -> str:
    return (
        _shown(_figures(sources, task, method)) if (task, method) in sources.results else "not run"
    )


def _over_tasks(sources: Sources, tasks: Sequence[str], method: str) -> tuple[str, str]:
    figures = [_figures(sources, task, method) for task in tasks]
    within = sum(sources.within(task, method) for task in tasks)
    return _shown([mean(of) for of in zip(*figures, strict=True)]), f"{within} of {len(tasks)}"


def _difference(sources: Sources, method: str) -> str:
    tasks = sources.has_run([WHOLE, method])
    if not tasks:
        return ""
    less = []
    for task in tasks:
        both = zip(_figures(sources, task, method), _figures(sources, task, WHOLE), strict=True)
        less.append([None if x is None or y is None else x - y for x, y in both])
    count = f"{len(tasks)} task{'s' if len(tasks) > 1 else ''}"
    return f"{_shown([mean(of) for of in zip(*less, strict=True)], '+')} ({count})"


def _figures(sources: Sources, task: str, method: str) -> list[float | None]:
    """Of a cell: normalised return, normalised cost, cost of training."""
    runs = sources.results[task, method]
    return [
        mean([run.normalised_return for run in runs]),
        mean([run.normalised_cost for run in runs]),
        sources.training_cost(task, method),
    ]


def _shown(figures: Sequence[float | None], sign: str = "") -> str:
    return " / ".join(told(x, places, sign) for x, places in zip(figures, (2, 2, 0), strict=True))
