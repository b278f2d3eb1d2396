"""Random steps on every native task: no exception, no number that is not one, no memory that grows.

    python experiments/native/stability.py [--steps 10000000] [--append results/stability.csv]

Five environments of a task at a time, actions held for 1 to 20 steps so that agents get about. A
row is written as a task ends, and a task that has its row is not played again: stop it and go on.
Memory is the process's resident set, after the task's first tenth and at its end.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import time
from pathlib import Path

import gymnasium
import numpy as np

from handrail.envs import native
from handrail.envs.native.settings import SETTINGS

ENVIRONMENTS = 5
COLUMNS = ("task", "steps", "episodes", "goals", "costs", "not_finite", "grown_mib", "seconds")


def resident() -> float:
    """MiB of this process."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in line
    )
    return int(line.split()[1]) / 1024


def play(name: str, steps: int, seed: int) -> dict[str, float | str]:
    envs = gymnasium.make_vec(
        f"{native.__name__}:handrail/{name}-v0", num_envs=ENVIRONMENTS, threads=1
    )
    envs.reset(seed=seed)
    rng = np.random.default_rng(seed)
    actions, left = np.zeros(envs.action_space.shape), np.zeros(ENVIRONMENTS, int)
    count = {"episodes": 0, "goals": 0, "costs": 0, "not_finite": 0}
    began, least = time.perf_counter(), 0.0
    rounds = -(-steps // ENVIRONMENTS)
    for number in range(rounds):
        new = left == 0
        actions[new] = rng.uniform(-1, 1, actions.shape)[new]
        left[new] = rng.integers(1, 21, ENVIRONMENTS)[new]
        left -= 1
        observations, rewards, terminated, truncated, infos = envs.step(actions)
        finite = np.isfinite(observations).all() and np.isfinite(rewards).all()
        count["not_finite"] += int(not finite)
        count["episodes"] += int((terminated | truncated).sum())
        count["costs"] += int(infos["cost"].sum())
        count["goals"] += int(infos["goal_met"].sum()) if "goal_met" in infos else 0
        if number == rounds // 10:
            least = resident()
    grown = resident() - least
    envs.close()
    seconds = time.perf_counter() - began
    return {
        "task": f"native/{name}",
        "steps": rounds * ENVIRONMENTS,
        **count,
        "grown_mib": f"{grown:.1f}",
        "seconds": f"{seconds:.0f}",
    }


def done(table: Path) -> set[str]:
    if not table.exists():
        return set()
    with table.open(newline="") as file:
        return {row["task"] for row in csv.DictReader(file)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000_000, help="over all tasks")
    parser.add_argument("--append", type=Path, default=Path("results/stability.csv"))
    parser.add_argument("--reverse", action="store_true", help="beside a first one, to meet it")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    tasks = list(enumerate(SETTINGS))
    for seed, name in reversed(tasks) if arguments.reverse else tasks:
        if f"native/{name}" in done(arguments.append):
            continue
        row = {**play(name, -(-arguments.steps // len(SETTINGS)), seed), "commit": commit}
        new = not arguments.append.exists()
        with arguments.append.open("a", newline="") as file:
            writer = csv.DictWriter(file, (*COLUMNS, "commit"), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(*(f"{key} {value}" for key, value in row.items() if key != "commit"), flush=True)


if __name__ == "__main__":
    main()
