"""What the commands share: parsing by tyro, and JSON or tables on standard output."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import itertools
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import docstring_parser
import tyro

from handrail.answers import aloud
from handrail.errors import HandrailError


def parse(
    target: Callable[..., Any],
    argv: list[str],
    command: str,
    defaults: dict[str, Any] | None = None,
    note: str = "",
) -> Any:
    """Call ``target`` with the arguments; ``defaults`` stand in for a dataclass's own, ``note`` is
    the last line of its help.

    Raises:
        HandrailError: one is unknown, missing or malformed.
        SystemExit: it was asked for help.
    """

    @functools.wraps(target, updated=())
    def later(*args: Any, **kwargs: Any) -> Any:  # what it prints is its own: it runs afterwards
        return functools.partial(target, *args, **kwargs)

    asked: Callable[..., Any] = later if inspect.isfunction(target) else target
    complaint, help_ = io.StringIO(), _Kept(sys.stdout)
    try:
        with (
            contextlib.redirect_stderr(complaint),
            contextlib.redirect_stdout(help_),
            _flowing_help(),
        ):
            given = {"default": target(task=tyro.MISSING, **defaults)} if defaults else {}
            made = tyro.cli(
                asked,
                args=argv,
                prog=f"handrail {command}",
                config=(tyro.conf.HelptextFromCommentsOff,),  # they say why, to who reads the code
                **given,
            )
    except SystemExit as end:
        if not end.code:
            with aloud():
                print(_wrapped(help_.getvalue()) + note, end="")
            raise
        raise HandrailError(_in_a_line(complaint.getvalue(), command)) from None
    return made() if asked is later else made


class _Kept(io.StringIO):
    """Kept to be shown on another stream, with the letters and colours that it can show."""

    encoding = property(lambda self: self._for.encoding)  # pyright: ignore

    def __init__(self, shown_on: TextIO):
        super().__init__()
        self._for = shown_on

    def isatty(self) -> bool:
        return self._for.isatty()


def _wrapped(help_: str) -> str:
    """With the paragraphs above the boxes wrapped to the terminal: tyro wraps what is in boxes."""
    above, box, boxes = help_.partition("╭")
    width = shutil.get_terminal_size().columns
    lines = above.split("\n")
    plain = (line if "\x1b" in line else textwrap.fill(line, width) for line in lines)
    return "\n".join(plain) + box + boxes


@contextlib.contextmanager
def _flowing_help() -> Iterator[None]:
    """Within it what docstrings say of a setting comes as one line, for tyro to wrap: it keeps a
    line end that is followed by an indentation, and every one of theirs is."""
    readers = {name: getattr(docstring_parser, name) for name in ("parse", "parse_from_object")}

    def flowing(read: Callable[..., docstring_parser.Docstring], *args: Any, **kwargs: Any) -> Any:
        found = read(*args, **kwargs)
        for setting in found.params:
            if setting.description:
                setting.description = " ".join(setting.description.replace("``", "`").split())
        return found

    try:
        for name, read in readers.items():
            setattr(docstring_parser, name, functools.partial(flowing, read))
        yield
    finally:
        for name, read in readers.items():
            setattr(docstring_parser, name, read)


def _in_a_line(box: str, command: str) -> str:
    """The first paragraph of the box in which tyro complains, and the option that comes close."""
    rows = [row.strip("│ ") for row in box.splitlines()[1:-1]]
    said = " ".join(itertools.takewhile(lambda row: not row.startswith("─"), rows))
    wrong = re.search(r"^Error parsing (\S+): .*(int\(\)|float).*: ('[^']*')$", said)
    if wrong:
        option, kind, value = wrong.groups()
        kind = "a number" if kind == "float" else "a whole number"
        said = f"{option} is {value}, which is not {kind}"
    near = re.search(r"Perhaps you meant: +(--[^ ,]+)", " ".join(rows))
    hint = f"did you mean {near[1]}? " if near else ""
    return f"{said.rstrip('.')}; {hint}`handrail {command} --help` lists the options"


def take_flag(argv: list[str], flag: str) -> bool:
    """Takes a flag out of the arguments of what has no such setting; whether it was there."""
    asked = flag in argv
    argv[:] = [word for word in argv if word != flag]
    return asked


def show(value: dict[str, Any], text: Any, *, as_json: bool) -> None:
    """One JSON object on a line, or what a person likes to read: text, or a table of rich's."""
    if as_json:
        with aloud():
            print(json.dumps(value))
    elif isinstance(text, str):
        print(text)
    else:
        from rich.console import Console

        Console().print(text)
