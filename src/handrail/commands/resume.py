"""``handrail resume RUN``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from handrail.commands._cli import parse
from handrail.jobs import go_on


def main(argv: list[str]) -> None:
    parse(resume, argv, "resume")


def resume(run: Annotated[Positional[Path], arg(metavar="RUN")]) -> None:
    """Go on with a run from its last checkpoint; it ends in the same bits as without the break.

    Args:
        run: the run's directory.
    """
    go_on(run)
