"""``handrail tasks``"""

from __future__ import annotations

import json as json_
from dataclasses import asdict

from handrail import envs
from handrail.answers import aloud
from handrail.commands._cli import parse
from handrail.errors import HandrailError


def main(argv: list[str]) -> None:
    parse(tasks, argv, "tasks")


def tasks(json: bool = False) -> None:
    """The tasks: observation and action sizes, horizon in steps, default cost limit, what costs.

    Besides these, gym/ID is any registered Gymnasium id whose steps carry info["cost"].

    Args:
        json: one JSON object a line instead of a table.
    """
    rows, missing = [], ""
    for task in envs.tasks():
        try:
            spec = envs.spec(task.name)
            sizes: tuple[int | None, int | None] = (spec.observation_size, spec.action_size)
        except HandrailError as error:  # its suite is not installed
            missing, sizes = str(error), (None, None)
        rows.append((task, *sizes))
    if json:
        with aloud():
            for task, o, a in rows:
                print(json_.dumps({**asdict(task), "observations": o, "actions": a}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column, justify in (
        ("task", "left"), ("obs", "right"), ("act", "right"), ("steps", "right"),
        ("cost limit", "right"), ("what costs", "left"),
    ):  # fmt: skip
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for task, o, a in rows:
        known = ("?" if o is None else str(o), "?" if a is None else str(a))
        table.add_row(task.name, *known, str(task.horizon), f"{task.cost_limit:g}", task.costs)
    table.add_row("gym/ID", "", "", "", "25", 'any Gymnasium id; what its info["cost"] says')
    console = Console()
    console.print(table)
    if missing:
        console.print(f"? {missing}", highlight=False)
