"""``handrail train METHOD TASK``"""

from __future__ import annotations

import difflib

from handrail.commands._cli import parse
from handrail.errors import HandrailError
from handrail.jobs import METHODS, start


def main(argv: list[str]) -> None:
    names = [name for name in METHODS if name != "expert"]
    width = max(map(len, names)) + 2
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: handrail train METHOD TASK ...\n")
        for name in names:
            print(f"  {name:<{width}}{(METHODS[name].__doc__ or '').splitlines()[0]}")
        print("\n`handrail train METHOD --help` says what a method takes, with defaults and units.")
        return
    if argv[0] not in names:
        close = difflib.get_close_matches(argv[0], names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise HandrailError(f"unknown method {argv[0]!r}; {hint}there are: {', '.join(names)}")
    start(parse(METHODS[argv[0]], argv[1:], f"train {argv[0]}"))
