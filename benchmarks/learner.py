"""How fast IQL learns: over eager PyTorch, and as a share of the machine's matrix products.

    python benchmarks/learner.py [--rounds 7] [--updates 100]

All three are timed in turn, round after round, in one process, and the medians of the rounds'
ratios are printed: what else the machine does disturbs the three alike. Sizes are those of
bullet/CarCircle: 8 observations, 2 actions, batch 256, networks of 2 x 256, twin Q. The last line
is one JSON object; ``iql_over_torch`` is null where PyTorch is not installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from _rates import of_agent, of_block
from _torch import yardstick

from handrail.learners import iql
from handrail.types import Batch, Spec

SPEC = Spec("bullet/CarCircle", 8, 2, (-1.0, -1.0), (1.0, 1.0), horizon=300, cost_limit=20.0)
BATCH = 256
COST_WEIGHT = 1.0
SIZES = (1024, 1536, 2048)


def flops_of_update(settings: iql.IQLSettings, spec: Spec, batch: int) -> float:
    """Operations in the matrix products that one update needs, nothing else counted.

    A layer of i inputs and j outputs costs 2 B i j forward, 2 B i j for the gradient of its
    weights, and 2 B i j for that of its input, which a network's first layer does not need. V goes
    forward on s with a gradient, then as updated on s and on s'; the two targets go forward on
    (s, a); the two critics and the actor go forward with a gradient.
    """

    def forward(inputs: int, outputs: int, *, first: bool = True) -> float:
        sizes = (inputs, *settings.hidden, outputs)
        pairs = list(pairwise(sizes))[0 if first else 1 :]
        return sum(2.0 * batch * i * j for i, j in pairs)

    def descend(inputs: int, outputs: int) -> float:
        return 2 * forward(inputs, outputs) + forward(inputs, outputs, first=False)

    o, a = spec.observation_size, spec.action_size
    value = descend(o, 1) + 2 * forward(o, 1)
    critics = 2 * forward(o + a, 1) + 2 * descend(o + a, 1)
    return value + critics + descend(o, a)


def some_batches(updates: int) -> Batch:
    rng = np.random.default_rng(0)
    o, a = (SPEC.observation_size,), (SPEC.action_size,)
    shapes = Batch(o, a, (), (), o, ())  # pyright: ignore[reportArgumentType]
    rows = Batch(*(jnp.float32(rng.normal(size=(updates, BATCH, *size))) for size in shapes))
    ends = jnp.float32(rng.uniform(size=(updates, BATCH)) < 0.01)
    return rows._replace(action=jnp.tanh(rows.action), terminated=ends)


def product(size: int) -> Callable[[], float]:
    """A function that returns the rate, FLOP/s, of a square float32 product."""
    matrix = jax.random.normal(jax.random.key(0), (size, size))
    multiply = jax.jit(jnp.matmul)
    repeats = max(1, round((2048 / size) ** 3))

    def go() -> float:
        start = time.perf_counter()
        jax.block_until_ready([multiply(matrix, matrix) for _ in range(repeats)])
        return repeats * 2 * size**3 / (time.perf_counter() - start)

    return go


def main() -> None:
    parser = argparse.ArgumentParser(description="IQL's speed, as two ratios")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=100, help="updates a round")
    arguments = parser.parse_args()
    settings = iql.IQLSettings(extraction="awr")  # as published, in PyTorch too
    batches = some_batches(arguments.updates)
    ours = of_block(iql.learner(settings), SPEC, batches, COST_WEIGHT)
    eager = yardstick("_torch_iql")
    theirs = eager and of_agent(eager.TorchIQL(settings, SPEC), eager.tensors(batches, COST_WEIGHT))
    products = [product(size) for size in SIZES]
    flops = flops_of_update(settings, SPEC, BATCH)

    rates, over_torch, shares = [], [], []
    for round_ in range(arguments.rounds + 1):
        rate, ceiling = ours(), max(p() for p in products)
        torch = theirs() if theirs else None
        if round_ == 0:
            continue  # compiles and warms up
        rates.append(rate)
        shares.append(rate * flops / ceiling)
        line = f"{rate:7.1f} updates/s  {ceiling / 1e9:6.1f} GFLOP/s at most"
        if torch:
            over_torch.append(rate / torch)
            line += f"  PyTorch {torch:6.1f} updates/s"
        print(line, flush=True)

    print(f"one update: {flops / 1e9:.3f} GFLOP of matrix products; {jax.devices()[0].device_kind}")
    figures = {
        "updates_per_s": round(statistics.median(rates), 1),
        "iql_over_torch": round(statistics.median(over_torch), 2) if over_torch else None,
        "ceiling_share": round(statistics.median(shares), 3),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
