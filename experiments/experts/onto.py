"""A policy of one task as one of another with the same observations and actions.

    python experiments/experts/onto.py RUN TASK --out POLICY

What was learnt on a fixed layout plays on random ones so.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from handrail import envs
from handrail.policy_files import load_policy, save_policy


def main() -> None:
    parser = argparse.ArgumentParser(description="a policy of one task as one of another")
    parser.add_argument("run", type=Path)
    parser.add_argument("task")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    policy, theirs = load_policy(asked.run)
    spec = envs.make(asked.task).spec_
    sizes = [
        (s.observation_size, s.action_size, s.action_low, s.action_high) for s in (theirs, spec)
    ]
    if sizes[0] != sizes[1]:
        parser.error(f"{theirs.task} and {asked.task} have other observations or actions")
    if asked.out.exists():
        parser.error(f"{asked.out} exists already")
    save_policy(policy, asked.out, spec)


if __name__ == "__main__":
    main()
