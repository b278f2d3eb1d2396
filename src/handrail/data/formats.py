"""How demonstrations lie on disk: a loader and a writer for each format, unchecked.

- ``dsrl``: one HDF5 file of flat arrays over N steps; an episode ends where ``terminals`` or
  ``timeouts`` is set, or the file ends (DSRL, arXiv 2306.09303).
- ``minari``: a directory; in ``data/`` one HDF5 group an episode, with T + 1 observations and the
  cost in ``infos["cost"]`` (Minari 0.5.4).
- ``episodes``: a directory of handrail's own files, one safetensors file an episode.

The loaders check no value: that is the part of :mod:`handrail.data.sources`, which calls them.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from handrail.data.episodes import Episode, Episodes
from handrail.errors import HandrailError
from handrail.types import Spec

ARRAYS = ("observations", "actions", "rewards", "costs")
DSRL = (*ARRAYS, "next_observations", "terminals", "timeouts")


class Raw(NamedTuple):
    """An episode as it lies on disk, of which nothing is known yet; else as an ``Episode``."""

    name: str
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    costs: np.ndarray
    terminated: bool
    seed: int | None = None

    def episode(self) -> Episode:
        return Episode(*self[1:])


class Loaded(NamedTuple):
    format: str
    task: str | None
    """Known of sets that handrail wrote."""
    raws: list[Raw]
    problems: list[str]
    """Of the set as a whole, and of episodes that are no :class:`Raw`."""


def misshapen(where: str, arrays: Mapping[str, np.ndarray], final: int = 0) -> list[str]:
    """Faults of kind, dimensions and length; ``final`` observations follow the last action."""
    problems = []
    for name, array in arrays.items():
        dimensions, shape = (2, "(T, size)") if "obs" in name or name == "actions" else (1, "(T,)")
        if array.dtype.kind not in "fiub":
            problems.append(f"{name} of {where} are {array.dtype}, not numbers; store float32")
        elif array.ndim != dimensions:
            problems.append(
                f"{name} of {where} have shape {array.shape}, not {shape}; reshape them"
            )
    if problems:
        return problems
    lengths = {len(array) - final * (name == "observations") for name, array in arrays.items()}
    if len(lengths) > 1:
        have = ", ".join(f"{len(array)} {name}" for name, array in arrays.items())
        rule = "T actions need T + 1 observations and T of the others" if final else "all need T"
        problems.append(f"lengths disagree in {where}: {have}; {rule}")
    return problems


def _array(dataset: Any) -> np.ndarray:
    """A dataset as an array: numbers as float32, anything else as it is."""
    array = np.asarray(dataset[()])
    with np.errstate(over="ignore"):  # beyond float32 becomes inf, which is reported
        return array.astype(np.float32) if array.dtype.kind in "fiub" else array


# --- DSRL ---------------------------------------------------------------------------------------


def load_dsrl(path: Path) -> Loaded:
    import h5py

    with h5py.File(path) as file:
        if "episode_0" in file:
            raise HandrailError(f"{path}: is the inside of a Minari data set; give its directory")
        if missing := [key for key in DSRL if not isinstance(file.get(key), h5py.Dataset)]:
            names = [*map(str, file)]  # of a damaged file: bytes, or with control characters
            there = (name if name.isprintable() else ascii(name) for name in names)
            problem = (
                f"has no {', '.join(missing)} (it has {', '.join(there) or 'nothing'}); add them, "
                "named as DSRL does"
            )
            return Loaded("dsrl", None, [], [problem])
        flat = {key: _array(file[key]) for key in DSRL}
        task = file.attrs.get("task")
    task = _task(task)
    if problems := misshapen("the file", flat):
        return Loaded("dsrl", task, [], problems)
    last = (flat["terminals"] > 0) | (flat["timeouts"] > 0)
    last[-1:] = True
    ends = np.flatnonzero(last) + 1
    raws = []
    for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
        name = f"episode {number}"
        here, actions, rewards, costs, then = (flat[key][begin:end] for key in DSRL[:5])
        if torn := _torn(then[:-1], here[1:]):
            problems.append(
                f"next_observations of {name} are not the observation after at {torn}; set "
                "timeouts where an episode was cut"
            )
        observations = np.concatenate([here, then[-1:]])
        terminated = bool(flat["terminals"][end - 1])
        raws.append(Raw(name, observations, actions, rewards, costs, terminated))
    return Loaded("dsrl", task, raws, problems)


def _torn(then: np.ndarray, after: np.ndarray) -> str | None:
    differ = (then != after) & ~(np.isnan(then) & np.isnan(after))
    return place(differ.any(axis=1)) if differ.any() else None


def place(bad: np.ndarray) -> str:
    """In words, the step where a mask over an episode is first set, and how often it is."""
    count = int(bad.sum())
    return f"step {int(np.argwhere(bad)[0][0])}" + (f" ({count} in all)" if count > 1 else "")


def write_dsrl(episodes: Episodes, draft: Path, name: str, spec: Spec | None) -> None:
    import h5py

    ends = np.cumsum([len(e) for e in episodes]) - 1
    terminals, timeouts = np.zeros((2, episodes.steps), bool)
    terminals[ends] = [e.terminated for e in episodes]
    timeouts[ends] = ~terminals[ends]
    arrays = {
        "observations": np.concatenate([e.observations[:-1] for e in episodes]),
        "next_observations": np.concatenate([e.observations[1:] for e in episodes]),
        **{key: np.concatenate([getattr(e, key) for e in episodes]) for key in ARRAYS[1:]},
        "terminals": terminals,
        "timeouts": timeouts,
    }
    whole = io.BytesIO()  # h5py itself breaks down, with all of Python, where a disk is full
    with h5py.File(whole, "w") as file:
        for key, array in arrays.items():
            file.create_dataset(key, data=array, compression="gzip")
        if episodes.task is not None:
            file.attrs["task"] = episodes.task
    draft.write_bytes(whole.getbuffer())


# --- Minari -------------------------------------------------------------------------------------


def load_minari(path: Path) -> Loaded:
    import h5py

    data = path if (path / "metadata.json").exists() else path / "data"
    try:
        metadata = dict(json.loads((data / "metadata.json").read_text()))
    except (ValueError, TypeError) as error:
        raise HandrailError(
            f"{data / 'metadata.json'}: is damaged ({error}); copy or make the set again"
        ) from error
    if (kind := metadata.get("data_format", "hdf5")) != "hdf5":
        raise HandrailError(f'{path}: is stored as {kind}; write it with data_format="hdf5"')
    keys = ("observations", "actions", "rewards", "infos/cost", "terminations")
    raws, problems = [], []
    with h5py.File(data / "main_data.hdf5") as file:
        for key in sorted(file, key=lambda key: (len(str(key)), key)):
            group: Any = file.get(key)
            name = str(key).replace("_", " ")
            if group is None:
                problems.append(f"{name} lies in a file that is not there; copy the whole set")
                continue
            if not isinstance(group, h5py.Group):
                problems.append(f"{name} is no episode; remove it")
                continue
            if missing := [key for key in keys if not isinstance(group.get(key), h5py.Dataset)]:
                problems.append(
                    f"{name} has no array {', '.join(missing)}; observations and actions must be "
                    'flat, and the cost in infos["cost"]'
                )
                continue
            observations, actions, rewards, costs, terminations = (_array(group[k]) for k in keys)
            if costs.ndim == rewards.ndim == 1 and len(costs) == len(rewards) + 1:
                costs = costs[1:]  # Minari's DataCollector keeps the infos of the reset too
            terminated = bool(terminations.reshape(-1)[-1:].any())
            seed = group.attrs.get("seed")
            seed = int(seed) if isinstance(seed, int | np.integer) else None
            raws.append(Raw(name, observations, actions, rewards, costs, terminated, seed))
    return Loaded("minari", _task(metadata.get("task")), raws, problems)


def _task(named: Any) -> str | None:
    """What a set says of its task, where that can be one's name."""
    return named if isinstance(named, str) and named else None


def write_minari(episodes: Episodes, draft: Path, name: str, spec: Spec | None) -> None:
    import gymnasium
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    def box(low: Any, high: Any, array: np.ndarray) -> gymnasium.spaces.Box:
        shape = array.shape[1:]
        low, high = (np.broadcast_to(np.float32(bound), shape) for bound in (low, high))
        return gymnasium.spaces.Box(low, high, shape, np.float32)

    def buffer(episode: Episode) -> EpisodeBuffer:
        ends: Any = np.arange(len(episode)) == len(episode) - 1
        arrays: dict[str, Any] = {key: getattr(episode, key) for key in ARRAYS}
        return EpisodeBuffer(
            seed=episode.seed,
            infos={"cost": arrays.pop("costs")},
            terminations=ends & episode.terminated,
            truncations=ends & (not episode.terminated),
            **arrays,
        )

    low, high = (spec.action_low, spec.action_high) if spec else (-np.inf, np.inf)
    draft.mkdir()
    storage = MinariStorage.new(
        (draft / "data").absolute(),  # a relative one it joins twice
        observation_space=box(-np.inf, np.inf, episodes[0].observations),
        action_space=box(low, high, episodes[0].actions),
    )
    # A Minari name is letters, digits, - and _, and ends in a version.
    title = re.sub(r"[^-\w]", "-", name)
    title = title if re.search(r"-v\d+$", title) else f"{title}-v0"
    task = {"task": episodes.task} if episodes.task is not None else {}
    storage.update_metadata(
        {"dataset_id": title, "minari_version": minari.__version__, "author": {"handrail"}, **task}
    )
    storage.update_episodes(map(buffer, episodes))


# --- Episode files ------------------------------------------------------------------------------


def load_episodes(path: Path) -> Loaded:
    from safetensors import SafetensorError, safe_open

    if path.is_dir() and not any(path.glob("*.safetensors")):
        path = path / "episodes"  # of a run's directory
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    raws, problems, tasks = [], [], set()
    for file in files:
        try:
            with safe_open(file, framework="np") as stored:
                metadata = stored.metadata() or {}
                missing = [key for key in ARRAYS if key not in stored.keys()]  # noqa: SIM118
                arrays = [stored.get_tensor(key) for key in ARRAYS if key not in missing]
        except SafetensorError as error:
            problems.append(f"{file.name} is damaged or cut short ({error}); remove it")
            continue
        if missing:
            problems.append(f"{file.name} has no {', '.join(missing)}; it is no episode file")
            continue
        tasks.add(metadata.get("task"))
        observations, actions, rewards, costs = arrays
        terminated = metadata.get("terminated") == "true"
        seed = int(metadata["seed"]) if "seed" in metadata else None
        raws.append(Raw(file.name, observations, actions, rewards, costs, terminated, seed))
    if len(tasks) > 1:
        problems.append(f"episodes of several tasks in one set: {sorted(map(str, tasks))}")
    return Loaded("episodes", next(iter(tasks), None), raws, problems)


def episode_bytes(episode: Episode, task: str | None) -> bytes:
    """An episode file's content; absent metadata means None."""
    from safetensors.numpy import save

    metadata = {"terminated": "true" if episode.terminated else "false"}
    if task:
        metadata["task"] = task
    if episode.seed is not None:
        metadata["seed"] = str(episode.seed)
    arrays = {key: np.ascontiguousarray(getattr(episode, key), np.float32) for key in ARRAYS}
    data = save(arrays, metadata)
    # safetensors shuffles the metadata anew in each file; the same episode must be the same bytes.
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":"))
    return data[:8] + header.encode().ljust(end - 8) + data[end:]


LOADERS: dict[str, Callable[[Path], Loaded]] = {
    "dsrl": load_dsrl,
    "minari": load_minari,
    "episodes": load_episodes,
}
WRITERS: dict[str, Callable[[Episodes, Path, str, Spec | None], None]] = {
    "dsrl": write_dsrl,
    "minari": write_minari,
}
"""Each writes at a draft's path a set that will be called by the given name."""
