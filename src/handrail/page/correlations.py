"""The part of the page that tells whether pre-alignment makes critics rank as returns do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from handrail.page import rank_panels
from handrail.page.measured import Rank
from handrail.page.sources import Sources
from handrail.page.words import number, paragraphs, table

METHODS = ("Marvel", "Marvel (entropy)", "Marvel (BEAR-Lag)")
"""That pre-align each in a way of their own; a plain PID changes nothing of it."""
CRITICS = {"q": "Q", "qc": "Q_c"}
"""As the figure writes them."""


@dataclass(frozen=True)
class _Cell:
    seeds: int
    critics: Mapping[str, list[tuple[float, float]]]
    """Before and after, of the seeds that have both."""


def correlations(sources: Sources) -> str:
    found = sources.ranks
    cells = {
        (task, method): _cell(found[task, method])
        for task in dict.fromkeys([*sources.tasks, *(task for task, _ in found)])
        for method in METHODS
        if (task, method) in found
    }
    if not cells:
        return ""
    own = sources.paper.own
    shown = [
        rank_panels.TaskChanges(
            sources.paper.plain(task), {CRITICS[c]: of for c, of in cell.critics.items()}
        )
        for (task, method), cell in cells.items()
        if method == own
    ]
    parts = [
        "## Rank correlation of the critics",
        "Spearman's rank correlation of Q, and of Q_c, at the steps of the offline policy's own "
        "episodes with what came after (discounted return, discounted cost), before and after "
        "pre-alignment: means over seeds. Of a seed whose steps all cost the same there is none. "
        "Reviews of the paper give that of Q_c on random rollouts, which need not compare.",
        table(
            [
                "task",
                "method",
                "Q before",
                "Q after",
                "Q_c before",
                "Q_c after",
                "seeds",
                "reviews: Q_c",
            ],
            [_row(sources, task, method, cell) for (task, method), cell in cells.items()],
            "llrrrrrr",
        ),
    ]
    if shown:
        rank_panels.changes(shown, "rank correlation", sources.figure("correlations"))
        alt = "Rank correlation of Q and Q_c before and after pre-alignment, a panel a task"
        parts += [
            sources.shown("correlations", alt),
            f"Of {own}: thick lines are means over seeds, thin ones the seeds.",
        ]
    return paragraphs(*parts)


def _row(sources: Sources, task: str, method: str, cell: _Cell) -> list[str]:
    told = [text for critic in CRITICS for text in _means(cell, critic)]
    known = sources.paper.tasks.get(task)
    ranks = known.qc_correlation if known and method == sources.paper.own else None
    reviews = "" if ranks is None else f"{ranks[0]:.2f}, then {ranks[1]:.2f}"
    return [sources.paper.label(task), method, *told, str(cell.seeds), reviews]


def _means(cell: _Cell, critic: str) -> list[str]:
    pairs = cell.critics[critic]
    if not pairs:
        return ["none", "none"]
    few = "" if len(pairs) == cell.seeds else f" ({len(pairs)} of {cell.seeds})"
    return [number(float(np.mean(of)), 2) + few for of in zip(*pairs, strict=True)]


def _cell(seeds: Sequence[Rank]) -> _Cell:
    return _Cell(
        len(seeds),
        {
            critic: [
                (x, y) for x, y in (of[critic] for of in seeds) if x is not None and y is not None
            ]
            for critic in CRITICS
        },
    )
