"""The part of the page that sums up over tasks (Agarwal et al., arXiv 2108.13264)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from handrail.page.sources import Sources
from handrail.page.words import ENOUGH, listed, number, paragraphs, table, too_few
from handrail.stats import evenly, iqm, probability_of_improvement, stratified_bootstrap

_HEADS = ("method", "score", "cost / limit", "tasks within the limit")


def over_tasks(sources: Sources) -> str:
    methods, tasks = _block(sources)
    if not tasks:
        return ""
    own, scale = sources.paper.own, sources.paper.scale
    mine = [sources.returns(task, own) for task in tasks], _over_limits(sources, tasks, own)
    rows = []
    for method in methods:
        returns = [sources.returns(task, method) for task in tasks]
        costs = _over_limits(sources, tasks, method)
        within = sum(sources.within(task, method) for task in tasks)
        row = [method, score(sources, method, tasks), _over_seeds(costs, np.mean)]
        row.append(f"{within} of {len(tasks)}")
        for ours, other, sign in ((mine[0], returns, 1), (mine[1], costs, -1)):
            row.append("" if method == own else _improvement(ours, other, sign))
        rows.append(row)
    units = "; ".join(f"{sources.paper.label(task)} {scale.unit(task):.4g}" for task in tasks)
    return paragraphs(
        "## Over tasks",
        f"Returns are scaled so that {scale.told}; "
        f"the return between the two: {units}. The score is the interquartile mean over tasks and "
        "seeds, the cost the plain mean of cost / limit (an interquartile mean would drop the "
        "worst quarter, which a limit is about); in both each task weighs the same, however many "
        f"seeds it has. The last columns: how likely a run of {own} "
        "earns more, or costs less, than a run of the method on the same task; 50% is even. In "
        "brackets 95% intervals, from seeds drawn anew within each task (Agarwal et al., arXiv "
        "2108.13264); they are too narrow where seeds are few, and none is given where a cell "
        f"has fewer than {ENOUGH}. The score counts return alone, of what is beyond the limit too.",
        table([*_HEADS, "earns more", "costs less"], rows, "lrrrrr"),
        _left_out(sources, methods, tasks),
    )


def _block(sources: Sources) -> tuple[list[str], list[str]]:
    """The paper's methods, its own among them, and tasks that hold the most cells without a gap;
    and those beside the paper's, where they have been run on all of these."""
    own = sources.paper.own
    fit = [t for t in sources.has_run([own]) if _comparable(sources, t)]
    others = [m for m in sources.judged if any((t, m) in sources.results for t in fit)]
    others = [m for m in others if m != own]
    run = {m: frozenset(t for t in fit if (t, m) in sources.results) for m in others}
    shared = {frozenset(fit)}  # sets of tasks that some methods have in common
    for of in set(run.values()):
        shared |= {tasks & of for tasks in shared}
    blocks = ([[m for m in others if tasks <= run[m]], tasks] for tasks in shared)
    chosen, within = max(
        blocks,
        key=lambda b: (len(b[1]) * (len(b[0]) + 1), len(b[0]), sorted(fit.index(t) for t in b[1])),
    )
    methods = [m for m in sources.methods if m in (*chosen, own)]
    tasks = [t for t in fit if t in within]
    beside = [m for m in sources.paper.beside if all((t, m) in sources.results for t in tasks)]
    return [*methods, *beside], tasks


def _comparable(sources: Sources, task: str) -> bool:
    """Where returns have a scale, and all cells one limit to divide costs by."""
    limits = sources.limits(task)
    return bool(sources.paper.scale.unit(task)) and len(limits) == 1 and limits[0] > 0


def _left_out(sources: Sources, methods: list[str], tasks: list[str]) -> str:
    """Which tasks it is over, and what was run and yet is not in it."""
    run, label = set(sources.results), sources.paper.label
    others = [t for t in sources.tasks if t not in tasks and any(t == of for of, _ in run)]
    gaps = [m for m in sources.methods if m not in methods and any(m == of for _, of in run)]
    gaps += [label(task) for task in others if _comparable(sources, task)]
    odd = [label(task) for task in others if not _comparable(sources, task)]
    text = [
        f"Tasks: {listed(map(label, tasks))}; with these methods they are the largest part "
        "of the table that has no gap, as far as the paper's own methods go."
    ]
    if gaps:
        text.append(f"Left out, as not all of their cells have been run: {listed(gaps)}.")
    if odd:
        text.append(
            f"Left out, as the score is undefined ({sources.paper.scale.undefined}, or no one "
            f"limit above 0 to divide by): {listed(odd)}."
        )
    return " ".join(text)


def _over_limits(sources: Sources, tasks: Sequence[str], method: str) -> list[np.ndarray]:
    return [sources.costs(task, method) / (sources.limit(task, method) or np.nan) for task in tasks]


def score(sources: Sources, method: str, tasks: Sequence[str]) -> str:
    """The interquartile mean over these tasks and their seeds of the scaled returns."""
    scale = sources.paper.scale
    return _over_seeds([scale.scores(t, sources.returns(t, method)) for t in tasks], iqm)


def _over_seeds(tasks: Sequence[np.ndarray], plain: Callable) -> str:
    statistic = evenly(plain, [len(task) for task in tasks])
    found = number(float(statistic(np.concatenate(tasks))), 2)
    if few := too_few(tasks):
        return f"{found} ({few})"
    low, high = stratified_bootstrap(tasks, statistic)
    return f"{found} ({number(low, 2)} to {number(high, 2)})"


def _improvement(ours: Sequence[np.ndarray], other: Sequence[np.ndarray], sign: int) -> str:
    mine, theirs = ([sign * task for task in method] for method in (ours, other))
    found, (low, high) = probability_of_improvement(mine, theirs)
    if few := too_few([*ours, *other]):
        return f"{found:.0%} ({few})"
    return f"{found:.0%} ({low:.0%} to {high:.0%})"
