"""Demonstrations: read, checked, written and converted.

``read`` tells the format by itself (:mod:`handrail.data.formats` lists them) and returns validated
episodes; ``inspect`` lists everything that is wrong with a set, and where. Nothing here unpickles:
a pickle or an npz is refused.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from handrail.data.episodes import Episode, Episodes
from handrail.data.formats import (
    ARRAYS,
    DSRL,
    LOADERS,
    WRITERS,
    Loaded,
    Raw,
    episode_bytes,
    misshapen,
    place,
)
from handrail.errors import HandrailError, typed
from handrail.storage import require_place
from handrail.types import Spec

_MAKE = (
    "`handrail demos TASK --out PATH` makes demonstrations, `handrail dataset TASK --out PATH` a "
    "set of many returns and costs"
)


def read(path: str | os.PathLike[str]) -> Episodes:
    """The episodes at ``path``.

    ``path`` is a DSRL HDF5 file, a Minari data set's directory (the one that holds ``data/``, or
    ``data/`` itself), a directory of episode files, a run's directory, or one episode file. The
    task is known of sets that handrail wrote, and None of others.

    Raises:
        HandrailError: there is no such set, or something is wrong with it: the line names the
            first fault and says how many more there are.
    """
    loaded = _load(Path(path))
    sound, problems = _sift(loaded)
    if problems:
        more = (
            f" ({len(problems) - 1} more: `handrail data check {typed(path)}`)"
            if problems[1:]
            else ""
        )
        raise HandrailError(f"{path}: {problems[0]}{more}")
    return Episodes(tuple(sound.values()), loaded.task)


def read_episode(path: str | os.PathLike[str]) -> Episode:
    """The episode of an episode file.

    Raises:
        HandrailError: the file is missing, damaged, or holds no valid episode.
    """
    return read(path)[0]


def inspect(path: str | os.PathLike[str], spec: Spec | None = None) -> dict[str, Any]:
    """Everything that is wrong with a set, and what it holds.

    Args:
        path: as of :func:`read`.
        spec: the task that the set should be of, if it is known.

    Returns:
        ``problems``: a line each, with the place; none where the set is sound.
        ``summary``: ``format``, ``task``, and of the sound episodes ``episodes``, ``steps``,
        ``return``, ``cost`` and ``length`` (each mean, min, max; undiscounted sums),
        ``terminated``, ``truncated``, ``observation_size``, ``action_size``. Empty where nothing
        could be read.
    """
    try:
        loaded = _load(Path(path))
    except HandrailError as error:
        return {"problems": [str(error)], "summary": {}}
    sound, problems = _sift(loaded)
    if spec is not None:
        if loaded.task not in (None, spec.task):
            problems.append(f"the set is of {loaded.task}, not of {spec.task}")
        for name, episode in sound.items():
            problems += _unlike(name, episode, spec)
    return {"problems": problems, "summary": _summary(loaded, list(sound.values()))}


def write(
    episodes: Episodes,
    path: str | os.PathLike[str],
    format: str = "dsrl",
    spec: Spec | None = None,
) -> None:
    """Write a new set at ``path``: whole, or not at all.

    ``dsrl`` is one HDF5 file, float32 and gzip; it has no place for the episodes' seeds. ``minari``
    is a directory that ``minari.load_dataset(name)`` finds where ``MINARI_DATASETS_PATH`` is its
    parent, and ``minari.MinariDataset(path / "data")`` anywhere; ``spec`` gives it the action box.

    Raises:
        HandrailError: ``path`` exists, cannot be written, or the format is unknown.
    """
    if format not in WRITERS:
        raise HandrailError(f"unknown format {format!r}; give one of {', '.join(WRITERS)}")
    path = Path(path)
    require_new(path)
    try:
        with _beside(path) as draft:
            WRITERS[format](episodes, draft, path.name, spec)
    except (OSError, RuntimeError) as error:  # the latter Minari's, by way of h5py
        said = getattr(error, "strerror", None) or str(error)
        reason = (said.splitlines() or [type(error).__name__])[0]
        raise HandrailError(f"{path}: cannot be written ({reason}); write elsewhere") from error


def require_new(path: Path) -> None:
    """Raise a HandrailError where nothing new can be written at ``path``; rather before the work
    than after it."""
    if path.exists():
        raise HandrailError(f"{path}: exists already; remove it or write elsewhere")
    require_place(path)


def write_episode(path: str | os.PathLike[str], episode: Episode, task: str | None) -> None:
    """Write one episode file, or replace it in one move; it is on the disk when this returns.

    Raises:
        OSError: the disk says no; a run turns it into its own line.
    """
    with _beside(Path(path)) as draft, draft.open("wb") as file:
        file.write(episode_bytes(episode, task))
        file.flush()
        os.fsync(file.fileno())


# --- What read and inspect share ----------------------------------------------------------------


def _load(path: Path) -> Loaded:
    """What lies at ``path``, unchecked.

    Raises:
        HandrailError: nothing there can be read at all.
    """
    try:
        return LOADERS[_format(path)](path)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # h5py's, of damage
        said = getattr(error, "strerror", None) or str(error)
        reason = (said.splitlines() or [type(error).__name__])[0]
        raise HandrailError(
            f"{path}: cannot be read ({reason}); it is damaged, cut short or not yours to read: "
            "copy or make it again"
        ) from error


def _format(path: Path) -> str:
    if path.is_dir():
        if (path / "data" / "metadata.json").exists() or (path / "metadata.json").exists():
            return "minari"
        if any(path.glob("*.safetensors")) or any(path.glob("episodes/*.safetensors")):
            return "episodes"
        raise HandrailError(
            f"{path}: holds neither a Minari data set (data/metadata.json) nor episode files "
            f"(*.safetensors); {_MAKE}"
        )
    if not path.exists():
        raise HandrailError(f"{path}: no such file or directory; {_MAKE}")
    if path.suffix == ".safetensors":
        return "episodes"
    with path.open("rb") as file:
        head = file.read(8)
    if head == b"\x89HDF\r\n\x1a\n":
        return "dsrl"
    # A pickle begins with its protocol's number; an npz is a zip, and may hold pickles.
    magic = {b"\x80": "a pickle", b"PK\x03\x04": "an npz (zip) file", b"\x93NUMPY": "an npy file"}
    kind = next((kind for start, kind in magic.items() if head.startswith(start)), None)
    if kind is None and path.suffix in (".pkl", ".pickle"):
        kind = "a pickle"
    if kind is None:
        raise HandrailError(
            f"{path}: is not an HDF5 file, nor anything else that handrail reads; give a DSRL HDF5 "
            "file, a Minari directory or a directory of episode files"
        )
    raise HandrailError(
        f"{path}: is {kind}; such files may run code when loaded and are never read: save "
        f"{', '.join(DSRL)} to HDF5 with h5py"
    )


def _sift(loaded: Loaded) -> tuple[dict[str, Episode], list[str]]:
    """The sound episodes by name, and all that keeps the set from being an ``Episodes``."""
    sound: dict[str, Episode] = {}
    problems = list(loaded.problems)
    for raw in loaded.raws:
        if faults := _faults(raw):
            problems += faults
        else:
            sound[raw.name] = raw.episode()
    if not loaded.raws and not problems:
        problems.append(f"holds no episode; {_MAKE}")
    sizes = sorted({(e.observations.shape[1], e.actions.shape[1]) for e in sound.values()})
    if len(sizes) > 1:
        problems.append(
            f"episodes of different (observation, action) sizes in one set: {sizes}; part them"
        )
    return sound, problems


def _faults(raw: Raw) -> list[str]:
    """All that keeps a raw episode from being an :class:`Episode`."""
    arrays = {name: getattr(raw, name) for name in ARRAYS}
    if problems := misshapen(raw.name, arrays, final=1):
        return problems
    if not len(raw.actions):
        return [f"{raw.name} has no step; remove it"]
    problems = [
        f"{name} of {raw.name} are not finite at {place(~np.isfinite(array))}; remove or mend the "
        "episode"
        for name, array in arrays.items()
        if not np.isfinite(array).all()
    ]
    if (raw.costs < 0).any():
        problems.append(f"costs of {raw.name} are negative at {place(raw.costs < 0)}; mend them")
    return problems


def _unlike(name: str, episode: Episode, spec: Spec) -> list[str]:
    """All that keeps an episode from being one of the task ``spec``."""
    problems = []
    for what, have, want in (
        ("observations", episode.observations.shape[1], spec.observation_size),
        ("actions", episode.actions.shape[1], spec.action_size),
    ):
        if have != want:
            problems.append(f"{what} of {name} have {have} values, {spec.task} has {want}")
    if len(episode) > spec.horizon:
        problems.append(f"{name} has {len(episode)} steps, {spec.task} ends after {spec.horizon}")
    if episode.actions.shape[1] == spec.action_size:
        outside = spec.outside(episode.actions)
        if outside.any():
            problems.append(f"actions of {name} leave the box of {spec.task} at {place(outside)}")
    return problems


def _summary(loaded: Loaded, episodes: list[Episode]) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "format": loaded.format,
        "task": loaded.task,
        "episodes": len(episodes),
        "steps": sum(map(len, episodes)),
    }
    if not episodes:
        return summary
    for name, values in (
        ("return", [e.return_ for e in episodes]),
        ("cost", [e.cost for e in episodes]),
        ("length", [len(e) for e in episodes]),
    ):
        summary[name] = {"mean": float(np.mean(values)), "min": min(values), "max": max(values)}
    summary["terminated"] = sum(e.terminated for e in episodes)
    summary["truncated"] = len(episodes) - summary["terminated"]
    summary["observation_size"] = episodes[0].observations.shape[1]
    summary["action_size"] = episodes[0].actions.shape[1]
    return summary


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A draft's path beside ``path``, which becomes ``path`` if the block ends well."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        os.replace(draft, path)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)
