"""The shipped experts: each is of its task and does what its README says."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from handrail import envs
from handrail.data import sources
from handrail.demonstrations import ASSETS, expert_path
from handrail.policy_files import load_policy
from handrail.rollout import play

ROW = re.compile(r"^\| (\w+/\S+) \| (\w+) \| ([\d.]+) .*?\| ([\d.]+) ", re.MULTILINE)
LISTED = ROW.findall((ASSETS / "README.md").read_text())


def test_every_expert_is_listed():
    there = {(p.parent.name.replace("-", "/", 1), p.name) for p in ASSETS.glob("*/*") if p.is_dir()}
    assert {(task, level) for task, level, *_ in LISTED} == there
    assert len(there) == len(LISTED) >= 8


@pytest.mark.parametrize(("task", "level", "return_", "cost"), LISTED)
def test_an_expert_earns_what_is_said(task, level, return_, cost):
    pytest.importorskip("bullet_safety_gym" if task.startswith("bullet/") else "mujoco")
    env = envs.make(task)
    policy, spec = load_policy(expert_path(task, level), env.spec_)
    assert spec.task == task
    simulators = [env, *(envs.make(task) for _ in range(4))]
    played = list(play(policy, simulators, range(1000, 1010)))
    assert np.mean([e.return_ for e in played]) == pytest.approx(float(return_), rel=0.25)
    # No worse than is said; ten episodes may miss the few that make up a mean.
    assert np.mean([e.cost for e in played]) <= 1.5 * float(cost) + 3


@pytest.mark.parametrize("task", ["native/PointPush1-gold", "native/CarPush1-gold"])
def test_a_controller_written_by_hand_brings_the_box_to_goals(task, tmp_path):
    """A goal reached and the way to it earn 2 to 3; what stands still earns nothing."""
    pytest.importorskip("mujoco")
    script = Path(__file__).parents[1] / "experiments" / "experts" / "scripted.py"
    out = tmp_path / "demos.hdf5"
    command = [sys.executable, script, task, "--episodes", "3", "--out", out]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    played = sources.read(out).require(envs.make(task).spec_)
    assert len(played) == 3
    assert np.mean([e.return_ for e in played]) > 4
    # It can be told no file that is there already.
    again = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert again.returncode == 2
    assert "--out names a file that does not exist yet" in again.stderr
