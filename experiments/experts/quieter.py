"""A policy whose samples lie nearer to its mode: its deviation times a part.

    python experiments/experts/quieter.py RUN PART --out POLICY

What learns to act alone keeps more noise than a demonstrator should show. RUN's policy must be a
squashed Gaussian, as all are but those of `bc` and of `iql` by awr and ddpg_bc.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from handrail.policies import MLPPolicy
from handrail.policy_files import load_policy, save_policy


def main() -> None:
    parser = argparse.ArgumentParser(description="a policy with a part of its deviation")
    parser.add_argument("run", type=Path)
    parser.add_argument("part", type=float)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    policy, spec = load_policy(asked.run)
    if not isinstance(policy, MLPPolicy) or not policy.squashed or asked.part <= 0:
        parser.error("RUN has no squashed Gaussian, or PART is not above 0")
    if asked.out.exists():
        parser.error(f"{asked.out} exists already")
    last = policy.biases[-1].copy()
    last[spec.action_size :] += np.log(np.float32(asked.part))  # of the logarithms of deviations
    save_policy(replace(policy, biases=(*policy.biases[:-1], last)), asked.out, spec)


if __name__ == "__main__":
    main()
