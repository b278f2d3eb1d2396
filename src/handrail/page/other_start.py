"""The part of the page where all go on from another offline policy than the table's own."""

from __future__ import annotations

from handrail.page.over_tasks import score
from handrail.page.sources import Sources
from handrail.page.words import paragraphs, table

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
        cells = (sources.pair(task, m, best) for m in methods)
        rows.append([sources.paper.label(task), *cells])
    scaled = all(sources.paper.scale.unit(task) for task in sources.tasks)
    whole = [m for m in methods if scaled and sources.has_run([m]) == sources.tasks]
    rows.append(["score", *(score(sources, m, tasks) if m in whole else "" for m in methods)])
    names = [m.removesuffix(f" ({OTHER})") for m in methods]
    return paragraphs(
        f"## From {OTHER}'s policy",
        f"The same with the policy and the critics of {OTHER} to go on from: return / cost, means "
        "over seeds, in brackets how many where there are several. Bold: the highest return of "
        "the row whose mean cost is within the limit. Score: the "
        "interquartile mean over tasks and seeds of the normalised return, where all tasks have "
        "been run.",
        table(["task", *names], rows, "l" + "r" * len(names)),
    )
