"""The parts of the page, in Markdown. One that has nothing to say is "" and leaves no heading.

A new part is a function of the sources, and a line in ``SECTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from handrail.figures import over_seeds
from handrail.page import panels, paper
from handrail.page.guide_quality import guide_quality
from handrail.page.measured import Result
from handrail.page.over_tasks import over_tasks
from handrail.page.sources import OWN, SCRATCH, Sources
from handrail.page.trajectories import trajectories
from handrail.page.words import (
    as_printed,
    bold,
    commits,
    listed,
    number,
    paragraphs,
    table,
    with_interval,
)
from handrail.storage import write_file


def write(sources: Sources) -> None:
    """Write the page and its figures; the same sources give the same bytes."""
    parts = [text for section in SECTIONS if (text := section(sources))]
    sources.page.parent.mkdir(parents=True, exist_ok=True)
    write_file(sources.page, ("\n\n".join(parts) + "\n").encode())


# -- the whole -----------------------------------------------------------------------------------


def overview(sources: Sources) -> str:
    tasks, methods = sources.tasks, sources.methods
    rows = []
    for task in tasks:
        best = sources.best(task)
        cells = [_pair(sources, task, method, method == best) for method in methods]
        rows.append([paper.label(task), _limit(task), *cells])
    whole, run = len(tasks) * len(methods), len(sources.results)
    return paragraphs(
        "# GOLD, Table I",
        f"{run} of {whole} cells (a task and a method) have been run. Each shows the mean return "
        "and the mean cost of an evaluation episode, over seeds. Bold: the highest return of "
        "those whose mean cost is within the limit. The limits are this project's, the paper "
        "names none.",
        table(["task", "limit", *methods], rows, "lr" + "r" * len(methods)),
    )


def _pair(sources: Sources, task: str, method: str, best: bool) -> str:
    if (task, method) not in sources.results:
        return "not run"
    cost = number(sources.costs(task, method).mean(), paper.cost_places(task))
    return bold(f"{number(sources.returns(task, method).mean(), 1)} / {cost}", best)


def _limit(task: str) -> str:
    limit = paper.cost_limit(task)
    return "unknown" if limit is None else f"{limit:g}"


def tasks_in_detail(sources: Sources) -> str:
    begun = [task for task in sources.tasks if any(task == t for t, _ in sources.results)]
    parts = []
    for task in begun:
        told = f"`{task}`, cost limit of an episode: {_limit(task)}."
        parts += [f"### {paper.label(task)}", told, _detail(sources, task)]
    return paragraphs(
        "## Task by task",
        "Means over seeds; in brackets the 95% bootstrap interval of the mean, none of a single "
        "seed. Of few seeds it is too narrow: of three normal values it holds the true mean in "
        "74% of all cases. `lowest` and `highest` are single evaluation episodes; `over` is the "
        "share of episodes above the limit; `training` is what all training episodes of a run "
        "cost together. The paper's limits and episodes need not be ours.",
        *parts,
    )


def _detail(sources: Sources, task: str) -> str:
    best, published = sources.best(task), paper.gold().get(task)
    heads = ["method", "return", "lowest", "cost", "highest", "over", "training", "seeds"]
    rows = []
    for method in sources.methods:
        runs = sources.results.get((task, method), ())
        row = [method, *(_measured(task, runs, method == best) if runs else _not_run())]
        if published:
            row.append(_published(published.methods.get(method)))
        rows.append(row)
    heads += ["paper: return / cost"] if published else []
    return table(heads, rows, "l" + "r" * (len(heads) - 1))


def _measured(task: str, runs: Sequence[Result], best: bool) -> list[str]:
    places = paper.cost_places(task)
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


def _published(figures: paper.Figures | None) -> str:
    if figures is None:
        return ""
    success = "" if figures.success is None else f", {figures.success:.0%} succeed"
    return f"{as_printed(figures.return_)} / {as_printed(figures.cost)}{success}"


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
            shown.append(panels.TaskPoints(paper.label(task), paper.cost_limit(task), points))
    drawn = [m for m in sources.methods if any(m in task.methods for task in shown)]
    panels.planes(shown, drawn, sources.figure("planes"))
    return paragraphs(
        "## Return and cost",
        sources.shown("planes", "Mean return and cost of each method, a panel a task"),
        "Large points are means over seeds, small ones the seeds; shaded: within the limit.",
    )


def curves(sources: Sources) -> str:
    shown, drawn = [], set()
    for task in sources.tasks:
        lines = {m: c for m in sources.methods if (c := _curve(sources, task, m)) is not None}
        if not lines:
            continue
        levels = {
            m: (float(sources.returns(task, m).mean()), float(sources.costs(task, m).mean()))
            for m in sources.methods
            if (task, m) in sources.results and not _acts(sources, m)
        }
        shown.append(panels.TaskCurves(paper.label(task), paper.cost_limit(task), lines, levels))
        drawn |= {*lines, *levels}
    if not shown:
        return ""
    panels.curves(shown, [m for m in sources.methods if m in drawn], sources.figure("curves"))
    return paragraphs(
        "## Learning curves",
        sources.shown("curves", "Return and cost over environment steps, a pair of panels a task"),
        "Of validation episodes during training: lines are means over seeds, bands reach from "
        "the lowest seed to the highest; dotted: the level of methods that do not act in the "
        f"simulator, on evaluation episodes. Cost panels end at {panels.HIGHEST:g} times the "
        "limit at most.",
    )


def steps_to_reach(sources: Sources) -> str:
    gold = [m for m in sources.methods if m.startswith("GOLD")]
    rows = []
    for task in sources.tasks:
        known = {m: c for m in SCRATCH if (c := _curve(sources, task, m)) is not None}
        if not known:
            continue
        scratch = max(known, key=lambda m: known[m][1].mean(axis=0)[-1])
        steps, returns, costs = known[scratch]
        goal, cost = returns.mean(axis=0)[-1], costs.mean(axis=0)[-1]
        own = float(steps[np.argmax(returns.mean(axis=0) >= goal)])
        places, saved = paper.cost_places(task), ""
        to_beat = f"{scratch}: {number(goal, 1)} / {number(cost, places)}"
        row = [paper.label(task), to_beat, f"{own:,.0f}"]
        for method in gold:
            curve = _curve(sources, task, method)
            if curve is None:
                row.append("no curve")
            elif (there := _reached(curve, goal)) is None:
                row.append(f"not in {curve[0][-1]:,.0f}")
            else:
                row.append(f"{there[0]:,.0f} ({number(there[1], places)})")
                saved = f"{own - there[0]:,.0f}" if method == OWN else saved
        rows.append([*row, saved])
    if not rows:
        return ""
    heads = ["task", "best from scratch: return / cost at its end", "there after", *gold]
    return paragraphs(
        "## Steps to reach the best method from scratch",
        "Environment steps at the first evaluation whose mean return over seeds is no less than "
        "what the better of IQL and CVPO from scratch has at its last one; in brackets the mean "
        "cost there. GOLD begins with demonstrations, whose steps, and updates on them, are not "
        "counted.",
        table([*heads, f"{OWN} saves"], rows, "ll" + "r" * (len(gold) + 2)),
    )


def _reached(curve: panels.Curve, goal: float) -> tuple[float, float] | None:
    """Steps and mean cost where the mean return is first at the goal."""
    steps, returns, costs = curve
    there = np.flatnonzero(returns.mean(axis=0) >= goal)
    if not there.size:
        return None
    return float(steps[there[0]]), float(costs[:, there[0]].mean())


def _curve(sources: Sources, task: str, method: str) -> panels.Curve | None:
    """None where there is none, or its seeds share no step."""
    runs = sources.curves.get((task, method), ())
    returns, costs = (over_seeds(runs, name) for name in ("return", "cost"))
    return None if returns is None or costs is None else (*returns, costs[1])


def _acts(sources: Sources, method: str) -> bool:
    """Whether the method acts in the simulator to learn."""
    return any(run.env_steps for run in sources.runs_of(method))


# -- how it was made -----------------------------------------------------------------------------


def times(sources: Sources) -> str:
    rows, apart = [], []
    for method in sources.methods:
        runs = sources.runs_of(method)
        if not runs:
            continue
        minutes = [run.wall_seconds / 60 for run in runs]
        steps = [run.env_steps for run in runs]
        ends = dict.fromkeys([min(steps), max(steps)])
        row = [method, str(len(runs)), " to ".join(f"{steps:,}" for steps in ends)]
        row += [number(float(np.mean(minutes)), 1), f"{min(minutes):.1f} to {max(minutes):.1f}"]
        rows.append(row)
        if any(run.guide_apart for run in runs):
            apart.append(method)
    note = (
        f" Where a guide was fitted by a run of its own ({listed(apart)}), its minutes are in that "
        "run's row, not in these."
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
    return paragraphs(
        "## How it was made",
        "`handrail results` wrote this page and its figures from what `handrail table gold` "
        f"measured. Training seeds: {seeds}. A run is judged by {judged} evaluation episodes, "
        "whose seeds, 1000 upward, neither training nor validation uses; of several rows of one "
        "task, method and seed the last counts. Commits, and how many runs are of each: "
        f"{commits(run.commit for run in runs)}.",
    )


SECTIONS: tuple[Callable[[Sources], str], ...] = (
    overview,
    over_tasks,
    planes,
    curves,
    steps_to_reach,
    guide_quality,
    trajectories,
    tasks_in_detail,
    times,
    making,
)
