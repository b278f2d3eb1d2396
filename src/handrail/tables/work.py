"""One stage in a process of its own: ``python -m handrail.tables.work ORDER.json``.

The process ends its work with a checkpoint when its standard input closes: by whoever began it, or
by the system when that one is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from handrail import datasets, envs
from handrail.cli import answer
from handrail.data import sources
from handrail.demonstrations import expert_path, roll
from handrail.errors import Busy, HandrailError
from handrail.evaluate import EVALUATION_SEED, evaluate
from handrail.jobs import go_on, start
from handrail.policy_files import load_policy
from handrail.progress import Console
from handrail.runs import Run
from handrail.storage import json_bytes, write_file
from handrail.tables.plan import DEMONSTRATIONS, EXPERT, Stage
from handrail.types import within


def work(stage: Stage) -> None:
    """Make the stage, from wherever it stands.

    Raises:
        HandrailError: it cannot be made; the line says why.
        Stopped: it was asked to stop; a checkpoint was written.
    """
    if stage.done:
        return
    if stage.label == DEMONSTRATIONS:
        _demonstrate(stage)
        return
    if (stage.path / "settings.toml").is_file():
        _when_left(stage.path)
        go_on(stage.path, stage.method())  # the table may have been moved since
    else:
        start(stage.method())
    _judge(stage)


def _demonstrate(stage: Stage) -> None:
    settings = stage.settings
    with Console().interruptible() as console:
        if "policies" in settings:
            policies = [Path(policy) for policy in settings["policies"]]
            played = datasets.play(stage.task, settings["episodes"], policies, watcher=console)
        else:
            policy = settings["policy"]
            path = Path(policy) if policy else expert_path(stage.task)
            played = roll(stage.task, settings["episodes"], policy=path, watcher=console)
    sources.write(played, stage.path)


def _judge(stage: Stage) -> None:
    policy, _ = load_policy(stage.path)
    report, _ = evaluate(
        policy,
        lambda: envs.make(stage.task),
        episodes=stage.episodes,
        seed=EVALUATION_SEED,
        cost_limit=stage.settings.get("cost_limit"),
        method=stage.label,
    )
    if stage.label == EXPERT and not within(report["cost"]["mean"], report["cost_limit"]):
        raise HandrailError(
            f"the expert of {stage.task} costs {report['cost']['mean']:.1f}, its limit is "
            f"{report['cost_limit']:g}; give it other settings in the table's definition"
        )
    write_file(stage.path / "evaluation.json", json_bytes(report))


def _when_left(path: Path, seconds: float = 120) -> None:
    """Wait while another process holds the run: on a machine that is thought lost it may still be
    about to stop."""
    for _ in range(int(seconds)):
        try:
            with Run.open(path) as run, run.alone():
                return
        except Busy:
            time.sleep(1)


def _stop_with_input() -> None:
    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin: its lock would be held when the interpreter ends
            pass
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    _stop_with_input()
    sys.exit(answer("work", lambda: work(Stage.read(Path(sys.argv[1])))))
