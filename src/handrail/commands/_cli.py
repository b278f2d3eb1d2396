"""What the commands share: parsing by tyro, and JSON or tables on standard output."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import tyro


def parse(target: Callable[..., Any], argv: list[str], command: str) -> Any:
    """Call ``target`` with the arguments; unknown or malformed ones exit with code 2."""
    config = (tyro.conf.FlagConversionOff,) if False else ()
    return tyro.cli(target, args=argv, prog=f"handrail {command}", config=config)


def show(value: dict[str, Any], table: Any, *, as_json: bool) -> None:
    """One JSON object on a line, or something a person likes to read."""
    if as_json:
        print(json.dumps(value))
    else:
        from rich.console import Console

        Console().print(table)
