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
from handrail.policies import MLPPolicy
from handrail.policy_files import load_policy
from handrail.rollout import play
from handrail.types import Draws, Step

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
    played = list(play(policy, simulators, range(1000, 1050)))  # those that the README is of
    assert np.mean([e.return_ for e in played]) == pytest.approx(float(return_), rel=0.25)
    # No worse than is said: another processor rounds otherwise, and few episodes make up a mean.
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


def test_a_quieter_policy_has_a_part_of_the_deviation(tmp_path):
    script = Path(__file__).parents[1] / "experiments" / "experts" / "quieter.py"
    loud = expert_path("bullet/CarCircle-gold")
    command = [sys.executable, script, loud, "0.3", "--out", tmp_path / "quiet"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (policy, spec), (quiet, _) = load_policy(loud), load_policy(tmp_path / "quiet")
    assert isinstance(policy, MLPPolicy)
    assert isinstance(quiet, MLPPolicy)
    rng, many = np.random.default_rng(0), 200
    zeros = np.zeros(many, np.float32)
    observation = rng.normal(size=(many, spec.observation_size)).astype(np.float32)
    step = Step(observation, np.zeros((many, 2), np.float32), zeros, zeros, zeros > 1)
    draws = Draws(rng.normal(size=(many, 2)).astype(np.float32), zeros)
    _, raw = np.split(_last_layer(policy, observation), 2, axis=-1)
    inside = ((raw > -3.5) & (raw < 2)).all(-1)  # of the range that deviations are kept to
    assert inside.sum() > 20
    sampled = quiet.sampled().act(None, step, draws)[0][inside]
    expected = policy.sampled(0.3).act(None, step, draws)[0][inside]
    np.testing.assert_allclose(sampled, expected, atol=1e-5)
    np.testing.assert_array_equal(quiet.act(None, step, draws)[0], policy.act(None, step, draws)[0])


def test_a_policy_plays_on_another_task_of_its_sizes_alone(tmp_path):
    pytest.importorskip("mujoco")
    script = Path(__file__).parents[1] / "experiments" / "experts" / "onto.py"
    ours, task = expert_path("native/PointGoal1-gold"), "native/PointGoal1"
    command = [sys.executable, script, ours, task, "--out", tmp_path / "moved"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    policy, spec = load_policy(tmp_path / "moved", envs.make(task).spec_)
    for moved, before in zip(policy.weights, load_policy(ours)[0].weights, strict=True):
        np.testing.assert_array_equal(moved, before)
    shipped, theirs = load_policy(expert_path(task, "medium"))  # made so
    assert theirs == spec
    np.testing.assert_array_equal(shipped.weights[0], policy.weights[0])
    command[3] = "native/CarGoal1"
    again = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert "have other observations or actions" in again.stderr


def _last_layer(policy: MLPPolicy, x: np.ndarray) -> np.ndarray:
    for weight, bias in zip(policy.weights[:-1], policy.biases[:-1], strict=True):
        x = np.maximum(x @ weight + bias, 0)
    return x @ policy.weights[-1] + policy.biases[-1]
