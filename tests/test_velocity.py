"""The velocity tasks: step for step those of safety-gymnasium 1.0.0."""

import importlib
import re

import numpy as np
import pytest

from handrail import envs
from handrail.data import dsrl
from handrail.envs import velocity

pytest.importorskip("mujoco")
NAMES = [task.name for task in velocity.tasks()]


def _original(name: str):
    import original  # noqa: F401  makes the package importable

    robot = name.removeprefix("gym/").removesuffix("Velocity")
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", robot).lower()
    module = importlib.import_module(
        f"safety_gymnasium.tasks.safe_velocity.safety_{snake}_velocity_v1"
    )
    return getattr(module, f"Safety{robot}VelocityEnv")()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_the_originals(name):
    ours, theirs = envs.make(name), _original(name)
    seen, costs = 0, []
    for seed in range(8):
        a, _ = ours.reset(seed=seed)
        b, _ = theirs.reset(seed=seed)
        np.testing.assert_array_equal(a, b.astype(np.float32))
        rng, over = np.random.default_rng(seed), False
        while not over and seen < 1500:
            unit = rng.uniform(-1, 1, ours.spec_.action_size).astype(np.float32)
            # A push along x now and then: random joints alone seldom reach the limit.
            if rng.random() < 0.1:
                push = rng.uniform(0, 2 * velocity._ROBOTS[name[4:-8]].limit)
                ours.unwrapped.data.qvel[0] = theirs.data.qvel[0] = push
            a, reward, ended, _, info = ours.step(unit)
            b, r, cost, over, _, _ = theirs.step(ours.spec_.to_box(unit))
            np.testing.assert_array_equal(a, b.astype(np.float32))
            assert (reward, info["cost"], ended) == (pytest.approx(r), cost, over)
            costs.append(cost)
            seen += 1
            over = over or len(costs) % 200 == 0
    assert 0.02 < np.mean(costs) < 0.98
    ours.close()


def test_no_file_is_left_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = envs.make("gym/HalfCheetahVelocity")
    env.reset(seed=0)
    env.close()
    assert list(tmp_path.iterdir()) == []


def test_they_are_listed_with_what_dsrl_knows():
    listed = {task.name: task for task in envs.tasks() if task.name.startswith("gym/")}
    assert list(listed) == NAMES
    for task, known in dsrl.sets().items():
        if task.startswith("gym/"):
            assert listed[task].horizon == known.horizon == 1000
