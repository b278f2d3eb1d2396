"""The page's figures over environment steps: small panels of all tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from handrail.page.panels import HIGHEST, grid, round_ticks, stands_out
from handrail.style import colours, draw_limits, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curve = tuple[Float[np.ndarray, " S"], Float[np.ndarray, "R S"], Float[np.ndarray, "R S"]]
"""Environment steps, and at each the return and the cost of every seed."""


@dataclass(frozen=True)
class TaskCurves:
    """What a task's two panels show."""

    title: str
    cost_limits: Sequence[float]
    """Rising; none where it is not known."""
    methods: Mapping[str, Curve]
    levels: Mapping[str, tuple[float, float]]
    """Return and cost of methods that do not act in the simulator."""


@dataclass(frozen=True)
class TaskLines:
    """What a task's single panel over environment steps shows."""

    title: str
    methods: Mapping[str, tuple[Float[np.ndarray, " S"], Float[np.ndarray, "R S"]]]
    """Environment steps, and at each the value of every seed."""


def curves(tasks: Sequence[TaskCurves], methods: Sequence[str], path: Path) -> Figure:
    """Return above cost of each task over environment steps, as in GOLD's Fig. 2.

    Lines are means over seeds, bands reach from the lowest seed to the highest; dotted lines are
    the levels of methods that do not act in the simulator.

    Args:
        tasks: in the order of the panels.
        methods: all that the figure shows, in the legend's order.
        path: of the file to write.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter

    colour = colours(methods)
    with styled() as new:
        rows, columns = grid(len(tasks))
        figure = new((max(2.7 * columns, 6.5), 3.9 * rows + 0.6))
        panels = figure.subplots(2 * rows, columns, squeeze=False)
        for axes in panels.flat:
            axes.set_visible(False)
        for i, task in enumerate(tasks):
            row, column = divmod(i, columns)
            above, below = panels[2 * row][column], panels[2 * row + 1][column]
            for which, axes in enumerate((above, below)):
                axes.set_visible(True)
                for method, (steps, *values) in task.methods.items():
                    _line(axes, steps, values[which], colour[method], stands_out(method))
                for method, level in task.levels.items():
                    axes.axhline(level[which], color=colour[method], ls=":", lw=1.6)
                axes.margins(x=0.02)
                axes.xaxis.set_major_formatter(EngFormatter(sep=""))
                round_ticks(axes)
            _cost_axis(below, task.cost_limits)
            above.set_title(task.title)
            above.tick_params(labelbottom=False)
            below.set_xlabel("environment steps")
            if column == 0:
                above.set_ylabel("return")
                below.set_ylabel("cost")
        acting = {method for task in tasks for method in task.methods}
        handles = [
            Line2D([], [], color=colour[m], lw=2, ls="-" if m in acting else ":", label=m)
            for m in methods
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)))
        save(figure, path)
    return figure


def lines(tasks: Sequence[TaskLines], methods: Sequence[str], unit: str, path: Path) -> Figure:
    """A quantity of at least 0 over environment steps, a panel a task.

    Args:
        tasks: in the order of the panels.
        methods: all that the figure shows, in the legend's order.
        unit: of the quantity, beside the panels.
        path: of the file to write.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter

    colour = colours(methods)
    with styled() as new:
        rows, columns = grid(len(tasks))
        figure = new((max(2.7 * columns, 6.5), 2.5 * rows + 0.6))
        panels = figure.subplots(rows, columns, squeeze=False)
        for axes in panels.flat[len(tasks) :]:
            axes.set_visible(False)
        for i, (axes, task) in enumerate(zip(panels.flat, tasks, strict=False)):
            for method, (steps, values) in task.methods.items():
                _line(axes, steps, values, colour[method], stands_out(method))
            axes.margins(x=0.02)
            round_ticks(axes)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_ylim(bottom=0)
            if axes.get_ylim()[1] > 1000:  # below 1 it would write 500m
                axes.yaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_title(task.title)
            if i + columns >= len(tasks):
                axes.set_xlabel("environment steps")
            if i % columns == 0:
                axes.set_ylabel(unit)
        handles = [Line2D([], [], color=colour[m], lw=2, label=m) for m in methods]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(4, len(handles)))
        save(figure, path)
    return figure


def _line(axes: Axes, steps, values: Float[np.ndarray, "R S"], colour: str, first: bool) -> None:
    """The mean over seeds, and a band from the lowest to the highest."""
    order, width, alpha = (4, 2.2, 0.2) if first else (3, 1.5, 0.1)
    dot = "o" if len(steps) == 1 else None
    mean = values.mean(axis=0)
    axes.plot(steps, mean, color=colour, lw=width, marker=dot, zorder=order)
    if len(values) > 1:
        low, high = values.min(axis=0), values.max(axis=0)
        axes.fill_between(steps, low, high, color=colour, alpha=alpha, lw=0, zorder=order - 2)


def _cost_axis(axes: Axes, limits: Sequence[float]) -> None:
    top, largest = axes.get_ylim()[1], max(limits, default=0.0)
    if largest:  # a limit of 0 gives no scale
        top = min(max(top, 1.5 * largest), HIGHEST * largest)
    axes.set_ylim(0, top)
    draw_limits(axes, limits)
