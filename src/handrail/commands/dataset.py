"""``handrail dataset``"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
from tyro.conf import Positional, arg

from handrail import datasets, envs
from handrail.commands._cli import parse, show
from handrail.commands.demos import summary
from handrail.data import sources
from handrail.errors import HandrailError
from handrail.figures import data_set
from handrail.progress import Console
from handrail.storage import require_place
from handrail.types import within


def main(argv: list[str]) -> None:
    parse(dataset, argv, "dataset")


def dataset(
    task: Annotated[Positional[str], arg(metavar="TASK")],
    out: Path = Path("."),
    episodes: int = 500,
    seed: int = datasets.SEED,
    policies: tuple[Path, ...] = (),
    choose: int | None = None,
    keep: Path | None = None,
    json: bool = False,
) -> None:
    """Play a data set for offline safe RL: a spread of returns and costs, as DSRL's sets have.

    Beside it lies the scatter plot of return against cost.

    Args:
        task: suite/Name; `handrail tasks` lists them.
        out: the HDF5 file to write, which must not exist; or a directory, in which it is named as
            DSRL names its files: Safety<Task>-v0-<largest cost>-<episodes>.hdf5, with a number
            if that name is taken.
        episodes: how many, shared out evenly among the policies.
        seed: of the first episode; the others follow.
        policies: what plays them: policies, or runs with --keep-policies; by default those that are
            shipped for the task.
        choose: so many of the policies, whose returns and costs lie apart; by default all.
        keep: copy the policies that play to this directory, which must not exist.
        json: one JSON object on standard output instead of text.
    """
    spec = envs.spec(task)
    if out.suffix == ".png":
        raise HandrailError(f"{out}: the set's picture is drawn there; name a .hdf5 file")
    files = [] if out.is_dir() else [out, out.with_suffix(".png")]
    for path in [*files, *([keep] if keep else [])]:
        sources.require_new(path)
    if out.is_dir():
        require_place(out / "set.hdf5")
    players = datasets.kept(policies) if policies else datasets.shipped(task)
    with Console().interruptible() as console:
        if choose is not None:
            players = datasets.choose(task, players, choose, watcher=console)
        played = datasets.play(task, episodes, players, seed=seed, watcher=console)
    file = _free(out / datasets.file_name(task, played)) if out.is_dir() else out
    sources.write(played, file, "dsrl", spec)
    if keep is not None:
        for number, player in enumerate(players):
            shutil.copytree(player, keep / f"{number:02}")
    figure = file.with_suffix(".png")
    returns, costs = (np.array([getattr(e, name) for e in played]) for name in ("return_", "cost"))
    data_set(returns, costs, figure, limit=spec.cost_limit)
    kept = float(np.mean(within(costs, spec.cost_limit)))
    found = {"file": str(file), "figure": str(figure), "task": task, "policies": len(players)}
    found |= {**summary(played), "cost_limit": spec.cost_limit, "within_limit": kept}
    text = (
        f"{file}: {len(played)} episodes of {len(players)} policies, {played.steps:,} steps\n"
        f"return {returns.min():.1f} to {returns.max():.1f}, cost {costs.min():.0f} to "
        f"{costs.max():.0f}, {kept:.0%} within the limit of {spec.cost_limit:g}; drawn in "
        f"{figure}"
    )
    show(found, text, as_json=json)


def _free(file: Path) -> Path:
    """The file's name, or where a set has it already, one with the first number that is free."""
    names = (file.with_stem(f"{file.stem}-{number}") for number in itertools.count(2))
    return next(f for f in itertools.chain([file], names) if not f.exists())
