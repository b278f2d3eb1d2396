"""The run directory: settings, metrics, the episode log, the checkpoint, the policy, the summary.

Everything here is written so that a kill at any moment leaves a directory that resumes. A file is
either whole or absent (written beside, synced, renamed). A checkpoint or a policy is two files:
arrays under a name that holds their hash, then a small JSON file that points at them; replacing
the JSON file is the one instant at which the new one takes the place of the old one.

What a resumed run must give again byte for byte (metrics.csv, episodes/) holds no wall-clock
value; timings go to TensorBoard alone.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import socket
import subprocess
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from handrail.data.episodes import Episode
from handrail.errors import HandrailError

FORMAT = 1
"""Of the run directory, the checkpoint and the policy; a reader refuses every other."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Run:
    """One training run on disk. Make it with :meth:`create` or :meth:`open`; close it, or use it
    in a ``with`` statement.

    Attributes:
        path: the directory.
        settings: the resolved settings as TOML gives them back (a ``None`` is an absent key).
        about: version, commit, format and jax version that made the run.
    """

    def __init__(self, path: Path, settings: dict[str, Any], about: dict[str, Any]):
        self.path, self.settings, self.about = path, settings, about
        self._columns, rows = _split(self._metrics)
        self._next_step = _after(rows)
        self._events: Any = None
        self._began, self._before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Wall time spent on the run: since it was opened, and before its last checkpoint."""
        return self._before + time.perf_counter() - self._began

    @classmethod
    def create(cls, path: str | Path, settings: Mapping[str, Any]) -> Run:
        """Begin a run in a new or empty directory.

        Raises:
            HandrailError: the directory holds something already, or cannot be written.
        """
        import tomli_w

        path = Path(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise HandrailError(f"{path} exists; choose another --out or `handrail resume {path}`")
        resolved = {**_plain(settings), "handrail": _about()}
        try:
            path.mkdir(parents=True, exist_ok=True)
            _write(path / "settings.toml", tomli_w.dumps(resolved).encode())
        except OSError as error:
            raise HandrailError(
                f"cannot write {path}: {error.strerror}; choose another --out"
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
        _require_format(file, about)
        return cls(path, settings, about)

    @classmethod
    def begin(cls, path: str | Path, settings: Mapping[str, Any]) -> Run:
        """The run at ``path`` where one was begun there already, else a new one."""
        return (
            cls.open(path)
            if (Path(path) / "settings.toml").is_file()
            else cls.create(path, settings)
        )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the TensorBoard file; a later ``log`` begins another."""
        if self._events is not None:
            self._events.close()
            self._events = None

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
                    file.write(_lines([row]))
                _sync(self._metrics)
            else:  # a new column: every earlier row gets an empty cell
                rows = [_fit(old, len(columns)) for old in _split(self._metrics)[1]]
                _write(self._metrics, _lines([columns, *rows, row]))
                self._columns = columns
            self._tensorboard(int(step), {**values, **(timings or {})})
        self._next_step = int(step) + 1

    def _tensorboard(self, step: int, values: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        # Protocol buffers make their classes as they are imported: nothing for a type checker.
        events: Any = event_pb2
        summaries: Any = summary_pb2
        batch = []
        if self._events is None:
            # Not tensorboard's EventFileWriter: its thread prints a traceback when a disk is full,
            # and after a kill the points of two minutes are missing.
            number = len(list(self.path.glob("events.*")))
            name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}"
            file = self.path / f"{name}.{os.getpid()}.{number}"
            self._events = file.open("xb", buffering=0)
            batch.append(events.Event(file_version="brain.Event:2"))
            # From the second START on, TensorBoard drops the points at that step and after it:
            # those that a roll-back took back.
            start = events.SessionLog(status=events.SessionLog.START)
            batch.append(events.Event(step=self._next_step, session_log=start))
        scalars = [
            summaries.Summary.Value(tag=name, simple_value=float(value))
            for name, value in values.items()
        ]
        batch.append(events.Event(step=step, summary=summaries.Summary(value=scalars)))
        writer = RecordWriter(self._events)
        for event in batch:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())

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
            _sync(file)
            _sync(file.parent)  # a checkpoint counts on the episode's being there

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
        columns, rows = _split(self._metrics)
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
            _publish(self.path / "checkpoint", "latest.json", name, _arrays(state), record)

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
        arrays, record = _recall(directory, "latest.json")
        state = _restore(like, arrays, directory)
        self._roll_back(**record["metrics"], episodes=record["episodes"])
        self._before = record["seconds"]
        return record["progress"], state

    def _roll_back(self, columns: list[str], rows: int, episodes: int) -> None:
        self.close()
        have, kept = _split(self._metrics)
        kept = [_fit(row, len(columns)) for row in kept[:rows]]
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
                _write(self._metrics, _lines([columns, *kept]))
            else:
                self._metrics.unlink(missing_ok=True)
        self._columns = columns
        self._next_step = _after(kept)

    # -- the end ---------------------------------------------------------------------------------

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json: the run is complete."""
        with self._disk():
            _write(self.path / "summary.json", _json(summary))
        self.close()

    def summary(self) -> dict[str, Any] | None:
        """What ``finish`` wrote; None where the run is not complete.

        Raises:
            HandrailError: the file is damaged.
        """
        file = self.path / "summary.json"
        return _read_json(file) if file.is_file() else None

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
                f"`handrail resume {self.path}`"
            ) from error


def read_metrics(path: str | Path) -> dict[str, np.ndarray]:
    """The columns of a run's metrics.csv, float64 of one length; an empty cell is NaN.

    Raises:
        HandrailError: the directory has no metrics.csv, or a cell is not a number.
    """
    file = Path(path) / "metrics.csv"
    if not file.is_file():
        raise HandrailError(f"{path} has no metrics.csv; is it a run, and has it logged yet?")
    columns, rows = _split(file)
    try:
        table = [[float(cell) if cell else np.nan for cell in row] for row in rows]
        values = np.array(table, np.float64).reshape(len(rows), len(columns))
    except ValueError as error:
        raise HandrailError(f"{file} is damaged: {error}; restore it") from error
    return {column: values[:, i] for i, column in enumerate(columns)}


# -- policies ------------------------------------------------------------------------------------


def write_policy(
    path: str | Path, arrays: Mapping[str, np.ndarray], card: Mapping[str, Any]
) -> None:
    """Write a policy's directory: its arrays, and ``card.json`` that says what they are.

    Args:
        path: the directory, made where absent; a policy in it is replaced in one instant.
        arrays: by name.
        card: JSON values.
    """
    _publish(Path(path), "card.json", "policy", arrays, {"card": dict(card)})


def read_policy(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What ``write_policy`` wrote: arrays (read-only) and card.

    Raises:
        HandrailError: there is no policy, it is damaged, or of another version's format.
    """
    if not (Path(path) / "card.json").is_file():
        raise HandrailError(f"{path} is not a policy: it has no card.json")
    arrays, record = _recall(Path(path), "card.json")
    return arrays, record["card"]


# -- files ---------------------------------------------------------------------------------------


def _write(path: Path, data: bytes) -> None:
    """The file with this content, or the file as it was: never a part of it."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
        _sync(temporary)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk its space is wanted
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Onto the disk with what was written of a file, or renamed in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(
    directory: Path,
    index: str,
    stem: str,
    arrays: Mapping[str, np.ndarray],
    record: Mapping[str, Any],
) -> None:
    """Arrays, then the JSON file ``index`` that points at them, then away with older arrays."""
    from safetensors.numpy import save

    data = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    digest = hashlib.sha256(data).hexdigest()
    directory.mkdir(parents=True, exist_ok=True)
    # The hash in the name keeps a second save of the same step off the file that is in force.
    file = f"{stem}-{digest[:8]}.safetensors"
    _write(directory / file, data)
    _write(directory / index, _json({"format": FORMAT, "file": file, "sha256": digest, **record}))
    for old in directory.glob("*.safetensors"):
        if old.name != file:
            old.unlink()


def _recall(directory: Path, index: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What ``_publish`` wrote, verified."""
    from safetensors.numpy import load

    record = _read_json(directory / index)
    _require_format(directory / index, record)
    file = directory / record["file"]
    if not file.is_file():
        raise HandrailError(f"{file} is missing; {directory / index} points at it: restore it")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise HandrailError(f"{file} is damaged: its sha256 is not the one noted; restore it")
    return load(data), record


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise HandrailError(f"{file} is damaged: {error}; restore it") from error
    if not isinstance(value, dict):
        raise HandrailError(f"{file} is damaged: it holds no object; restore it")
    return value


def _require_format(file: Path, record: Mapping[str, Any]) -> None:
    if record.get("format") != FORMAT:
        raise HandrailError(
            f"{file} has format {record.get('format')}, this handrail reads {FORMAT}; use the "
            "version of handrail that wrote it"
        )


# -- metrics.csv ---------------------------------------------------------------------------------


def _split(file: Path) -> tuple[list[str], list[list[str]]]:
    """Columns and rows; a last line that a kill cut short does not count.

    Raises:
        HandrailError: a row has no step, or too few or too many cells.
    """
    text = file.read_text("utf-8", "replace") if file.is_file() else ""
    lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))
    columns, rows = next(lines, []), list(lines)
    for number, row in enumerate(rows, start=2):
        if len(row) != len(columns) or not row[0].isdecimal():
            raise HandrailError(f"{file} is damaged at line {number}; restore it, or train anew")
    return columns, rows


def _lines(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _after(rows: list[list[str]]) -> int:
    """The first step that no row has reached."""
    return int(rows[-1][0]) + 1 if rows else 0


def _fit(row: list[str], columns: int) -> list[str]:
    """A row of so many cells; columns come and go at the right."""
    return row[:columns] + [""] * (columns - len(row))


# -- the state as arrays -------------------------------------------------------------------------


def _is_key(leaf: Any) -> bool:
    import jax

    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _kept(state: Any) -> tuple[dict[str, Any], list[Any], Any]:
    """The leaves to keep by their path, every leaf, and the tree's form."""
    import jax

    leaves, form = jax.tree_util.tree_flatten_with_path(state)
    # Python numbers too: a counter that silently began anew would be found by nobody.
    kinds = (jax.Array, np.ndarray, np.generic, bool, int, float)
    kept = {jax.tree_util.keystr(p): leaf for p, leaf in leaves if isinstance(leaf, kinds)}
    return kept, leaves, form


def _array(leaf: Any) -> np.ndarray:
    import jax

    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _arrays(state: Any) -> dict[str, np.ndarray]:
    return {path: _array(leaf) for path, leaf in _kept(state)[0].items()}


def _restore(like: Any, arrays: Mapping[str, np.ndarray], where: Path) -> Any:
    """``like`` with the arrays in it.

    Raises:
        HandrailError: a path, shape or dtype is another; the first is named.
    """
    import jax

    kept, leaves, form = _kept(like)
    for path in [*kept, *arrays]:
        have = (arrays[path].shape, arrays[path].dtype) if path in arrays else None
        want = ((array := _array(kept[path])).shape, array.dtype) if path in kept else None
        if have != want:
            raise HandrailError(
                f"{where} is a checkpoint of another version or other settings: {path} is "
                f"{_described(have)} there and {_described(want)} here"
            )

    def restored(path: str, leaf: Any) -> Any:
        if path not in kept:
            return leaf
        # Copies: the arrays as read lie in memory that a donated buffer must not reuse.
        if _is_key(leaf):
            data = jax.numpy.array(arrays[path], copy=True)
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if isinstance(leaf, jax.Array):
            return jax.numpy.array(arrays[path], copy=True)
        if isinstance(leaf, np.ndarray):
            return arrays[path].copy()
        return type(leaf)(arrays[path].item())

    new = [restored(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
    return jax.tree_util.tree_unflatten(form, new)


def _described(array: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return f"{array[1]}{list(array[0])}" if array else "absent"


# -- settings ------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """The value in TOML's types: paths as text, and no None, which TOML cannot hold."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _about() -> dict[str, Any]:
    about = {"version": version("handrail"), "format": FORMAT, "jax": version("jax")}
    commit = _commit()
    return {**about, "commit": commit} if commit else about


def _commit() -> str | None:
    """The checkout's commit, ``-dirty`` where tracked files are modified; None elsewhere."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        # Installed into somebody's repository (.venv), the package is not that repository's.
        for command in (
            ["ls-files", "--error-unmatch", "errors.py"],
            ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        ):
            out = subprocess.run([*git, *command], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip()
