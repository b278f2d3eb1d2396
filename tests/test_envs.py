"""The CMDP protocol over small environments, and the bullet tasks against their package."""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from handrail import envs
from handrail.cli import main
from handrail.commands._cli import parse
from handrail.commands.train import _require_read
from handrail.data import sources
from handrail.envs import bullet
from handrail.errors import HandrailError
from handrail.jobs import METHODS
from handrail.types import Spec

# --- Any registered Gymnasium id ----------------------------------------------------------------


class Tiny(gymnasium.Env):
    """Three values of observation; remembers the action; ends after ``end`` steps. ``size``,
    ``pair`` and ``info`` let it break its word."""

    def __init__(
        self,
        form=5,
        cost=1.0,
        end=100,
        reward=1.0,
        observation=0.0,
        spaces=None,
        size=3,
        pair=True,
        info=True,
    ):
        self.observation_space = Box(-np.inf, np.inf, (3, 1), np.float64)
        self.action_space = Box(np.float32([-2, 0]), np.float32([2, 10]))
        vars(self).update(spaces or {})
        self.form, self.cost, self.end, self.reward = form, cost, end, reward
        self.value, self.size, self.pair, self.info = observation, size, pair, info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        observation = self.np_random.normal(size=(3, 1))
        return (observation, {}) if self.pair else observation

    def step(self, action):
        self.t += 1
        self.action = action
        info = {} if self.cost is None else {"cost": self.cost, "cost_hazards": 0.25}
        values = [np.full((self.size, 1), self.value), self.reward, self.t == self.end, False, info]
        if self.form == 6:
            values.insert(2, info.pop("cost", None))
        if not self.info:
            values[-1] = None
        if self.form == 4:  # as before Gymnasium
            del values[3]
        return tuple(values)


@pytest.fixture
def make():
    """A registered Tiny as a CMDP."""
    names = []

    def build(limit=4, **kwargs):
        name = f"Tiny{len(names)}-v0"
        gymnasium.register(name, Tiny, max_episode_steps=limit, kwargs=kwargs)
        names.append(name)
        return envs.make(f"gym/{name}")

    yield build
    for name in names:
        del gymnasium.registry[name]


@pytest.mark.parametrize("form", [5, 6])
def test_five_and_six_values_give_the_same_step(make, form):
    env = make(form=form, cost=0.5)
    observation, _ = env.reset(seed=1)
    assert observation.shape == (3,)
    assert observation.dtype == np.float32
    observation, reward, terminated, truncated, info = env.step(np.zeros(2))
    assert observation.shape == (3,)
    assert (reward, terminated, truncated) == (1.0, False, False)
    assert info == {"cost": 0.5, "cost_hazards": 0.25}


def test_reset_hands_on_the_seed(make):
    env = make()
    first, again, other = (env.reset(seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_actions_go_from_the_unit_box_to_the_environment_s(make):
    env = make()
    assert env.spec_.action_low == (-2.0, 0.0)
    env.reset(seed=0)
    for unit, expected in (
        ([0, 0], [0, 5]),
        ([-1, 1], [-2, 10]),
        ([0.5, -0.5], [1, 2.5]),
        ([-9, 9], [-2, 10]),
    ):
        env.step(np.float32(unit))
        np.testing.assert_array_equal(env.unwrapped.action, np.float32(expected))
    unit = np.random.default_rng(0).uniform(-1, 1, (9, 2)).astype(np.float32)
    np.testing.assert_allclose(env.spec_.to_unit(env.spec_.to_box(unit)), unit, atol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_no_action_leaves_the_box_by_rounding(kind):
    rng = np.random.default_rng(0)
    low = rng.uniform(-5, 5, 2000).astype(kind)
    high = (low + 10.0 ** rng.uniform(-3, 4, 2000)).astype(kind)
    spec = Spec("test/Box", 1, 2000, tuple(map(float, low)), tuple(map(float, high)), 1, 1.0)
    box = Box(low, high, dtype=kind)
    ends = [spec.to_box(np.full(2000, u, np.float32)) for u in (-1, 1)]
    assert all(box.contains(end.astype(kind)) for end in ends)
    for end, bound in zip(ends, (low, high), strict=True):
        np.testing.assert_allclose(end, bound, rtol=1e-6, atol=1e-3)
        assert not spec.outside(end).any()
    # What others rounded is theirs; what is beyond is beyond.
    assert not spec.outside(np.float32(low) - 1e-6).any()
    assert spec.outside(high + 0.01 * (high - low) + 2e-5).all()


def test_an_observation_that_the_environment_changes_in_place_stays_what_it_was(make, monkeypatch):
    env = make(spaces={"observation_space": Box(-np.inf, np.inf, (3,), np.float32)})
    state = np.zeros(3, np.float32)

    def step(action):
        nonlocal state
        state += 1
        return state, 0.0, False, False, {"cost": 0.0}

    monkeypatch.setattr(env.unwrapped, "reset", lambda **_: (state, {}))
    monkeypatch.setattr(env.unwrapped, "step", step)
    seen = [env.reset(seed=0)[0], *(env.step(np.zeros(2))[0] for _ in range(2))]
    np.testing.assert_array_equal(seen, [[0] * 3, [1] * 3, [2] * 3])


def test_a_close_that_breaks_loses_nothing(make, monkeypatch):
    env = make()
    monkeypatch.setattr(env.unwrapped, "close", lambda: None.viewer, raising=False)
    env.close()


@pytest.mark.parametrize(
    ("render", "line"),
    [
        (lambda: np.zeros((4, 4, 3)), "render gives pictures of float64, not of uint8, at step 0"),
        (lambda: {}["display"], r"render breaks \(KeyError: 'display', at .*\) at step 0; mend"),
        (lambda: np.zeros((4, 4, 1), np.uint8), "draws no pictures"),
    ],
)
def test_a_picture_that_is_none_is_told(make, monkeypatch, render, line):
    env = make()
    env.reset(seed=0)
    monkeypatch.setattr(env.unwrapped, "render", render)
    with pytest.raises(HandrailError, match=line):
        env.picture()


def _ends(env):
    env.reset(seed=0)
    while True:
        *_, terminated, truncated, _ = env.step(np.zeros(2))
        if terminated or truncated:
            return env._elapsed, terminated, truncated


@pytest.mark.parametrize("form", [5, 6])
def test_a_time_limit_is_no_termination(make, form):
    env = make(limit=4, form=form)
    assert env.spec_.horizon == 4
    assert _ends(env) == (4, False, True)
    assert _ends(env) == (4, False, True)  # the count begins anew
    assert _ends(make(limit=4, form=form, end=2)) == (2, True, False)
    assert _ends(make(limit=4, form=form, end=4)) == (4, True, False)  # both: the task ended it


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cost": None}, r'no info\["cost"\] at step 1; add it'),
        ({"cost": np.nan}, "cost nan is not finite at step 1"),
        ({"cost": np.inf, "form": 6}, "cost inf is not finite at step 1"),
        ({"cost": -0.5}, "cost -0.5 is negative at step 1; what is to be sought"),
        ({"reward": np.nan}, "reward nan"),
        ({"observation": np.inf}, "observation is not finite at step 1"),
        ({"cost": np.ones(2)}, r"a cost is array\(\[1., 1.\]\), no number, at step 1; mend"),
        ({"cost": None, "form": 6}, "a cost is None, no number, at step 1; mend"),
        ({"reward": "1.5"}, "a reward is '1.5', no number, at step 1; mend"),
        ({"reward": 10**400}, "a reward is 10{400}, no number, at step 1; mend"),
        ({"end": np.ones(2)}, r"terminated is array.*, no number, at step 1; mend"),
        ({"info": None}, "info is None, no dict, at step 1; mend"),
        ({"size": 4}, "has 4 numbers where the observation space has 3, at step 1; mend"),
        (
            {"observation": "here"},
            "observation is .*'here'.*, no array of numbers, at step 1; mend",
        ),
        ({"form": 4}, r"step gives neither \(observation, reward, .* at step 1; mend"),
    ],
)
def test_a_bad_step_is_an_error_that_names_the_task(make, settings, message):
    env = make(**settings)
    env.reset(seed=0)
    with pytest.raises(HandrailError, match=f"gym/Tiny0-v0: .*{message}"):
        env.step(np.zeros(2))


def test_a_reset_without_info_is_an_error_that_names_the_task(make):
    with pytest.raises(
        HandrailError, match=r"gym/Tiny0-v0: reset gives no pair .* at step 0; mend"
    ):
        make(pair=False).reset(seed=0)


@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_environment_that_breaks_is_told_with_its_place(make, where, monkeypatch):
    def breaks(*_, **__):
        raise ConnectionError("no robot\nat 10.0.0.1")

    env = make()
    env.reset(seed=0)
    monkeypatch.setattr(env.unwrapped, where, breaks)
    line = rf"{where} breaks \(ConnectionError: no robot at 10\.0\.0\.1, at .*test_envs\.py:\d+\)"
    with pytest.raises(HandrailError, match=rf"gym/Tiny0-v0: {line} at step 0; mend"):
        env.reset(seed=0) if where == "reset" else env.step(np.zeros(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_action_of_a_policy_that_diverged_is_an_error(make, bad):
    env = make()
    env.reset(seed=0)
    with pytest.raises(HandrailError, match="an action is not finite at step 0; the policy diverg"):
        env.step(np.array([0.0, bad]))


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ({"action_space": Discrete(3)}, "actions are Discrete; handrail needs a Box"),
        ({"observation_space": Dict(a=Discrete(2))}, "observations are Dict.*FlattenObservation"),
        ({"action_space": Box(-np.inf, np.inf, (2,))}, "an action has no finite bound; rescale it"),
        (
            {"action_space": Box(np.float32([-1, 2]), np.float32([1, 2]))},
            "action 1 has no room, its bounds are the same; leave it out",
        ),
        (
            {"action_space": Box(0, 3, (2,), np.int32)},
            "actions are int32, handrail's are fractions; make the box one of floats, and round",
        ),
    ],
)
def test_a_space_that_does_not_fit_is_an_error(make, spaces, message):
    with pytest.raises(HandrailError, match=message):
        make(spaces=spaces)


def test_an_id_needs_a_time_limit(make):
    with pytest.raises(HandrailError, match="has no time limit; register it"):
        make(limit=None)


@pytest.mark.parametrize("name", ["gym/NoSuch-v0", "gym/no_such_module:NoSuch-v0"])
def test_an_id_that_is_not_registered(name):
    with pytest.raises(HandrailError, match=r"cannot make it .*gym/MODULE:ID"):
        envs.make(name)


MODULE = """import gymnasium

class Line(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))

    def __init__(self, length):
        self.length = length

gymnasium.register("Line-v0", Line, max_episode_steps=3, kwargs={"length": 1})
gymnasium.register("NoLength-v0", Line, max_episode_steps=3)
"""


def test_a_module_is_found_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_my_own.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import math\n\nmath.nothing\n")
    (tmp_path / "misspelt.py").write_text("\nimport import\n")
    (tmp_path / "refusing.py").write_text("raise ImportError\n")
    assert envs.make("gym/of_my_own:Line-v0").spec_.horizon == 3
    for name, message in [
        ("of_my_own:NoLength-v0", r"it breaks .*TypeError: .*'length'.*mend it"),
        ("broken:Line-v0", r"it breaks .*AttributeError: .*'nothing'.*broken\.py:3\); mend it"),
        ("misspelt:Line-v0", r"it breaks .*SyntaxError: .*\(misspelt\.py, line 2\)\); mend it"),
        ("refusing:Line-v0", r"Gymnasium cannot make it \(ImportError\); register"),
    ]:
        with pytest.raises(HandrailError, match=f"gym/{name}: {message}"):
            envs.make(f"gym/{name}")


def test_the_task_and_the_logs_of_the_documentation(tmp_path, monkeypatch):
    """docs/own-task.md, as a reader would go through it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[1] / "docs" / "own-task.md").read_text()
    module, writing = re.findall("```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "cart.py").write_text(module)
    env = envs.make("gym/cart:Cart-v0")
    rng, logs = np.random.default_rng(0), []
    for seed in range(3):
        log = {"observations": [env.reset(seed=seed)[0]], "actions": [], "rewards": [], "costs": []}
        ended = False
        while not ended:
            action = rng.uniform(-1, 1, 1)
            observation, reward, _, ended, info = env.step(action)
            for name, value in zip(
                log, (observation, 2 * action, reward, info["cost"]), strict=True
            ):
                log[name].append(value)
        logs.append({name: np.array(values) for name, values in log.items()})
    exec(writing, {"logs": logs})
    (done, *_) = sources.read(Path("demos.hdf5")).require(env.spec_)
    np.testing.assert_allclose(env.spec_.to_unit(done.actions), logs[0]["actions"] / 2, atol=1e-6)
    lines = [line.split("    ")[0].split() for line in re.findall("^handrail (.*)", page, re.M)]
    assert [line[0] for line in lines] == ["data", "train", "train", "expert", "demos"]
    assert main(lines[0]) == 0
    for command, method, *arguments in lines[1:3]:
        asked = parse(METHODS[method], arguments, command)
        _require_read(asked, METHODS[method](task=asked.task), command)
        asked.check()  # demonstrations and task fit together


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bullet/CarCircel", "did you mean 'bullet/CarCircle'"),
        ("nonsense", "`handrail tasks` lists them"),
    ],
)
def test_an_unknown_task_is_an_error_with_a_hint(name, message):
    with pytest.raises(HandrailError, match=message):
        envs.make(name)


# --- bullet -------------------------------------------------------------------------------------

_BULLET = [task.name for task in bullet.tasks() if not task.name.endswith("-gold")]


def _roll(env, seed, steps, between=lambda: None):
    """Everything that an episode gives, under actions that depend on the seed too."""
    rng = np.random.default_rng(seed)
    seen = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        between()
        observation, reward, terminated, truncated, info = env.step(
            rng.uniform(-1, 1, env.spec_.action_size)
        )
        seen += [observation, [reward, info["cost"], terminated, truncated]]
        if terminated or truncated:
            break
    return np.concatenate(seen)


@pytest.mark.parametrize("name", _BULLET)
def test_a_bullet_episode_is_a_function_of_its_seed(name):
    pytest.importorskip("bullet_safety_gym")
    before = np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    used = envs.make(name)
    first, other = _roll(used, 5, 20), _roll(used, 6, 20)
    assert not np.array_equal(first, other)
    fresh = envs.make(name)
    beside = iter(range(1000))

    def disturb():
        """The used environment acts and resets between the steps of the fresh one."""
        number = next(beside)
        if number % 8 == 0:
            used.reset(seed=number)
        used.step(np.ones(used.spec_.action_size))

    assert np.array_equal(_roll(fresh, 5, 20, disturb), first)
    assert np.array_equal(_roll(used, 5, 20), first)
    assert np.array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert random.getstate() == before[1]
    for env in (used, fresh):
        env.close()


def test_contact_with_the_moving_box_repeats():
    """The package moves the box by the wall clock; driven into, it told two runs apart."""
    pytest.importorskip("bullet_safety_gym")

    def chase(env, seed):
        env.reset(seed=seed)
        agent, box = env.unwrapped.agent, env.unwrapped.obstacles[0]
        seen, hits = [], 0
        for _ in range(120):
            gap = (box.get_position() - agent.get_position())[:2]
            action = 3 * gap - 2 * agent.get_linear_velocity()[:2]
            seen.append(env.step(np.float32(action))[0])
            hits += box.detect_collision(agent)
        return np.array(seen), hits

    used = envs.make("bullet/BallReach")
    first, hits = chase(used, 3)
    assert hits > 5
    chase(used, 4)
    assert np.array_equal(chase(used, 3)[0], first)
    assert np.array_equal(chase(envs.make("bullet/BallReach"), 3)[0], first)


_PACKAGE = """
import json, random, sys, warnings
import gymnasium, numpy as np
warnings.simplefilter("ignore")
import bullet_safety_gym

def seed(n):
    state = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(n)))
    np.random.set_state(state.get_state())
    random.seed(n)

names, out = json.loads(sys.argv[1]), {}
for name in names:
    seed(0)
    env = gymnasium.make(f"Safety{name}-v0", disable_env_checker=True)
    env.reset()
    seed(5)
    rows = [env.reset()[0].tolist()]
    rng = np.random.default_rng(5)
    for _ in range(15):
        action = rng.uniform(-1, 1, env.action_space.shape[0]).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        rows += [observation.tolist(), [reward, info["cost"], terminated, truncated]]
    out[name] = rows
json.dump(out, open(sys.argv[2], "w"))
"""


def test_bullet_tasks_are_those_of_the_unmodified_package(tmp_path):
    pytest.importorskip("bullet_safety_gym")
    names = ["BallCircle", "CarCircle", "CarRun", "AntRun", "DroneRun", "BallGather", "CarGather"]
    file = tmp_path / "out.json"
    subprocess.run([sys.executable, "-c", _PACKAGE, json.dumps(names), file], check=True)
    theirs = json.loads(file.read_text())
    for name in names:
        ours = _roll(envs.make(f"bullet/{name}"), 5, 15)
        rows = np.concatenate([np.float64(row) for row in theirs[name]])
        np.testing.assert_allclose(ours, rows, rtol=1e-6, atol=1e-6, err_msg=name)


def test_bullet_horizons_are_those_that_the_package_registers():
    pytest.importorskip("bullet_safety_gym")
    for task in bullet.tasks():
        name = task.name.removeprefix("bullet/")
        if name.endswith("-gold"):
            assert task.horizon == 500
        else:
            assert task.horizon == gymnasium.spec(f"Safety{name}-v0").max_episode_steps, name


def test_a_gold_preset_is_the_same_task_with_a_longer_episode():
    pytest.importorskip("bullet_safety_gym")
    plain, gold = envs.make("bullet/CarCircle"), envs.make("bullet/CarCircle-gold")
    assert np.array_equal(_roll(plain, 1, 10), _roll(gold, 1, 10))
    assert (plain.spec_.horizon, gold.spec_.horizon) == (300, 500)
    assert (plain.spec_.cost_limit, gold.spec_.cost_limit) == (20.0, 10.0)


def test_without_the_package_the_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bullet_safety_gym.envs.builder", None)
    with pytest.raises(HandrailError, match=r'pip install "handrail\[bullet\]"'):
        envs.make("bullet/CarCircle")
