"""The page's figures in the reward-cost plane, and what all its figures of small panels share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from jaxtyping import Float

from handrail.style import FEASIBLE, colours, draw_limits, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
HIGHEST = 4.0
"""Costs are shown up to here, in cost limits, where a method's mean cost exceeds it."""
_GREY = "#555555"
_APART = 18
"""Points from mark to mark that leave room for an arrow."""
_OWN = "*"
"""Marks a paper's own method, which stands out, on the other's page too."""
_MARKERS = {
    **dict.fromkeys(("BC", "DT", "CPQ"), "D"),
    **dict.fromkeys(("IQL", "CVPO", "From Scratch"), "s"),
    "IQL (demos)": "^",
    "Handrail": "P",
    **dict.fromkeys(("GOLD (DT-IQL)", "Marvel"), _OWN),
}


@dataclass(frozen=True)
class TaskPoints:
    """What a task's reward-cost panel shows."""

    title: str
    cost_limits: Sequence[float]
    """Rising; none where it is not known."""
    methods: Mapping[str, tuple[Float[np.ndarray, " R"], Float[np.ndarray, " R"]]]
    """Returns and costs, one a seed."""


@dataclass(frozen=True)
class Way:
    """From a guide to its student; both as return and cost."""

    kind: str
    """Of guide: it gives the colour."""
    filled: bool
    guide: tuple[float, float]
    student: tuple[float, float]


@dataclass(frozen=True)
class TaskWays:
    """What a task's panel of guides and students shows."""

    title: str
    cost_limits: Sequence[float]
    """Rising; none where it is not known."""
    ways: Sequence[Way]


_Shown = TypeVar("_Shown", TaskPoints, TaskWays)


def planes(tasks: Sequence[TaskPoints], methods: Sequence[str], path: Path) -> Figure:
    """Where each method stands between return and cost, a panel a task; what lies within the limit
    (the least, of several) is shaded. Large points are means over seeds, small ones the seeds; what
    costs more than ``HIGHEST`` times the limit (the largest) is named in words.

    Args:
        tasks: in the order of the panels.
        methods: all that the figure shows, in the legend's order.
        path: of the file to write.
    """
    from matplotlib.lines import Line2D

    colour = colours(methods)

    def show(axes: Axes, task: TaskPoints) -> None:
        beyond = []
        for method, (returns, costs) in task.methods.items():
            if costs.mean() > HIGHEST * max(task.cost_limits, default=np.inf) > 0:
                beyond.append(f"{method}: {returns.mean():.0f} / {costs.mean():.0f}")
                continue
            axes.plot(returns, costs, "o", color=colour[method], ms=3, alpha=0.45, mew=0)
            axes.plot(
                returns.mean(), costs.mean(), _MARKERS.get(method, "o"), color=colour[method],
                ms=14 if stands_out(method) else 8, mec="white", mew=1, label=method,
                zorder=6 if stands_out(method) else 5,
            )  # fmt: skip
        if beyond:  # in the picture they would press all others together
            axes.annotate(
                "\n".join(["beyond the picture:", *beyond]), (0.98, 0.98), fontsize="x-small",
                xycoords="axes fraction", ha="right", va="top", color=_GREY,
            )  # fmt: skip

    with styled() as new:
        rows, columns = grid(len(tasks))
        figure = new((max(2.7 * columns, 6.5), 2.7 * rows + 0.6))
        _reward_cost(figure, tasks, show)
        handles = [
            Line2D(
                [], [], color=colour[m], marker=_MARKERS.get(m, "o"), ls="", mec="white",
                ms=12 if stands_out(m) else 8, label=m,
            )
            for m in methods
        ]  # fmt: skip
        figure.legend(
            handles=handles, loc="outside upper center", ncols=min(4, len(handles)), handlelength=1
        )
        save(figure, path)
    return figure


def _reward_cost(
    figure: Figure, tasks: Sequence[_Shown], show: Callable[[Axes, _Shown], None]
) -> None:
    """A reward-cost panel for each task, with what ``show`` puts there and the limit."""
    rows, columns = grid(len(tasks))
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(tasks) :]:
        axes.set_visible(False)
    for i, (axes, task) in enumerate(zip(panels.flat, tasks, strict=False)):
        show(axes, task)
        axes.margins(0.12)
        _widen(axes)
        top = max(1.06 * axes.get_ylim()[1], 1.3 * max(task.cost_limits, default=0.0))
        axes.set_ylim(-0.06 * top, top)
        if task.cost_limits:
            axes.axhspan(-top, min(task.cost_limits), color=FEASIBLE, lw=0, zorder=0)
        named = draw_limits(axes, task.cost_limits)
        # Beside a long name there is no room for the limit: it stands a line lower.
        crowded = 7.2 * len(task.title) + 4.8 * len(named) > 155  # points, about
        axes.set_title(task.title + "\n" if crowded and named else task.title)
        round_ticks(axes)
        if i + columns >= len(tasks):
            axes.set_xlabel("return of an episode")
        if i % columns == 0:
            axes.set_ylabel("cost of an episode")


def _widen(axes: Axes) -> None:
    """At least a tenth of the returns there: what is next to nothing is to look so."""
    low, high = axes.get_xlim()
    missing = 0.1 * max(abs(low), abs(high)) - (high - low)
    if missing > 0:
        axes.set_xlim(low - missing / 2, high + missing / 2)


def ways(tasks: Sequence[TaskWays], path: Path) -> Figure:
    """From each guide to its student in the reward-cost plane, a panel a task.

    Args:
        tasks: in the order of the panels.
        path: of the file to write.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = list(dict.fromkeys(way.kind for task in tasks for way in task.ways))
    colour = colours(kinds)

    def show(axes: Axes, task: TaskWays) -> None:
        for way in task.ways:
            _marks(axes, way, colour[way.kind])

    with styled() as new:
        rows, columns = grid(len(tasks))
        figure = new((max(2.7 * columns, 6.5), 2.7 * rows + 0.9))
        _reward_cost(figure, tasks, show)
        handles = [
            *(Line2D([], [], color=colour[kind], lw=2, label=f"{kind} guides") for kind in kinds),
            Line2D([], [], color=_GREY, marker="D", ms=7.5, ls="", label="guide"),
            Line2D([], [], color=_GREY, marker="o", ms=8, ls="", label="student"),
            Patch(fc=_GREY, ec=_GREY, lw=1.6, label="expert demonstrations"),
            Patch(fc="white", ec=_GREY, lw=1.6, label="medium demonstrations"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=3, handlelength=1.2)
        figure.draw_without_rendering()  # fixes the layout: pixels mean something from here on
        for axes, task in zip(figure.axes, tasks, strict=False):
            for way in task.ways:
                _arrow(axes, way, colour[way.kind])
        save(figure, path)
    return figure


def _marks(axes: Axes, way: Way, colour: str) -> None:
    face, edge = (colour, "white") if way.filled else ("white", colour)
    # The student is the smaller mark, so that a guide behind it stays visible.
    for marker, size, point in (("D", 9, way.guide), ("o", 7, way.student)):
        axes.plot(
            *point, marker, mfc=face, mec=edge, mew=1 if way.filled else 1.6, ms=size, zorder=5
        )


def _arrow(axes: Axes, way: Way, colour: str) -> None:
    """From mark to mark, none where they touch; the figure's layout must be fixed."""
    ends = axes.transData.transform([way.guide, way.student])
    if np.hypot(*np.diff(ends, axis=0)[0]) * 72 / axes.figure.dpi < _APART:
        return
    axes.annotate(
        "", way.student, way.guide, zorder=4,
        arrowprops={
            "arrowstyle": "-|>", "color": colour, "lw": 1.6, "shrinkA": 5, "shrinkB": 4,
            "mutation_scale": 12, "linestyle": "-" if way.filled else (0, (4, 2)),
        },
    )  # fmt: skip


def stands_out(method: str) -> bool:
    return _MARKERS.get(method) == _OWN


def round_ticks(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def grid(tasks: int) -> tuple[int, int]:
    """Rows and columns: as few rows as can be, and these of about the same length."""
    rows = math.ceil(tasks / COLUMNS)
    return rows, math.ceil(tasks / rows)
