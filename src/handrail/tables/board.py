"""How far a table is: tasks and methods, in each cell the seeds that are complete."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

from handrail.errors import HandrailError
from handrail.metrics_file import read_metrics
from handrail.progress import Console
from handrail.storage import read_json
from handrail.tables.carry_out import Progress
from handrail.tables.plan import DEMONSTRATIONS, EXPERT, Stage, cells

ACROSS = 10
"""Methods that find room beside each other; more than these stand below each other."""


def share(stage: Stage) -> float:
    """The part of a run's training that its metrics show, 0 to 1."""
    settings = stage.settings
    own = settings.get("method", "").removesuffix("-lag")  # its settings' name
    total = settings.get("online", settings.get(own, {}))
    length = total.get("steps", total.get("updates", 0)) if isinstance(total, dict) else 0
    try:
        return float(read_metrics(stage.path)["step"][-1]) / length if length else 0.0
    except (HandrailError, IndexError, KeyError):  # nothing is logged yet
        return 0.0


def render(progress: Progress) -> Any:
    """The table and what is at work as a rich renderable; it fits 80 columns."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    shown = list(cells(progress.stages))
    methods = list(dict.fromkeys(stage.label for stage in shown))
    done = sum(stage.complete for stage in shown)
    table = Table(
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    tasks = list(dict.fromkeys(stage.task for stage in shown))
    columns = [("data", (DEMONSTRATIONS, EXPERT)), *((method, (method,)) for method in methods)]

    def cell(task: str, labels: tuple[str, ...]) -> str:
        return _cell(progress, [s for s in progress.stages if s.task == task and s.label in labels])

    across = len(methods) <= ACROSS
    table.add_column("task" if across else "method", no_wrap=True)
    if across:
        for name, _ in columns:
            table.add_column(escape(_narrow(name)), justify="center", no_wrap=True)
        for task in tasks:
            table.add_row(_short(task), *(cell(task, labels) for _, labels in columns))
    else:
        for task in tasks:
            table.add_column(_short(task), justify="center", no_wrap=True)
        for name, labels in columns:
            table.add_row(escape(name), *(cell(task, labels) for task in tasks))
    lines = [f"[cyan]▸[/] {escape(_name(s))}: {share(s):.0%}" for s in progress.running.values()]
    head = f"{done} of {len(shown)} cells are complete; in each: complete seeds of all"
    return Group(head, table, *lines)


def _short(task: str) -> str:
    return task.split("/", 1)[-1]


def _narrow(label: str) -> str:
    """In lines, each as short as can be: eleven columns of a table fit 80."""
    return re.sub(r" (?=\()|(?<=-)|(?<=,) ", "\n", label)


def _cell(progress: Progress, stages: list[Stage]) -> str:
    if not stages:
        return ""
    done = sum(stage.complete for stage in stages)
    failed = sum(stage.path in progress.failed for stage in stages)
    text = f"{done}/{len(stages)}"
    return f"[red]✗{text}[/]" if failed else f"[green]{text}[/]" if done == len(stages) else text


class Board:
    """On a terminal the table, drawn anew as it changes; elsewhere a line for each event."""

    def __init__(self, console: Console):
        self._console, self._began = console, time.perf_counter()
        self._live: Any = None
        self._known: set = set()

    def __enter__(self) -> Board:
        if self._console.terminal.is_terminal:
            from rich.live import Live

            self._live = Live(console=self._console.terminal, auto_refresh=False)
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)

    def show(self, progress: Progress) -> None:
        if self._live is not None:
            self._live.update(render(progress), refresh=True)
            return
        for path, stage in progress.running.items():
            if path not in self._known:
                self._console.say(f"{_name(stage)}: begun ({stage.log})")
        for path, why in progress.failed.items():
            if path not in self._known:
                self._console.say(f"{path.name}: failed: {why}")
        # A stage that is begun again is told again.
        self._known = {*progress.running, *progress.failed}

    def finished(self, stage: Stage, stages: Iterable[Stage]) -> None:
        if self._live is not None:
            return
        found = ""
        if stage.label != DEMONSTRATIONS:
            report = read_json(stage.path / "evaluation.json")
            found = f" return {report['return']['mean']:.1f}, cost {report['cost']['mean']:.1f};"
        every = list(stages)
        minutes = (time.perf_counter() - self._began) / 60
        self._console.say(
            f"{_name(stage)}: complete;{found} {sum(s.done for s in every)} of {len(every)} stages,"
            f" {minutes:,.0f} min"
        )


def _name(stage: Stage) -> str:
    return f"{stage.label} on {stage.task}, seed {stage.seed}"
