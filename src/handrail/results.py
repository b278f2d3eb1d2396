"""Tables of results: CSV files that commands alone write."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from handrail.errors import HandrailError
from handrail.runs import Run, read_metrics

COLUMNS = (
    "task",
    "method",
    "seed",
    "env_steps",
    "episodes",
    "return",
    "cost",
    "violation_rate",
    "wall_seconds",
    "commit",
    "settings",
    "return_min",
    "cost_max",
    "cumulative_cost",
)


def append_row(
    file: Path, run: Run, report: dict[str, Any], cost_limit: float | None = None
) -> None:
    """Add the evaluation of a complete run to the table, in place of an earlier one of the same
    task, method, seed and settings.

    Args:
        cost_limit: what the evaluation was asked to judge by, in place of the run's own limit: it
            stands in the row's settings then, so one run can be judged by several.

    Raises:
        HandrailError: the run is not complete, or the file is a table of another form.
    """
    summary = run.summary()
    if summary is None:
        raise HandrailError(f"{run.path} is not complete; `handrail resume {run.path}`")
    settings = {k: v for k, v in run.settings.items() if k not in ("task", "seed", "method")}
    if cost_limit is not None:
        settings["cost_limit"] = cost_limit
    row = {
        "task": report["task"],
        "method": report["method"],
        "seed": str(summary["seed"]),
        "env_steps": str(summary["env_steps"]),
        "episodes": str(report["episodes"]),
        "return": f"{report['return']['mean']:.2f}",
        "cost": f"{report['cost']['mean']:.3f}",
        "violation_rate": f"{report['violation_rate']:.3f}",
        "wall_seconds": f"{summary['wall_seconds']:.0f}",
        "commit": run.about.get("commit", ""),
        "settings": json.dumps(settings, sort_keys=True, separators=(",", ":")),
        "return_min": f"{report['return']['min']:.2f}",
        "cost_max": f"{report['cost']['max']:.0f}",
        "cumulative_cost": _cumulative_cost(run),
    }
    rows: list[dict] = list(read_rows(file)) if file.exists() else []
    same = ("task", "method", "seed", "settings")
    rows = [r for r in rows if any(r[k] != row[k] for k in same)] + [row]
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".tmp")
    with draft.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(COLUMNS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draft.replace(file)


def _cumulative_cost(run: Run) -> str:
    """Of all training episodes; nothing where a method does not act in the simulator."""
    costs = read_metrics(run.path).get("train/cumulative_cost")
    return "" if costs is None else f"{costs[-1]:.0f}"


def read_rows(file: Path) -> list[dict[str, str]]:
    """The rows of a table, as text.

    Raises:
        HandrailError: it is not a table of results.
    """
    with file.open(newline="") as lines:
        reader = csv.DictReader(lines)
        rows = list(reader)
        if tuple(reader.fieldnames or ()) != COLUMNS or any(None in row for row in rows):
            raise HandrailError(f"{file} is no table of results: its columns are others")
    return rows
