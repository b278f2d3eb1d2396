"""``handrail demo``: the main job, what ``make demo`` runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from handrail import demonstrations, envs, jobs
from handrail.commands._cli import parse, show
from handrail.commands.demos import sentence, summary
from handrail.data import sources
from handrail.errors import HandrailError, Stopped
from handrail.evaluate import evaluate
from handrail.jobs import method_of
from handrail.methods import Method
from handrail.policy_files import load_policy
from handrail.progress import Console
from handrail.runs import Run
from handrail.storage import require_place
from handrail.types import Draws, Step


def main(argv: list[str]) -> None:
    parse(demo, argv, "demo")


def demo(
    out: Path = Path("runs/demo"),
    steps: int = 25_000,
    seed: int = 0,
    episodes: int = 60,
    updates: int = 1000,
    task: str = "native/PointGoal1-gold",
    judged: int = 50,
    json: bool = False,
) -> None:
    """Demonstrations become a guide, the guide becomes a small policy; compared with the guide and
    with training from scratch, on a task of GOLD's paper. Called again it goes on where it was.

    Args:
        out: where everything is written.
        steps: environment steps of each online run.
        seed: of the training.
        episodes: demonstrations that the shipped expert plays.
        updates: of the guide, on the demonstrations.
        task: one with a shipped expert.
        judged: evaluation episodes that each of the three policies plays in the end.
        json: one JSON object on standard output instead of text.
    """
    began = time.perf_counter()
    if judged < 1:
        raise HandrailError(f"--judged is {judged}; it must be 1 or more")
    envs.make(task).close()  # an unknown one, or a missing extra, is told at once
    data = out / "demonstrations.hdf5"
    guided = [*_arguments(task, out / "gold", steps, seed), "--demos", str(data)]
    guided += ["--dt.updates", str(updates)]
    alone = _arguments(task, out / "scratch", steps, seed)
    method = parse(jobs.METHODS["gold"], guided, "gold")
    method.online.check()  # a wrong setting is told before the work
    _require_same(method, out / "gold")
    _require_same(parse(jobs.METHODS["iql"], alone, "iql"), out / "scratch")
    require_place(data)
    if not data.exists():
        _demonstrate(task, data, episodes)
    elif len(sources.read(data)) != episodes:
        raise HandrailError(f"{data} has not {episodes} episodes; remove it, or give another --out")
    with _beside(["iql", *alone], out / "scratch"):
        if (out / "gold" / "settings.toml").is_file():
            jobs.go_on(out / "gold")
        else:
            jobs.start(method)
    compared = _compare(out, task, judged)
    files = [str(file) for file in jobs.draw([out / "gold", out / "scratch"], out)]
    student, seconds = str(out / "gold" / "policy"), time.perf_counter() - began
    found = {"task": task, "policies": compared, "figures": files}
    show(
        {**found, "student": student, "seconds": round(seconds, 1)},
        _table(found),
        as_json=json,
    )
    if not json:
        print(f"\nfigures: {' '.join(files)}\nthe student is in {student}; {seconds:,.0f} s in all")


def _require_same(method: Method, path: Path) -> None:
    """Raise a HandrailError where ``path`` is a run that was begun with other settings."""
    if not (path / "settings.toml").is_file():
        return
    begun = method_of(Run.open(path)).settings()
    for name, asked in method.settings().items():
        if begun.get(name) != asked:
            raise HandrailError(
                f"{path} was begun with another {name}; say what it was begun with, remove it, or "
                "give another --out"
            )


def _demonstrate(task: str, file: Path, episodes: int) -> None:
    with Console().interruptible() as console:
        played = demonstrations.roll(
            task, episodes, policy=demonstrations.expert_path(task), watcher=console
        )
        sources.write(played, file)
        console.say(f"{file}: {sentence(summary(played))}")


def _arguments(task: str, path: Path, steps: int, seed: int) -> list[str]:
    settings = ["--steps", str(steps), "--seed", str(seed), "--updates-per-step", "1"]
    # Some starts stall a student: that shows over twenty episodes, not over ten.
    settings += ["--evaluate-every", str(min(5000, steps)), "--evaluate-episodes", "20"]
    return [task, "--out", str(path), *settings]


@contextmanager
def _beside(arguments: list[str], path: Path) -> Iterator[None]:
    """``handrail train`` with ``arguments`` in a process of its own, unless its run is complete;
    both are done when the block is left. What stops the block makes that process write a checkpoint
    and stop too.

    Raises:
        HandrailError: that run failed.
        Stopped: Ctrl-C.
    """
    process = None if (path / "summary.json").is_file() else _background(arguments, path)
    try:
        yield
        if process is not None:
            if process.poll() is None:
                Console().say("waiting for the run from scratch, which ran beside it ...")
            if process.wait() != 0:
                log = path.with_suffix(".log")
                raise HandrailError(f"the run from scratch failed: {log} says why")
    except (KeyboardInterrupt, Stopped):
        raise Stopped("stopped; the same command goes on where it was") from None
    finally:
        if process is not None and process.poll() is None:
            Console().say("stopping the run from scratch after a checkpoint")
            process.send_signal(signal.SIGINT)
            process.wait()


def _background(arguments: list[str], path: Path) -> subprocess.Popen:
    begun = (path / "settings.toml").is_file()
    command = ["resume", str(path)] if begun else ["train", *arguments]
    path.parent.mkdir(parents=True, exist_ok=True)
    launch = [sys.executable, "-c", "import sys; from handrail.cli import main; sys.exit(main())"]
    with path.with_suffix(".log").open("a") as log:
        # Out of the terminal's reach: Ctrl-C is handed on, once.
        return subprocess.Popen([*launch, *command], stdout=log, stderr=log, process_group=0)


def _compare(out: Path, task: str, episodes: int) -> list[dict[str, Any]]:
    """The report of each policy's evaluation, with its size and how long an action takes it."""
    policies = {
        "guide (DT)": out / "gold" / "guide",
        "from scratch": out / "scratch",
        "GOLD student": out / "gold",
    }
    found = []
    for label, path in policies.items():
        policy, spec = load_policy(path)
        report, _ = evaluate(
            policy,
            lambda: envs.make(task),
            episodes=episodes,
            seed=1000,
            method=label,
            watcher=Console(),
        )
        weights = sum(array.size for array in policy.to_arrays()[0].values())
        seconds = _latency(policy, spec.observation_size, spec.action_size)
        found.append({**report, "weights": weights, "milliseconds": 1e3 * seconds})
    return found


def _table(found: dict[str, Any]) -> Any:
    from rich.table import Table

    title = f"{found['task']}: {found['policies'][0]['episodes']} evaluation episodes"
    table = Table(title=title, title_justify="left")
    columns = ("", "return (95%)", "lowest", "cost", "over\nlimit", "weights", "ms per\naction")
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    for report in found["policies"]:
        table.add_row(
            report["method"],
            "{mean:.1f} [{ci95[0]:.1f}, {ci95[1]:.1f}]".format_map(report["return"]),
            f"{report['return']['min']:.1f}",
            f"{report['cost']['mean']:.1f}",
            f"{report['violation_rate']:.0%}",
            f"{report['weights'] / 1000:.0f}k",
            f"{report['milliseconds']:.3f}",
        )
    return table


def _latency(policy, observation_size: int, action_size: int, calls: int = 200) -> float:
    """Seconds for one action of one environment: the median of ``calls``."""
    row = np.zeros(1, np.float32)
    step = Step(
        np.zeros((1, observation_size), np.float32),
        np.zeros((1, action_size), np.float32),
        row,
        row,
        np.zeros(1, bool),
    )
    draws = Draws(np.zeros((1, action_size), np.float32), row)
    carry, seconds = policy.initial(1), []
    for _ in range(calls):
        began = time.perf_counter()
        _, carry = policy.act(carry, step, draws)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds))
