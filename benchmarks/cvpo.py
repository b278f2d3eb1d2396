"""How fast CVPO learns, over eager PyTorch.

    python benchmarks/cvpo.py [--rounds 7] [--updates 10]

Both are timed in turn, round after round, in one process, and the median of the rounds' ratios is
printed: what else the machine does disturbs both alike. Sizes are those of native/PointGoal1 with
CVPO's settings of GOLD: 60 observations, 2 actions, batch 300, 32 actions a state, 6 M-steps,
networks of 2 x 256. The last line is one JSON object; ``cvpo_over_torch`` is null where PyTorch is
not installed.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from _rates import of_agent, of_block
from _torch import yardstick

from handrail.learners import cvpo
from handrail.online_methods import CVPO
from handrail.types import Batch, Spec

SPEC = Spec("native/PointGoal1", 60, 2, (-1.0, -1.0), (1.0, 1.0), horizon=1000, cost_limit=25.0)
BATCH = 300


def some_batches(updates: int) -> Batch:
    rng = np.random.default_rng(0)
    o, a = (SPEC.observation_size,), (SPEC.action_size,)
    shapes = Batch(o, a, (), (), o, ())  # pyright: ignore[reportArgumentType]
    rows = Batch(*(jnp.float32(rng.normal(size=(updates, BATCH, *size))) for size in shapes))
    costs, ends = (jnp.float32(rng.uniform(size=(updates, BATCH)) < p) for p in (0.05, 0.01))
    return rows._replace(action=jnp.tanh(rows.action), cost=costs, terminated=ends)


def main() -> None:
    parser = argparse.ArgumentParser(description="CVPO's speed over eager PyTorch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--updates", type=int, default=10, help="updates a round")
    arguments = parser.parse_args()
    settings = replace(CVPO.PRESETS["gold"]["cvpo"], slack=0.0)
    batches, limit = some_batches(arguments.updates), SPEC.cost_limit
    ours = of_block(cvpo.learner(settings, SPEC, limit), SPEC, batches, 0.0)
    eager = yardstick("_torch_cvpo")
    theirs = eager and of_agent(eager.TorchCVPO(settings, SPEC, limit), eager.tensors(batches))
    rates, ratios = [], []
    for round_ in range(arguments.rounds + 1):
        rate, torch = ours(), theirs() if theirs else None
        if round_ == 0:
            continue  # compiles and warms up
        rates.append(rate)
        line = f"{rate:6.1f} updates/s"
        if torch:
            ratios.append(rate / torch)
            line += f"  PyTorch {torch:6.1f} updates/s"
        print(line, flush=True)
    print(
        json.dumps(
            {
                "updates_per_s": round(statistics.median(rates), 1),
                "cvpo_over_torch": round(statistics.median(ratios), 2) if ratios else None,
            }
        )
    )


if __name__ == "__main__":
    main()
