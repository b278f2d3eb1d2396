"""``handrail demos``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from tyro.conf import Positional, arg

from handrail import demonstrations, envs
from handrail.commands._cli import parse, show
from handrail.data import sources
from handrail.data.episodes import Episodes
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
    json: bool = False,
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
        json: one JSON object on standard output instead of text.
    """
    spec = envs.spec(task)
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
    sources.write(played, out, format, spec)
    told = {"file": str(out), "format": format, "task": task, **summary(played)}
    show(told, f"{out}: {sentence(told)}", as_json=json)


def summary(played: Episodes) -> dict[str, Any]:
    """How many episodes and steps, what they returned and cost: mean, lowest, highest."""
    found: dict[str, Any] = {"episodes": len(played), "steps": played.steps}
    for name, of in (("return", "return_"), ("cost", "cost")):
        values = np.array([getattr(episode, of) for episode in played], np.float64)
        found[name] = {
            key: float(value)
            for key, value in (
                ("mean", values.mean()),
                ("min", values.min()),
                ("max", values.max()),
            )
        }
    return found


def sentence(found: dict[str, Any]) -> str:
    return (
        "{episodes} episodes, {steps:,} steps, return {return[mean]:.1f} ({return[min]:.1f} to "
        "{return[max]:.1f}), cost {cost[mean]:.2f} ({cost[min]:.0f} to {cost[max]:.0f})"
    ).format_map(found)
