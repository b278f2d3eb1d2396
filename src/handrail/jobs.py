"""A run from the command line: begin it or go on with it, draw it, sum it up."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from handrail.errors import HandrailError, Stopped
from handrail.gold import GOLD
from handrail.methods import BC, DT, IQL, Expert, Method
from handrail.policy_files import save_policy
from handrail.progress import Console
from handrail.runs import Run

METHODS: dict[str, type[Method]] = {m.name: m for m in (BC, DT, IQL, GOLD, Expert)}


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


def go_on(path: Path) -> None:
    """Bring a run that was begun to its end.

    Raises:
        HandrailError: there is no run, or its settings or checkpoint cannot be read.
        Stopped: Ctrl-C; the line says how to go on.
    """
    with Run.open(path) as run:
        method = method_of(run)
        if run.summary() is not None:
            Console().say(f"{path} is complete; `handrail evaluate {path}` judges it")
            return
        _train(method, run)


def method_of(run: Run) -> Method:
    """The method, with the settings that the run was begun with.

    Raises:
        HandrailError: the method or a setting is unknown to this version.
    """
    settings = dict(run.settings)
    name = settings.pop("method", None)
    if name not in METHODS:
        raise HandrailError(f"{run.path}: unknown method {name!r}; use the version that began it")
    return _build(METHODS[name], settings, run.path / "settings.toml")


def _build(cls: type, values: dict[str, Any], file: Path) -> Any:
    """A dataclass from TOML's values: nested tables, paths from text, tuples from lists."""
    hints = get_type_hints(cls)
    names = {field.name for field in fields(cls)}
    if unknown := sorted(set(values) - names):
        raise HandrailError(f"{file}: unknown setting {unknown[0]!r}; remove it")
    made = {}
    for name, value in values.items():
        hint = hints[name]
        if is_dataclass(hint) and isinstance(hint, type):
            value = _build(hint, value, file)
        elif hint == (Path | None):
            value = Path(value)
        elif isinstance(value, list):
            value = tuple(value)
        made[name] = value
    return cls(**made)


def _train(method: Method, run: Run) -> None:
    with Console().interruptible() as console:
        console.say(f"{method.label} on {method.task}, seed {method.seed} -> {run.path}")
        try:
            policy = method.train(run, console)
        except Stopped as stopped:
            raise Stopped(f"{stopped}; go on with `handrail resume {run.path}`") from None
        spec = method.spec()
        save_policy(policy, run.path / "policy", spec)
        run.finish(
            {
                "task": method.task,
                "method": method.label,
                "seed": method.seed,
                "env_steps": method.env_steps,
                "wall_seconds": round(run.seconds, 1),
            }
        )
        console.say(f"done; `handrail evaluate {run.path}` judges it")
