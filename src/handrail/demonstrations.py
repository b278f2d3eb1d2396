"""Demonstrations from the shipped experts: any number of episodes from one small weight file.

An expert is a policy directory in ``assets/experts/TASK/LEVEL``. ``expert`` is near-optimal, as
GOLD's demonstrations are; ``medium`` is mediocre: an earlier checkpoint, or a clone.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Literal

from handrail import envs
from handrail.data.episodes import Episode, Episodes
from handrail.errors import HandrailError, Stopped
from handrail.machine import usable_cores
from handrail.policies import MLPPolicy
from handrail.policy_files import load_policy
from handrail.progress import Watcher
from handrail.rollout import play

Level = Literal["expert", "medium"]

ASSETS = Path(__file__).parent / "assets" / "experts"
SEED = 1_000_000
"""Demonstrations start here: apart from training, validation and evaluation seeds."""

_CHUNK = 10
"""Episodes a worker plays at a time, the same whatever the number of workers."""


def expert_path(task: str, level: Level = "expert") -> Path:
    """The shipped expert's policy directory.

    Raises:
        HandrailError: none is shipped for the task.
    """
    path = ASSETS / task.replace("/", "-") / level
    if not path.is_dir():
        have = sorted(p.parent.name.replace("-", "/", 1) for p in ASSETS.glob(f"*/{level}"))
        raise HandrailError(
            f"no {level} is shipped for {task} (there are: {', '.join(have)}); give your "
            f"own, or train one by `handrail expert {task}` and let it play by `handrail demos "
            f"{task} --policy RUN --out FILE`"
        )
    return path


def _play(task: str, path: Path, deterministic: bool, seeds: range) -> list[Episode]:
    policy, _ = load_policy(path)
    if isinstance(policy, MLPPolicy) and not deterministic:
        policy = policy.sampled()
    with envs.several(task, 5) as simulators:
        return list(play(policy, simulators, seeds))


def roll(
    task: str,
    episodes: int,
    *,
    policy: Path,
    seed: int = SEED,
    deterministic: bool = False,
    watcher: Watcher,
) -> Episodes:
    """Play a policy, an episode for each of seeds ``seed``, ``seed`` + 1, ...

    By default a network acts by samples: demonstrations of its mode alone are so narrow that what
    imitates them leaves them soon and finds no way back.

    The episodes do not depend on the number of cores.

    Raises:
        HandrailError: fewer than one episode, an unknown task, or a policy of another task.
        Stopped: the watcher asked for it.
    """
    return roll_all(
        task,
        [(policy, episodes)],
        seed=seed,
        deterministic=deterministic,
        what="demonstrations",
        watcher=watcher,
    )


def roll_all(
    task: str,
    parts: Sequence[tuple[Path, int]],
    *,
    seed: int,
    deterministic: bool = False,
    what: str,
    watcher: Watcher,
) -> Episodes:
    """``roll`` for several policies, each with its number of episodes; the seeds run through.

    Args:
        what: is played, in the progress shown.
    """
    if any(episodes < 1 for _, episodes in parts):
        raise HandrailError(f"{min(n for _, n in parts)} episodes: ask for 1 or more")
    if not 0 <= seed < 2**63 - sum(episodes for _, episodes in parts):
        raise HandrailError(f"the seed is {seed}; it must be 0 or more, and below 2^63")
    spec = envs.spec(task)
    chunks, first = [], seed
    for policy, episodes in parts:
        load_policy(policy, spec)
        end = first + episodes
        chunks += [(policy, range(s, min(s + _CHUNK, end))) for s in range(first, end, _CHUNK)]
        first = end
    return Episodes(tuple(_parallel(task, chunks, deterministic, what, watcher)), task)


def _attend() -> None:
    """Of a process that plays: a terminal sends Ctrl-C to it too, which is its parent's to answer;
    where the parent is killed, it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _parallel(
    task: str,
    chunks: Sequence[tuple[Path, range]],
    deterministic: bool,
    what: str,
    watcher: Watcher,
) -> Iterator[Episode]:
    watcher.begin(what, sum(len(seeds) for _, seeds in chunks), "episodes")
    done = 0
    # Processes are spawned: a fork would copy the threads' locks of a started JAX.
    with ProcessPoolExecutor(
        min(len(chunks), len(usable_cores())),
        mp_context=get_context("spawn"),
        initializer=_attend,
    ) as pool:
        futures = [pool.submit(_play, task, path, deterministic, seeds) for path, seeds in chunks]
        try:
            for future in futures:
                played = future.result()
                yield from played
                done += len(played)
                watcher.advance(done, {})
                if watcher.stopping:
                    raise Stopped(f"stopped while playing {what}; nothing was written")
        except BrokenProcessPool as error:
            raise HandrailError(
                f"a process that played {what} was killed (out of memory?); nothing was written: "
                "ask for it again, with fewer processes beside it"
            ) from error
        except BaseException:  # a second Ctrl-C too: else the pool plays what is left
            pool.shutdown(cancel_futures=True)
            raise
