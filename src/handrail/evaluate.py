"""Episodes of a policy that is no longer learning -> return, cost, violations, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from handrail import rollout
from handrail.data.episodes import Episode
from handrail.envs.cmdp import CMDP
from handrail.errors import HandrailError, Stopped
from handrail.progress import Watcher
from handrail.stats import summary
from handrail.types import Policy, within

EVALUATION_SEED = 1000
"""Evaluation episodes start here: apart from training, validation and demonstrations."""


def report(
    episodes: Sequence[Episode], *, task: str, method: str, seed: int, cost_limit: float
) -> dict[str, Any]:
    """What a method earned and cost on a task, in JSON values.

    ``return`` and ``cost`` are undiscounted sums over an episode, ``length`` is in steps; of each
    the mean, IQM, extremes, standard deviation over episodes, and the 95% bootstrap interval of
    the mean. ``violation_rate`` is the share of episodes whose cost exceeds ``cost_limit``.

    Raises:
        HandrailError: there is no episode.
    """
    if not episodes:
        raise HandrailError("there is no episode to judge by; ask for one or more")
    return {
        "task": task,
        "method": method,
        "episodes": len(episodes),
        "seed": seed,
        "return": summary([episode.return_ for episode in episodes]),
        "cost": summary([episode.cost for episode in episodes]),
        "length": summary([len(episode) for episode in episodes]),
        "cost_limit": float(cost_limit),
        "violation_rate": float(np.mean([not within(e.cost, cost_limit) for e in episodes])),
    }


def evaluate(
    policy: Policy,
    make_env: Callable[[], CMDP],
    *,
    episodes: int,
    seed: int,
    method: str,
    cost_limit: float | None = None,
    batch: int = 10,
    watcher: Watcher | None = None,
) -> tuple[dict[str, Any], list[Episode]]:
    """Play the episodes of seeds ``seed``, ``seed`` + 1, ... and report on them.

    Args:
        policy: deterministic already; a policy that explores is judged with its exploration.
        make_env: called once for each environment; they are closed at the end.
        cost_limit: of an episode, undiscounted; None takes the task's own.
        batch: environments stepped together. A matrix product differs in its last bits with the
            number of its rows, and contacts magnify that: with another batch, or with fewer
            episodes than it, an episode of the same seed goes another way after a while.
        watcher: told of each episode, and asked after each whether to stop.

    Raises:
        HandrailError: ``episodes`` or ``batch`` is below 1, or the seed below 0.
        Stopped: the watcher asked for it.
    """
    watcher = watcher or Watcher()
    if episodes < 1 or batch < 1:
        raise HandrailError(f"{episodes} episodes, {batch} at a time: both must be 1 or more")
    if seed < 0:
        raise HandrailError(f"the seed is {seed}; it must be 0 or more")
    with ExitStack() as opened:
        opened.callback(watcher.end)
        envs = [opened.enter_context(closing(make_env())) for _ in range(min(batch, episodes))]
        spec, played = envs[0].spec_, []
        watcher.begin(f"episodes of {method}", episodes, "episodes")
        for episode in rollout.play(policy, envs, range(seed, seed + episodes)):
            played.append(episode)
            watcher.advance(len(played), {})
            if watcher.stopping and len(played) < episodes:
                raise Stopped(f"stopped after {len(played)} of {episodes} episodes of {method}")
    limit = spec.cost_limit if cost_limit is None else cost_limit
    return report(played, task=spec.task, method=method, seed=seed, cost_limit=limit), played


def table(report: dict[str, Any]) -> Any:
    """The report as a rich renderable; the cost is green within its limit and red above it."""
    from rich.table import Table

    limit, count = report["cost_limit"], report["episodes"]
    over = round(report["violation_rate"] * count)
    began = "" if report["seed"] is None else f" from seed {report['seed']}"
    shown = Table(
        title=f"{report['method']} on {report['task']}",
        caption=f"{count} episode{'s' * (count != 1)}"
        f"{began}; {over} of them "
        f"({report['violation_rate']:.0%}) exceed the cost limit of {limit:g}",
    )
    shown.add_column("an episode's")
    for column in ("mean", "95% interval", "IQM", "std", "min", "max"):
        shown.add_column(column, justify="right")
    for name in ("return", "cost", "length"):
        row = report[name]
        low, high = row["ci95"]
        mean = _number(row["mean"])
        if name == "cost":
            mean = f"[{'green' if within(row['mean'], limit) else 'red'}]{mean}[/]"
        cells = (_number(row[key]) for key in ("iqm", "std", "min", "max"))
        shown.add_row(name, mean, f"{_number(low)} to {_number(high)}", *cells)
    return shown


def _number(value: float) -> str:
    """So short that a table fits in 80 columns."""
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"
