"""Figures from runs: learning curves, and the reward-cost plane of GOLD's Fig. 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from handrail.errors import HandrailError
from handrail.metrics_file import read_metrics
from handrail.style import BLUE, FEASIBLE, GREEN, VERMILLION, colours, draw_limit, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = {"guide": "D", "student": "*", "scratch": "s"}

_PANELS = {
    "eval/return": ("Return", "return of an episode"),
    "eval/cost": ("Cost", "cost of an episode"),
    "train/cumulative_cost": ("Training", "cost so far, all episodes"),
    "guide/share": ("Guide", "share of steps"),
}


def learning_curves(
    runs: Mapping[str, Sequence[str | Path]], path: str | Path, cost_limit: float
) -> Figure:
    """Return, cost, the cost of training so far, and guide share over environment steps.

    Lines are means over the runs of a label (its seeds), bands reach from the lowest run to the
    highest, over the steps that all of them have reached. A panel that no run has values for is
    left out.

    Args:
        runs: run directories by label, e.g. ``{"GOLD": [seed0, seed1], "scratch": [...]}``.
        path: of the file to write.
        cost_limit: of an episode, undiscounted; the dashed line.

    Raises:
        HandrailError: a directory has no metrics, or no run has anything to draw.
    """
    metrics = {label: [read_metrics(run) for run in paths] for label, paths in runs.items()}
    curves = {
        name: {
            label: curve
            for label, tables in metrics.items()
            if (curve := over_seeds(tables, name)) is not None
        }
        for name in _PANELS
    }
    shown = [name for name in _PANELS if curves[name]]
    if not shown:
        raise HandrailError(
            f"nothing to draw: no run has values of {', '.join(_PANELS)} in its metrics.csv yet"
        )
    colour = colours(runs)
    with styled() as new:
        figure = new((3.6 * len(shown) + 0.4, 3.5))
        panels = figure.subplots(1, len(shown), squeeze=False)[0]
        for axes, name in zip(panels, shown, strict=True):
            for label, (steps, values) in curves[name].items():
                mean = values.mean(axis=0)
                dot = "o" if len(steps) == 1 else None
                axes.plot(steps, mean, color=colour[label], lw=2, marker=dot, label=label)
                if len(values) > 1:
                    low, high = values.min(axis=0), values.max(axis=0)
                    axes.fill_between(steps, low, high, color=colour[label], alpha=0.18, lw=0)
            _finish_panel(axes, name, cost_limit)
        handles = {h.get_label(): h for axes in panels for h in axes.get_lines()}
        lines = [handles[label] for label in runs if label in handles]
        figure.legend(handles=lines, loc="outside upper center", ncols=min(len(lines), 6))
        seeds = {len(paths) for paths in runs.values()}
        if max(seeds) > 1:
            count = " or ".join(map(str, sorted(seeds)))
            note = f"lines: mean of {count} seeds; bands: lowest to highest"
            figure.supxlabel(note, fontsize=8.5, color="#777777")
        save(figure, path)
    return figure


def over_seeds(
    tables: Sequence[Mapping[str, np.ndarray]], name: str
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "R S"]] | None:
    """Steps, and the values at them of each run that has some; None where those share no step.

    Runs evaluate where an episode happens to end, so their steps differ: every run is
    interpolated at all runs' steps, within the range that each has reached.
    """
    curves = []
    for table in (table for table in tables if name in table):
        known = ~np.isnan(table[name])
        if known.any():
            curves.append((table["step"][known], table[name][known]))
    if not curves:
        return None
    first, last = max(s[0] for s, _ in curves), min(s[-1] for s, _ in curves)
    steps = np.unique(np.concatenate([s for s, _ in curves]))
    steps = steps[(steps >= first) & (steps <= last)]
    if not steps.size:
        return None
    return steps, np.stack([np.interp(steps, s, v) for s, v in curves])


def _finish_panel(axes: Axes, name: str, cost_limit: float) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

    title, unit = _PANELS[name]
    axes.set(title=title, xlabel="environment steps", ylabel=unit)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.02)
    if name == "guide/share":
        axes.set_ylim(-0.03, 1.05)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    if name == "train/cumulative_cost":
        axes.set_ylim(bottom=0)
    if name == "eval/cost":
        axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1.25 * cost_limit))
        draw_limit(axes, cost_limit)


def reward_cost_plane(
    points: Sequence[tuple[str, float, float, str]],
    trajectories: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    cost_limit: float,
    path: str | Path,
) -> Figure:
    """Where each policy stands between return and cost, and the way there (GOLD, Fig. 1).

    Args:
        points: label, mean return, mean cost, and kind: ``guide``, ``student``, ``scratch`` or
            any other; the kind gives the marker, the label the colour.
        trajectories: returns and costs along training by label, in order; drawn faintly in the
            colour of the point of that label.
        cost_limit: of an episode, undiscounted; what lies below is shaded as feasible.
        path: of the file to write.
    """
    colour = colours([*(label for label, *_ in points), *trajectories])
    with styled() as new:
        figure = new((6.4, 5.0))
        axes = figure.subplots()
        for label, (returns, costs) in trajectories.items():
            axes.plot(returns, costs, color=colour[label], alpha=0.35, lw=1.4, label=f"_{label}")
        for label, return_, cost, kind in points:
            marker = MARKERS.get(kind, "o")
            axes.plot(
                return_, cost, marker, color=colour[label], ms=17 if marker == "*" else 9,
                mec="white", mew=1.2, label=label, zorder=6 if kind == "student" else 5,
            )  # fmt: skip
        axes.margins(0.12)
        top = max(axes.get_ylim()[1], 1.3 * cost_limit)
        axes.set_ylim(-0.04 * top, top)
        axes.set_xlim(axes.get_xlim())
        axes.axhspan(-top, cost_limit, color=FEASIBLE, lw=0, zorder=0)
        draw_limit(axes, cost_limit)
        axes.set(xlabel="return of an episode", ylabel="cost of an episode")
        axes.text(
            0.015, 0.02, "within the limit", transform=axes.transAxes, fontsize=9, color=GREEN
        )
        named = [h for h in axes.get_lines() if not str(h.get_label()).startswith("_")]
        figure.legend(
            handles=named, loc="outside upper center", ncols=3, markerscale=0.8, handlelength=1.2
        )
        figure.draw_without_rendering()  # fixes the layout: pixels mean something from here on
        for label, (returns, costs) in trajectories.items():
            _arrows(axes, np.column_stack([returns, costs]), colour[label])
        save(figure, path)
    return figure


def rank_correlations(run: Path, path: Path) -> Figure:
    """How well critics rank what comes after a step, over the updates of their pre-alignment.

    Args:
        run: directory with ``rank/q`` and ``rank/qc`` among its metrics, or one of them.
        path: of the file to write.
    """
    table = read_metrics(run)
    with styled() as new:
        figure = new((5.0, 3.6))
        axes = figure.subplots()
        for name, label, colour in (("q", "Q", BLUE), ("qc", "Q_c", VERMILLION)):
            values = table.get(f"rank/{name}", np.empty(0))
            if values.size:
                axes.plot(table["step"], values, "o-", color=colour, lw=2, ms=4, label=label)
        axes.axhline(0, color="#888888", lw=0.8, zorder=1)
        axes.set(ylim=(-1.03, 1.03), xlabel="updates of the critics", ylabel="rank correlation")
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper center", ncols=2)
        save(figure, path)
    return figure


def data_set(
    returns: Float[np.ndarray, " E"],
    costs: Float[np.ndarray, " E"],
    path: str | Path,
    *,
    limit: float,
) -> Figure:
    """Return against cost of the episodes of a data set, as DSRL shows its sets.

    Args:
        path: of the file to write.
        limit: of an episode's cost; what lies below is shaded as feasible.
    """
    with styled() as new:
        figure = new((5.0, 4.0))
        axes = figure.subplots()
        axes.scatter(returns, costs, s=14, color=BLUE, alpha=0.45, lw=0)
        axes.margins(0.06)
        top = max(axes.get_ylim()[1], 1.3 * limit)
        axes.set_ylim(-0.04 * top, top)
        axes.axhspan(-top, limit, color=FEASIBLE, lw=0, zorder=0)
        draw_limit(axes, limit)
        axes.set(
            title=f"{len(returns):,} episodes",
            xlabel="return of an episode",
            ylabel="cost of an episode",
        )
        save(figure, path)
    return figure


def _arrows(axes: Axes, way: Float[np.ndarray, "P 2"], colour: str) -> None:
    """Heads at a fifth, a half and four fifths of a way's length on paper; a ring at its start."""
    axes.plot(*way[0], "o", mfc="white", mec=colour, ms=5, alpha=0.7, zorder=2)
    pixels = axes.transData.transform(way)
    lengths = np.hypot(*np.diff(pixels, axis=0).T)
    if not lengths.sum():
        return
    travelled = np.cumsum(lengths) / lengths.sum()
    for share in (0.2, 0.5, 0.8):
        i = int(np.searchsorted(travelled, share))
        start, end = way[i], way[i + 1]
        axes.annotate(
            "", end, start, zorder=3,
            arrowprops={
                "arrowstyle": "-|>", "color": colour, "alpha": 0.65, "lw": 0,
                "mutation_scale": 15, "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip
