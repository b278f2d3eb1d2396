"""``handrail results TABLE --out PAGE``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from handrail.commands._cli import parse, show
from handrail.errors import HandrailError
from handrail.page.correlations import correlations
from handrail.page.guide_quality import guide_quality
from handrail.page.measured import read_curves, read_ranks, read_results
from handrail.page.papers import of
from handrail.page.sections import write
from handrail.page.sources import Sources
from handrail.page.trajectories import trajectories


def main(argv: list[str]) -> None:
    parse(results, argv, "results")


def results(
    table: Annotated[Positional[Path], arg(metavar="TABLE")],
    out: Path,
    curves: Path | None = None,
    guides: Path | None = None,
    runs: Path | None = None,
    ranks: Path | None = None,
    json: bool = False,
) -> None:
    """Write a table as measured, beside what is published of it, as a Markdown page with figures.

    Which paper's it is, GOLD's or Marvel's, its tasks and methods tell; the page of a table of your
    own has what was measured alone. The same files give the same page, byte for byte.

    Args:
        table: results of ``handrail table`` (CSV).
        out: the page; its figures go to figures/ beside it.
        curves: learning curves of the same runs (CSV); without them the page has none.
        guides: of GOLD: results of ``handrail table guides`` (CSV), to set guides beside students.
        runs: of GOLD: directory of the table (its --out), to draw two students' episodes.
        ranks: of Marvel: rank correlations of the same runs' critics (CSV).
        json: one JSON object on standard output instead of text.
    """
    if out.resolve() in {file.resolve() for file in (table, curves, guides, ranks) if file}:
        raise HandrailError(f"--out is {out}, which the page is made from; give it another name")
    if out.is_dir():
        raise HandrailError(f"--out is {out}, a directory; name the page's file")
    results = read_results(table)
    paper = of(results, table.stem)
    for name, given, section in (
        ("guides", guides, guide_quality),
        ("runs", runs, trajectories),
        ("ranks", ranks, correlations),
    ):
        if given is not None and section not in paper.sections:
            raise HandrailError(
                f"{table}: its page ({paper.title}) reads no --{name}; leave it out"
            )
    if runs is not None and not runs.is_dir():
        name = f"name the --out of `handrail table {paper.name}`"
        raise HandrailError(f"{runs}: no such directory; {name}")
    sources = Sources(
        paper,
        results,
        read_curves(curves) if curves else {},
        out,
        read_results(guides) if guides else {},
        runs,
        read_ranks(ranks) if ranks else {},
    )
    write(sources)
    show({"page": str(out)}, str(out), as_json=json)
