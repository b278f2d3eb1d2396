"""Demonstrations on disk: DSRL's HDF5, Minari, and handrail's own episode files.

``read`` tells the format by itself and returns validated episodes; ``inspect`` lists everything
that is wrong with a set, and where. Nothing here unpickles: a pickle or an npz is refused.

Sources: DSRL, arXiv 2306.09303 (flat arrays, an episode ends where ``terminals`` or ``timeouts``
is set); Minari 0.5.4 (a group an episode, T + 1 observations, the cost in ``infos["cost"]``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from handrail.data.episodes import Episode, Episodes
from handrail.errors import HandrailError
from handrail.types import Spec

Format = Literal["dsrl", "minari"]

_DSRL = (
    "observations",
    "next_observations",
    "actions",
    "rewards",
    "costs",
    "terminals",
    "timeouts",
)
_NAMES = ("observations", "actions", "rewards", "costs")
_MAKE = "`handrail demos TASK --out PATH` makes demonstrations"


class _Raw(NamedTuple):
    """An episode as it lies on disk, of which nothing is known yet."""

    name: str
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    costs: np.ndarray
    terminated: bool
    seed: int | None = None


class _Loaded(NamedTuple):
    format: str
    task: str | None
    raws: list[_Raw]
    problems: list[str]
    """Of the set as a whole; those of an episode are found by ``_faults``."""


# --- Reading ------------------------------------------------------------------------------------


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
    problems = loaded.problems + [fault for raw in loaded.raws for fault in _faults(raw)]
    if problems:
        more = f" ({len(problems) - 1} more: `handrail data check {path}`)" if problems[1:] else ""
        raise HandrailError(f"{path}: {problems[0]}{more}")
    try:
        return Episodes(tuple(Episode(*raw[1:]) for raw in loaded.raws), loaded.task)
    except HandrailError as error:
        raise HandrailError(f"{path}: {error}") from None


def read_episode(path: str | os.PathLike[str]) -> tuple[Episode, str | None]:
    """An episode file's episode, and its task.

    Raises:
        HandrailError: the file is missing, damaged, or holds no valid episode.
    """
    episodes = read(path)
    return episodes[0], episodes.task


def _load(path: Path) -> _Loaded:
    """What lies at ``path``, unchecked.

    Raises:
        HandrailError: nothing there can be read at all.
    """
    try:
        return _reader(path)(path)
    except OSError as error:
        reason = error.strerror or str(error).splitlines()[0]
        raise HandrailError(
            f"{path}: cannot be read ({reason}); the file is damaged, cut short or not yours to "
            "read: copy or make it again"
        ) from error


def _reader(path: Path) -> Callable[[Path], _Loaded]:
    if path.is_dir():
        if (path / "data" / "metadata.json").exists() or (path / "metadata.json").exists():
            return _load_minari
        if any(path.glob("*.safetensors")) or (path / "episodes").is_dir():
            return _load_log
        raise HandrailError(
            f"{path}: holds neither a Minari data set (data/metadata.json) nor episode files "
            f"(*.safetensors); {_MAKE}"
        )
    if not path.exists():
        raise HandrailError(f"{path}: no such file or directory; {_MAKE}")
    if path.suffix == ".safetensors":
        return _load_log
    with path.open("rb") as file:
        head = file.read(8)
    if head == b"\x89HDF\r\n\x1a\n":
        return _load_dsrl
    # A pickle starts with its protocol's number; npz is a zip of npy, which may hold pickles.
    kinds = {b"\x80": "a pickle", b"PK\x03\x04": "an npz (zip) file", b"\x93NUMPY": "an npy file"}
    kind = next((name for magic, name in kinds.items() if head.startswith(magic)), None)
    if kind is None and path.suffix in (".pkl", ".pickle"):
        kind = "a pickle"
    if kind:
        raise HandrailError(
            f"{path}: is {kind}, which may run code when loaded and is never read; save the arrays "
            f"{', '.join(_DSRL)} to HDF5 with h5py"
        )
    raise HandrailError(
        f"{path}: is not an HDF5 file, nor anything else that handrail reads; give a DSRL HDF5 "
        "file, a Minari directory or a directory of episode files"
    )


def _load_dsrl(path: Path) -> _Loaded:
    import h5py

    with h5py.File(path) as file:
        missing = [key for key in _DSRL if not isinstance(file.get(key), h5py.Dataset)]
        if "episode_0" in file:
            raise HandrailError(f"{path}: is the inside of a Minari data set; give its directory")
        if missing:
            have = ", ".join(file) or "nothing"
            problem = f"has no {', '.join(missing)} (it has {have}); add them, named as DSRL does"
            return _Loaded("dsrl", None, [], [problem])
        flat: dict[str, np.ndarray] = {key: _array(file[key]) for key in _DSRL}
        task = _text(file.attrs.get("task"))
    problems = _misshapen("the file", flat)
    if not problems and not len(flat["actions"]):
        problems = ["holds no step"]
    if problems:
        return _Loaded("dsrl", task, [], problems)
    raws = []
    last = flat["terminals"].astype(bool) | flat["timeouts"].astype(bool)
    last[-1] = True
    begin = 0
    for number, end in enumerate(np.flatnonzero(last) + 1):
        steps = slice(begin, end)
        observations = flat["observations"][steps]
        following = flat["next_observations"][steps]
        here, there = following[:-1], observations[1:]
        torn = ((here != there) & ~(np.isnan(here) & np.isnan(there))).any(axis=1)
        if torn.any():
            problems.append(
                f"next_observations at step {int(torn.argmax())} of episode {number} is not the "
                f"observation after it ({int(torn.sum())} such steps in the episode); set "
                "timeouts where an episode was cut"
            )
        raws.append(
            _Raw(
                f"episode {number}",
                np.concatenate([observations, following[-1:]]),
                *(flat[key][steps] for key in _NAMES[1:]),
                terminated=bool(flat["terminals"][end - 1]),
            )
        )
        begin = end
    return _Loaded("dsrl", task, raws, problems)


def _load_minari(path: Path) -> _Loaded:
    import h5py

    data = path if (path / "metadata.json").exists() else path / "data"
    try:
        metadata = json.loads((data / "metadata.json").read_text())
        task = metadata.get("task")
    except (ValueError, AttributeError) as error:
        raise HandrailError(f"{data / 'metadata.json'}: is not JSON ({error})") from error
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise HandrailError(
            f"{path}: is stored as {metadata['data_format']}; write it again with data_format="
            '"hdf5"'
        )
    raws, problems = [], []
    with h5py.File(data / "main_data.hdf5") as file:
        for name in sorted(file, key=lambda name: (len(name), name)):
            group: Any = file[name]
            title = name.replace("_", " ")
            keys = ("observations", "actions", "rewards", "infos/cost", "terminations")
            missing = [key for key in keys if not isinstance(group.get(key), h5py.Dataset)]
            if missing:
                problems.append(
                    f"{title} has no array {', '.join(missing)}; handrail needs flat observations "
                    'and actions, and the cost in infos["cost"]'
                )
                continue
            arrays = [_array(group[key]) for key in keys]
            terminated = bool(arrays.pop()[-1:].any())
            if arrays[3].ndim and len(arrays[3]) == len(arrays[2]) + 1:
                arrays[3] = arrays[3][1:]  # DataCollector keeps the infos of the reset too
            seed = group.attrs.get("seed")
            raws.append(_Raw(title, *arrays, terminated, None if seed is None else int(seed)))
    return _Loaded("minari", task, raws, problems)


def _load_log(path: Path) -> _Loaded:
    from safetensors import SafetensorError, safe_open

    if path.is_dir() and not any(path.glob("*.safetensors")):
        path = path / "episodes"  # of a run's directory
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    raws, problems, tasks = [], [], set()
    for file in files:
        try:
            with safe_open(file, framework="np") as tensors:
                metadata = tensors.metadata() or {}
                arrays = {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118
        except SafetensorError as error:
            problems.append(f"{file.name} is damaged or no episode file ({error}); remove it")
            continue
        if missing := [key for key in _NAMES if key not in arrays]:
            problems.append(f"{file.name} has no {', '.join(missing)}; it is no episode file")
            continue
        tasks.add(metadata.get("task"))
        seed = metadata.get("seed")
        raws.append(
            _Raw(
                file.name,
                *(arrays[key] for key in _NAMES),
                terminated=metadata.get("terminated") == "true",
                seed=None if seed is None else int(seed),
            )
        )
    if len(tasks) > 1:
        problems.append(f"episodes of several tasks in one set: {sorted(map(str, tasks))}")
    return _Loaded("episodes", next(iter(tasks), None), raws, problems)


def _array(dataset: Any) -> np.ndarray:
    """A dataset as an array: numbers as float32, anything else as it is."""
    array = np.asarray(dataset[()])
    with np.errstate(over="ignore"):  # beyond float32 becomes inf, which is reported
        return array.astype(np.float32) if array.dtype.kind in "fiub" else array


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


# --- Checking -----------------------------------------------------------------------------------


def inspect(path: str | os.PathLike[str], spec: Spec | None = None) -> dict[str, Any]:
    """Everything that is wrong with a set, and what it holds.

    Args:
        path: as of :func:`read`.
        spec: the task that the set should be of, if it is known.

    Returns:
        ``problems``: a line each, with the place; empty where the set is sound.
        ``summary``: ``format``, ``task``, and of the sound episodes ``episodes``, ``steps``,
        ``return``, ``cost`` and ``length`` (each mean, min, max; undiscounted sums),
        ``terminated``, ``truncated``, ``observation_size``, ``action_size``. Empty where nothing
        could be read.
    """
    try:
        loaded = _load(Path(path))
    except HandrailError as error:
        return {"problems": [str(error)], "summary": {}}
    problems = list(loaded.problems)
    sound: dict[str, Episode] = {}
    for raw in loaded.raws:
        faults = _faults(raw)
        problems += faults
        if not faults:
            sound[raw.name] = Episode(*raw[1:])
    if not loaded.raws and not problems:
        problems.append(f"holds no episode; {_MAKE}")
    sizes = sorted({(e.observations.shape[1], e.actions.shape[1]) for e in sound.values()})
    if len(sizes) > 1:
        problems.append(f"episodes of different (observation, action) sizes in one set: {sizes}")
    for name, episode in sound.items():
        if (episode.costs < 0).any():
            problems.append(f"costs of {name} are negative at {_place(episode.costs < 0)}")
    if spec is not None:
        if loaded.task not in (None, spec.task):
            problems.append(f"the set is of {loaded.task}, not of {spec.task}")
        for name, episode in sound.items():
            problems += _unlike(name, episode, spec)
    return {"problems": problems, "summary": _summary(loaded, list(sound.values()))}


def _summary(loaded: _Loaded, episodes: list[Episode]) -> dict[str, Any]:
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
        summary[name] = {
            "mean": float(np.mean(values)),
            "min": min(values),
            "max": max(values),
        }
    terminated = sum(e.terminated for e in episodes)
    return summary | {
        "terminated": terminated,
        "truncated": len(episodes) - terminated,
        "observation_size": episodes[0].observations.shape[1],
        "action_size": episodes[0].actions.shape[1],
    }


def _misshapen(where: str, arrays: dict[str, np.ndarray], final: int = 0) -> list[str]:
    """Faults of kind, dimensions and length; ``final`` observations follow the last action."""
    problems = []
    for name, array in arrays.items():
        shape = "(T, size)" if name.endswith(("observations", "actions")) else "(T,)"
        if array.dtype.kind not in "fiub":
            problems.append(f"{name} of {where} are {array.dtype}, not numbers; store float32")
        elif array.ndim != shape.count(",") + (shape != "(T,)"):
            problems.append(
                f"{name} of {where} have shape {array.shape}, not {shape}; reshape them"
            )
    if problems:
        return problems
    lengths = {name: len(a) - final * (name == "observations") for name, a in arrays.items()}
    if len(set(lengths.values())) > 1:
        have = ", ".join(f"{len(array)} {name}" for name, array in arrays.items())
        rule = "T actions need T + 1 observations, and T of the others" if final else "all need T"
        problems.append(f"lengths disagree in {where}: {have}; {rule}")
    return problems


def _faults(raw: _Raw) -> list[str]:
    """All that keeps a raw episode from being an :class:`Episode`."""
    arrays = {name: getattr(raw, name) for name in _NAMES}
    if problems := _misshapen(raw.name, arrays, final=1):
        return problems
    if not len(raw.actions):
        return [f"{raw.name} has no step; remove it"]
    return [
        f"{name} of {raw.name} are not finite at {_place(~np.isfinite(array))}; remove or mend the "
        "episode"
        for name, array in arrays.items()
        if not np.isfinite(array).all()
    ]


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
    if not problems:
        low, high = np.float32(spec.action_low) - 1e-5, np.float32(spec.action_high) + 1e-5
        outside = (episode.actions < low) | (episode.actions > high)
        if outside.any():
            problems.append(f"actions of {name} leave the box of {spec.task} at {_place(outside)}")
    return problems


def _place(bad: np.ndarray) -> str:
    """Where a mask is first set, and how often."""
    count = int(bad.sum())
    return f"step {int(np.argwhere(bad)[0][0])}" + (f" ({count} values)" if count > 1 else "")


# --- Writing ------------------------------------------------------------------------------------


def write(
    episodes: Episodes,
    path: str | os.PathLike[str],
    format: Format = "dsrl",
    spec: Spec | None = None,
) -> None:
    """Write a new set at ``path``: whole, or not at all.

    ``dsrl`` is one HDF5 file, float32 and gzip; it has no place for the episodes' seeds. ``minari``
    is a directory that ``minari.load_dataset(name)`` finds where ``MINARI_DATASETS_PATH`` is its
    parent, and ``minari.MinariDataset(path / "data")`` anywhere; ``spec`` gives it the action box.

    Raises:
        HandrailError: ``path`` exists, cannot be written, or the format is unknown.
    """
    writers = {"dsrl": _write_dsrl, "minari": _write_minari}
    if format not in writers:
        raise HandrailError(f"unknown format {format!r}; give one of {', '.join(writers)}")
    path = Path(path)
    if path.exists():
        raise HandrailError(f"{path}: exists already; remove it or write elsewhere")
    with _beside(path) as draft:
        writers[format](episodes, draft, path.name, spec)


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    format: Format,
    spec: Spec | None = None,
) -> Episodes:
    """Read ``source``, write it as ``format`` at ``destination``, and return what was read.

    Raises:
        HandrailError: as :func:`read` and :func:`write`.
    """
    episodes = read(source)
    write(episodes, destination, format, spec)
    return episodes


def write_episode(path: str | os.PathLike[str], episode: Episode, task: str | None) -> None:
    """Write one episode file (safetensors); what stood there is replaced in one move.

    Raises:
        HandrailError: it cannot be written.
    """
    from safetensors.numpy import save_file

    metadata = {"terminated": "true" if episode.terminated else "false"}
    if task is not None:
        metadata["task"] = task
    if episode.seed is not None:
        metadata["seed"] = str(episode.seed)
    arrays = {name: np.ascontiguousarray(getattr(episode, name), np.float32) for name in _NAMES}
    with _beside(Path(path)) as draft:
        save_file(arrays, draft, metadata)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A draft's path beside ``path``, which becomes ``path`` once the block has ended well."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        os.replace(draft, path)
    except OSError as error:
        raise HandrailError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)


def _write_dsrl(episodes: Episodes, draft: Path, name: str, spec: Spec | None) -> None:
    import h5py

    ends = np.cumsum([len(e) for e in episodes]) - 1
    terminals, timeouts = np.zeros((2, episodes.steps), bool)
    terminals[ends] = [e.terminated for e in episodes]
    timeouts[ends] = ~terminals[ends]
    arrays = {
        "observations": np.concatenate([e.observations[:-1] for e in episodes]),
        "next_observations": np.concatenate([e.observations[1:] for e in episodes]),
        **{key: np.concatenate([getattr(e, key) for e in episodes]) for key in _NAMES[1:]},
        "terminals": terminals,
        "timeouts": timeouts,
    }
    with h5py.File(draft, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, compression="gzip")
        if episodes.task is not None:
            file.attrs["task"] = episodes.task


def _write_minari(episodes: Episodes, draft: Path, name: str, spec: Spec | None) -> None:
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    def box(low: Any, high: Any, array: np.ndarray) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(np.float32(low), np.float32(high), array.shape[1:], np.float32)

    low, high = (spec.action_low, spec.action_high) if spec else (-np.inf, np.inf)
    draft.mkdir()
    storage = MinariStorage.new(
        draft / "data",
        observation_space=box(-np.inf, np.inf, episodes[0].observations),
        action_space=box(low, high, episodes[0].actions),
    )
    # Minari's names end in a version, and hold letters, digits, - and _ only.
    title = re.sub(r"[^-\w]", "-", name)
    title = title if re.search(r"-v\d+$", title) else f"{title}-v0"
    metadata = {"dataset_id": title, "minari_version": minari.__version__}
    storage.update_metadata(metadata | ({"task": episodes.task} if episodes.task else {}))
    storage.update_episodes(
        EpisodeBuffer(
            seed=episode.seed,
            observations=episode.observations,
            actions=episode.actions,
            rewards=episode.rewards,
            terminations=_flag_last(len(episode), episode.terminated),
            truncations=_flag_last(len(episode), not episode.terminated),
            infos={"cost": episode.costs},
        )
        for episode in episodes
    )


def _flag_last(steps: int, flag: bool) -> np.ndarray:
    flags = np.zeros(steps, bool)
    flags[-1] = flag
    return flags
