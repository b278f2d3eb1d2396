"""metrics.csv: a row for each time that a run logs, columns that come as metrics do."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from handrail.errors import HandrailError


def read_metrics(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of a run's metrics.csv, float64 of one length; an empty cell is NaN.

    Raises:
        HandrailError: the directory has no metrics.csv, or a cell is not a number.
    """
    file = Path(path) / "metrics.csv"
    if not file.is_file():
        raise HandrailError(f"{path} has no metrics.csv; is it a run, and has it logged yet?")
    columns, rows = split(file)
    try:
        table = [[float(cell) if cell else np.nan for cell in row] for row in rows]
        values = np.array(table, np.float64).reshape(len(rows), len(columns))
    except ValueError as error:
        raise HandrailError(f"{file} is damaged: {error}; restore it") from error
    return {column: values[:, i] for i, column in enumerate(columns)}


def split(file: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and rows; a last line that a kill cut short does not count.

    Raises:
        HandrailError: the first column is not the step, a row has no step, or too few or too many
            cells.
    """
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
    columns, rows = next(lines, []), list(lines)
    if columns and columns[0] != "step":
        raise HandrailError(f"{file} is damaged at line 1; restore it, or train anew")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns) or not row[0].isdecimal():
            raise HandrailError(f"{file} is damaged at line {number}; restore it, or train anew")
    return columns, rows


def lines(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def after(rows: list[list[str]]) -> int:
    """The first step that no row has reached."""
    return int(rows[-1][0]) + 1 if rows else 0


def fit(row: list[str], columns: int) -> list[str]:
    """A row of so many cells; columns come and go at the right."""
    return row[:columns] + [""] * (columns - len(row))
