"""A run from the command line: begin it or go on with it, draw it, sum it up."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeGuard, get_type_hints

from handrail import drawing
from handrail.baselines import JSRL, PEX, SO2, WSRL, Relearn, WarmStart
from handrail.combined import Handrail
from handrail.errors import HandrailError, Stopped, typed
from handrail.fine_tuning import LEARNERS
from handrail.gold import GOLD
from handrail.marvel import Marvel
from handrail.methods import BC, DT, Method
from handrail.metrics_file import read_metrics
from handrail.offline_methods import CPQ, BEARLag, Clone
from handrail.online_methods import CVPO, IQL, Expert, SACLag, ShapedOnline
from handrail.progress import Console
from handrail.runs import Run
from handrail.types import within

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        *(BC, DT, IQL, CVPO, GOLD),
        *(CPQ, BEARLag, Clone, SACLag, Marvel, WarmStart, Relearn, WSRL, JSRL, PEX, SO2),
        Handrail,
        Expert,
    )
}


def start(method: Method) -> Path:
    """Begin a run and bring it to its end; returns its directory.

    Raises:
        HandrailError: a setting contradicts another, or the directory exists.
        Stopped: Ctrl-C; the line says how to go on.
    """
    method.check()
    out = (
        method.out or Path("runs") / f"{method.name}-{method.task.replace('/', '-')}-{method.seed}"
    )
    with Run.create(out, method.settings()) as run:
        _train(method, run)
    return out


def go_on(path: Path, method: Method | None = None) -> None:
    """Bring a run that was begun to its end.

    Args:
        method: as ``settings.toml`` has it, where what it names lies elsewhere by now.

    Raises:
        HandrailError: there is no run, or its settings or checkpoint cannot be read.
        Stopped: Ctrl-C; the line says how to go on.
    """
    with Run.open(path) as run:
        method = method or method_of(run)
        if run.summary() is not None:
            Console().say(f"{path} is complete; `handrail evaluate {typed(path)}` judges it")
            return
        _train(method, run)


def method_of(run: Run) -> Method:
    """The method, with the settings that the run was begun with.

    Raises:
        HandrailError: the method or a setting is unknown to this version.
    """
    settings = _found(run.settings, Path(str(run.about.get("directory", ""))))
    name = settings.pop("method", None)
    if name not in METHODS:
        raise HandrailError(f"{run.path}: unknown method {name!r}; use the version that began it")
    file = run.path / "settings.toml"
    try:
        return build(METHODS[name], settings, file)
    except (TypeError, ValueError) as error:
        raise HandrailError(f"{file} is damaged: {error}; restore it") from error


def _found(settings: dict[str, Any], began: Path) -> dict[str, Any]:
    """Settings whose relative paths are those from the directory in which the run was begun; from
    here, where those lead nowhere (any longer, or on this machine)."""
    found = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            value = _found(value, began)
        elif names_a_path(name, value) and Path.cwd() != began and (began / value).exists():
            value = str(began / value)
        found[name] = value
    return found


def names_a_path(name: str, value: Any) -> bool:
    """Whether a setting names a file or a directory which a run reads: not what it fits itself."""
    return name in PATHS and isinstance(value, str) and value not in PATHS[name]


PATHS = {"demos": (), "guide": ("bc", "dt"), "offline": tuple(LEARNERS), "weights": ()}
"""Settings that name such, and what else they may say."""


def build(cls: type, values: dict[str, Any], file: Path) -> Any:
    """A dataclass from TOML's values: nested tables, paths from text, tuples from lists.

    Raises:
        HandrailError: a setting is unknown to it, of another kind, or one that it refuses.
    """
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    hints = get_type_hints(cls)
    names = {field.name for field in fields(cls)}
    if unknown := sorted(set(values) - names):
        raise HandrailError(f"{file}: unknown setting {unknown[0]!r}; remove it")
    made = {}
    for name, value in values.items():
        hint = hints[name]
        if is_dataclass(hint) and isinstance(hint, type) and isinstance(value, dict):
            value = build(hint, value, file)
        elif hint == (Path | None) and isinstance(value, str):
            value = Path(value)
        elif type(value) is int and hint in (float, float | None):
            value = float(value)  # 1 and 1.0 are one setting
        elif type(value) is float and hint in (int, int | None):  # 1e5
            if not value.is_integer():
                raise HandrailError(f"{file}: {name} is {value:g}; it must be a whole number")
            value = int(value)
        elif isinstance(value, list):
            value = tuple(value)
        try:
            check_type(value, hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
            if isinstance(value, bool) and hint is not bool:  # Python counts with it
                raise TypeCheckError("a bool")
        except TypeCheckError:
            kind = hint.__name__ if isinstance(hint, type) else hint
            kind = "a table" if is_dataclass(hint) else kind
            raise HandrailError(f"{file}: {name} is {value!r}; it must be {kind}") from None
        made[name] = value
    return cls(**made)


def draw(paths: Sequence[Path], out: Path) -> list[Path]:
    """The figures of these runs, in ``out``: see :func:`drawing.draw`."""
    return drawing.draw(paths, out, _compared)


_OWN = ("seed", "demos", "weights", "cost_limit")
"""In these, runs of one line may differ: seeds, files that each may have of its own, and a limit
that is stated or the task's: those in force are compared apart."""


def _compared(run: Run) -> dict[str, Any]:
    """The settings that a run reads, defaults included, by their full names; what it began with,
    where that is a run, by its method."""
    method = method_of(run)
    unread = method.unread()
    found = {}
    for name, value in method.settings().items():
        for key, inner in value.items() if isinstance(value, dict) else [("", value)]:
            full = f"{name}.{key}" if key else name
            if name not in (*_OWN, *unread) and full not in unread:
                found[full] = inner
    for name in ("guide", "offline"):
        if name in found and (settings := Path(str(found[name])) / "settings.toml").is_file():
            found[name] = _method_named(settings) or found[name]
    return found


def _method_named(settings: Path) -> str | None:
    """None where the file cannot be read."""
    try:
        return tomllib.loads(settings.read_text(encoding="utf-8")).get("method")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None


def _train(method: Method, run: Run) -> None:
    with run.alone(), Console().interruptible() as console:
        console.say(f"{method.label} on {method.task}, seed {method.seed} -> {run.path}")
        try:
            found = method.complete(run, console)
        except Stopped as stopped:
            raise Stopped(f"{stopped}; go on with `handrail resume {typed(run.path)}`") from None
        if method.env_steps:
            draw([run.path], run.path)
        cost, limit = found["cost"]["mean"], found["cost_limit"]
        beyond = "" if within(cost, limit) else f", beyond the limit of {limit:g}"
        console.say(
            f"done in {run.seconds:,.0f} s: return {found['return']['mean']:.1f}, cost "
            f"{cost:.1f} over {found['episodes']} validation episodes{beyond}; "
            f"`handrail evaluate {typed(run.path)}` judges it on evaluation seeds"
        )
        if beyond and _bounded(method, run):
            console.say(
                f"what weighs the cost stood at its bound of {method.pid.largest:g} in the end: "
                "a larger --pid.largest lets it rise further"
            )


def _bounded(method: Method, run: Run) -> TypeGuard[ShapedOnline]:
    """Whether a controller of the cost's weight ended at the largest that it may give for good."""
    return (
        isinstance(method, ShapedOnline)
        and method.multiplier != "fixed"
        and read_metrics(run.path)["cost_weight"][-1] >= method.pid.largest
    )
