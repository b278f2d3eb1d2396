"""The run directory: settings, metrics, the episode log, the checkpoint, the policy, the summary.

Everything here is written so that a kill at any moment leaves a directory that resumes; how a file
is written so is in ``handrail.storage``.

What a resumed run must give again byte for byte (metrics.csv, episodes/) holds no wall-clock
value; timings go to TensorBoard alone.
"""

from __future__ import annotations

import errno
import os
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from handrail import metrics_file
from handrail.data.episodes import Episode
from handrail.errors import HandrailError, typed
from handrail.events_file import Events
from handrail.storage import (
    FORMAT,
    alone,
    arrays_of,
    json_bytes,
    publish,
    read_json,
    recall,
    require_format,
    require_kinds,
    restore,
    sync,
    write_file,
)

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Run:
    """One training run on disk. Make it with :meth:`create` or :meth:`open`; close it, or use it
    in a ``with`` statement.

    Attributes:
        path: the directory.
        settings: the resolved settings as TOML gives them back (a ``None`` is an absent key).
        about: version, commit, format and jax version that made the run, and the directory in which
            it was begun.
    """

    def __init__(self, path: Path, settings: dict[str, Any], about: dict[str, Any]):
        self.path, self.settings, self.about = path, settings, about
        self._columns, rows = metrics_file.split(self._metrics)
        self._next_step = metrics_file.after(rows)
        self._events = Events(path)
        # Until there is a checkpoint, which knows, what complete stages of the run have taken.
        stages = (read_json(file) for file in path.glob("*/summary.json"))
        self._before = sum(float(stage.get("wall_seconds", 0)) for stage in stages)
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Wall time spent on the run: since it was opened, and before its last checkpoint, or,
        where it has none yet, on its stages that are complete."""
        return self._before + time.perf_counter() - self._began

    @classmethod
    def create(cls, path: str | Path, settings: Mapping[str, Any]) -> Run:
        """Begin a run in a new or empty directory.

        Raises:
            HandrailError: the directory holds something already, or cannot be written.
        """
        import tomli_w

        path = Path(path)
        # A kill while the settings were written leaves their draft, and no run.
        if path.exists() and (
            not path.is_dir() or any(file.name != "settings.toml.tmp" for file in path.iterdir())
        ):
            raise HandrailError(
                f"{path} exists; choose another --out or `handrail resume {typed(path)}`"
            )
        resolved = {**plain(settings), "handrail": _about()}
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_file(path / "settings.toml", tomli_w.dumps(resolved).encode())
        except OSError as error:
            raise HandrailError(
                f"cannot write {path}: {error.strerror}; choose another --out"
            ) from error
        except UnicodeEncodeError as error:
            path.rmdir()
            raise HandrailError(
                f"{error.object!r} is not UTF-8, so the settings cannot be written; work in a "
                "directory of another name"
            ) from error
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """A run that :meth:`create` began.

        Raises:
            HandrailError: there is no run, its settings cannot be read, or it is of another
                version's format.
        """
        path = Path(path)
        file = path / "settings.toml"
        if not path.is_dir():
            raise HandrailError(f"there is no directory {path}; `handrail train` begins a run")
        if not file.is_file():
            raise HandrailError(f"{path} is not a run: it has no settings.toml")
        try:
            settings = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise HandrailError(f"{file} cannot be read: {error}; mend or restore it") from error
        about = settings.pop("handrail", {})
        require_format(file, about)
        return cls(path, settings, about)

    @classmethod
    def begin(cls, path: str | Path, settings: Mapping[str, Any]) -> Run:
        """The run at ``path`` where one was begun there already, else a new one."""
        return (
            cls.open(path)
            if (Path(path) / "settings.toml").is_file()
            else cls.create(path, settings)
        )

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which no other process may train the run.

        Raises:
            HandrailError: another process is in such a block.
        """
        with alone(self.path):
            yield

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the TensorBoard file; a later ``log`` begins another."""
        self._events.close()

    # -- metrics ---------------------------------------------------------------------------------

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.csv"

    def log(
        self, step: int, metrics: Mapping[str, Any], *, timings: Mapping[str, Any] | None = None
    ) -> None:
        """A row of metrics.csv and the same scalars for TensorBoard.

        Args:
            step: environment (or, offline, gradient) steps so far.
            metrics: scalars by name; reading them waits for the device. No wall-clock value.
            timings: scalars that differ from run to run; for TensorBoard alone.
        """
        values = {name: float(value) for name, value in metrics.items()}
        columns = self._columns or ["step"]
        columns = columns + [name for name in values if name not in columns]
        row = [str(int(step))] + [repr(values[c]) if c in values else "" for c in columns[1:]]
        with self._disk():
            if columns == self._columns:
                with self._metrics.open("ab") as file:
                    file.write(metrics_file.lines([row]))
                sync(self._metrics)
            else:  # a new column: every earlier row gets an empty cell
                rows = [
                    metrics_file.fit(old, len(columns))
                    for old in metrics_file.split(self._metrics)[1]
                ]
                write_file(self._metrics, metrics_file.lines([columns, *rows, row]))
                self._columns = columns
            self._events.add(int(step), {**values, **(timings or {})}, self._next_step)
        self._next_step = int(step) + 1

    # -- the log of episodes ---------------------------------------------------------------------

    def _episode(self, number: int) -> Path:
        return self.path / "episodes" / f"{number:08d}.safetensors"

    def _numbers(self) -> list[int]:
        return sorted(int(file.stem) for file in self.path.glob("episodes/*.safetensors"))

    def add_episode(self, number: int, episode: Episode) -> None:
        """Append the episode ``number`` (0, 1, 2, ...) to the log."""
        from handrail.data.sources import write_episode

        file = self._episode(number)
        with self._disk():
            write_episode(file, episode, self.settings.get("task"))
            sync(file)
            sync(file.parent)  # a checkpoint counts on the episode's being there

    def episodes(self, up_to: int) -> Iterator[Episode]:
        """The logged episodes 0 to ``up_to`` - 1, in order.

        Raises:
            HandrailError: one is missing or damaged.
        """
        from handrail.data.sources import read_episode

        for number in range(up_to):
            file = self._episode(number)
            if not file.is_file():
                raise HandrailError(
                    f"{file} is missing; the log needs every episode up to {up_to - 1}: restore "
                    "it, or train anew"
                )
            yield read_episode(file)

    # -- the checkpoint --------------------------------------------------------------------------

    def save(self, progress: Mapping[str, Any], state: Any) -> None:
        """Write a checkpoint; the one before it stays whole until this one is.

        Args:
            progress: JSON values that say where the run is; ``progress["step"]`` names the file.
            state: a pytree. Its arrays, numbers and random keys are kept; other leaves (functions)
                are code, and ``load`` takes them from ``like``.
        """
        columns, rows = metrics_file.split(self._metrics)
        numbers = self._numbers()
        record = {
            "progress": dict(progress),
            # Rows and columns rather than a length in bytes: a column that appears after this
            # checkpoint rewrites the file, and a roll-back must take the column back too.
            "metrics": {"columns": columns, "rows": len(rows)},
            "episodes": numbers[-1] + 1 if numbers else 0,
            "seconds": self.seconds,
        }
        with self._disk():
            name = f"state-{int(progress['step'])}"
            publish(self.path / "checkpoint", "latest.json", name, arrays_of(state), record)

    def load(self, like: Any) -> tuple[dict[str, Any], Any] | None:
        """The last checkpoint as ``(progress, state)``, and the run rolled back to it: later rows
        of metrics.csv and later episodes are deleted. None where no checkpoint was written yet;
        then every row and episode is deleted.

        Args:
            like: a state of the same settings, e.g. a fresh ``init``; gives the tree's form.

        Raises:
            HandrailError: the checkpoint is damaged, or of another form than ``like``. Nothing
                has been rolled back then.
        """
        directory = self.path / "checkpoint"
        if not (directory / "latest.json").is_file():
            self._roll_back(columns=[], rows=0, episodes=0)
            return None
        kinds = {"progress": dict, "metrics": dict, "episodes": int, "seconds": float}
        arrays, record = recall(directory, "latest.json", **kinds)
        require_kinds(directory / "latest.json", record["metrics"], {"columns": list, "rows": int})
        state = restore(like, arrays, directory)
        written = record["metrics"]
        self._roll_back(written["columns"], written["rows"], record["episodes"])
        self._before = record["seconds"]
        return record["progress"], state

    def _roll_back(self, columns: list[str], rows: int, episodes: int) -> None:
        self.close()
        have, kept = metrics_file.split(self._metrics)
        kept = [metrics_file.fit(row, len(columns)) for row in kept[:rows]]
        if have[: len(columns)] != columns or len(kept) != rows:
            raise HandrailError(
                f"{self._metrics} has lost rows that its checkpoint counts on; restore it, or "
                "train anew"
            )
        with self._disk():
            # Deleting comes first: on a disk that is full it makes the room for the rest.
            for unfinished in (*self.path.rglob("*.tmp"), *self.path.glob("episodes/.*")):
                unfinished.unlink()
            for number in reversed(self._numbers()):  # from the end: never a gap
                if number >= episodes:
                    self._episode(number).unlink()
            if rows:
                write_file(self._metrics, metrics_file.lines([columns, *kept]))
            else:
                self._metrics.unlink(missing_ok=True)
        self._columns = columns
        self._next_step = metrics_file.after(kept)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json: the run is complete."""
        with self._disk():
            write_file(self.path / "summary.json", json_bytes(summary))
        self.close()

    def summary(self) -> dict[str, Any] | None:
        """What ``finish`` wrote; None where the run is not complete.

        Raises:
            HandrailError: the file is damaged.
        """
        file = self.path / "summary.json"
        return read_json(file) if file.is_file() else None

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """A full disk is the user's to mend, and costs only the steps since the checkpoint."""
        try:
            yield
        except Exception as error:
            # By the text, since libraries (safetensors) wrap the system's error in their own.
            if not any(os.strerror(code) in str(error) for code in _FULL):
                raise
            kept = (
                "the last checkpoint is kept"
                if (self.path / "checkpoint" / "latest.json").is_file()
                else "there is no checkpoint yet"
            )
            raise HandrailError(
                f"the disk of {self.path} is full; {kept}: free some space, then "
                f"`handrail resume {typed(self.path)}`"
            ) from error


# -- settings ------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value in types that TOML and JSON share: paths as text, and no None, which TOML cannot
    hold."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _about() -> dict[str, Any]:
    about = {
        "version": version("handrail"),
        "format": FORMAT,
        "jax": version("jax"),
        "directory": os.getcwd(),  # that relative paths among the settings are relative to
    }
    commit = _commit()
    return {**about, "commit": commit} if commit else about


def _commit() -> str | None:
    """The checkout's commit, ``-dirty`` where tracked files are modified; None elsewhere."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # Installed into somebody's repository (.venv), the package is not that repository's.
        for command in (
            ["ls-files", "--error-unmatch", Path(__file__).name],
            ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        ):
            out = subprocess.run([*git, *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip()
