"""Runs that are broken off and resumed, and what of them must be the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from handrail.errors import Stopped
from handrail.methods import Method
from handrail.progress import Watcher
from handrail.runs import Run


class StopAfter(Watcher):
    """Ctrl-C while the progress of training, or of what is counted in another unit, is drawn for
    the n-th time; the loop stops after one block more."""

    def __init__(self, reports: int, units: tuple[str, ...] = ("steps", "updates")):
        self.left, self.units = reports, units

    def begin(self, what: str, total: int, unit: str, done: int = 0) -> None:
        self.unit = unit

    def advance(self, done: int, latest: Any) -> None:
        if self.unit in self.units:
            self.left -= 1
            self.stopping = self.left <= 0


def kept(path: Path) -> dict[str, bytes]:
    """What must be the same again, byte for byte; the other files tell the wall clock's time."""
    files = {str(file.relative_to(path)): file for file in path.rglob("*") if file.is_file()}
    return {
        name: file.read_bytes()
        for name, file in files.items()
        if file.suffix in (".csv", ".safetensors") or file.name == "card.json"
    }


def assert_same(left: Path, right: Path) -> None:
    a, b = kept(left), kept(right)
    assert sorted(a) == sorted(b)
    assert [name for name in a if a[name] != b[name]] == []


def through(method: Method, path: Path) -> Path:
    with Run.create(path, method.settings()) as run:
        method.complete(run, Watcher())
    return path


def broken(method: Method, path: Path, reports: int) -> int:
    """How often a run was stopped that is stopped again and again, and resumed to its end."""
    Run.create(path, method.settings()).close()
    for stops in range(20):
        with Run.open(path) as run:
            try:
                method.complete(run, StopAfter(reports))
            except Stopped:
                continue
            return stops
    raise AssertionError("it does not end")
