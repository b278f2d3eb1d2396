"""A table's definition -> its stages: experts, demonstrations, runs, each made once.

A stage lies under a name that holds a digest of everything it is made from (the settings that it
reads, defaults included, and the names of the stages it needs), so whatever has the same content is
shared, and whatever changes is made anew beside the old.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from handrail import datasets
from handrail.demonstrations import Level, expert_path
from handrail.errors import HandrailError
from handrail.jobs import METHODS, PATHS, build, names_a_path
from handrail.methods import Method
from handrail.offline_methods import HANDOVER
from handrail.online_methods import OnlineMethod
from handrail.runs import plain
from handrail.storage import read_json
from handrail.tables.definition import DEMONSTRATIONS, EXPERT, Row, Table, Task


@dataclass(frozen=True)
class Stage:
    """Something that a table needs made: a file of demonstrations, or a run trained and judged."""

    path: Path
    task: str
    label: str
    """The method, as tables show it; or one of the two labels above."""
    seed: int
    settings: dict[str, Any]
    """Of the method; of demonstrations: ``episodes``, and ``policy`` or (spread) ``policies``."""
    needs: tuple[Path, ...] = ()
    """Stages that come first."""
    episodes: int = 0
    """Evaluation episodes that a run is judged by."""
    spared: bool = False
    """It need not be made here: see :func:`spare`."""
    entered: bool = False
    """A cell whose row stands in the results, though it be made again here for others' sake."""

    @property
    def done(self) -> bool:
        if self.spared:
            return True
        if self.label == DEMONSTRATIONS:
            return self.path.is_file()
        judged = self.path / "evaluation.json"
        return judged.is_file() and read_json(judged).get("episodes") == self.episodes

    @property
    def complete(self) -> bool:
        """As a cell of the table: there is nothing more to learn of it."""
        return self.entered or self.done

    @property
    def order(self) -> Path:
        """The file by which a worker is told of the stage."""
        return self.path.with_name(self.path.name + ".json")

    @property
    def log(self) -> Path:
        """What the worker printed."""
        return self.path.with_name(self.path.name + ".log")

    def method(self) -> Method:
        """With the settings of the stage, writing to its path."""
        settings = {k: v for k, v in self.settings.items() if k != "method"}
        name = self.settings["method"]
        return build(METHODS[name], {**settings, "out": str(self.path)}, self.order)

    def to_json(self) -> dict[str, Any]:
        return plain(asdict(self))

    @classmethod
    def read(cls, file: Path) -> Stage:
        """The stage of an ``order``."""
        value = read_json(file)
        value |= {"path": Path(value["path"]), "needs": tuple(map(Path, value["needs"]))}
        return cls(**value)


def plan(
    table: Table,
    out: Path,
    *,
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: int | None = None,
    steps: int | None = None,
) -> list[Stage]:
    """The stages in the order in which they should be begun: a seed of everything, then the next.

    Args:
        out: the directory of all stages.
        tasks: of the table's; none named: all of them.
        methods: labels of the table's rows; none named: all of them.
        seeds: of each method, 0 to ``seeds`` - 1, instead of the table's number.
        steps: environment steps of each online run, instead of the table's.

    Raises:
        HandrailError: a task or method is not the table's, or a setting is faulty.
    """
    for asked, have, what in (
        (tasks, table.tasks, "task"),
        (methods, [row.label for row in table.method], "method"),
    ):
        if unknown := [name for name in asked if name not in have]:
            raise HandrailError(f"the table has no {what} {unknown[0]!r}: {', '.join(have)}")
    planner = _Planner(table, out, {} if steps is None else {"steps": steps})
    rows = [row for row in table.method if not methods or row.label in methods]
    for seed in range(max(seeds or row.seeds for row in rows)):
        for task in tasks or table.tasks:
            for row in rows:
                if seed < (seeds or row.seeds):
                    planner.run(row, task, seed)
    return list(planner.stages.values())


class _Planner:
    def __init__(self, table: Table, out: Path, online: dict[str, Any]):
        self.table, self.out, self.online = table, out, online
        self.stages: dict[Path, Stage] = {}
        self.rows = {row.label: row for row in table.method}

    def run(self, row: Row, task: str, seed: int) -> Stage:
        """The stage of a cell, after those it needs."""
        settings: dict[str, Any] = dict(row.settings)
        needs = []
        if row.demos:
            needs.append(self.demonstrations(task, row.level))
            settings["demos"] = str(needs[0].path)
        for name, other in (("guide", row.guide), ("offline", row.offline)):
            if other is not None:
                needs.append(self.run(self.rows[other], task, seed))
                settings[name] = str(needs[-1].path)
        return self._stage(row.name, row.label, task, seed, settings, needs)

    def demonstrations(self, task: str, level: Level | Literal["spread"]) -> Stage:
        if level == "spread":
            return self._spread(task)
        needs: list[Stage] = []
        try:
            policy = expert_path(task, level)
            content = read_json(policy / "card.json")["sha256"]
        except HandrailError:
            if level != "expert":  # a run is trained to its end, not to a level
                raise HandrailError(
                    f"no {level} expert is shipped for {task}; leave out the task, or the rows of "
                    f"level {level!r}"
                ) from None
            own = self.table.task.get(task, Task()).expert
            policy, content = "", "none"  # whoever is to play will say that there is none
            if own:
                needs.append(self._stage("expert", EXPERT, task, 1, own, []))
                policy, content = needs[0].path, needs[0].path.name
        episodes = self.table.demonstrations
        name = _digest({"task": task, "policy": content, "episodes": episodes})
        return self._keep(
            Stage(
                self._place(task) / f"{DEMONSTRATIONS}-{name}.hdf5",
                task,
                DEMONSTRATIONS,
                0,
                {"policy": str(policy), "episodes": episodes},
                tuple(stage.path for stage in needs),
            )
        )

    def _spread(self, task: str) -> Stage:
        policies, episodes = datasets.shipped(task), self.table.demonstrations
        content = [read_json(policy / "card.json")["sha256"] for policy in policies]
        name = _digest({"task": task, "policies": content, "episodes": episodes})
        return self._keep(
            Stage(
                self._place(task) / f"data-{name}.hdf5",
                task,
                DEMONSTRATIONS,
                0,
                {"policies": [str(policy) for policy in policies], "episodes": episodes},
            )
        )

    def _stage(
        self,
        name: str,
        label: str,
        task: str,
        seed: int,
        settings: dict[str, Any],
        needs: Iterable[Stage],
    ) -> Stage:
        if name not in METHODS:
            raise HandrailError(f"unknown method {name!r}; there are: {', '.join(METHODS)}")
        if issubclass(METHODS[name], OnlineMethod) and label != EXPERT:
            own = self.table.task.get(task, Task()).online
            online = {**self.table.online, **own, **settings.get("online", {}), **self.online}
            settings = {**settings, "online": online}
        try:
            stated = _with_defaults(METHODS[name], {**settings, "task": task, "seed": seed})
            method = build(METHODS[name], stated, Path(f"the settings of {label!r}"))
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise HandrailError(
                f"the settings of {label!r} are faulty: {error}; mend it"
            ) from error
        except HandrailError as error:  # a setting's own line does not name the row
            of = f"the settings of {label!r}"
            said = str(error)
            raise HandrailError(said if said.startswith(of) else f"{of}: {said}") from error
        resolved = plain(method.settings())
        paths = tuple(stage.path for stage in needs)
        content = _content(method, [path.name for path in paths])
        path = self._place(task) / f"{_slug(label)}-{seed}-{content}"
        return self._keep(Stage(path, task, label, seed, resolved, paths, self.table.evaluate))

    def _place(self, task: str) -> Path:
        return self.out / task.replace("/", "-")

    def _keep(self, stage: Stage) -> Stage:
        return self.stages.setdefault(stage.path, stage)


def _with_defaults(cls: type, settings: dict[str, Any]) -> dict[str, Any]:
    """Nested tables on top of the method's own defaults, which may differ from their class's."""
    default = cls(task=settings["task"]).settings()
    return {
        key: {**default[key], **value} if isinstance(value, dict) and key in default else value
        for key, value in settings.items()
    }


def _named(settings: dict[str, Any], stages: Collection[str]) -> dict[str, Any]:
    """Stages by their names alone, which hold their content: not by where they lie. A user's own
    files and directories by what they hold."""
    own = _own_files(settings, stages)
    return {
        key: _held(Path(value)) if key in own else Path(value).name if key in PATHS else value
        for key, value in settings.items()
    }


def _own_files(settings: dict[str, Any], stages: Collection[str]) -> list[str]:
    """The settings that name files or directories which are no stages of the table."""
    return [
        key
        for key, value in settings.items()
        if names_a_path(key, value) and Path(value).name not in stages
    ]


def _held(path: Path) -> str:
    """A digest of a file, or of the policy and the networks of a run; where there is neither
    (whoever is to read it will say so), the path."""
    parts = [path, path / "policy", path / HANDOVER]
    files = [f for part in parts for f in (part.iterdir() if part.is_dir() else [part])]
    found = [hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(files) if f.is_file()]
    return _digest(found) if found else str(path)


def _without(settings: dict[str, Any], names: set[str], group: str = "") -> dict[str, Any]:
    return {
        key: _without(value, names, f"{group}{key}.") if isinstance(value, dict) else value
        for key, value in settings.items()
        if group + key not in names
    }


def _content(method: Method, stages: Collection[str]) -> str:
    """The digest of what a run is made from, ``stages`` (by name) among it."""
    return _digest(_without(_named(plain(method.settings()), stages), method.unread()))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:8]


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def cells(stages: Iterable[Stage]) -> Iterator[Stage]:
    """The stages that are cells of the table."""
    return (stage for stage in stages if stage.label not in (DEMONSTRATIONS, EXPERT))


def spare(stages: Sequence[Stage], rows: Iterable[dict[str, str]]) -> list[Stage]:
    """The stages, those marked as spared that nobody needs: cells that stand in a table of results
    already, of the same content and judged by as many episodes, and what only such cells need."""
    last = {(row["task"], row["method"], row["seed"]): row for row in rows}  # which pages show
    wanted: set[Path] = set()
    marked = []
    for stage in reversed(stages):  # whoever needs it has come before
        row = last.get((stage.task, stage.label, str(stage.seed)))
        cell = any(cells([stage]))
        if cell and row is not None and _same(stage, row):
            stage = replace(stage, entered=True)
        if stage.path in wanted or (cell and not stage.entered):
            if not stage.done:
                wanted.update(stage.needs)
        elif not stage.done:
            stage = replace(stage, spared=True)
        marked.append(stage)
    return marked[::-1]


def _same(stage: Stage, row: dict[str, str]) -> bool:
    try:
        settings = {**json.loads(row["settings"]), "task": stage.task, "seed": stage.seed}
        method = build(METHODS[stage.settings["method"]], settings, Path("the row"))
    except (HandrailError, TypeError, ValueError, AttributeError):  # of another version, or by hand
        return False
    names = [need.name for need in stage.needs]
    return (
        row["episodes"] == str(stage.episodes)
        and not _own_files(settings, names)  # what they held then the row does not tell
        and stage.path.name.endswith(_content(method, names))
    )
