"""``handrail figures RUN...``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from handrail.commands._cli import parse, show
from handrail.jobs import draw


def main(argv: list[str]) -> None:
    parse(figures, argv, "figures")


def figures(
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...")],
    out: Path,
    json: bool = False,
) -> None:
    """Draw complete runs of one task together: learning curves, and the reward-cost plane.

    Runs of one method and the same settings (its seeds) make one line with a band; of other
    settings, one of their own with what differs.

    Args:
        runs: directories of runs.
        out: directory of the PNG files.
        json: one JSON object on standard output instead of text.
    """
    files = [str(file) for file in draw(list(runs), out)]
    show({"files": files}, "\n".join(files), as_json=json)
