"""How fast the native tasks are: over safety-gymnasium, and as a share of the bare physics.

    python benchmarks/envs.py [--rounds 5] [--steps 400] [--environments 16]

The original, ours, and ten bare ``mj_step`` of our model are timed in turn, round after round, in
one process and on one thread, and the medians of the rounds' ratios are printed: what else the
machine does disturbs all alike. Then a vector environment by the wall's clock, on one thread and
on two. A virtual machine's two cores are at times one core's two halves, so beside them stands
what is not ours to lose: a loop of integers without memory, ``mujoco.rollout`` of the same models,
and two processes that step half of the environments each and never wait for each other. The
original runs without its pictures, its best case. The last line is one JSON object; its
``..._over_original`` are null where safety-gymnasium is missing.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from mujoco.rollout import Rollout
from numba import njit

from handrail.envs.native.env import NativeEnv
from handrail.envs.native.settings import SUBSTEPS
from handrail.envs.native.vector import NativeVectorEnv

TASKS = ("PointGoal1", "PointButton1", "PointPush1", "CarGoal1", "CarButton1", "CarPush1")


def original(name: str) -> Any:
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import original as shim
        except (AssertionError, ModuleNotFoundError):
            return None
        return shim.make(name)


def stepping(env: Any, actions: np.ndarray) -> Callable[[], float]:
    """A function that returns steps per second of one thread's processor time."""

    def go() -> float:
        env.reset(seed=0)
        began = time.thread_time()
        for action in actions:
            env.step(action)
        return len(actions) / (time.thread_time() - began)

    return go


def bare(env: NativeEnv, actions: np.ndarray) -> Callable[[], float]:
    """The same of the physics alone: ten ``mj_step`` for each action."""

    def go() -> float:
        env.reset(seed=0)
        began = time.thread_time()
        for action in actions:
            env.data.ctrl[:] = action
            if not len(env.data.mocap_pos):
                mujoco.mj_step(env.model, env.data, 10)
                continue
            for _ in range(10):  # gremlins that stand still would be another physics
                phase = env.data.time
                env.data.mocap_pos[:] = 0.35 * np.sin(phase), 0.35 * np.cos(phase), 0.1
                mujoco.mj_step(env.model, env.data)
        return len(actions) / (time.thread_time() - began)

    return go


def resetting(env: Any, seeds: range) -> float:
    """Milliseconds of a reset."""
    began = time.thread_time()
    for seed in seeds:
        env.reset(seed=seed)
    return 1e3 * (time.thread_time() - began) / len(seeds)


@njit(nogil=True)
def integers(n: int) -> int:
    """Arithmetic without memory: where there are two cores, two threads do twice as much."""
    a = b = c = d = 1
    for i in range(n):
        a, b, c, d = (a * 3) ^ i, (b + i) ^ a, (c * 5) ^ i, (d + c) ^ i
    return a + b + c + d


def step_when_told(num_envs: int, actions: np.ndarray, told: Connection) -> None:
    """A process: each time it is told to, it resets its environments, waits, and steps them."""
    env = NativeVectorEnv("PointGoal1", num_envs, threads=1)
    for _ in iter(told.recv, None):
        env.reset(seed=0)
        told.send(True)
        told.recv()
        for action in actions:
            env.step(action)
        told.send(True)


def threads(number: int, steps: int, rounds: int) -> dict[str, float]:
    """Two threads over one, of the vector environment, of a loop of integers and of
    ``mujoco.rollout``; two processes over one thread; and the first over what two processes and two
    of rollout's threads do."""
    actions = np.random.default_rng(0).uniform(-1, 1, (steps // 8, number, 2))
    vectors = {n: NativeVectorEnv("PointGoal1", number, threads=n) for n in (1, 2)}
    models = [env.model for env in vectors[1].envs]
    spec = mujoco.mjtState.mjSTATE_FULLPHYSICS
    states = np.empty((number, mujoco.mj_stateSize(models[0], spec)))
    pools = {n: Rollout(nthread=n if n > 1 else 0) for n in (1, 2)}
    scratch = [mujoco.MjData(models[0]) for _ in range(2)]
    context = multiprocessing.get_context("spawn")
    ends, workers = [], []
    for half in np.array_split(actions, 2, axis=1):
        end, other = context.Pipe()
        ends.append(end)
        workers.append(
            context.Process(target=step_when_told, args=(half.shape[1], half, other), daemon=True)
        )
        workers[-1].start()

    def tell() -> None:
        for end in ends:
            end.send(True)
        for end in ends:
            end.recv()

    def processes() -> float:
        tell()
        began = time.perf_counter()
        tell()
        return time.perf_counter() - began

    def loops(n: int) -> float:  # the same work in all, as everywhere here
        began = time.perf_counter()
        with ThreadPoolExecutor(n) as pool:
            wait([pool.submit(integers, 20_000_000 // n) for _ in range(n)])
        return time.perf_counter() - began

    def ours(n: int) -> float:
        vectors[n].reset(seed=0)
        began = time.perf_counter()
        for action in actions:
            vectors[n].step(action)
        return time.perf_counter() - began

    def physics(n: int) -> float:
        vectors[1].reset(seed=0)
        for env, state in zip(vectors[1].envs, states, strict=True):
            mujoco.mj_getState(env.model, env.data, state, spec)
        now = states
        began = time.perf_counter()
        for action in actions:
            held = np.repeat(action[:, None], SUBSTEPS, 1)
            now = pools[n].rollout(models, scratch[:n], now, held, nstep=SUBSTEPS)[0][:, -1]
        return time.perf_counter() - began

    processes(), loops(1)  # compiles
    rows = [
        (ours(1), ours(2), loops(1), loops(2), physics(1), physics(2), processes())
        for _ in range(4 * rounds)
    ]
    for closed in (*vectors.values(), *pools.values()):
        closed.close()
    for end in ends:
        end.send(None)
    one, two, loop_one, loop_two, bare_one, bare_two, apart = np.array(rows).T
    ratios = {
        "two_threads_over_one": one / two,
        "two_processes_over_one": one / apart,
        "integers_two_threads_over_one": loop_one / loop_two,
        "rollout_two_threads_over_one": bare_one / bare_two,
        "two_threads_over_rollout": bare_two / two,
        "two_threads_over_two_processes": apart / two,
    }
    for name, ratio in ratios.items():
        low, middle, high = np.quantile(ratio, (0.05, 0.5, 0.95))
        print(f"{name:32}{middle:6.2f}   (nine rounds of ten: {low:.2f} to {high:.2f})")
    return {name: round(float(np.median(ratio)), 2) for name, ratio in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--environments", type=int, default=16, help="of the vector environment")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    actions = np.random.default_rng(0).uniform(-1, 1, (arguments.steps, 2))
    found: dict[str, float | None] = {}
    shares, resets = [], {}
    print(f"{'':14}{'ours':>8}{'physics':>9}{'original':>10}  steps/s   share  ratio  reset")
    for name in TASKS:
        env, theirs = NativeEnv(name), original(name)
        rows = [stepping(env, actions), bare(env, actions)]
        rows += [stepping(theirs, actions)] if theirs else []
        for row in rows[:2]:
            row()  # compiles
        rates = [[row() for row in rows] for _ in range(arguments.rounds)]
        share = statistics.median(r[0] / r[1] for r in rates)
        ratio = statistics.median(r[0] / r[2] for r in rates) if theirs else None
        shares.append(share)
        resets[name] = resetting(env, range(50))
        found[f"{name}_over_original"] = None if ratio is None else round(ratio, 2)
        middle = [statistics.median(r[i] for r in rates) for i in range(len(rows))]
        print(
            f"{name:14}{middle[0]:8.0f}{middle[1]:9.0f}"
            f"{f'{middle[2]:10.0f}' if theirs else '         -'}         "
            f"{share:7.2f}{f'{ratio:7.2f}' if ratio else '      -'}{resets[name]:6.2f} ms"
        )
    print(
        json.dumps(
            {
                **found,
                "physics_share": round(min(shares), 2),
                **threads(arguments.environments, arguments.steps, arguments.rounds),
                "reset_ms": {name: round(ms, 2) for name, ms in resets.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
