"""``handrail results TABLE --out PAGE``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from handrail.commands._cli import parse
from handrail.errors import HandrailError
from handrail.page.measured import read_curves, read_results
from handrail.page.sections import Sources, write


def main(argv: list[str]) -> None:
    parse(results, argv, "results")


def results(
    table: Annotated[Positional[Path], arg(metavar="TABLE")],
    out: Path,
    curves: Path | None = None,
    guides: Path | None = None,
    runs: Path | None = None,
) -> None:
    """Write GOLD's Table I as measured, beside the paper's, as a Markdown page with figures.

    The same files give the same page, byte for byte.

    Args:
        table: results of ``handrail table gold`` (CSV).
        out: the page; its figures go to figures/ beside it.
        curves: learning curves of the same runs (CSV); without them the page has none.
        guides: results of ``handrail table guides`` (CSV): a section sets guides beside students.
        runs: directory of the table (its --out): two students' episodes are drawn from there.
    """
    if runs is not None and not runs.is_dir():
        raise HandrailError(f"{runs}: no such directory; name the --out of `handrail table gold`")
    sources = Sources(
        read_results(table),
        read_curves(curves) if curves else {},
        out,
        read_results(guides) if guides else {},
        runs,
    )
    write(sources)
    print(out)
