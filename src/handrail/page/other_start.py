"""The part of the page where all go on from another offline policy than the table's own."""

from __future__ import annotations

from handrail.page.sources import Sources
from handrail.page.words import mean, paragraphs, table, told

OTHER = "BEAR-Lag"
"""The offline learner; what goes on from its policy has it in brackets."""


def other_start(sources: Sources) -> str:
    methods = [m for m in sources.every_method if m == OTHER or m.endswith(f"({OTHER})")]
    methods = [m for m in methods if sources.runs_of(m)]
    if not any(m != OTHER for m in methods):
        return ""
    tasks = [t for t in sources.tasks if any((t, m) in sources.results for m in methods)]
    rows = []
    for task in tasks:
        best = sources.best(task, methods)
        cells = (_cell(sources, task, m, best) for m in methods)
        rows.append([sources.paper.label(task), *cells])
    rows.append(["score", *(_score(sources, m) for m in methods)])
    names = [m.removesuffix(f" ({OTHER})") for m in methods]
    return paragraphs(
        f"## From {OTHER}'s policy",
        f"The same with the policy and the critics of {OTHER} to go on from: return / cost, means "
        "over seeds, in brackets how many where there are several. Bold: the highest return of "
        "the row whose mean cost is within the limit. Score: the mean over tasks of the "
        "normalised return, where all of them have been run.",
        table(["task", *names], rows, "l" + "r" * len(names)),
    )


def _cell(sources: Sources, task: str, method: str, best: str | None) -> str:
    seeds = len(sources.returns(task, method))
    text = sources.pair(task, method, best)
    return f"{text} ({seeds})" if seeds > 1 else text


def _score(sources: Sources, method: str) -> str:
    """Each task weighs the same, however many seeds it has."""
    if sources.has_run([method]) != sources.tasks:
        return ""
    over = [
        mean([run.normalised_return for run in sources.results[task, method]])
        for task in sources.tasks
    ]
    return told(mean(over), 2)
