"""Bring the stages of a table about: what they need first, nothing twice, a loss made good."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from handrail.errors import HandrailError, Stopped
from handrail.storage import json_bytes, write_file
from handrail.tables.plan import Stage
from handrail.tables.workers import Workers

TRIES = 3
"""Times that a stage is begun whose process was killed; it goes on from its checkpoint."""


@dataclass
class Progress:
    """How far the stages are; what a board shows."""

    stages: Sequence[Stage]
    running: dict[Path, Stage] = field(default_factory=dict)
    failed: dict[Path, str] = field(default_factory=dict)
    """Why, by the stage's path."""


def carry_out(
    stages: Sequence[Stage],
    workers: Workers,
    *,
    show: Callable[[Progress], None],
    finished: Callable[[Stage], None],
    stopping: Callable[[], bool],
    every: float = 1.0,
) -> Progress:
    """Make every stage that is not made yet; one that fails takes along only what needs it.

    Args:
        show: called whenever something changed, and every ``every`` seconds.
        finished: called once for each stage that was made now.
        stopping: asked every ``every`` seconds.

    Raises:
        Stopped: ``stopping`` asked for it; every process has written a checkpoint.
    """
    progress = Progress(stages)
    try:
        _carry_out(progress, workers, show, finished, stopping, every)
    except BaseException:  # a full disk, a second Ctrl-C: no process may go on unseen
        workers.stop()
        raise
    show(progress)
    return progress


def _carry_out(
    progress: Progress,
    workers: Workers,
    show: Callable[[Progress], None],
    finished: Callable[[Stage], None],
    stopping: Callable[[], bool],
    every: float,
) -> None:
    stages = progress.stages
    futures: dict[Future[int], Stage] = {}
    waiting = [stage for stage in stages if not stage.done]
    tries: dict[Path, int] = {}
    while waiting or futures:
        if stopping():
            raise Stopped(f"stopped; {len(waiting) + len(futures)} stages are not complete")
        for stage in tuple(waiting):
            if lost := next((need.name for need in stage.needs if need in progress.failed), ""):
                waiting.remove(stage)
                progress.failed[stage.path] = f"it needs {lost}, which failed"
        made = {stage.path for stage in stages if stage.done}
        ready = [s for s in waiting if all(need in made for need in s.needs)]
        for stage in ready[: max(0, workers.slots() - len(futures))]:
            waiting.remove(stage)
            stage.order.parent.mkdir(parents=True, exist_ok=True)
            write_file(stage.order, json_bytes(stage.to_json()))
            progress.running[stage.path] = stage
            futures[workers.begin(stage)] = stage
        show(progress)
        if not futures:
            if not ready:  # what the others need was deleted since it was made: it is made again
                waiting = [s for s in stages if not s.done and s.path not in progress.failed]
            time.sleep(every)  # or no machine is there now
            continue
        for future in wait(futures, timeout=every, return_when=FIRST_COMPLETED).done:
            stage = futures.pop(future)
            del progress.running[stage.path]
            try:
                code = future.result()
            except Exception as error:  # of the cluster, not of the stage
                said = [line for line in str(error).splitlines() if line.strip()]
                progress.failed[stage.path] = said[-1] if said else repr(error)
                continue
            tries[stage.path] = tries.get(stage.path, 0) + 1
            if stage.done:
                finished(stage)
            elif code < 0 and tries[stage.path] < TRIES:
                waiting.insert(0, stage)
            elif code < 0:
                name = signal.Signals(-code).name
                progress.failed[stage.path] = f"its process was killed {TRIES} times ({name})"
            else:
                progress.failed[stage.path] = _last_line(stage.log)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").split("\n") if log.is_file() else []
    return next((line for line in reversed(lines) if line.strip()), "it left no word")


def require_done(progress: Progress) -> None:
    """Raise a HandrailError that says which stages failed, and why."""
    if progress.failed:
        path, why = next(iter(progress.failed.items()))
        others = len(progress.failed) - 1
        more = f" (and {others} more)" if others else ""
        raise HandrailError(
            f"{path.name} failed{more}: {why}; {path}.log says more, the same command tries again"
        )
