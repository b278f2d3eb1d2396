"""The parts of the page, in Markdown. One that has nothing to say is "" and leaves no heading.

A new part is a function of the sources, and stands among the sections of a paper (``papers``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handrail.page import panels
from handrail.page.measured import Result
from handrail.page.sources import Sources
from handrail.page.words import (
    ENOUGH,
    bold,
    commits,
    listed,
    mean,
    number,
    paragraphs,
    table,
    told,
    with_interval,
)
from handrail.stats import iqm
from handrail.storage import write_file


def write(sources: Sources) -> None:
    """Write the page and its figures; the same sources give the same bytes."""
    parts = [text for section in sources.paper.sections if (text := section(sources))]
    sources.page.parent.mkdir(parents=True, exist_ok=True)
    write_file(sources.page, ("\n\n".join(parts) + "\n").encode())


# -- the whole -----------------------------------------------------------------------------------


def overview(sources: Sources) -> str:
    tasks, methods = sources.tasks, sources.methods
    rows = []
    for task in tasks:
        best = sources.best(task)
        cells = [sources.pair(task, method, best) for method in methods]
        rows.append([sources.paper.label(task), _limit(sources, task), *cells])
    whole, run = len(tasks) * len(sources.every_method), len(sources.results)
    several = any(len(sources.limits(task)) > 1 for task in tasks)
    return paragraphs(
        f"# {sources.paper.title}",
        f"{run} of {whole} cells (a task and a method) have been run. Each shows the mean return "
        "and the mean cost of an evaluation episode, over seeds, in brackets how many where "
        "there are several. Bold: the highest return of "
        "those whose mean cost is within the limit. "
        + ("Of several limits of a task each is held to its own, named below. " if several else "")
        + sources.paper.note,
        table(["task", "limit", *methods], rows, "lr" + "r" * len(methods)),
    )


def _limit(sources: Sources, task: str) -> str:
    limits = sources.limits(task)
    return listed([f"{limit:g}" for limit in limits]) if limits else "unknown"


def normalised(sources: Sources) -> str:
    methods = sources.methods
    rows = [
        [sources.paper.label(task), *(_normalised(sources, task, method) for method in methods)]
        for task in sources.tasks
    ]
    return paragraphs(
        "## Normalised return and cost",
        "As DSRL has them: the return is 0 at the least return of an episode of the task's data "
        "set and 1 at the largest, the cost 1 at the limit. Means over seeds and "
        "evaluation episodes, of the policy that a run ends in: the one that its validation "
        "episodes liked best. Bold as above.",
        table(["task", *methods], rows, "l" + "r" * len(methods)),
    )


def _normalised(sources: Sources, task: str, method: str) -> str:
    runs = sources.results.get((task, method), ())
    if not runs:
        return "not run"
    figures = [run.normalised_return for run in runs], [run.normalised_cost for run in runs]
    return bold(" / ".join(told(mean(of), 2) for of in figures), method == sources.best(task))


def tasks_in_detail(sources: Sources) -> str:
    begun = [task for task in sources.tasks if any(task == t for t, _ in sources.results)]
    parts = []
    for task in begun:
        what = f"`{task}`, cost limit of an episode: {_limit(sources, task)}."
        parts += [f"### {sources.paper.label(task)}", what, _detail(sources, task)]
    return paragraphs(
        "## Task by task",
        "Means over seeds; in brackets the 95% bootstrap interval of the mean, from "
        f"{ENOUGH} seeds on. Of few seeds it is too narrow: of three normal values it holds the "
        "true mean in 74% of all cases. `IQM` is the interquartile mean of the return "
        "over seeds, shown from four seeds on, with its own interval. `lowest` "
        "and `highest` are single evaluation episodes; `over` is the "
        "share of episodes above the limit; `training` is what all training episodes of a run "
        "cost together. " + (sources.paper.caveat if sources.paper.published else ""),
        *parts,
    )


def _detail(sources: Sources, task: str) -> str:
    best, known = sources.best(task), sources.paper.tasks.get(task)
    published = {} if known is None else known.methods
    published = {m: of for m, of in published.items() if m in sources.every_method}
    # Of fewer seeds the interquartile mean drops none: it is the mean.
    robust = any(len(sources.results.get((task, m), ())) > 3 for m in sources.every_method)
    several = len(sources.limits(task)) > 1
    heads = [
        "method",
        *(["limit"] if several else []),
        "return",
        *(["IQM"] if robust else []),
        "lowest",
        "cost",
        "highest",
        "over",
        "training",
        "seeds",
    ]
    rows = []
    for method in sources.every_method:
        runs = sources.results.get((task, method), ())
        row = [method, *(_measured(sources, task, runs, method == best) if runs else _not_run())]
        if robust:
            enough = len(runs) > 3
            row.insert(
                2, with_interval([r.return_ for r in runs], 1, statistic=iqm) if enough else ""
            )
        if several:
            limit = sources.limit(task, method)
            row.insert(1, "" if limit is None else f"{limit:g}")
        if published:
            row.append(published[method].told if method in published else "")
        rows.append(row)
    heads += [sources.paper.published] if published else []
    return table(heads, rows, "l" + "r" * (len(heads) - 1))


def _measured(sources: Sources, task: str, runs: Sequence[Result], best: bool) -> list[str]:
    places = sources.cost_places(task)
    trained = [run.training_cost for run in runs if run.training_cost is not None]
    return [
        with_interval([run.return_ for run in runs], 1, best),
        number(min(run.return_min for run in runs), 1),
        with_interval([run.cost for run in runs], places, best),
        number(max(run.cost_max for run in runs), 0),
        f"{np.mean([run.violation_rate for run in runs]):.0%}",
        number(float(np.mean(trained)), 0) if trained else "",
        str(len(runs)),
    ]


def _not_run() -> list[str]:
    return ["not run", "", "", "", "", "", "0"]


# -- figures -------------------------------------------------------------------------------------


def planes(sources: Sources) -> str:
    shown = []
    for task in sources.tasks:
        points = {
            m: (sources.returns(task, m), sources.costs(task, m))
            for m in sources.methods
            if (task, m) in sources.results
        }
        if points:
            shown.append(panels.TaskPoints(sources.paper.plain(task), sources.limits(task), points))
    if not shown:  # of variants alone, which the ablations show
        return ""
    drawn = [m for m in sources.methods if any(m in task.methods for task in shown)]
    panels.planes(shown, drawn, sources.figure("planes"))
    return paragraphs(
        "## Return and cost",
        sources.shown("planes", "Mean return and cost of each method, a panel a task"),
        "Large points are means over seeds, small ones the seeds; shaded: within the limit (of "
        f"several, the least). What costs more than {panels.HIGHEST:g} limits is named in words.",
    )


# -- how it was made -----------------------------------------------------------------------------


def times(sources: Sources) -> str:
    rows, apart = [], []
    for method in sources.every_method:
        runs = sources.runs_of(method)
        if not runs:
            continue
        minutes = [run.wall_seconds / 60 for run in runs]
        steps = [run.env_steps for run in runs]
        ends = dict.fromkeys([min(steps), max(steps)])
        row = [method, str(len(runs)), " to ".join(f"{steps:,}" for steps in ends)]
        row += [number(float(np.mean(minutes)), 1), f"{min(minutes):.1f} to {max(minutes):.1f}"]
        rows.append(row)
        if any(run.begun_apart for run in runs):
            apart.append(method)
    variants = [method for method in apart if method in sources.paper.variants]
    apart = [method for method in apart if method not in variants]
    apart += ["variants of these"] if variants else []
    note = (
        f" Where {sources.paper.beginning} was fitted by a run of its own ({listed(apart)}), its "
        "minutes are in that run's row, not in these."
        if apart
        else ""
    )
    return paragraphs(
        "## Time",
        "Environment steps and wall time of a run; the time depends on what else the machine did."
        + note,
        table(["method", "runs", "environment steps", "minutes", "least to most"], rows, "lrrrr"),
    )


def making(sources: Sources) -> str:
    runs = [run for cell in sources.results.values() for run in cell]
    judged = listed(str(n) for n in sorted({run.episodes for run in runs}))
    seeds = listed(str(n) for n in sorted({run.seed for run in runs}))
    command = " ".join(["handrail table", *filter(None, [sources.paper.name])])
    return paragraphs(
        "## How it was made",
        f"`handrail results` wrote this page and its figures from what `{command}` measured. "
        f"Training seeds: {seeds}. A run is judged by {judged} evaluation episodes, whose seeds, "
        "1000 upward, neither training nor validation uses; of several rows of one task, method "
        "and seed the last counts. Commits, and how many runs are "
        f"of each: {commits(run.commit for run in runs)}.",
    )
