"""The definition of a table: a TOML file, shipped or the user's own."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from handrail.demonstrations import Level
from handrail.errors import HandrailError

DEMONSTRATIONS, EXPERT = "demonstrations", "expert"
"""Labels of what a table needs made beside its rows, which none of these may have."""


@dataclass(frozen=True)
class Row:
    """A method of a table."""

    label: str
    name: str
    """Of the method, as on the command line."""
    seeds: int
    demos: bool = False
    """Whether it learns from the task's demonstrations."""
    level: Level | Literal["spread"] = "expert"
    """Which of the task's shipped experts plays them, or a spread of policies that are not experts,
    as in `handrail dataset`; where ``demos``."""
    guide: str | None = None
    """The label of the row whose run of the same seed is its guide."""
    offline: str | None = None
    """The label of the row whose run of the same seed is the offline run that it goes on from."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What differs from the method's defaults."""


@dataclass(frozen=True)
class Task:
    """What a task of a table has of its own."""

    online: dict[str, Any] = field(default_factory=dict)
    """Of the online methods' loop, on top of the table's."""
    expert: dict[str, Any] = field(default_factory=dict)
    """Settings of ``handrail expert``, where none is shipped: none suit all tasks."""


@dataclass(frozen=True)
class Table:
    """A table: tasks x methods x seeds, and what all of them share."""

    evaluate: int
    """Evaluation episodes of each run."""
    demonstrations: int
    """Episodes that a task's expert plays, or a spread of policies."""
    tasks: list[str]
    method: tuple[Row, ...]
    online: dict[str, Any] = field(default_factory=dict)
    """Settings of the loop, of every online method."""
    task: dict[str, Task] = field(default_factory=dict)


def read(name: str) -> Table:
    """A shipped table by its name, or one of the user's by its file's path.

    Raises:
        HandrailError: there is neither, or the definition is faulty.
    """
    file: Any = Path(name)  # or a shipped one, wherever the package lies
    if file.suffix != ".toml":
        shipped = resources.files("handrail") / "assets" / "tables"
        names = sorted(p.name[:-5] for p in shipped.iterdir() if p.name.endswith(".toml"))
        if name not in names:
            raise HandrailError(
                f"there is no table {name!r} (there are: {', '.join(names)}); or name a .toml file"
            )
        file = shipped / f"{name}.toml"
    elif not file.is_file():
        raise HandrailError(f"there is no file {file}; name a table's definition")
    try:
        values = tomllib.loads(file.read_text("utf-8"))
        tasks = {task: _made(Task, own, name) for task, own in values.pop("task", {}).items()}
        rows = tuple(_made(Row, row, name) for row in values.pop("method", []))
        table = _made(Table, {**values, "task": tasks, "method": rows}, name)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise HandrailError(f"{name} cannot be read: {error}; mend it") from error
    for fault in _faults(table):
        raise HandrailError(f"{name}: {fault}")
    return table


def _made(cls: type, values: dict[str, Any], name: str) -> Any:
    known = {f.name for f in fields(cls)}
    if unknown := sorted(set(values) - known):
        raise HandrailError(f"{name}: unknown {unknown[0]!r}; there are: {', '.join(known)}")
    asked = (f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)
    if missing := [own for own in asked if own not in values]:
        of = f" of {values['label']!r}" if "label" in values else ""
        raise HandrailError(f"{name}: {missing[0]!r}{of} is missing; say it")
    return cls(**values)


def _faults(table: Table) -> Iterator[str]:
    """What is wrong with a definition, as far as it can be told without its methods."""
    for name in ("evaluate", "demonstrations"):
        if not _count(getattr(table, name)):
            yield f"{name} is {getattr(table, name)!r}; it must be a number of episodes"
    if not isinstance(table.tasks, list) or not table.tasks:
        yield "tasks must be a list of one task or more"
    for task in table.tasks:
        if not isinstance(task, str):
            yield f"a task is {task!r}; it must be a name"
    for row in table.method:
        for what, kind, told in (
            ("label", str, "a text"),
            ("name", str, "a text"),
            ("guide", str | None, "a row's label"),
            ("offline", str | None, "a row's label"),
            ("level", str, "a text"),
            ("demos", bool, "true or false"),
        ):
            if not isinstance(value := getattr(row, what), kind):
                yield f"{what} of {row.label!r} is {value!r}; it must be {told}"
    for of, online in (
        ("", table.online),
        *((f" of {t!r}", own.online) for t, own in table.task.items()),
    ):
        if not isinstance(online, dict):
            yield f"online{of} is {online!r}; it must be a table"
    if unknown := sorted(set(table.task) - set(table.tasks)):
        yield f"[task.{unknown[0]!r}] is of no task of the table; name it in tasks"
    rows = {row.label: row for row in table.method}
    if not rows or len(rows) < len(table.method):
        yield "there must be one [[method]] or more, each with a label of its own"
    for row in table.method:
        if row.label in (DEMONSTRATIONS, EXPERT):
            yield f"a method's label is {row.label!r}, which names a stage; call it otherwise"
        if not _count(row.seeds):
            yield f"seeds of {row.label!r} is {row.seeds!r}; it must be 1 or more"
        for what in ("guide", "offline"):
            named = getattr(row, what)
            if named is not None and (named not in rows or getattr(rows[named], what) is not None):
                yield f"the {what} of {row.label!r} is no row without a {what}: {named!r}"
        for what in ("demos", "guide", "offline"):
            if getattr(row, what) and what in row.settings:
                yield f"{row.label!r} has {what} and settings.{what}; leave one of them out"
        if row.level not in (levels := (*get_args(Level), "spread")):
            yield f"the level of {row.label!r} is {row.level!r}; there are: {', '.join(levels)}"
        if row.level != "expert" and not row.demos:
            yield f"{row.label!r} has a level and no demonstrations; say demos = true"
        if not isinstance(row.settings, dict) or not isinstance(
            row.settings.get("online", {}), dict
        ):
            yield f"settings of {row.label!r} must be tables"
        elif taken := sorted({"task", "seed", "out"} & set(row.settings)):
            yield f"settings of {row.label!r} name {taken[0]!r}, which the table gives"


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
