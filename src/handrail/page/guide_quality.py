"""The part of the page that sets guides beside their students (GOLD, Sec. IV-D)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from handrail.page import panels
from handrail.page.measured import Result, Results
from handrail.page.sources import Sources
from handrail.page.words import commits, number, paragraphs, table, with_interval
from handrail.tables import definition


@dataclass(frozen=True)
class Pair:
    """A guide and its student on a task, in the seeds that both have."""

    task: str
    level: str
    """Of the demonstrations that both learn from."""
    kind: str
    """Of guide: BC or DT."""
    labels: tuple[str, str]
    """Of the guide and the student, in the table."""
    guide: tuple[Result, ...]
    student: tuple[Result, ...]
    """Of the same seeds, in the same order."""


def pairs(results: Results) -> list[Pair]:
    """What has been run of the guides and students of the table ``guides``, by task."""
    shipped = definition.read("guides")
    kinds = {row.label: row.name.upper() for row in shipped.method}
    found = []
    for task, row in itertools.product(shipped.tasks, shipped.method):
        if row.guide is None:
            continue
        guides = {run.seed: run for run in results.get((task, row.guide), ())}
        students = [run for run in results.get((task, row.label), ()) if run.seed in guides]
        if students:
            own, labels = tuple(guides[run.seed] for run in students), (row.guide, row.label)
            found.append(Pair(task, row.level, kinds[row.guide], labels, own, tuple(students)))
    return found


def guide_quality(sources: Sources) -> str:
    found = pairs(sources.guides)
    if not found:
        return ""
    rows = []
    for pair in found:
        gains = [s.return_ - g.return_ for s, g in zip(pair.student, pair.guide, strict=True)]
        cells = zip(pair.labels, (pair.guide, pair.student), strict=True)
        told = [text for label, runs in cells for text in (label, _told(sources, pair.task, runs))]
        row = [sources.paper.label(pair.task), *told, with_interval(gains, 1, strong=False)]
        rows.append([*row, str(len(gains))])
    _draw(sources, found)
    made = commits(run.commit for pair in found for run in (*pair.guide, *pair.student))
    return paragraphs(
        "## Guide quality",
        "Each guide of `handrail table guides` beside the student of the same seed that it guided, "
        "from demonstrations of the shipped expert and of its mediocre checkpoint (medium): mean "
        "return / mean cost of an evaluation episode, over seeds. The gain is the student's return "
        "less its guide's; in brackets the 95% bootstrap interval of its mean, too narrow where "
        f"seeds are few. Commits, and how many runs are of each: {made}.",
        table(
            ["task", "guide", "return / cost", "student", "return / cost", "gain", "seeds"],
            rows,
            "llrlrrr",
        ),
        sources.shown("guides", "From each guide's return and cost to its student's"),
        "From the guide (diamond) to its student (circle), means over seeds; shaded: within the "
        "limit.",
        _agreement(found),
    )


def _told(sources: Sources, task: str, runs: Sequence[Result]) -> str:
    return_, cost = _mean(runs)
    return f"{number(return_, 1)} / {number(cost, sources.cost_places(task))}"


def _mean(runs: Sequence[Result]) -> tuple[float, float]:
    """Return and cost, over seeds."""
    return float(np.mean([r.return_ for r in runs])), float(np.mean([r.cost for r in runs]))


def _draw(sources: Sources, found: Sequence[Pair]) -> None:
    shown = []
    for task in dict.fromkeys(pair.task for pair in found):
        ways = [
            panels.Way(p.kind, p.level == "expert", _mean(p.guide), _mean(p.student))
            for p in found
            if p.task == task
        ]
        shown.append(panels.TaskWays(sources.paper.plain(task), sources.limits(task), ways))
    panels.ways(shown, sources.figure("guides"))


# -- does a better guide make a better student? --------------------------------------------------


def _agreement(found: Sequence[Pair]) -> str:
    correlation = rank_correlation(found)
    told = "undefined" if correlation is None else number(correlation, 2)
    same, compared = same_order(found)
    return (
        "Does a better guide make a better student? Rank correlation of the guide's return with "
        "the student's, means over seeds, ranked within each task (returns of different tasks do "
        f"not compare): {told} (pairs: n = {len(found)}; tasks: {len({p.task for p in found})}). "
        "A student learns from its guide's demonstrations as well, so two levels differ in more "
        "than the guide. Of two guides from the same demonstrations, the one that earns more has "
        f"the student that earns more in {same} of {compared} comparisons."
    )


def rank_correlation(found: Sequence[Pair]) -> float | None:
    """Of guides' and students' returns, -1 to 1: Spearman's, on ranks less their task's mean rank.

    None where one of the two has no ranks to tell apart.
    """
    ranks = [
        [rank - rank.mean() for rank in map(rankdata, zip(*returns, strict=True))]
        for returns in _returns(found).values()
    ]
    guide, student = (np.concatenate(side) for side in zip(*ranks, strict=True))
    scale = np.sqrt((guide**2).sum() * (student**2).sum())
    return float(guide @ student / scale) if scale else None


def same_order(found: Sequence[Pair]) -> tuple[int, int]:
    """In how many comparisons of two pairs of a task and level the guide that earns more has the
    student that earns more, and how many there are. Guides that earn the same are not compared."""
    same = compared = 0
    for level in dict.fromkeys(pair.level for pair in found):
        for returns in _returns([p for p in found if p.level == level]).values():
            for one, other in itertools.combinations(returns, 2):
                guides, students = np.subtract(one, other)
                compared += bool(guides)
                same += bool(guides * students > 0)
    return same, compared


def _returns(found: Sequence[Pair]) -> dict[str, list[tuple[float, float]]]:
    """Guide's and student's of each pair, means over seeds, by task."""
    by_task: dict[str, list[tuple[float, float]]] = {}
    for pair in found:
        by_task.setdefault(pair.task, []).append((_mean(pair.guide)[0], _mean(pair.student)[0]))
    return by_task
