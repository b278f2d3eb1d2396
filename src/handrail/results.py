"""Tables of results: CSV files that commands alone write."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from handrail.data import dsrl
from handrail.errors import HandrailError, typed
from handrail.metrics_file import read_metrics
from handrail.runs import Run
from handrail.storage import draft_of, require_place

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
    "normalised_return",
    "normalised_cost",
)
CURVE_COLUMNS = ("task", "method", "seed", "step", "return", "cost", "train_cost", "multiplier")
"""Of learning curves: validation episodes at an environment step, and the cost of all training
episodes up to it, and the cost's weight or multiplier that is in force then."""
RANK_COLUMNS = ("task", "method", "seed", "q_before", "q_after", "qc_before", "qc_after")
"""Of rank correlations of Q and Q_c with returns, before and after pre-alignment; nothing where all
steps cost the same."""


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
    summary = require_complete(run)
    settings = {k: v for k, v in run.settings.items() if k not in ("task", "seed", "method")}
    if cost_limit is not None:
        settings["cost_limit"] = cost_limit
    limit = report["cost_limit"]
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
        "normalised_return": _normalised_return(report),
        "normalised_cost": f"{dsrl.normalised_cost(report['cost']['mean'], limit):.3f}",
    }
    _replace(file, COLUMNS, ("task", "method", "seed", "settings"), [row])


def require_complete(run: Run) -> dict[str, Any]:
    """The run's summary, or a HandrailError where it has none yet."""
    summary = run.summary()
    if summary is None:
        raise HandrailError(f"{run.path} is not complete; `handrail resume {typed(run.path)}`")
    return summary


def append_curve(file: Path, run: Run, label: str) -> None:
    """Add the learning curve of a complete run, in place of an earlier one of the same task, method
    and seed; nothing where the method does not act in the simulator.

    Raises:
        HandrailError: the file is a table of another form.
    """
    table = read_metrics(run.path)
    if "eval/return" not in table:
        return
    names = ("eval/return", "eval/cost", "train/cumulative_cost", "cost_weight")
    rows = [
        {
            "task": run.settings["task"],
            "method": label,
            "seed": str(run.settings["seed"]),
            "step": f"{step:.0f}",
            "return": f"{return_:.2f}",
            "cost": f"{cost:.3f}",
            "train_cost": f"{spent:.0f}",
            "multiplier": f"{weight:.4g}",
        }
        for step, return_, cost, spent, weight in zip(
            table["step"], *(table[name] for name in names), strict=True
        )
    ]
    _replace(file, CURVE_COLUMNS, ("task", "method", "seed"), rows)


def append_ranks(file: Path, run: Run, label: str) -> None:
    """Add the rank correlations of a run's pre-alignment, in place of earlier ones of the same
    task, method and seed; nothing where it pre-aligned no critics, or had none before.

    Raises:
        HandrailError: the file is a table of another form.
    """
    aligned = run.path / "prealigned"
    table = read_metrics(aligned) if aligned.is_dir() else {}
    if not table or table["step"][0] != 0:
        return
    row = {
        "task": run.settings["task"],
        "method": label,
        "seed": str(run.settings["seed"]),
    }
    for critic in ("q", "qc"):
        ranks = table.get(f"rank/{critic}", np.full(1, np.nan))
        for when, rank in (("before", ranks[0]), ("after", ranks[-1])):
            row[f"{critic}_{when}"] = "" if np.isnan(rank) else f"{rank:.3f}"
    _replace(file, RANK_COLUMNS, ("task", "method", "seed"), [row])


def curves_beside(file: Path) -> Path:
    """Where a table of results has the learning curves of its runs."""
    return file.with_name(f"{file.stem}_curves.csv")


def ranks_beside(file: Path) -> Path:
    """Where a table of results has the rank correlations of its runs' critics."""
    return file.with_name(f"{file.stem}_ranks.csv")


def check(file: Path) -> None:
    """:func:`require_table` of a table of results and of those beside it."""
    require_table(file, COLUMNS)
    require_table(curves_beside(file), CURVE_COLUMNS)
    require_table(ranks_beside(file), RANK_COLUMNS)


def require_table(file: Path, columns: tuple[str, ...]) -> None:
    """Raise a HandrailError where rows cannot be entered in a table, as it is of another form or
    cannot be written; rather before the work than after it."""
    if file.exists():
        read_rows(file, columns)
    require_place(file)


def _replace(file: Path, columns: tuple[str, ...], same: tuple[str, ...], new: list[dict]) -> None:
    """Rows that agree with the new ones in the columns ``same`` make room for them; commands that
    enter rows at once do so one after the other."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(file) as draft:
        rows: list[dict] = list(read_rows(file, columns)) if file.exists() else []
        rows = [r for r in rows if any(r[k] != new[0][k] for k in same)] + new
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        draft.write(text.getvalue().encode())


def _normalised_return(report: dict[str, Any]) -> str:
    """By DSRL's set of the task; nothing where there is none."""
    known = dsrl.sets().get(report["task"])
    return "" if known is None else f"{known.normalised_return(report['return']['mean']):.4f}"


def _cumulative_cost(run: Run) -> str:
    """Of all training episodes; nothing where a method does not act in the simulator."""
    costs = read_metrics(run.path).get("train/cumulative_cost")
    return "" if costs is None else f"{costs[-1]:.0f}"


def read_rows(file: Path, columns: tuple[str, ...] = COLUMNS) -> list[dict[str, str]]:
    """The rows of a table, as text.

    Raises:
        HandrailError: it is not a table of results.
    """
    with file.open(newline="") as lines:
        reader = csv.DictReader(lines)
        try:
            rows = list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise HandrailError(f"{file} is no CSV file: {error}") from error
        if not reader.fieldnames:
            raise HandrailError(f"{file} is empty; remove it, or name another")
        if tuple(reader.fieldnames) != columns:
            odd = [name for name in reader.fieldnames if name not in columns]
            odd = [f"there is {name!r}" for name in odd]
            odd += [f"there is no {name!r}" for name in columns if name not in reader.fieldnames]
            why = odd[0] if odd else "their order is another"
            raise HandrailError(f"{file} is no table of results: its columns are others ({why})")
        for number, row in enumerate(rows, 1):
            if None in row:
                raise HandrailError(
                    f"{file}, row {number} has more values than there are columns; mend it"
                )
    return rows
