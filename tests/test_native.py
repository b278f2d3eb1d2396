"""The native tasks against the original, on one MuJoCo; and what the original cannot do."""

import copy
import sys
import threading
import warnings
from dataclasses import replace
from types import SimpleNamespace

import gymnasium
import mujoco
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from handrail import envs
from handrail.envs import native
from handrail.envs.native.crew import Crew
from handrail.envs.native.env import FULL, NativeEnv
from handrail.envs.native.index import NOWHERE
from handrail.envs.native.layout import Placer
from handrail.envs.native.paths import draw, follow
from handrail.envs.native.settings import SETTINGS
from handrail.envs.native.vector import NativeVectorEnv
from handrail.errors import HandrailError
from handrail.policies import HeldRandom
from handrail.rollout import play

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import original

ORIGINALS = [name for name in SETTINGS if "gold" not in name]
each_original = pytest.mark.parametrize("name", ORIGINALS)
each_task = pytest.mark.parametrize("name", SETTINGS)


def state_of(m: mujoco.MjModel, d: mujoco.MjData) -> np.ndarray:
    state = np.empty(mujoco.mj_stateSize(m, FULL))
    mujoco.mj_getState(m, d, state, FULL)
    return state


def put_at(task, place, box: bool) -> None:
    """Move the original's agent, or its box, to a place in the plane."""
    d, m = task.data, task.model
    if box:
        start = m.jnt_qposadr[m.body("push_box").jntadr[0]]
        d.qpos[start : start + 2] = place
    elif task.agent_name == "Car":
        d.qpos[:2] = place
    else:  # slides, along the axes of the body at the start
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, m.body("agent").quat)
        d.qpos[:2] = turn.reshape(3, 3)[:2, :2].T @ (place - m.body("agent").pos[:2])
    d.qvel[:] = 0
    mujoco.mj_forward(m, d)


@each_original
@pytest.mark.filterwarnings("ignore")
def test_parity(name):
    """1,000 random actions, the state made equal before each; every 40th begins at a goal or a
    hazard, so that what happens there happens often."""
    theirs, ours = original.make(name), NativeEnv(name)
    task, rng = theirs.task, np.random.default_rng(0)
    want, have = theirs.reset(seed=7)[0], ours.reset(seed=7)[0]
    np.testing.assert_allclose(have, want, rtol=0, atol=1e-9)
    assert have.shape == theirs.observation_space.shape
    events = costs = 0
    for i in range(1000):
        if i % SETTINGS[name].horizon == 0 and i:
            want, have = theirs.reset(seed=i)[0], ours.reset(seed=i)[0]
            np.testing.assert_allclose(have, want, rtol=0, atol=1e-9)
        if i % 40 == 20 and hasattr(task, "goal"):
            push = hasattr(task, "push_box")
            put_at(task, task.goal.pos[:2] + rng.uniform(-0.12, 0.12, 2), box=push)
        if i % 40 == 0 and hasattr(task, "hazards"):
            put_at(task, task.hazards.pos[i // 40 % task.hazards.num][:2], box=False)
        mujoco.mj_setState(ours.model, ours.data, state_of(task.model, task.data), FULL)
        mujoco.mj_forward(ours.model, ours.data)  # moves the solver's warm start, so once more:
        mujoco.mj_setState(ours.model, ours.data, state_of(task.model, task.data), FULL)
        box = ours.index.box != NOWHERE
        for own, key in zip(
            ("last_box", "last_goal")[not box :],
            ("last_dist_box", "last_box_goal") if box else ("last_dist_goal",),
            strict=True,
        ):
            ours._row[own] = getattr(task, key, 0.0)
        action = rng.uniform(-1.2, 1.2, 2)
        want, reward, cost, terminated, truncated, about = theirs.step(action)
        have, r, ended, cut, info = ours.step(action)
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-9, err_msg=f"step {i}")
        assert r == pytest.approx(reward, abs=1e-9)
        assert info["cost"] == cost
        for part, value in about.items():
            if part.startswith("cost_") and part != "cost_sum":
                assert info[part] == value, (i, part)
        assert (ended, cut) == (terminated, truncated)
        met = "goal_met" in about
        assert ("goal_met" in info) == met
        np.testing.assert_array_equal(
            state_of(ours.model, ours.data), state_of(task.model, task.data)
        )
        events, costs = events + met, costs + cost
    assert not any(warning.number for warning in ours.data.warning)  # the physics was sound
    assert events > 5 or "Circle" in name
    assert costs > 5 or name.endswith("0")


@each_original
@pytest.mark.filterwarnings("ignore")
def test_a_seed_has_its_layout(name):
    """Not only the same distribution: the very layout that the original has for the seed."""
    theirs, ours = original.make(name), NativeEnv(name)
    for seed in (0, 1, 12345):
        theirs.reset(seed=seed)
        ours.reset(seed=seed)
        for object_, place in theirs.task.world_info.layout.items():
            np.testing.assert_array_equal(ours._layout[object_], place)
        assert ours.model.ngeom == theirs.task.model.ngeom


@each_task
def test_layouts_keep_their_distances(name):
    """2,000 layouts: everything within the extents, nothing within another's keep-out."""
    placer, rng, settings = Placer(SETTINGS[name]), np.random.RandomState(3), SETTINGS[name]
    keepout = {"agent": settings.agent_keepout}
    for group in settings.objects:
        keepout |= dict.fromkeys(native.model.names(group), group.keepout)
    clear = np.array([[keepout[a] + keepout[b] for b in placer.names] for a in placer.names])
    np.fill_diagonal(clear, -1)
    for _ in range(2000):
        layout = placer.layout(rng)
        at = np.array([layout[n] for n in placer.names])
        assert (np.linalg.norm(at[:, None] - at[None], axis=-1) >= clear).all()
        edge = settings.extents - np.array([keepout[n] for n in placer.names]) + 1e-6
        if settings.agent_extents is not None:
            edge[0] = settings.agent_extents + 1e-6
        assert (np.abs(at) <= edge[:, None]).all()


@each_task
def test_a_moved_model_is_the_compiled_one(name):
    """Moving a compiled model's bodies gives what compiling it there gives."""
    env = NativeEnv(name)
    env.reset(seed=5)
    spec = mujoco.MjSpec.from_string(native.model.mjcf(env.settings))
    for object_, place in env._start.items():
        body = spec.body(native.model.body(object_))
        group = next((g for g in env.settings.objects if object_ in native.model.names(g)), None)
        height = native.model.HEIGHT if group is None else native.model.elevation(group)
        body.pos = [*place, height]
        body.quat = native.model.quaternion(env._turns[object_])
        if object_.startswith("gremlin"):
            geom = spec.geom(f"{object_}mocap")
            geom.pos, geom.quat = body.pos, body.quat
    compiled = spec.compile()
    at = env.index.goal
    compiled.body_pos[at] = env.model.body_pos[at]
    for field in dir(compiled):
        want, have = getattr(compiled, field), getattr(env.model, field)
        if isinstance(want, np.ndarray) and want.dtype.kind == "f":
            np.testing.assert_allclose(have, want, rtol=0, atol=1e-12, err_msg=field)


@each_task
def test_an_episode_goes_on_from_its_state(name):
    """In another environment, in the middle, across goals: the same bits."""
    rng = np.random.default_rng(1)
    first, second = (NativeEnv(name, max_episode_steps=10_000) for _ in range(2))
    first.reset(seed=3)
    second.reset(seed=99)
    for _ in range(60):
        first.step(rng.uniform(-1, 1, 2))
    kept = first.get_state()
    np.testing.assert_allclose(second.set_state(kept), first._observe(), rtol=0, atol=1e-9)
    for action in rng.uniform(-1, 1, (150, 2)):
        size = 0.3 if rng.integers(30) else 10.0  # a goal that is met draws the next one
        first._rows.index = second._rows.index = first.index._replace(goal_size=size)
        a, b = first.step(action), second.step(action)
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1:] == b[1:]
    with pytest.raises(ValueError, match=f"this state is of {name}, not of"):
        NativeEnv("PointGoal0" if name != "PointGoal0" else "PointGoal1").set_state(kept)


def rolled(env, seed: int, steps: int = 40) -> list:
    rng = np.random.default_rng(seed)
    return [env.reset(seed=seed)[0], *(env.step(rng.uniform(-1, 1, 2))[0] for _ in range(steps))]


@pytest.mark.parametrize("name", ["PointGoal1", "CarButton1", "CarPush1-gold"])
def test_an_episode_is_a_function_of_its_seed(name):
    env = NativeEnv(name)
    once = rolled(env, 4)
    rolled(env, 5)
    np.testing.assert_array_equal(rolled(env, 4), once)
    np.testing.assert_array_equal(rolled(NativeEnv(name), 4), once)
    assert not np.array_equal(rolled(env, 6)[-1], once[-1])


def starts(env, seeds) -> set[tuple]:
    found = set()
    for seed in seeds:
        env.reset(seed=seed)
        found.add(tuple(np.concatenate([env._start[n] for n in env._placer.names])))
    return found


def test_layout_modes():
    assert len(starts(NativeEnv("PointGoal1"), range(6))) == 6
    assert len(starts(NativeEnv("PointGoal1-gold"), range(6))) == 1
    assert len(starts(NativeEnv("PointGoal1", layout="fixed"), range(6))) == 1
    assert len(starts(NativeEnv("PointGoal1-gold", layout="random"), range(6))) == 6
    train = starts(NativeEnv("PointGoal1", layout=range(3)), range(40))
    test = starts(NativeEnv("PointGoal1", layout=range(3, 6)), range(40))
    assert len(train) == len(test) == 3
    assert not train & test
    env = NativeEnv("PointGoal1")
    env.reset(seed=1, options={"layout_seed": 2})
    assert tuple(env._start["agent"]) in {s[:2] for s in train}


def test_the_gold_preset():
    """What GOLD's tables were made on (its code): other timesteps, 400 steps, one layout."""
    for agent, timestep in (("Point", 0.006), ("Car", 0.01)):
        for kind in ("Goal", "Button", "Push"):
            env = envs.make(f"native/{agent}{kind}1-gold")
            assert env.spec_.horizon == 400
            assert env.unwrapped.model.opt.timestep == timestep
            env.reset(seed=0)
            truncated = [env.step(np.zeros(2))[3] for _ in range(400)]
            assert truncated == [False] * 399 + [True]
    groups = {g.name: g for g in SETTINGS["CarPush1-gold"].objects}
    assert groups["push_box"].size == 0.2
    assert (groups["hazard"].count, groups["hazard"].size, groups["pillar"].count) == (3, 0.3, 2)


@pytest.mark.filterwarnings("ignore:.*Box observation space:UserWarning")
@pytest.mark.parametrize("name", ["PointGoal1", "CarButton2", "PointPush1-gold", "CarCircle1"])
def test_gymnasium_checks(name):
    env = gymnasium.make(f"handrail/{name}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
@pytest.mark.parametrize("threads", [1, 3])
def test_vector_environments(mode, threads):
    """Each of them is its environment alone, whatever the number of threads."""
    vector = gymnasium.make_vec(
        "handrail/CarButton1-v0", num_envs=4, threads=threads, autoreset_mode=mode,
        max_episode_steps=25,
    )  # fmt: skip
    alone = [NativeEnv("CarButton1", max_episode_steps=25) for _ in range(4)]
    have, _ = vector.reset(seed=11)
    np.testing.assert_array_equal(have, [e.reset(seed=11 + i)[0] for i, e in enumerate(alone)])
    rng, over = np.random.default_rng(2), [False] * 4
    for step in range(60):
        actions = rng.uniform(-1, 1, (4, 2))
        observation, reward, terminated, truncated, info = vector.step(actions)
        for i, env in enumerate(alone):
            if over[i] and mode == "NextStep":
                np.testing.assert_array_equal(observation[i], env.reset()[0])
                assert (reward[i], terminated[i], truncated[i], over[i]) == (0, False, False, True)
                assert info["cost"][i] == 0
                over[i] = False
                continue
            want, r, ended, cut, about = env.step(actions[i])
            assert (reward[i], terminated[i], truncated[i]) == (r, ended, cut)
            assert info["cost"][i] == about["cost"]
            over[i] = ended or cut
            if over[i] and mode == "SameStep":
                np.testing.assert_array_equal(info["final_obs"][i], want)
                assert info["final_info"]["cost"][i] == about["cost"]
                want = env.reset()[0]
            np.testing.assert_array_equal(observation[i], want)
        assert truncated.all() == (step % 26 == 24 if mode == "NextStep" else step % 25 == 24)
    vector.close()


@pytest.mark.parametrize("name", ["PointGoal2", "CarPush1", "PointButton1"])
def test_goals_met_side_by_side(name):
    """A goal that is met is drawn anew in a vector environment as in one alone."""
    vector = NativeVectorEnv(name, 5, threads=2)
    alone = [NativeEnv(name) for _ in range(5)]
    for rows in (vector._rows, *(env._rows for env in alone)):
        rows.index = rows.index._replace(goal_size=2.0)
    vector._crew = Crew(vector._rows, 2)  # the former's other thread may have seen the former index
    have, _ = vector.reset(seed=3)
    np.testing.assert_array_equal(have, [env.reset(seed=3 + i)[0] for i, env in enumerate(alone)])
    rng, met = np.random.default_rng(2), 0
    for step in range(60):
        if name == "PointButton1" and step % 20 == 0:  # onto the lit button
            for env in (*vector.envs, *alone):
                task = SimpleNamespace(model=env.model, data=env.data, agent_name="Point")
                put_at(task, env._xpos[env.index.goal, :2], box=False)
        actions = rng.uniform(-1, 1, (5, 2))
        observations, rewards, *_, infos = vector.step(actions)
        for i, env in enumerate(alone):
            want, reward, _, _, info = env.step(actions[i])
            np.testing.assert_array_equal(observations[i], want)
            assert rewards[i] == reward
            assert {key for key in info if infos.get(f"_{key}", [False] * 5)[i]} == set(info)
            assert all(infos[key][i] == value for key, value in info.items())
            met += info.get("goal_met", False)
    assert met >= 5
    vector.close()


def test_threads_do_not_wait():
    """A compiled step holds no lock: Python goes on beside it."""
    env = NativeEnv("CarButton1")
    env.reset(seed=0)
    env.step(np.zeros(2))  # compiled or read from the cache
    env._rows._ways = np.repeat(env._rows._ways, 500, axis=1)
    thread, ran = threading.Thread(target=env._rows.step, args=(0, 1)), 0
    thread.start()
    while thread.is_alive():
        ran += 1
    assert ran > 1000


def test_a_vector_environment_refuses_before_it_steps():
    vector = NativeVectorEnv("PointGoal1", 3, threads=1, max_episode_steps=2)
    vector.reset(seed=0)
    actions = np.array([[0.5, 0.5], [np.inf, 0.0], [0.0, np.nan]])
    with pytest.raises(ValueError, match="not finite"):
        vector.step(actions)
    assert (vector._rows.rows["steps"] == 0).all()
    with pytest.raises(ValueError):
        vector.step(actions[:2])
    for _ in range(2):
        vector.step(np.zeros((3, 2)))
    assert not vector.step(actions)[1].any()  # the first of the next episode: no action is taken
    vector.close()


def test_refusals():
    with pytest.raises(ValueError, match="unknown task 'PointGaol1'"):
        NativeEnv("PointGaol1")
    with pytest.raises(ValueError, match="render_mode 'human'"):
        NativeEnv("PointGoal1", render_mode="human")
    env = NativeEnv("CarPush0")
    with pytest.raises(TypeError, match="addresses cannot be copied"):
        copy.deepcopy(env)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="not finite"):
        env.step(np.array([0.0, np.nan]))
    for layout, what in (("fxed", "none of random"), ((), "one or more"), ((-1,), "from 0")):
        with pytest.raises(ValueError, match=what):
            NativeEnv("PointGoal0", layout=layout)
    with pytest.raises(ValueError, match="3 seeds for 2"):
        NativeVectorEnv("PointGoal0", 2).reset(seed=[1, 2, 3])


def test_pictures():
    """The camera follows the agent; a picture is a function of the state."""
    env = NativeEnv("PointButton1", render_mode="rgb_array")
    env.reset(seed=0)
    first, again = env.render(), env.render()
    assert first.shape == (480, 640, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 50
    env.reset(seed=1)
    assert (env.render() != first).mean() > 0.01
    env.close()


def test_paths_in_the_plane():
    """What was where, step by step, drawn without OpenGL."""
    env = envs.make("native/CarButton1-gold")
    (episode,) = play(HeldRandom(2), [env], [3])
    end = env.unwrapped._xpos.copy()
    way = follow(episode, env)
    inner = env.unwrapped
    np.testing.assert_array_equal(inner._xpos, end)  # the same way again
    assert way.agent.shape == (401, 2)
    assert way.objects["gremlin"].shape == (401, 4, 2)
    np.testing.assert_array_equal(way.agent[-1], inner._xpos[inner.index.agent, :2])
    moved = np.ptp(way.objects["gremlin"], axis=0).max(axis=1)
    assert (moved > 0.5).all()
    assert (moved < 0.7).all()  # circles of radius 0.3
    assert np.ptp(way.objects["hazard"], axis=0).max() == 0
    figure = draw([way, way, way], ["one", "two", "three"], columns=2)
    assert len(figure.axes) == 3
    assert figure.axes[2].get_subplotspec().rowspan.start == 1
    assert replace(way, goals=[]).told.endswith(", 0 presses")
    assert replace(way, goals=[7]).told.endswith(", 1 press")
    point = replace(way, settings=replace(way.settings, kind="Goal"), goals=[7])
    assert point.told.endswith(", 1 goal")
    assert f"cost {int(way.costs.sum())}" in figure.axes[0].get_title()
    with pytest.raises(HandrailError, match="is no native task"):
        follow(episode, envs.make("bullet/BallCircle"))


def test_no_opengl_is_one_line(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    env = NativeEnv("PointGoal0", render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(HandrailError, match="MUJOCO_GL is 'glfw'; pictures are drawn with egl or"):
        env.render()
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setitem(sys.modules, "mujoco.osmesa", None)
    with pytest.raises(HandrailError, match="install libegl1"):
        env.render()


@each_task
def test_the_task_s_line(name):
    env = envs.make(f"native/{name}")
    assert env.spec_.action_size == 2
    assert env.spec_.horizon == SETTINGS[name].horizon
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.float32
    env.close()
