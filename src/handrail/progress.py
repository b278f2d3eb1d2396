"""How a long command talks to whoever waits for it, and how it is asked to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from handrail.types import Metrics


class Watcher:
    """Told of a run's progress, and asked whether to stop. This one is silent."""

    stopping: bool = False

    def begin(self, what: str, total: int, unit: str, done: int = 0) -> None:
        """A stage of ``total`` ``unit`` begins, ``done`` of which are behind already."""

    def advance(self, done: int, latest: Metrics) -> None:
        """``done`` of the stage's units are behind; ``latest`` is the last row of metrics."""

    def say(self, line: str) -> None:
        """Something the user should know."""

    def end(self) -> None:
        """The stage is over, or given up."""


class Console(Watcher):
    """On a terminal a bar with rate and time left; elsewhere a line now and then."""

    def __init__(self) -> None:
        from rich.console import Console as RichConsole

        self.terminal = RichConsole(stderr=True)
        """Where all of it is printed."""
        self._bar: Any = None
        self._task: Any = None
        self._row: Metrics = {}

    def say(self, line: str) -> None:
        self.terminal.print(line, highlight=False, soft_wrap=True, markup=False)

    def begin(self, what: str, total: int, unit: str, done: int = 0) -> None:
        from rich import progress

        self.end()
        self._what, self._total, self._unit = what, total, unit
        self._start, self._first, self._row = time.perf_counter(), done, {}
        if self.terminal.is_terminal:
            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(bar_width=24),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                progress.TextColumn("{task.fields[result]}"),
                console=self.terminal,
            )
            self._bar.start()
            self._task = self._bar.add_task(what, total=total, completed=done, rate="", result="")

    def advance(self, done: int, latest: Metrics) -> None:
        seconds = max(1e-9, time.perf_counter() - self._start)
        rate = f"{_number((done - self._first) / seconds)} {self._unit}/s"
        fresh, self._row = latest is not self._row and bool(latest), latest
        result = _brief(latest)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, rate=rate, result=result)
        elif fresh or done >= self._total:
            left = (self._total - done) * seconds / max(1, done - self._first)
            self.say(
                f"{self._what}  {done:,}/{self._total:,} {self._unit}  {rate}  "
                f"{_clock(left)} left  {result}"
            )
        if done >= self._total:
            self.end()

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    @contextmanager
    def interruptible(self) -> Iterator[Console]:
        """Within it the first Ctrl-C asks the run to checkpoint and stop; the second kills."""

        def ask(number: int, frame: Any) -> None:
            self.stopping = True
            signal.signal(signal.SIGINT, signal.default_int_handler)  # before what takes a while
            self.say("stopping after a checkpoint (Ctrl-C again: at once)")

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)
            self.end()


def _brief(row: Metrics) -> str:
    if "eval/return" in row:
        text = f"return {row['eval/return']:.1f} cost {row['eval/cost']:.1f}"
        share = row.get("guide/share")
        return text if share is None else f"{text} guide {share:.0%}"
    return "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k.startswith("loss/"))


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02d}"
