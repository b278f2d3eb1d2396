"""``handrail data check|convert|download``"""

from __future__ import annotations

import json as json_
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from handrail import envs
from handrail.answers import aloud
from handrail.commands._cli import parse, show
from handrail.data import dsrl, hub, sources
from handrail.data.episodes import Episodes
from handrail.errors import HandrailError
from handrail.progress import Console

_SHOWN = 20
"""Problems that are printed; JSON has all."""

_USAGE = (
    "usage: handrail data check PATH | handrail data convert PATH --out PATH | "
    "handrail data download TASK"
)


def main(argv: list[str]) -> None:
    if argv[:1] == ["check"]:
        parse(check, argv[1:], "data check")
    elif argv[:1] == ["convert"]:
        parse(convert, argv[1:], "data convert")
    elif argv[:1] == ["download"]:
        parse(download, argv[1:], "data download")
    elif argv[:1] in (["-h"], ["--help"]):
        print(_USAGE)
    else:
        raise HandrailError(_USAGE)


def check(path: Positional[Path], task: str | None = None, json: bool = False) -> None:
    """Validate a data set: say what is in it, and all that is wrong, and where.

    Args:
        path: DSRL HDF5, a Minari data set, or a run's episodes.
        task: check sizes and action bounds against this task as well.
        json: one JSON object instead of text.
    """
    spec = envs.spec(task) if task else None
    found = sources.inspect(path, spec)
    if json:
        with aloud():
            print(json_.dumps(found))
    else:
        for name, value in found["summary"].items():
            print(f"{name:<22}{_text(value)}")
        for problem in found["problems"][:_SHOWN]:
            print(f"problem: {problem}")
        if (more := len(found["problems"]) - _SHOWN) > 0:
            print(f"... and {more} more (--json lists all)")
    if found["problems"]:
        raise HandrailError(f"{path}: {len(found['problems'])} problem(s); mend or remove them")
    if not json:
        print("no problem found")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{k} {_text(v)}" for k, v in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def convert(
    path: Positional[Path],
    out: Path,
    format: Literal["dsrl", "minari"] = "dsrl",
    task: str | None = None,
    json: bool = False,
) -> None:
    """Read a data set and write it in another format.

    Args:
        path: DSRL HDF5, a Minari data set, or a run's episodes.
        out: where to write; must not exist.
        format: dsrl is one HDF5 file, minari a directory.
        task: what the set is of, where it does not say so itself. Minari is told its action box;
            where nobody says it, no bounds.
        json: one JSON object on standard output instead of text.
    """
    episodes = sources.read(path)
    named = task or (episodes.task if format == "minari" else None)  # others keep no box
    spec = envs.spec(named) if named else None
    if spec is not None:
        episodes = Episodes(tuple(episodes.require(spec)), spec.task)
    sources.write(episodes, out, format, spec)
    found = {"file": str(out), "format": format}
    found |= {"episodes": len(episodes), "steps": episodes.steps}
    text = f"{out}: {len(episodes)} episodes, {episodes.steps} steps ({format})"
    show(found, text, as_json=json)


def download(
    task: Annotated[Positional[str], arg(metavar="TASK")],
    out: Path = Path("."),
    url: str = hub.URL,
    sha256: str | None = None,
    json: bool = False,
) -> None:
    """Fetch DSRL's data set of a task from the data hub, and check it.

    Args:
        task: suite/Name, or gym/HalfCheetahVelocity and the like.
        out: the directory to write to; the file keeps DSRL's name.
        url: of the directory on the hub: a mirror, or where it has moved to.
        sha256: what the file's sum must be; by default what the hub announces, where it does.
        json: one JSON object on standard output instead of text.
    """
    known = dsrl.sets().get(task)
    if known is None:
        raise HandrailError(f"DSRL has no set of {task}; it has: {', '.join(dsrl.sets())}")
    file = out / known.file
    with Console().interruptible() as console:
        found, sure = hub.download(f"{url.rstrip('/')}/{known.file}", file, sha256, console)
    problems = sources.inspect(file)["problems"]
    if problems:
        raise HandrailError(f"{file}: {problems[0]}; `handrail data check` says more")
    told = "as it should be" if sure else "the hub announces none to compare it with"
    show(
        {"file": str(file), "sha256": found, "compared": sure},
        f"{file}: sound; sha256 {found}, {told}",
        as_json=json,
    )
