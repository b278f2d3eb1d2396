"""Made-up tables of results, for the pages that are made of them."""

from __future__ import annotations

import csv
from pathlib import Path


def result(task: str, method: str, seed: int, return_: float, cost: float, **other) -> dict:
    """A row of a table of results."""
    acts = method != "BC"
    row = {
        "task": task, "method": method, "seed": seed, "env_steps": 100000 * acts, "episodes": 50,
        "return": return_, "return_min": return_ - 100, "cost": cost, "cost_max": 3 * cost,
        "violation_rate": 0.5, "wall_seconds": 90, "commit": "0123456789abcdef", "settings": "{}",
        "cumulative_cost": 1000 + seed if acts else "",
    }  # fmt: skip
    return {**row, **other}


def write_csv(path: Path, columns: tuple[str, ...], rows: list[dict]) -> Path:
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def row_of(text: str, *first: str) -> list[str]:
    """The cells of the only row of a Markdown table that begins with these."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()
            if line.startswith("|")]  # fmt: skip
    (found,) = [row for row in rows if tuple(row[: len(first)]) == first]
    return found
