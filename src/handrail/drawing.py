"""The figures of complete runs: which of them make one line, and what it is called."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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
_NO_SETTING = ("seed", "demos", "weights")
"""In these, runs of one line may differ: seeds, and files that each may have of its own."""


def draw(paths: Sequence[Path], out: Path) -> list[Path]:
    """Draw complete runs of one task and limit: learning curves, and the reward-cost plane with the
    guides and offline policies that are inside them; returns the files.

    Runs of one method and the same settings are its seeds; where settings differ, the label has
    what differs.

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
    labels = _labels(runs, [summary["method"] for summary in summaries])
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


def _labels(runs: Sequence[Run], methods: Sequence[str]) -> list[str]:
    """Each run's method and, where runs of the method have other settings, those that differ; the
    directory's name where that are more than two."""
    settings = [dict(_flat(run.settings)) for run in runs]
    labels = []
    for method, own in zip(methods, settings, strict=True):
        alike = [of for m, of in zip(methods, settings, strict=True) if m == method]
        names = sorted({name for of in alike for name in of})
        differ = [name for name in names if any(of.get(name) != own.get(name) for of in alike)]
        if len(differ) > 2:
            first = next(r for r, of in zip(runs, settings, strict=True) if of == own)
            labels.append(f"{method}, {first.path.resolve().name}")
        else:
            labels.append(", ".join([method, *(f"{n} = {_told(own.get(n))}" for n in differ)]))
    return labels


def _flat(settings: Mapping[str, Any], group: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their full names; what a run began with by its method."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{group}{name}.")
        elif name in _INSIDE and isinstance(value, str) and "/" in value:
            there = (Path(value) / "settings.toml").exists()
            yield group + name, Run.open(Path(value)).settings["method"] if there else "another run"
        elif name not in _NO_SETTING:
            yield group + name, value


def _told(value: Any) -> str:
    return "unset" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
