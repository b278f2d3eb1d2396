"""The online loop: the same bits whether it runs through or is broken off, and what acts when."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import toy
from broken_off import StopAfter, assert_same, broken, kept, through

from handrail import envs
from handrail.behaviour import Alone
from handrail.data.replay import Replay
from handrail.errors import Stopped
from handrail.gold import GOLD
from handrail.guidance import GuidanceSettings
from handrail.judge import REPORT_SEED
from handrail.learners import iql
from handrail.learners.bc import BCSettings
from handrail.learners.cvpo import CVPOSettings
from handrail.learners.decision_transformer import DTSettings
from handrail.learners.sac import SACSettings
from handrail.methods import Method
from handrail.metrics_file import read_metrics
from handrail.multipliers import Controller, Fixed, Ramp
from handrail.online import Online
from handrail.online_methods import CVPO, IQL, Expert
from handrail.online_settings import OnlineSettings
from handrail.pid import PID, PIDSettings
from handrail.policies import MLPPolicy
from handrail.progress import Watcher
from handrail.rollout import Rollout
from handrail.runs import Run
from handrail.storage import read_policy
from handrail.training import unpack
from handrail.types import Draws, Step

SMALL = iql.IQLSettings(hidden=(8,))
SMALL_CVPO = CVPOSettings(hidden=(8,), actions=4, m_steps=2)
LEARNER = iql.learner(SMALL)
LOOP = OnlineSettings(
    steps=240,
    environments=3,
    block=24,
    updates_per_step=1.0,
    batch=8,
    start=50,
    evaluate_every=72,
    evaluate_episodes=2,
    keep_policies=True,
)


@pytest.fixture(scope="module")
def demos(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("demos")
    return toy.demonstration_file(path / "ends.hdf5", toy.ENDS, episodes=12)


def from_scratch(**changes) -> Method:
    return IQL(task=toy.ENDS, seed=3, **{"warmup": 48, "iql": SMALL, "online": LOOP, **changes})


def gold(demos: Path, guide: str, **changes) -> Method:
    settings = {
        "bc": BCSettings(hidden=(8,), updates=150, batch=8),
        "dt": DTSettings(context=3, embed=8, layers=1, updates=150, batch=4),
        "guidance": GuidanceSettings(stages=3, window=2),
        "pretrain": 0,
        **changes,
    }
    return GOLD(task=toy.ENDS, seed=3, demos=demos, guide=guide, iql=SMALL, online=LOOP, **settings)


METHODS = {
    "iql": lambda demos: from_scratch(),
    "iql with demos": lambda demos: from_scratch(demos=demos, pretrain=150),
    "iql with demos, pid": lambda demos: from_scratch(
        demos=demos, pretrain=50, multiplier="pid", cost_limit=1.0
    ),
    "iql, averaged": lambda demos: from_scratch(
        demos=demos, pretrain=50, online=replace(LOOP, average=60.0, caution=1.0)
    ),
    "iql, few rows": lambda demos: from_scratch(online=replace(LOOP, buffer=60, normalise=False)),
    "expert": lambda demos: Expert(
        task=toy.ENDS,
        warmup=48,
        sac=SACSettings(hidden=(8,)),
        ramp=Ramp(-99, 2.0, ramp_steps=60, window=2, ease_rate=0.1, ease_cost=1, least=0.2),
        online=LOOP,
    ),
    "cvpo": lambda demos: CVPO(task=toy.ENDS, warmup=48, cvpo=SMALL_CVPO, online=LOOP),
    "gold bc": lambda demos: gold(demos, "bc"),
    "gold bc, cvpo": lambda demos: gold(demos, "bc", backbone="cvpo", cvpo=SMALL_CVPO),
    "gold bc, pre-trained": lambda demos: gold(demos, "bc", pretrain=150),
    "gold bc, adaptive": lambda demos: gold(
        demos, "bc", multiplier="adaptive-pid", cost_limit=0.5, pid=PIDSettings(ki=0.3, delay=3)
    ),
    "gold dt": lambda demos: gold(demos, "dt"),
    "gold dt, coin": lambda demos: gold(
        demos, "dt", guidance=GuidanceSettings("bernoulli_decay"), demonstration_share=0.0
    ),
}


# -- a run broken off is the same run ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reports"),
    [
        ("iql", 1),
        ("iql with demos", 2),
        ("iql with demos, pid", 2),
        ("iql, averaged", 2),
        ("iql, few rows", 2),
        ("expert", 2),
        ("cvpo", 2),
        ("gold bc", 1),
        ("gold bc, cvpo", 1),
        ("gold bc, adaptive", 1),
        ("gold bc, pre-trained", 2),
        ("gold dt", 2),
        ("gold dt, coin", 1),
    ],
)
def test_stopped_and_resumed_it_ends_in_the_same_bits(name, reports, demos, tmp_path, monkeypatch):
    method = METHODS[name](demos)
    with toy.all_closed(monkeypatch):
        whole = through(method, tmp_path / "whole")
        assert broken(method, tmp_path / "parts", reports) >= 3
    assert_same(whole, tmp_path / "parts")
    assert list(read_metrics(whole)["step"]) == [72, 144, 216, 240]
    numbers = [int(file.stem) for file in sorted((whole / "episodes").iterdir())]
    assert numbers == list(range(len(numbers)))
    lengths = {len(episode) for episode in Run.open(whole).episodes(len(numbers))}
    assert len(lengths) > 3  # so the rows were out of step, and broke off within episodes


def test_a_stop_says_where_and_has_written_a_checkpoint(tmp_path, demos):
    method = from_scratch()
    with Run.create(tmp_path / "run", method.settings()) as run:
        with pytest.raises(Stopped, match="stopped at step 48 of 240"):
            method.complete(run, StopAfter(1))
        assert (run.path / "checkpoint" / "latest.json").is_file()
        assert run.summary() is None
    method = gold(demos, "bc")
    with Run.create(tmp_path / "guide", method.settings()) as run:
        with pytest.raises(Stopped, match="BC stopped at update 100 of 150"):
            method.complete(run, StopAfter(1))
        assert (run.path / "guide" / "checkpoint" / "latest.json").is_file()


def test_stopped_in_its_last_validation_it_is_judged_when_it_goes_on(tmp_path):
    method = from_scratch()
    whole = through(method, tmp_path / "whole")
    with Run.create(tmp_path / "cut", method.settings()) as run:
        with pytest.raises(Stopped, match="stopped after 3 of 20 episodes of IQL"):
            method.complete(run, StopAfter(3, ("episodes",)))
        assert run.summary() is None
    with Run.open(tmp_path / "cut") as run:
        report = method.complete(run, Watcher())
    assert report == Run.open(whole).summary()["validation"]
    assert report["seed"] == REPORT_SEED
    assert_same(whole, tmp_path / "cut")


def test_killed_it_ends_in_the_same_bits(demos, tmp_path):
    method = gold(demos, "bc")
    whole, killed = through(method, tmp_path / "whole"), tmp_path / "killed"
    Run.create(killed, method.settings()).close()
    left_at = []
    for moment in ("guide/metrics.csv", "episodes/00000005.safetensors"):
        process = toy.handrail("resume", killed)
        while not (killed / moment).exists() and process.poll() is None:
            time.sleep(0.002)
        time.sleep(np.random.default_rng().uniform(0, 0.05))  # within a write, or between two
        process.send_signal(signal.SIGKILL)
        errors = process.communicate()[1]
        assert process.returncode == -signal.SIGKILL, errors
        left_at.append(len(kept(killed)))
    assert left_at[0] < left_at[1] < len(kept(whole))
    with Run.open(killed) as run:
        method.complete(run, Watcher())
    assert_same(whole, killed)


def test_ctrl_c_stops_with_a_line_and_goes_on_in_the_same_bits(tmp_path):
    method = from_scratch(online=replace(LOOP, steps=48_000, evaluate_every=24_000))
    path = tmp_path / "run"
    Run.create(path, method.settings()).close()
    process = toy.handrail("resume", path)
    while not list(path.glob("episodes/*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate()
    assert (process.returncode, out) == (130, "")
    last = errors.splitlines()[-1]
    assert last.startswith("handrail: stopped at step ")
    assert last.endswith(f"; go on with `handrail resume {path}`")
    assert "Traceback" not in errors
    # Two blocks more, and the same in this process without the break.
    blocks = int(last.split()[4].replace(",", "")) // LOOP.block
    with Run.open(path) as run, pytest.raises(Stopped):
        method.complete(run, StopAfter(1))
    with Run.create(tmp_path / "whole", method.settings()) as run, pytest.raises(Stopped):
        method.complete(run, StopAfter(blocks + 1))
    assert_same(tmp_path / "whole", path)


# -- simulators ----------------------------------------------------------------------------------


@pytest.mark.parametrize("breaks", ["made", "begun", "trained"])
def test_simulators_are_closed_wherever_a_run_breaks(breaks, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of licences")

    left = 3 if breaks == "made" else 100

    def make_env():
        nonlocal left
        left -= 1
        return envs.make(toy.TOY) if left else broken()

    def run() -> None:
        Online(
            Run.create(tmp_path / "run", {"task": toy.TOY}),
            LEARNER,
            LOOP,
            make_env=make_env,
            behaviour=Alone(0, 1),
            controller=Fixed(0.0),
            seed=0,
        ).train(Watcher())

    if breaks != "made":
        monkeypatch.setattr(
            *{"begun": (Replay, "__init__"), "trained": (Online, "_collect")}[breaks], broken
        )
    with toy.all_closed(monkeypatch), pytest.raises(RuntimeError, match="licences"):
        run()


# -- what happens in a block ---------------------------------------------------------------------


class Spied:
    """A loop over IQL that ran to its end, with what each block acted by, learnt from, and left."""

    def __init__(
        self,
        path: Path,
        weight: float = 0.5,
        warmup: int = 0,
        controller: Controller | None = None,
        **changes,
    ):
        settings = replace(LOOP, block=60, evaluate_every=60, **changes)
        self.loop = loop = Online(
            Run.create(path, {"task": toy.TOY}),
            LEARNER,
            settings,
            make_env=lambda: envs.make(toy.TOY),
            behaviour=Alone(warmup, 1),
            controller=controller or Fixed(weight),
            seed=0,
        )
        self.steps: list[int] = []
        self.acted: list[np.ndarray] = []
        self.batches: list[Any] = []
        self.left: list[np.ndarray] = []
        self.weights: list[float] = []
        learn, collect = loop._learn, loop._collect

        def learning(batches, weight):
            result = learn(batches, weight)
            self.batches.append(batches)
            self.weights.append(weight)
            self.left.append(np.asarray(result.actor))
            return result

        def collecting():
            self.steps.append(loop.steps)
            self.acted.append(loop._actor)
            collect()

        loop._learn, loop._collect = learning, collecting  # type: ignore[method-assign]
        with loop.run:
            loop.train(Watcher())
        self.episodes = list(loop.run.episodes(loop.episodes))


def test_a_block_acts_with_what_the_block_before_learnt(tmp_path):
    spied = Spied(tmp_path / "run")
    assert spied.steps == [0, 60, 120, 180]
    assert len(spied.left) == 3  # in the first there is nothing to learn from
    np.testing.assert_array_equal(spied.acted[0], spied.acted[1])
    np.testing.assert_array_equal(spied.acted[2], spied.left[0])
    np.testing.assert_array_equal(spied.acted[3], spied.left[1])
    np.testing.assert_array_equal(spied.loop._actor, spied.left[2])
    assert (spied.left[0] != spied.left[1]).any()


def test_the_average_of_what_is_learnt_is_judged_and_the_latest_acts(tmp_path):
    spied = Spied(tmp_path / "run", average=60.0)
    np.testing.assert_array_equal(spied.acted[3], spied.left[1])
    # Each block is half as old as the one before; what the run began with is no part of it.
    expected = np.average(spied.left, axis=0, weights=[1, 2, 4])
    np.testing.assert_allclose(spied.loop._judge.actor, expected, atol=1e-7)
    kept_policy, _ = read_policy(spied.loop.run.path / "policy" / "step-240")
    student = spied.loop._policy(spied.loop._judge.actor)
    for name, array in student.to_arrays()[0].items():
        np.testing.assert_array_equal(kept_policy[name], array)


def test_a_block_learns_from_the_replay_as_it_was_when_the_block_began(tmp_path):
    spied = Spied(tmp_path / "run", normalise=False)
    for steps, batches in zip(spied.steps[1:], spied.batches, strict=True):
        replay = Replay(400, spied.loop.spec)
        for episode in spied.episodes[: 3 * steps // 60]:  # three of 20 steps end at once
            replay.add_episode(episode)
        drawn = replay.sample(np.random.default_rng([0, steps]), (60, 8))
        for ours, theirs in zip(drawn, batches, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_cost_weight_changes_what_is_learnt_and_nothing_that_is_stored(tmp_path):
    cheap = Spied(tmp_path / "cheap", weight=0.0, warmup=240)
    dear = Spied(tmp_path / "dear", weight=5.0, warmup=240)
    assert sum(episode.cost for episode in dear.episodes) > 0
    for left, right in zip(cheap.episodes, dear.episodes, strict=True):
        np.testing.assert_array_equal(left.rewards, right.rewards)
        np.testing.assert_array_equal(left.costs, right.costs)
    for left, right in zip(cheap.batches, dear.batches, strict=True):
        for ours, theirs in zip(left, right, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert (cheap.left[-1] != dear.left[-1]).any()
    batch = dear.batches[0]
    np.testing.assert_array_equal(batch.shaped(5.0).reward, batch.reward - 5.0 * batch.cost)


def test_a_controller_follows_the_cost_of_whole_training_episodes(tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr(Alone, "observe", lambda self, ended, steps: judged.extend(ended))
    pid = PID(0.5, weight=1.0, settings=PIDSettings(ki=0.3))
    spied = Spied(tmp_path / "run", controller=pid, noise=2.0)
    state, expected = pid.init(), []
    for number, episode in enumerate(spied.episodes):
        state = pid.update(state, episode.return_, episode.cost, 20 * number, 1.0)
        expected.append(state["weight"])
    # Three of 20 steps end at once; a block learns by the weight that it began with.
    assert spied.weights == expected[2:-1:3]
    assert len(set(spied.weights)) == len(spied.weights)
    # But stages of a curriculum are judged by the first weight, whatever it is by now.
    shaped = [episode.return_ - 1.0 * episode.cost for episode in spied.episodes]
    assert [e.shaped_return for e in judged] == shaped
    # Three rows of 20 steps: the next three began in the block that begins where these ended.
    assert [e.begun for e in judged] == [60 * (n // 3) for n in range(len(judged))]


def test_a_controller_without_gains_is_the_fixed_weight(demos, tmp_path):
    still = PIDSettings(kp=0.0, ki=0.0, kd=0.0)
    runs = [
        through(gold(demos, "bc", multiplier=name, pid=still), tmp_path / name)
        for name in ("fixed", "pid", "adaptive-pid")
    ]
    fixed, *controlled = (kept(run) for run in runs)
    learnt = {name for name in fixed if not name.startswith(("policy/card", "policy/policy"))}
    assert {"metrics.csv", "policy/step-240/card.json"} < learnt
    for other in controlled:  # the best evaluation may be another: it is judged by the limit
        assert [name for name in learnt if other[name] != fixed[name]] == []


@pytest.mark.parametrize("name", ["iql with demos", "gold dt"])
def test_the_scale_of_the_rewards_changes_nothing(name, demos, tmp_path):
    """The unit is taken from the demonstrations; four times as much is the same, bit for bit."""
    large = toy.demonstration_file(tmp_path / "large.hdf5", toy.LARGE, episodes=12)
    policies = []
    for task, data in ((toy.ENDS, demos), (toy.LARGE, large)):
        path = through(replace(METHODS[name](data), task=task), tmp_path / task[-12:])
        policies.append(read_policy(path / "policy")[0])
        costs = read_metrics(path)["train/cost"]
    assert costs.max() > 0  # or nothing would have been learnt of them
    for array in policies[0]:
        np.testing.assert_array_equal(policies[0][array], policies[1][array])


def test_the_learner_sees_normalised_observations_and_the_student_raw_ones(tmp_path):
    spied = Spied(tmp_path / "run")
    loop = spied.loop
    raw = np.concatenate([episode.observations[:-1] for episode in spied.episodes[:3]])
    np.testing.assert_allclose(loop._normaliser.mean, raw.mean(0), atol=1e-5)
    np.testing.assert_allclose(loop._normaliser.std, raw.std(0), atol=1e-5)
    drawn = spied.batches[0].observation.reshape(-1, 3)
    assert np.abs(drawn.mean(0)).max() < 0.3
    assert np.abs(drawn.std(0) - 1).max() < 0.3

    def mode(policy: MLPPolicy, observation: np.ndarray) -> np.ndarray:
        row = np.zeros(len(observation), np.float32)
        step = Step(observation, row[:, None], row, row, row > 0)
        return policy.mode().act(None, step, Draws(row[:, None], row))[0]

    inside = MLPPolicy.of(unpack(loop._actor, LEARNER.actor(loop.state)))
    expected = mode(inside, loop._normaliser(raw))
    np.testing.assert_allclose(mode(loop.student(), raw), expected, atol=1e-5)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_a_student_explores_with_its_part_of_the_noise(noise, tmp_path):
    spied = Spied(tmp_path / "run", noise=noise, normalise=False)
    actor = MLPPolicy.of(unpack(spied.acted[0], LEARNER.actor(spied.loop.state))).mode()
    seen = spied.episodes[0].observations[:-1]
    row = np.zeros(len(seen), np.float32)
    step = Step(seen, row[:, None], row, row, row > 0)
    modes, _ = actor.act(None, step, Draws(row[:, None], row))
    distance = np.abs(spied.episodes[0].actions - spied.loop.spec.to_box(modes)).max()
    assert distance < 1e-6 if noise == 0 else distance > 0.1


@pytest.mark.parametrize(("start", "lines"), [(-99.0, 0), (1e6, 1)])
def test_an_expert_whose_cost_was_never_weighed_says_so(start, lines, tmp_path):
    expert = METHODS["expert"](tmp_path)
    assert isinstance(expert, Expert)
    method, said = replace(expert, ramp=replace(expert.ramp, start_return=start)), []
    watcher = Watcher()
    watcher.say = said.append  # type: ignore[method-assign]
    with Run.create(tmp_path / "run", method.settings()) as run:
        method.train(run, watcher)
    told = [line for line in said if line.startswith("the cost was never weighed: no 2 training")]
    assert len(told) == lines


@pytest.mark.parametrize("name", ["iql", "expert"])
def test_a_run_ends_in_the_student_of_its_best_evaluation(name, demos, tmp_path):
    method = METHODS[name](demos)
    path = through(method, tmp_path / "run")
    table = read_metrics(path)
    learnt = np.flatnonzero(np.isfinite(table["loss/q"]))  # before, nothing is normalised
    weight = method.ramp.weight if isinstance(method, Expert) else method.cost_weight
    shaped = (table["eval/return"] - weight * table["eval/cost"])[learnt]
    best = learnt[np.argmax(shaped)]
    found, _ = read_policy(path / "policy")
    wanted, _ = read_policy(path / "policy" / f"step-{table['step'][best]:.0f}")
    for array in wanted:
        np.testing.assert_array_equal(found[array], wanted[array])
    if name == "expert":
        assert len(set(table["cost_weight"])) > 1


class Told(Watcher):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_run_in_which_no_episode_ends_says_that_it_learnt_nothing(tmp_path):
    """Sixteen steps of each simulator, of episodes of twenty."""
    loop = replace(LOOP, steps=48, environments=3, start=24, evaluate_every=48)
    method = IQL(task=toy.TOY, out=tmp_path / "run", warmup=0, iql=SMALL, online=loop)
    watcher = Told()
    with Run.create(tmp_path / "run", method.settings()) as run:
        method.complete(run, watcher)
    assert watcher.lines == [
        "nothing was learnt online: 0 of 48 steps are of episodes that ended, and learning begins "
        "with 24; take more steps, fewer environments, or a lower start"
    ]


def test_a_checkpoint_holds_no_longer_episodes_than_the_run_can_have(tmp_path):
    gymnasium.register("Endless-v0", toy.Toy, max_episode_steps=10**9)
    loop = replace(LOOP, steps=96, start=24, evaluate_every=96)
    method = IQL(task="gym/Endless-v0", out=tmp_path / "run", warmup=0, iql=SMALL, online=loop)
    try:
        spec = method.spec()
        assert spec.horizon == 10**9
        rollout = Rollout([envs.make("gym/Endless-v0") for _ in range(3)], lambda i: i, 32)
        assert rollout.state()["actions"].shape == (3, 32, 1)
        through(method, tmp_path / "run")
    finally:
        del gymnasium.registry["Endless-v0"]
