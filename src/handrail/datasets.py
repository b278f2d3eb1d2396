"""Data sets for offline safe RL: a spread of returns and costs, as those of DSRL have.

Offline learners that are to hold a limit need data on both sides of it. A set is played by several
policies of one task: kept on the way by SAC-Lagrangian runs under a low, a middle and no limit,
then chosen so that their returns and costs lie apart. For some tasks they are shipped, in
``assets/behaviours/TASK``; experiments/marvel/behaviours.sh trains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from handrail.data import dsrl
from handrail.data.episodes import Episodes
from handrail.demonstrations import roll_all
from handrail.errors import HandrailError
from handrail.progress import Watcher

ASSETS = Path(__file__).parent / "assets" / "behaviours"
SEED = 2_000_000
"""Episodes of data sets start here: apart from all other seeds."""
TRIALS = 5
"""Episodes that a policy is judged by where some are chosen."""


def shipped(task: str) -> list[Path]:
    """The policies that play the task's data set.

    Raises:
        HandrailError: none are shipped.
    """
    policies = sorted(card.parent for card in ASSETS.glob(f"{task.replace('/', '-')}/*/card.json"))
    if not policies:
        have = sorted(p.name.replace("-", "/", 1) for p in ASSETS.iterdir() if p.is_dir())
        raise HandrailError(
            f"no policies are shipped that play a data set of {task} (there are: "
            f"{', '.join(have)}); name some with `handrail dataset {task} --policies`, or give a "
            "set by --demos"
        )
    return policies


def kept(paths: Sequence[Path]) -> list[Path]:
    """Every policy in ``paths``: policies, or runs that kept those of their evaluations.

    Raises:
        HandrailError: a path holds none.
    """
    found: list[Path] = []
    for path in paths:
        one = [path] if (path / "card.json").is_file() else []
        steps = sorted(
            (card.parent for card in path.glob("policy/step-*/card.json")),
            key=lambda policy: int(policy.name.removeprefix("step-")),
        )
        if not one and not steps:
            raise HandrailError(
                f"{path} is no policy, and no run that kept policies; train it with --keep-policies"
            )
        found += one or steps
    return found


def play(
    task: str, episodes: int, policies: Sequence[Path], *, seed: int = SEED, watcher: Watcher
) -> Episodes:
    """A data set: ``episodes`` shared out evenly among the policies, which act by samples.

    Raises:
        HandrailError: fewer episodes than policies, or a policy of another task.
        Stopped: the watcher asked for it.
    """
    if episodes < len(policies):
        raise HandrailError(
            f"{episodes} episodes for {len(policies)} policies: ask for one of each or more"
        )
    share, more = divmod(episodes, len(policies))
    parts = [(policy, share + (i < more)) for i, policy in enumerate(policies)]
    return roll_all(task, parts, seed=seed, what="data set", watcher=watcher)


def choose(task: str, policies: Sequence[Path], count: int, *, watcher: Watcher) -> list[Path]:
    """``count`` of the policies whose mean returns and costs lie apart, in the order given.

    Raises:
        HandrailError: there are fewer policies.
    """
    if not 1 <= count <= len(policies):
        raise HandrailError(f"{count} of {len(policies)} policies: ask for 1 to {len(policies)}")
    played = play(task, TRIALS * len(policies), policies, seed=SEED // 2 * 3, watcher=watcher)
    of_each = np.array([(e.return_, e.cost) for e in played]).reshape(len(policies), TRIALS, 2)
    return [policies[i] for i in sorted(apart(of_each.mean(1), count))]


def apart(points: Float[np.ndarray, "N 2"], count: int) -> list[int]:
    """Indices of ``count`` points: first the one with the largest first coordinate, then always the
    one that is farthest from those already taken, both coordinates scaled to their range."""
    span = np.ptp(points, axis=0)
    scaled = points / np.where(span > 0, span, 1.0)
    taken = [int(np.argmax(points[:, 0]))]
    while len(taken) < count:
        gaps = np.linalg.norm(scaled[:, None] - scaled[taken][None], axis=-1).min(1)
        gaps[taken] = -1.0
        taken.append(int(np.argmax(gaps)))
    return taken


def file_name(task: str, played: Episodes) -> str:
    """As DSRL names its files."""
    return dsrl.file_name(task, max(e.cost for e in played), len(played))
