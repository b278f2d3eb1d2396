"""``handrail results TABLE --out PAGE``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from handrail.commands._cli import parse
from handrail.page.measured import read_curves, read_results
from handrail.page.sections import Sources, write


def main(argv: list[str]) -> None:
    parse(results, argv, "results")


def results(
    table: Annotated[Positional[Path], arg(metavar="TABLE")],
    out: Path,
    curves: Path | None = None,
) -> None:
    """Write GOLD's Table I as measured, beside the paper's, as a Markdown page with figures.

    The same files give the same page, byte for byte.

    Args:
        table: results of ``handrail table gold`` (CSV).
        out: the page; its figures go to figures/ beside it.
        curves: learning curves of the same runs (CSV); without them the page has none.
    """
    write(Sources(read_results(table), read_curves(curves) if curves else {}, out))
    print(out)
