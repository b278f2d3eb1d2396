"""``handrail resume RUN``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from handrail.commands._cli import parse, show
from handrail.jobs import go_on
from handrail.runs import Run


def main(argv: list[str]) -> None:
    parse(resume, argv, "resume")


def resume(run: Annotated[Positional[Path], arg(metavar="RUN")], json: bool = False) -> None:
    """Go on with a run from its last checkpoint; it ends in the same bits as without the break.

    Args:
        run: the run's directory.
        json: the run's summary as one JSON object on standard output.
    """
    go_on(run)
    if json:
        show_summary(run)


def show_summary(path: Path) -> None:
    """What a complete run came to, as one JSON object."""
    show({"run": str(path), **(Run.open(path).summary() or {})}, "", as_json=True)
