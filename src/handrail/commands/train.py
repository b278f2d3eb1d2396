"""``handrail train METHOD TASK``"""

from __future__ import annotations

import difflib
import shutil
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from tyro.conf import OmitArgPrefixes

from handrail.commands._cli import parse, take_flag
from handrail.commands.resume import show_summary
from handrail.errors import HandrailError
from handrail.jobs import METHODS, start
from handrail.methods import Method


def main(argv: list[str]) -> None:
    names = [name for name in METHODS if name != "expert"]
    width = max(map(len, names)) + 2
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: handrail train METHOD TASK ...\n")
        across = shutil.get_terminal_size().columns
        for name in names:
            says, beside = (METHODS[name].__doc__ or "").splitlines()[0], " " * (width + 2)
            first = f"  {name:<{width}}"
            print(textwrap.fill(says, across, initial_indent=first, subsequent_indent=beside))
        print("\n`handrail train METHOD --help` says what a method takes, with defaults and units.")
        return
    if argv[0] not in names:
        close = difflib.get_close_matches(argv[0], names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise HandrailError(f"unknown method {argv[0]!r}; {hint}there are: {', '.join(names)}")
    begin(argv[0], argv[1:], f"train {argv[0]}")


def begin(name: str, argv: list[str], command: str) -> None:
    """Train the method of that name, as the arguments say."""
    method, as_json = METHODS[name], take_flag(argv, "--json")
    defaults = _preset(method, argv)
    note = "`--json`: the run's summary as one JSON object on standard output.\n"
    if method.PRESETS:
        note += f"`--preset NAME`: other defaults; {', '.join(method.PRESETS)}.\n"
    asked: Method = parse(method, argv, command, defaults, note)
    _require_read(asked, method(task=asked.task, **defaults), command)
    path = start(asked)
    if as_json:
        show_summary(path)


def _require_read(asked: Method, usual: Method, command: str) -> None:
    """Raise a HandrailError where a setting was changed that the others leave without effect; one
    that was switched off (0, False, a fixed multiplier) contradicts nothing."""
    for name in sorted(asked.unread()):
        group, _, inner = name.partition(".")
        here, there = getattr(asked, group), getattr(usual, group)
        if not is_dataclass(here):
            changed = [(f"--{group}", here)] if here != there else []
        else:
            hint = get_type_hints(type(asked), include_extras=True)[group]
            bare = OmitArgPrefixes in getattr(hint, "__metadata__", ())
            changed = [
                (f"--{field.name}" if bare else f"--{group}.{field.name}", value)
                for field in fields(here)
                if inner in ("", field.name)
                and (value := getattr(here, field.name)) != getattr(there, field.name)
            ]
        for option, value in changed:
            if value and value != "fixed":
                raise HandrailError(
                    f"{option.replace('_', '-')} changes nothing with the other settings as they "
                    f"are; leave it out (`handrail {command} --help` says what reads it)"
                )


def _preset(method: type[Method], argv: list[str]) -> dict[str, Any]:
    """Takes ``--preset NAME`` out of the arguments; the defaults that it names.

    Raises:
        HandrailError: the method has no such preset.
    """
    at = next((i for i, word in enumerate(argv) if word.split("=")[0] == "--preset"), None)
    if at is None:
        return {}
    joined = "=" in argv[at]
    name = argv[at].partition("=")[2] if joined else "".join(argv[at + 1 : at + 2])
    del argv[at : at + (1 if joined else 2)]
    if name not in method.PRESETS:
        have = ", ".join(method.PRESETS) or "none"
        raise HandrailError(f"{method.name} has no preset {name!r}; there is: {have}")
    return method.PRESETS[name]
