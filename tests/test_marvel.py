"""From offline to online: Marvel and what it is compared with, on the toy task."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import toy
from broken_off import assert_same, broken, kept, through

from handrail import envs
from handrail.baselines import JSRL, PEX, SO2, WSRL, Relearn, WarmStart
from handrail.behaviour import Alone
from handrail.cli import main
from handrail.combined import Handrail
from handrail.data.episodes import Episodes
from handrail.data.replay import Replay
from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.fine_tuning import ByEither, FromOffline
from handrail.guidance import Guidance, GuidanceSettings
from handrail.handover import Learnt
from handrail.jobs import start
from handrail.judge import VALIDATION_SEED
from handrail.learners import bear_lagrangian, cloning, cpq, cvpo
from handrail.learners.bear_lagrangian import BEARSettings
from handrail.learners.cloning import CloningSettings
from handrail.learners.cpq import CPQSettings
from handrail.learners.cvpo import CVPOSettings
from handrail.learners.sac_lagrangian import SACLagrangianSettings
from handrail.marvel import Marvel, PreAligned
from handrail.metrics_file import read_metrics
from handrail.offline_methods import CPQ, HANDOVER, BEARLag
from handrail.online import Online
from handrail.online_methods import SACLag
from handrail.online_settings import OnlineSettings
from handrail.prealignment import PrealignmentSettings, rank_correlations
from handrail.rollout import play
from handrail.runs import Run
from handrail.storage import arrays_of
from handrail.types import Spec

SAC = SACLagrangianSettings(hidden=(8,))
CPQ_SMALL = CPQSettings(hidden=(8,), updates=120, batch=8, actions=2)
BEAR_SMALL = BEARSettings(hidden=(8,), updates=120, batch=8)
CLONE_SMALL = CloningSettings(hidden=(8,), updates=120, batch=8)
LOOP = OnlineSettings(
    steps=240, environments=3, block=24, batch=8, start=50, evaluate_every=72, evaluate_episodes=2
)
CVPO_SMALL = CVPOSettings(hidden=(8,), actions=4, m_steps=2)
BY_CVPO = {"backbone": "cvpo"}
VPA = PrealignmentSettings(updates=120, batch=8)
SPEC = Spec(toy.ENDS, 3, 1, (-2.0,), (2.0,), toy.HORIZON, 25.0)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data")
    return toy.demonstration_file(path / "ends.hdf5", toy.ENDS, episodes=12)


@pytest.fixture(scope="module")
def offline(tmp_path_factory, data) -> Path:
    """A run of CPQ."""
    path = tmp_path_factory.mktemp("offline") / "cpq"
    return through(CPQ(task=toy.ENDS, demos=data, cpq=CPQ_SMALL), path)


def made(cls: type[FromOffline], data: Path, **changes) -> FromOffline:
    settings = {"task": toy.ENDS, "seed": 3, "demos": data, "sac": SAC, "online": LOOP}
    settings |= {"cvpo": CVPO_SMALL} if issubclass(cls, ByEither) else {}
    settings |= {"cpq": CPQ_SMALL, "bear": BEAR_SMALL, "clone": CLONE_SMALL, "cost_limit": 1.0}
    if issubclass(cls, PreAligned):
        settings |= {"vpa": VPA, "correlation_episodes": 2}
    if cls is SO2:
        settings["sac"] = replace(SAC, target_noise=0.1, critic_steps=2)
    if cls in (JSRL, Handrail):
        settings["guidance"] = GuidanceSettings(stages=3, window=2)
    return cls(**(settings | changes))


METHODS = {
    "marvel": lambda data: made(Marvel, data),
    "marvel, bear-lag": lambda data: made(Marvel, data, offline="bear-lag", multiplier="pid"),
    "marvel, cvpo": lambda data: made(Marvel, data, backbone="cvpo"),
    "warm-start": lambda data: made(WarmStart, data),
    "relearn": lambda data: made(Relearn, data),
    "wsrl": lambda data: made(WSRL, data, online=replace(LOOP, start=100)),
    "jsrl": lambda data: made(JSRL, data),
    "pex": lambda data: made(PEX, data),
    "so2": lambda data: made(SO2, data),
    "jsrl, cvpo": lambda data: made(JSRL, data, backbone="cvpo"),
    "handrail": lambda data: made(Handrail, data),
    "handrail, bear-lag": lambda data: made(Handrail, data, offline="bear-lag", leash=0.0),
    "sac-lag": lambda data: SACLag(task=toy.ENDS, warmup=48, sac=SAC, online=LOOP, cost_limit=1.0),
}


@pytest.mark.parametrize("name", METHODS)
def test_stopped_and_resumed_it_ends_in_the_same_bits(name, data, tmp_path, monkeypatch):
    method = METHODS[name](data)
    with toy.all_closed(monkeypatch):
        whole = through(method, tmp_path / "whole")
        assert broken(method, tmp_path / "parts", 2) >= 2
    assert_same(whole, tmp_path / "parts")
    assert list(read_metrics(whole)["step"]) == [72, 144, 216, 240]


def test_what_is_handed_over_is_what_was_learnt(offline, tmp_path):
    learnt = Learnt.load(offline / HANDOVER, toy.ENDS)
    assert learnt.hidden == (8,)
    learnt.save(tmp_path / "again")
    again = Learnt.load(tmp_path / "again", toy.ENDS)
    for name, array in arrays_of(learnt.networks).items():
        np.testing.assert_array_equal(arrays_of(again.networks)[name], array)
    # The policy of the run is that of the networks, behind the normaliser.
    from handrail.policy_files import load_policy

    policy, _ = load_policy(offline)
    for ours, theirs in zip(policy.weights, learnt.policy.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_cpq_tells_of_rewards_below_what_it_forbids():
    said = []
    watcher = _silent()
    watcher.say = said.append
    whole = toy.demonstrations(toy.ENDS)
    one, *_ = (replace(e, rewards=np.ones_like(e.rewards)) for e in whole)
    below = replace(one, rewards=np.where(np.arange(len(one)) % 2, 1, -1).astype(np.float32))
    for method in (CPQ(task=toy.ENDS), BEARLag(task=toy.ENDS)):
        method.warn(Episodes((one, one), toy.ENDS), watcher)
        assert not said
    method.warn(Episodes((one, below), toy.ENDS), watcher)
    assert not said  # BEAR-Lag supposes nothing
    CPQ(task=toy.ENDS).warn(Episodes((one, below), toy.ENDS), watcher)
    share = (below.rewards < 0).sum() / (2 * len(one))
    assert said == [
        f"{share:.0%} of the rewards are below 0, where CPQ puts what its limit forbids; bear-lag "
        "supposes nothing of rewards"
    ]


@pytest.mark.parametrize(
    "learner",
    [
        cpq.learner(CPQ_SMALL, SPEC, 1.0),
        bear_lagrangian.learner(BEAR_SMALL, SPEC, 1.0),
        cloning.learner(CLONE_SMALL),
    ],
    ids=["cpq", "bear-lag", "clone"],
)
def test_what_an_offline_learner_hands_over(learner):
    state = learner.init(jax.random.key(0), SPEC)
    nets = Learnt.of(state, Normaliser.none(3), 1.0, SPEC).networks
    assert nets.actor is state.actor.net
    assert nets.critic is state.critic.net
    assert nets.target is state.target
    assert nets.cost_critic is state.cost_critic.net
    assert nets.cost_target is state.cost_target


def _kept(method: FromOffline, learnt: Learnt, tmp_path: Path, monkeypatch) -> tuple[bool, bool]:
    """Whether the policy, and the critic, of the learner's first state were learnt offline."""
    seen = {}

    def finetune(self, run, watcher, learnt, learner, behaviour=None, **more):
        state = learner.init(jax.random.key(0), self.spec())
        state = getattr(state, "sac", state)
        seen["actor"], seen["critic"] = state.actor.net, state.critic.net
        return learnt.policy

    monkeypatch.setattr(type(method), "finetune", finetune)
    with Run.create(tmp_path / "run", method.settings()) as run:
        method.train(run, _silent())

    def same(name: str) -> bool:
        pairs = zip(
            *map(jax.tree.leaves, (seen[name], getattr(learnt.networks, name))), strict=True
        )
        return all((np.asarray(a) == np.asarray(b)).all() for a, b in pairs)

    return same("actor"), same("critic")


@pytest.mark.parametrize(
    ("cls", "changes", "actor", "critic"),
    [
        (WarmStart, {}, True, True),
        (WarmStart, BY_CVPO, True, True),
        (WSRL, {}, True, True),
        (SO2, {}, True, True),
        (Relearn, {}, True, False),
        (Relearn, BY_CVPO, True, False),
        (PEX, {}, False, True),
        (JSRL, {}, False, False),
        (JSRL, BY_CVPO, False, False),
        (Marvel, {}, True, False),  # its critics are pre-aligned
        (Marvel, BY_CVPO, True, False),
        (Handrail, {}, True, False),
    ],
)
def test_what_each_method_goes_on_from(
    cls, changes, actor, critic, data, offline, tmp_path, monkeypatch
):
    learnt = Learnt.load(offline / HANDOVER, toy.ENDS)
    method = made(cls, data, offline=str(offline), **changes)
    assert _kept(method, learnt, tmp_path, monkeypatch) == (actor, critic)


@pytest.fixture
def begun(data, offline, tmp_path, monkeypatch):
    """The online stage of a method as it stands before its first step."""

    def begin(cls: type[FromOffline], **changes) -> tuple[FromOffline, Online]:
        seen = []
        monkeypatch.setattr(Online, "train", lambda self, watcher: seen.append(self))
        method = made(cls, data, offline=str(offline), **changes)
        with Run.create(tmp_path / "run", method.settings()) as run:
            method.train(run, _silent())
        (online,) = seen
        return method, online

    return begin


@pytest.mark.parametrize(
    ("cls", "steps"),
    [(WarmStart, 0), (WSRL, LOOP.start), (Relearn, 0), (SO2, 0), (JSRL, None), (Handrail, None)],
)
def test_a_multiplier_moves_once_the_student_answers_to_it(cls, steps, begun):
    """What episodes cost while a policy waits to learn says little of its multiplier; what they
    cost while a guide acts is counted by the student's part of them."""
    _, online = begun(cls, multiplier="pid")
    assert online.controller.fade_in == 0
    if steps is None:
        assert isinstance(online.behaviour, Guidance)
    else:
        assert online.behaviour == Alone(0, SPEC.action_size, steps)


def test_random_actions_move_no_multiplier(tmp_path):
    """From scratch, far above its limit, lambda is what it was until the student acts."""
    method = SACLag(task=toy.ENDS, cost_limit=0.0, cost_weight=0.7, online=LOOP, sac=SAC)
    for warmup in (0, LOOP.steps):
        table = read_metrics(through(replace(method, warmup=warmup), tmp_path / f"{warmup}"))
        assert (set(table["cost_weight"]) == {0.7}) == (warmup > 0)


def test_a_guides_cost_moves_no_multiplier(data, offline, tmp_path):
    """Who acts alone for the whole run is far from the limit, and the student's lambda stays where
    it began."""
    guidance = GuidanceSettings(share=1.0, stages=1, horizon=1000)
    method = made(Handrail, data, offline=str(offline), cost_limit=50.0, guidance=guidance)
    table = read_metrics(through(replace(method, cost_weight=0.7), tmp_path / "run"))
    assert table["train/cost"].max() < 25
    assert set(table["guide/share"]) == {1.0}
    assert set(table["cost_weight"]) == {0.7}


@pytest.mark.parametrize(
    ("cls", "rows"), [(WarmStart, 0), (WSRL, 0), (JSRL, 2), (PEX, 4), (SO2, 14), (Handrail, 4)]
)
def test_what_part_of_a_batch_is_the_data_sets(cls, rows, begun, monkeypatch):
    """As each is published: none, or so many of 8 rows (of SO2's 2 x 8)."""
    _, online = begun(cls)
    drawn = []
    sample = Replay.sample

    def noting(self, rng, shape):
        drawn.append((self is online._demonstrations, shape[1]))
        return sample(online._demonstrations if online._share else online._replay, rng, shape)

    monkeypatch.setattr(Replay, "sample", noting)
    online._replay = online._replay if online._share else Replay.of(toy.demonstrations(), SPEC)
    online._batches()
    assert sum(n for theirs, n in drawn if theirs) == rows
    assert sum(n for _, n in drawn) == (16 if cls is SO2 else 8)


def test_the_data_set_can_be_left_out_online(begun):
    _, online = begun(PEX, demonstration_share=0.0)
    assert (online._share, len(online._demonstrations)) == (0.0, 0)
    method = PEX(task=toy.ENDS, demonstration_share=0.0, offline="a run", demos=Path("x.hdf5"))
    assert "demos" in method.unread()
    assert "demos" not in replace(method, demonstration_share=0.5).unread()


@pytest.mark.parametrize("cls", [JSRL, Handrail])
def test_the_first_prefix_is_as_long_as_the_guides_episodes(cls, begun):
    """JSRL's H1; the task ends episodes early, so the horizon would leave the student idle."""
    method, online = begun(cls)
    learnt = Learnt.load(Path(method.offline) / HANDOVER, toy.ENDS)
    seeds = range(VALIDATION_SEED, VALIDATION_SEED + 5)
    lengths = [len(e) for e in play(learnt.policy, [envs.make(toy.ENDS)], seeds)]
    assert online.behaviour._schedule.horizon == round(np.mean(lengths)) < toy.HORIZON
    set_ = replace(method, guidance=GuidanceSettings(horizon=7)).guided_by(learnt.policy)
    assert set_._schedule.horizon == 7


def test_jsrls_student_begins_as_one_from_scratch():
    jsrl, scratch = JSRL(task=toy.ENDS), SACLag(task=toy.ENDS)
    assert jsrl.cost_weight == scratch.cost_weight == 0
    assert jsrl.sac == scratch.sac


def test_marvel_begins_with_the_critics_that_were_aligned(data, offline, tmp_path):
    method = made(Marvel, data, offline=str(offline))
    with Run.create(tmp_path / "run", method.settings()) as run:
        learnt = method.pretrain(run, _silent())
        aligned = method.prealign(run, _silent(), learnt)
    found = read_metrics(tmp_path / "run" / "prealigned")
    for name, critics in (("before", learnt), ("after", aligned)):
        _assert_ranks(found, {"before": 0, "after": -1}[name], method, critics)
    assert list(found["step"]) == [0, method.vpa.updates]
    assert (tmp_path / "run" / "prealigned" / "rank_correlations.png").stat().st_size > 5_000
    before, after = (arrays_of(nets.networks) for nets in (learnt, aligned))
    moved = {name for name in before if (before[name] != after[name]).any()}
    assert not any(name.startswith(".actor") for name in moved)
    assert all(any(n.startswith(f".{part}") for n in moved) for part in ("critic", "cost_critic"))


def _assert_ranks(found, row, method, learnt):
    """That row of the metrics is of these critics."""
    seeds = range(VALIDATION_SEED, VALIDATION_SEED + method.correlation_episodes)
    played = list(play(learnt.policy.sampled(), [envs.make(toy.ENDS)], seeds))
    expected = rank_correlations(
        learnt.networks, played, learnt.normaliser, learnt.spec, method.sac.discount
    )
    assert expected
    for name, value in expected.items():
        assert found[name][row] == pytest.approx(value)


def _silent():
    from handrail.progress import Watcher

    return Watcher()


def test_cvpo_goes_on_with_the_values_learnt_offline(offline):
    """Policy, old policy, critics and targets are theirs; duals and optimisers are new."""
    learnt = Learnt.load(offline / HANDOVER, toy.ENDS)
    learner = cvpo.learner(CVPO_SMALL, SPEC, 1.0, learnt.networks)
    state = learner.init(jax.random.key(0), SPEC)
    fresh = cvpo.learner(CVPO_SMALL, SPEC, 1.0).init(jax.random.key(0), SPEC)
    theirs = learnt.networks
    for ours, old in (
        (state.actor.net, theirs.actor), (state.old, theirs.actor),
        (state.critic.net, theirs.critic), (state.target, theirs.target),
        (state.cost_critic.net, theirs.cost_critic), (state.cost_target, theirs.cost_target),
    ):  # fmt: skip
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(old), strict=True):
            np.testing.assert_array_equal(a, b)
    assert (float(state.dual.eta), int(state.updates)) == (float(fresh.dual.eta), 0)
    larger = replace(CVPO_SMALL, hidden=(4,))
    with pytest.raises(HandrailError, match="the actor learnt offline has arrays of"):
        cvpo.from_offline(larger, jax.random.key(0), SPEC, theirs)


def test_wsrl_learns_nothing_until_the_offline_policy_has_acted(data, offline, tmp_path):
    method = made(WSRL, data, offline=str(offline), online=replace(LOOP, start=150))
    path = through(method, tmp_path / "run")
    assert list(np.isfinite(read_metrics(path)["loss/q"])) == [False, False, True, True]


def test_a_run_given_is_the_run_made(data, offline, tmp_path):
    """--offline cpq and --offline RUN of the same settings end in the same bits."""
    inside = through(made(WarmStart, data, seed=0, cost_limit=None), tmp_path / "inside")
    given = made(WarmStart, data, seed=0, cost_limit=None, offline=str(offline))
    other = through(given, tmp_path / "given")
    files, theirs = kept(inside), kept(other)
    assert {name: files[name] for name in theirs} == theirs


def test_refusals(data, offline, tmp_path):
    other_hidden = replace(SAC, hidden=(4,))
    for method, line in (
        (made(Marvel, data, offline="nothing"), "none of cpq, bear-lag, clone, nor a run's"),
        (made(Marvel, data, offline=str(tmp_path)), "holds no networks that were learnt offline"),
        (
            replace(made(WarmStart, data, offline=str(offline)), task=toy.TOY),
            f"was learnt on {toy.ENDS}, not on {toy.TOY}",
        ),
        (made(WarmStart, data, sac=other_hidden), "hidden layers of 8, the online learner of 4"),
        (
            made(PEX, data, sac=other_hidden, offline=str(offline)),
            "online learner of 4; give --hidden 8",
        ),
        (
            made(Marvel, data, **BY_CVPO, cvpo=replace(CVPO_SMALL, hidden=(4,))),
            "online learner of 4; give --cvpo.hidden 8",
        ),
        (CPQ(task=toy.TOY), f"no policies are shipped that play a data set of {toy.TOY}"),
        (BEARLag(task=toy.TOY, demos=data), f"demonstrations of {toy.ENDS}, not of {toy.TOY}"),
    ):
        with pytest.raises(HandrailError, match=line):
            start(replace(method, out=tmp_path / "run"))
        assert not (tmp_path / "run").exists()
    with pytest.raises(HandrailError, match="the temperature is 0; it must be above 0"):
        made(PEX, data, temperature=0.0)
    with pytest.raises(HandrailError, match="backbone must be sac-lag or cvpo, not 'iql'"):
        made(Marvel, data, backbone="iql")
    with pytest.raises(HandrailError, match="fade_in is -1; it must be 0 or more"):
        SACLag(task=toy.ENDS, fade_in=-1)
    with pytest.raises(HandrailError, match="critic_steps is 9, a batch has 8 rows"):
        SACLag(task=toy.ENDS, online=LOOP, sac=replace(SAC, critic_steps=9))
    with pytest.raises(HandrailError, match="correlation_episodes is -1"):
        made(Marvel, data, correlation_episodes=-1)
    made(JSRL, data, sac=other_hidden, offline=str(offline)).check()  # its student is its own


def test_from_the_command_line(data, tmp_path, capsys):
    out = tmp_path / "run"
    small = ["--hidden", "8", "--steps", "1000", "--evaluate-every", "500", "--start", "500",
             "--updates-per-step"]  # fmt: skip
    assert main(["train", "pex", toy.ENDS, "--demos", str(data), "--out", str(out), *small, "0.1",
                 "--cpq.hidden", "8", "--cpq.updates", "50"]) == 0  # fmt: skip
    assert main(["evaluate", str(out), "--episodes", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["method"], found["episodes"]) == ("PEX", 3)
