"""How fast the decision transformer learns and acts: over eager PyTorch, and as a share of the
machine's matrix products.

    python benchmarks/transformer.py [--rounds 7] [--updates 4] [--threads N]

All are timed in turn, round after round, in one process with the same number of threads (all
cores by default), and the medians of the rounds' ratios are printed: what else the machine does
disturbs all alike. With one thread the clock is the process's processor time, which a busy machine
disturbs least; with several it is the wall's, and an eager PyTorch loses more than we do where
other programs hold its cores.

Sizes are the guide's on bullet/CarCircle: 8 observations, 2 actions, batch 64, K 20, dropout 0.1.
The last line is one JSON object; ``dt_over_torch`` is null where PyTorch is not installed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from _torch import yardstick

if TYPE_CHECKING:
    from handrail.learners.decision_transformer import DTSettings
    from handrail.types import Spec, Window


_clock = time.perf_counter


def flops_of_update(settings: DTSettings, batch: int) -> float:
    """Operations in the matrix products that one update needs, nothing else counted.

    A window has T = 3 K - 1 tokens (no state sees the newest action); the last layer's output is
    needed at the K states alone. Per window, D the width, forward:

        linear layers    2 D^2 (12 T (L - 1) + 2 T + 10 K)
        attention        4 D (T (T + 1) / 2 (L - 1) + P)

    where a token meets those not after it only: state k of the last layer 3 k + 2 of them,
    P = sum of 3 k + 2 over k < K. The gradient costs twice the forward pass. Embeddings and head
    (0.1 %) are left out, and so is the masked half of attention, which we do compute.
    """
    k, d, layers = settings.context, settings.embed, settings.layers
    t = 3 * k - 1
    linear = 2 * d**2 * (12 * t * (layers - 1) + 2 * t + 10 * k)
    pairs = t * (t + 1) // 2 * (layers - 1) + sum(3 * i + 2 for i in range(k))
    return 3.0 * batch * (linear + 4 * d * pairs)


def some_windows(settings: DTSettings, spec: Spec, updates: int) -> Window:
    import numpy as np

    from handrail.types import Window

    rng = np.random.default_rng(0)
    shape = (updates, settings.batch, settings.context)
    o, a = spec.observation_size, spec.action_size
    start = rng.integers(0, spec.horizon - settings.context, shape[:2])
    return Window(
        np.float32(rng.normal(size=(*shape, o))),
        np.float32(rng.uniform(-1, 1, (*shape, a))),
        np.float32(rng.normal(size=shape)),
        np.int32(start[..., None] + np.arange(settings.context)),
        np.ones(shape, np.float32),
    )


def handrail_dt(settings: DTSettings, spec: Spec, updates: int) -> Callable[[], float]:
    """A function that trains a block and returns its updates per second."""
    import jax

    from handrail.learners import decision_transformer as dt

    run, windows = dt.block(settings), jax.device_put(some_windows(settings, spec, updates))
    state = dt.init(settings, jax.random.key(0), spec)

    def go() -> float:
        nonlocal state
        start = _clock()
        state, _ = jax.block_until_ready(run(state, windows))
        return updates / (_clock() - start)

    return go


def torch_dt(
    settings: DTSettings, spec: Spec, updates: int, threads: int
) -> Callable[[], float] | None:
    """The same of eager PyTorch, or None where it is missing."""
    eager = yardstick("_torch_dt")
    if eager is None:
        return None
    import torch

    torch.set_num_threads(threads)
    model = eager.TorchDT(settings, spec)
    arrays = (torch.from_numpy(x).unbind() for x in some_windows(settings, spec, updates))
    rows = list(zip(*arrays, strict=True))

    def go() -> float:
        start = _clock()
        for row in rows:
            model.update(*row)
        return updates / (_clock() - start)

    return go


def product(size: int = 2048) -> Callable[[], float]:
    """A function that returns the rate, FLOP/s, of a square float32 product."""
    import jax
    import jax.numpy as jnp

    matrix = jax.random.normal(jax.random.key(0), (size, size))
    multiply = jax.jit(jnp.matmul)

    def go() -> float:
        start = _clock()
        jax.block_until_ready([multiply(matrix, matrix) for _ in range(4)])
        return 4 * 2.0 * size**3 / (_clock() - start)

    return go


def acting(settings: DTSettings, spec: Spec, batch: int) -> Callable[[], float]:
    """A function that returns the seconds of one call of the guide for ``batch`` environments."""
    import jax
    import numpy as np

    from handrail.data.windows import Normaliser
    from handrail.learners import decision_transformer as dt
    from handrail.transformer_policy import DTPolicy
    from handrail.types import Draws, Step

    o, a = spec.observation_size, spec.action_size
    normaliser = Normaliser(np.zeros(o, np.float32), np.ones(o, np.float32))
    state = dt.init(settings, jax.random.key(0), spec)
    policy = DTPolicy.of(
        settings, state, normaliser, cost_weight=1.0, return_scale=10.0, target_return=1.0
    )
    f = np.float32
    step = Step(
        np.zeros((batch, o), f),
        np.zeros((batch, a), f),
        np.zeros(batch, f),
        np.zeros(batch, f),
        np.zeros(batch, bool),
    )
    draws = Draws(np.zeros((batch, a), f), np.zeros(batch, f))
    carry = policy.initial(batch)
    calls = 20

    def go() -> float:
        nonlocal carry
        start = _clock()
        for _ in range(calls):
            _, carry = policy.act(carry, step, draws)
        return (_clock() - start) / calls

    return go


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default: 7)")
    parser.add_argument("--updates", type=int, default=4, help="updates a round (default: 4)")
    parser.add_argument("--threads", type=int, help="threads of each (default: all cores)")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    threads = args.threads or len(cores)
    if not 1 <= threads <= len(cores):
        parser.error(f"--threads must be 1 to {len(cores)}")
    # JAX counts the cores that it may use when it starts; nothing else limits its threads.
    os.sched_setaffinity(0, cores[:threads])
    if threads == 1:
        global _clock
        _clock = time.process_time

    import jax

    from handrail.learners.decision_transformer import DTSettings
    from handrail.types import Spec

    settings = DTSettings(batch=64, dropout=0.1)
    spec = Spec("bullet/CarCircle", 8, 2, (-1.0, -1.0), (1.0, 1.0), horizon=500, cost_limit=20.0)
    ours = handrail_dt(settings, spec, args.updates)
    theirs = torch_dt(settings, spec, args.updates, threads)
    ceiling = product()
    acts = {batch: acting(settings, spec, batch) for batch in (1, 5, 10)}
    runs = [ours, ceiling, *acts.values(), *([theirs] if theirs else [])]
    for run in runs:  # compile, and let allocators settle
        run()

    flops = flops_of_update(settings, settings.batch)
    rates, shares, over_torch = [], [], []
    calls: dict[int, list[float]] = {batch: [] for batch in acts}
    for _ in range(args.rounds):
        # The ceiling before and after ours: what disturbs one disturbs the other.
        before, rate, after = ceiling(), ours(), ceiling()
        rates.append(rate)
        shares.append(rate * flops / (0.5 * (before + after)))
        line = f"{rate:6.2f} updates/s  {shares[-1]:5.3f} of {(before + after) / 2e9:6.1f} GFLOP/s"
        if theirs:
            eager = theirs()
            over_torch.append(rate / eager)
            line += f"  PyTorch {eager:6.2f} updates/s  ratio {over_torch[-1]:5.2f}"
        for batch, act in acts.items():
            calls[batch].append(act())
        print(line, flush=True)

    print(
        f"{threads} threads; one update: {flops / 1e9:.2f} GFLOP of matrix products; "
        f"{jax.devices()[0].device_kind}"
    )
    for batch, seconds in calls.items():
        print(
            f"acting for {batch:2} environments: {1e3 * statistics.median(seconds):6.2f} ms a call"
        )
    figures = {
        "threads": threads,
        "updates_per_s": round(statistics.median(rates), 2),
        "dt_over_torch": round(statistics.median(over_torch), 2) if over_torch else None,
        "ceiling_share": round(statistics.median(shares), 3),
        "act_ms": {batch: round(1e3 * statistics.median(s), 2) for batch, s in calls.items()},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
