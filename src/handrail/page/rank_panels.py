"""The page's figure of rank correlations, before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handrail.page.panels import grid
from handrail.style import BLUE, VERMILLION, save, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = (BLUE, VERMILLION)
_MARKERS = ("o", "s")


@dataclass(frozen=True)
class TaskChanges:
    """What a task's panel shows."""

    title: str
    quantities: Mapping[str, Sequence[tuple[float, float]]]
    """Before and after, of each seed; of some there may be none."""


def changes(tasks: Sequence[TaskChanges], unit: str, path: Path) -> Figure:
    """Correlations, -1 to 1, before on the left and after on the right: thick lines are means over
    seeds, thin ones the seeds.

    Args:
        tasks: in the order of the panels; all with the same two quantities.
        unit: of the quantities, beside the panels.
        path: of the file to write.
    """
    from matplotlib.lines import Line2D

    names = list(tasks[0].quantities)
    with styled() as new:
        rows, columns = grid(len(tasks))
        figure = new((max(2.3 * columns, 6.5), 2.4 * rows + 0.5))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes in panels.flat[len(tasks) :]:
            axes.set_visible(False)
        for i, (axes, task) in enumerate(zip(panels.flat, tasks, strict=False)):
            for name, colour, marker in zip(names, _COLOURS, _MARKERS, strict=True):
                for pair in task.quantities[name]:
                    axes.plot((0, 1), pair, color=colour, lw=0.9, alpha=0.4, zorder=3)
                if task.quantities[name]:
                    mean = np.mean(task.quantities[name], axis=0)
                    axes.plot((0, 1), mean, color=colour, lw=2.4, marker=marker, ms=6, zorder=4)
            axes.axhline(0, color="#888888", lw=0.8, zorder=2)
            axes.set(xlim=(-0.25, 1.25), ylim=(-1.07, 1.07), xticks=(0, 1), title=task.title)
            axes.set_xticklabels(("before", "after"))
            axes.grid(visible=False, axis="x")
            if i % columns == 0:
                axes.set_ylabel(unit)
        figure.legend(
            handles=[
                Line2D([], [], color=colour, lw=2.4, marker=marker, label=name)
                for name, colour, marker in zip(names, _COLOURS, _MARKERS, strict=True)
            ],
            loc="outside upper center",
            ncols=2,
        )
        save(figure, path)
    return figure
