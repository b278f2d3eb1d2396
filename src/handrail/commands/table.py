"""``handrail table NAME``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from handrail import envs
from handrail.commands._cli import parse, show
from handrail.errors import HandrailError, Stopped
from handrail.machine import usable_cores
from handrail.progress import Console
from handrail.results import (
    append_curve,
    append_ranks,
    append_row,
    check,
    curves_beside,
    ranks_beside,
    read_rows,
)
from handrail.runs import Run
from handrail.storage import alone, read_json
from handrail.tables import definition
from handrail.tables import plan as plans
from handrail.tables.board import Board, render
from handrail.tables.carry_out import Progress, carry_out, require_done
from handrail.tables.workers import Local, Ray


def main(argv: list[str]) -> None:
    parse(table, argv, "table")


def table(
    name: Annotated[Positional[str], arg(metavar="TABLE")],
    tasks: tuple[str, ...] = (),
    methods: tuple[str, ...] = (),
    seeds: int | None = None,
    steps: int | None = None,
    workers: int | None = None,
    ray: str | None = None,
    out: Path | None = None,
    results: Path | None = None,
    status: bool = False,
    json: bool = False,
) -> None:
    """Make a table: every method on every task with several seeds, trained and judged.

    What all of it needs (experts, demonstrations, guides) is made once, what is complete is never
    made again; after a break the same command goes on. A cell whose row stands in the results, with
    the same settings, is complete, wherever it was made.

    Args:
        name: gold, guides, layouts or marvel, or a file of the same form.
        tasks: some of the table's; by default all.
        methods: some of the table's, as it labels them; by default all.
        seeds: of each method; by default the table's.
        steps: environment steps of each online run; by default the table's.
        workers: processes on this machine; by default one for each core.
        ray: address of a Ray cluster whose machines share the directory; instead of workers.
        out: directory of everything that is made; by default runs/table-NAME.
        results: CSV file of the evaluations, the learning curves beside it; by default
            OUT/results.csv.
        status: show how far the table is, and make nothing.
        json: one JSON object on standard output instead of text.
    """
    for option, value in (("seeds", seeds), ("steps", steps), ("workers", workers)):
        if value is not None and value < 1:
            raise HandrailError(f"--{option} is {value}; it must be 1 or more")
    if ray is not None and workers is not None:
        raise HandrailError("--workers and --ray: give one of them")
    asked = definition.read(name)
    out = out or Path("runs") / f"table-{Path(name).stem}"
    results = results or out / "results.csv"
    stages = plans.plan(asked, out, tasks=tasks, methods=methods, seeds=seeds, steps=steps)
    if not status:  # which leaves nothing behind
        check(results)
    if results.exists():
        stages = plans.spare(stages, read_rows(results))
    console = Console()
    if status:
        show(_state(stages, results), render(Progress(stages)), as_json=json)
        return
    left = dict.fromkeys(stage.task for stage in stages if not stage.spared)
    for task in left:  # a missing extra is told at once
        envs.make(task).close()
    pool = Local(workers or len(usable_cores())) if ray is None else Ray(ray)
    with alone(out), console.interruptible(), Board(console) as board:

        def finished(stage: plans.Stage) -> None:
            for cell in plans.cells([stage]):
                _enter(cell, results)
            board.finished(stage, stages)

        for stage in plans.cells(stages):
            if stage.done and not stage.spared:  # by an earlier command
                _enter(stage, results)
        try:
            progress = carry_out(
                stages,
                pool,
                show=board.show,
                finished=finished,
                stopping=lambda: console.stopping,
            )
        except Stopped as stopped:
            raise Stopped(f"{stopped}; the same command goes on") from None
    require_done(progress)
    console.say(f"complete: {results}")
    if json:
        show(_state(stages, results), "", as_json=True)


def _state(stages: list[plans.Stage], results: Path) -> dict[str, Any]:
    """Where the results are, and which cells are complete."""
    shown = [
        {"task": cell.task, "method": cell.label, "seed": cell.seed, "complete": cell.complete}
        for cell in plans.cells(stages)
    ]
    return {"results": str(results), "cells": shown}


def _enter(stage: plans.Stage, results: Path) -> None:
    """Into the table of results, and the two beside it, in place of an earlier entry."""
    with Run.open(stage.path) as run:
        append_row(results, run, read_json(stage.path / "evaluation.json"))
        append_curve(curves_beside(results), run, stage.label)
        append_ranks(ranks_beside(results), run, stage.label)
