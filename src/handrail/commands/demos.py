"""``handrail demos``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import Positional, arg

from handrail import demonstrations, envs
from handrail.commands._cli import parse
from handrail.data import sources
from handrail.progress import Console


def main(argv: list[str]) -> None:
    parse(demos, argv, "demos")


def demos(
    task: Annotated[Positional[str], arg(metavar="TASK")],
    out: Path,
    episodes: int = 200,
    seed: int = demonstrations.SEED,
    level: demonstrations.Level = "expert",
    policy: Path | None = None,
    deterministic: bool = False,
    format: Literal["dsrl", "minari"] = "dsrl",
) -> None:
    """Play the shipped expert and write demonstrations.

    Args:
        task: suite/Name; `handrail tasks` lists them.
        out: where to write; must not exist.
        episodes: how many.
        seed: of the first episode; the others follow.
        level: expert is near-optimal, medium is mediocre.
        policy: play this policy or run instead of the shipped one.
        deterministic: act by the mode; else by samples, which show ways back to the path.
        format: dsrl is one HDF5 file, minari a directory.
    """
    env = envs.make(task)
    env.close()
    sources.require_new(out)
    path = policy or demonstrations.expert_path(task, level)
    with Console().interruptible() as console:
        played = demonstrations.roll(
            task,
            episodes,
            policy=path,
            seed=seed,
            deterministic=deterministic,
            watcher=console,
        )
    sources.write(played, out, format, env.spec_)
    returns, costs = ([getattr(e, name) for e in played] for name in ("return_", "cost"))
    print(
        f"{out}: {len(played)} episodes, {played.steps:,} steps, return {np.mean(returns):.1f} "
        f"({min(returns):.1f} to {max(returns):.1f}), cost {np.mean(costs):.2f} "
        f"({min(costs):.0f} to {max(costs):.0f})"
    )
