"""The figures of complete runs: which of them make one line, and what it is called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handrail.errors import HandrailError, typed
from handrail.figures import learning_curves, over_seeds, reward_cost_plane
from handrail.metrics_file import read_metrics
from handrail.runs import Run

_KINDS = {
    **dict.fromkeys(("BC", "DT", "CPQ", "BEAR-Lag", "CLONE"), "guide"),
    **dict.fromkeys(("IQL", "IQL (demos)", "CVPO", "SAC-Lag"), "scratch"),
}
_INSIDE = ("guide", "offline")
"""Runs that others begin with, where they are kept inside those."""


def draw(
    paths: Sequence[Path], out: Path, settings_of: Callable[[Run], Mapping[str, Any]]
) -> list[Path]:
    """Draw complete runs of one task and limit: learning curves, and the reward-cost plane with the
    guides and offline policies that are inside them; returns the files.

    Runs of one method and the same settings are its seeds; where settings differ, the label has
    what differs.

    Args:
        settings_of: what a run is compared by, by the settings' full names (``group.name``).

    Raises:
        HandrailError: a run is not complete, or the runs are of different tasks or limits.
    """
    if not paths:
        raise HandrailError("there is no run to draw; name one or more")
    kinds: dict[str, str] = {}
    curves: dict[str, list[Path]] = defaultdict(list)
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    tasks, limits = set(), set()
    inside = [path / name for path in paths for name in _INSIDE if (path / name).is_dir()]
    runs = [Run.open(p) for p in {p.resolve(): p for p in [*paths, *inside]}.values()]  # each once
    summaries = [_summary(run) for run in runs]
    labels = _labels(runs, [summary["method"] for summary in summaries], settings_of)
    for run, summary, label in zip(runs, summaries, labels, strict=True):
        found = summary["validation"]
        kinds[label] = _KINDS.get(summary["method"], "student")
        points[label].append((found["return"]["mean"], found["cost"]["mean"]))
        tasks.add(summary["task"])
        limits.add(found["cost_limit"])
        if summary["env_steps"]:
            curves[label].append(run.path)
    for what, different in (("tasks", sorted(tasks)), ("cost limits", sorted(limits))):
        if len(different) > 1:
            raise HandrailError(
                f"runs of different {what} in one figure: {', '.join(map(str, different))}; "
                "draw them apart"
            )
    limit = limits.pop()
    files = [out / "reward_cost_plane.png"]
    ways = {}
    for label, of in curves.items():
        tables = [read_metrics(run) for run in of]
        return_, cost = (over_seeds(tables, name) for name in ("eval/return", "eval/cost"))
        if return_ is not None and cost is not None:
            ways[label] = return_[1].mean(axis=0), cost[1].mean(axis=0)
    out.mkdir(parents=True, exist_ok=True)
    means = [(label, *np.mean(of, axis=0), kinds[label]) for label, of in points.items()]
    reward_cost_plane(means, ways, limit, files[0])
    if curves:
        files.append(out / "learning_curves.png")
        learning_curves(curves, files[1], limit)
    return files


def _summary(run: Run) -> dict[str, Any]:
    """Of a complete run, with all that a figure needs."""
    summary = run.summary()
    if summary is None:
        raise HandrailError(f"{run.path} is not complete; `handrail resume {typed(run.path)}`")
    try:
        found = summary["validation"]
        _ = found["return"]["mean"], found["cost"]["mean"], found["cost_limit"]
        _ = summary["method"], summary["task"], summary["env_steps"]
    except (KeyError, TypeError) as error:
        file = run.path / "summary.json"
        raise HandrailError(f"{file} is damaged: it lacks {error}; restore it") from error
    return summary


def _labels(
    runs: Sequence[Run], methods: Sequence[str], settings_of: Callable[[Run], Mapping[str, Any]]
) -> list[str]:
    """Each run's method and, where runs of the method have other settings, those that differ; a
    directory where that are more than two. Runs of one label have the same settings."""
    labels = list(methods)
    for method in {m for m in methods if methods.count(m) > 1}:
        alike = [i for i, m in enumerate(methods) if m == method]
        settings = {i: dict(settings_of(runs[i])) for i in alike}
        names = sorted({name for of in settings.values() for name in of})
        first = settings[alike[0]]
        differ = [n for n in names if any(of.get(n) != first.get(n) for of in settings.values())]
        for i in alike:
            own = settings[i]
            if len(differ) > 2:
                of = next(runs[j] for j in alike if settings[j] == own)
                labels[i] = f"{method}, {of.path}"
            else:
                labels[i] = ", ".join([method, *(f"{n} = {_told(own.get(n))}" for n in differ)])
    return labels


def _told(value: Any) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
