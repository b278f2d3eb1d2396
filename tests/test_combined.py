"""Handrail: what it takes from GOLD and from Marvel, on the toy task. That it is resumed
in the same bits is in test_marvel."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import toy
from broken_off import through

from handrail.baselines import PEX, SO2, WSRL, Relearn, WarmStart
from handrail.cli import main
from handrail.combined import Handrail
from handrail.data import sources
from handrail.data.episodes import Episodes
from handrail.errors import HandrailError
from handrail.gold import GOLD
from handrail.guidance import GuidanceSettings
from handrail.handover import Learnt
from handrail.jobs import start
from handrail.learners import iql
from handrail.learners.bc import BCSettings
from handrail.learners.cloning import CloningSettings
from handrail.learners.cpq import CPQSettings
from handrail.learners.iql import IQLSettings
from handrail.learners.sac_lagrangian import SACLagrangianSettings
from handrail.methods import BC
from handrail.metrics_file import read_metrics
from handrail.offline_methods import CPQ, HANDOVER, Clone
from handrail.online import Online
from handrail.online_methods import IQL
from handrail.online_settings import OnlineSettings
from handrail.policy_files import load_policy
from handrail.prealignment import PrealignmentSettings
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.storage import arrays_of
from handrail.training import demonstrated
from handrail.types import Draws, Policy, Step

LOOP = OnlineSettings(
    steps=240, environments=3, block=24, batch=8, start=48, evaluate_every=48, evaluate_episodes=2
)
SMALL = BCSettings(hidden=(8,), updates=60, batch=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data")
    return toy.demonstration_file(path / "toy.hdf5", toy.TOY, episodes=6)


def made(data: Path, **changes) -> Handrail:
    settings = {
        "task": toy.TOY, "demos": data, "cost_limit": 1.0, "online": LOOP,
        "sac": SACLagrangianSettings(hidden=(8,)),
        "clone": CloningSettings(hidden=(8,), updates=120, batch=8),
        "vpa": PrealignmentSettings(updates=120, batch=8), "correlation_episodes": 0,
        "guidance": GuidanceSettings(share=0.4, stages=3, window=1, tolerance=0.9),
    }  # fmt: skip
    return Handrail(**(settings | changes))


def acted(policy: Policy, observed: np.ndarray) -> np.ndarray:
    n = len(observed)
    none, zeros = np.zeros((n, 1), np.float32), np.zeros(n, np.float32)
    step = Step(observed, none, zeros, zeros, np.ones(n, bool))
    return policy.act(policy.initial(n), step, Draws(none, zeros))[0]


def test_the_policy_is_kept_and_its_critics_are_new_and_normalised(data, tmp_path):
    method = made(data)
    with Run.create(tmp_path / "run", method.settings()) as run:
        learnt = method.pretrain(run, Watcher())
        method.prealign(run, Watcher(), learnt)
        aligned = method.prealign(run, Watcher(), learnt)  # read back
    assert not learnt.networks.layer_norm
    assert aligned.networks.layer_norm
    before, after = (arrays_of(found.networks) for found in (learnt, aligned))
    assert all((before[name] == after[name]).all() for name in before if ".actor" in name)
    assert any((before[name] != after[name]).any() for name in before if ".cost_critic" in name)


def test_the_guide_acts_first_and_the_student_in_the_end(data, tmp_path):
    shares = read_metrics(through(made(data), tmp_path / "run"))["guide/share"]
    assert shares[0] == 1.0
    assert shares[-1] == 0.0
    assert list(shares) == sorted(shares, reverse=True)


def test_the_last_rows_of_a_batch_are_demonstrations(data, tmp_path, monkeypatch):
    """Those that the leash holds to: as many as its share, and from the demonstrations."""
    seen = []
    batches = Online._batches

    def noting(self):
        found = batches(self)
        seen.append(found)
        return found

    monkeypatch.setattr(Online, "_batches", noting)
    through(made(data, demonstration_share=0.25), tmp_path / "run")
    spec = made(data).spec()
    shown = {tuple(a) for e in sources.read(data) for a in spec.to_unit(e.actions).tolist()}
    rows = demonstrated(0.25, LOOP.batch)
    for batch in seen:
        theirs = np.array([[tuple(a) in shown for a in row] for row in batch.action.tolist()])
        assert theirs[:, -rows:].all()
    assert not theirs[:, :-rows].all()


def test_another_policy_may_guide(data, tmp_path):
    guide = through(BC(task=toy.TOY, demos=data, bc=SMALL), tmp_path / "bc")
    method = made(data, guide=guide)
    method.check()
    path = through(method, tmp_path / "run")
    assert read_metrics(path)["guide/share"][0] == 1.0
    other = through(made(data), tmp_path / "other")
    first = [next(iter(sources.read(p))).actions for p in (path, other)]
    assert not np.array_equal(*first)  # the guide's steps are another's


@pytest.mark.parametrize("name", ["handrail", "gold", "iql"])
def test_a_leash_is_counted_in_the_spread_of_the_demonstrations(name, data, tmp_path, monkeypatch):
    """A strength of four times the spread is one of four where nothing is counted in it."""

    def trained(strength: float, path: Path) -> np.ndarray:
        small = IQLSettings(hidden=(8,), extraction="ddpg_bc", bc_weight=strength)
        common = {"task": toy.TOY, "demos": data, "online": LOOP}
        method = {
            "handrail": lambda: made(data, leash=strength),
            "gold": lambda: GOLD(**common, guide="bc", bc=SMALL, iql=small, pretrain=10),
            "iql": lambda: IQL(**common, iql=small, pretrain=10),
        }[name]()
        arrays, _ = load_policy(through(method, path))[0].to_arrays()
        return np.concatenate([np.ravel(array) for array in arrays.values()])

    spread = sources.read(data).spread(made(data).spec())
    assert spread < 0.9
    counted = trained(4 * spread, tmp_path / "counted")
    assert not np.array_equal(trained(4.0, tmp_path / "stronger"), counted)
    monkeypatch.setattr(Episodes, "spread", lambda self, spec: 1.0)
    np.testing.assert_array_equal(trained(4.0, tmp_path / "plain"), counted)


@pytest.mark.parametrize(("name", "share"), [("gold", 0.25), ("gold", 0.0), ("iql", 0.25)])
def test_iqls_leash_is_told_which_part_of_a_batch_is_demonstrations(
    name, share, data, tmp_path, monkeypatch
):
    told, learner = [], iql.learner
    monkeypatch.setattr(iql, "learner", lambda *of: told.append(of[1:]) or learner(*of))
    common = {"task": toy.TOY, "demos": data, "online": LOOP, "pretrain": 10}
    common |= {"demonstration_share": share, "iql": IQLSettings(hidden=(8,), extraction="ddpg_bc")}
    method = GOLD(**common, guide="bc", bc=SMALL) if name == "gold" else IQL(**common)
    through(method, tmp_path / "run")
    assert told == [(sources.read(data).spread(method.spec()), share)]


def test_the_leash_keeps_the_student_near_the_demonstrations(data, tmp_path):
    """With critics that know nothing yet (a rate of 0), values alone lead anywhere."""
    blind = SACLagrangianSettings(
        hidden=(8,), critic_rate=0.0, cost_critic_rate=0.0, actor_rate=3e-3, initial_alpha=1e-3
    )
    vpa = PrealignmentSettings(updates=1, batch=8)
    loop = replace(LOOP, steps=480, evaluate_every=480, updates_per_step=2.0)
    far = []
    for strength in (0.0, 20.0):
        method = made(data, sac=blind, vpa=vpa, leash=strength, online=loop)
        path = through(method, tmp_path / f"run-{strength:g}")
        cloned = Learnt.load(path / "offline" / HANDOVER, toy.TOY).policy
        observed = np.concatenate([e.observations[:-1] for e in sources.read(data)])
        ours, theirs = (acted(policy, observed) for policy in (load_policy(path)[0], cloned))
        far.append(float(np.abs(ours - theirs).mean()))
    assert far[1] < 0.5 * far[0]


def test_refusals(data, tmp_path):
    other = through(BC(task=toy.ENDS, demos=toy.demonstration_file(
        tmp_path / "ends.hdf5", toy.ENDS), bc=SMALL), tmp_path / "bc")  # fmt: skip
    with pytest.raises(HandrailError, match=f"is of {toy.ENDS}, not of {toy.TOY}"):
        start(made(data, guide=other, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    with pytest.raises(HandrailError, match="demonstration_share is 0; a leash asks for"):
        made(data, demonstration_share=0.0)
    with pytest.raises(HandrailError, match="demonstration_share is 1; a leash asks for"):
        made(data, demonstration_share=1.0)
    for share in (0.05, 0.95):
        with pytest.raises(HandrailError, match=f"is {share}: of a batch of 8 that is none, or"):
            made(data, demonstration_share=share)
    with pytest.raises(HandrailError, match="the guide dt is no directory"):
        made(data, guide=Path("dt")).check()
    with pytest.raises(HandrailError, match="leave --no-normalise out"):
        made(data, online=replace(LOOP, normalise=False))
    with pytest.raises(HandrailError, match="critic_steps is 9, a batch has 8 rows"):
        made(data, sac=SACLagrangianSettings(hidden=(8,), critic_steps=9)).check()
    with pytest.raises(HandrailError, match="the leash is -1; it must be 0 or more"):
        made(data, leash=-1.0)
    with pytest.raises(HandrailError, match="no expert is shipped for gym/toy:Toy-v0"):
        made(None).check()
    with pytest.raises(HandrailError, match="no policies are shipped that play a data set of gym"):
        made(None, offline="cpq", cpq=CPQSettings(hidden=(8,))).check()


def test_an_expert_plays_what_is_cloned_and_a_spread_the_rest():
    expert = Handrail(task="bullet/CarCircle-gold")
    assert (expert.episodes, len(expert.players())) == (200, 1)
    assert expert.players() == Clone(task="bullet/CarCircle-gold").players()
    assert Clone(task="bullet/CarCircle-gold").episodes == 200
    spread = Handrail(task="bullet/BallCircle", offline="cpq")
    assert spread.players() == CPQ(task="bullet/BallCircle").players()
    assert (len(spread.players()), CPQ(task="bullet/BallCircle").episodes) == (12, 500)
    with pytest.raises(HandrailError, match="no expert is shipped for bullet/BallCircle"):
        Handrail(task="bullet/BallCircle").players()


def test_it_goes_on_from_a_run_that_was_made_before(data, tmp_path):
    """--offline RUN of the same clone ends in the same bits."""
    inside = through(made(data), tmp_path / "inside")
    given = through(made(data, offline=str(inside / "offline")), tmp_path / "given")
    assert (inside / "metrics.csv").read_bytes() == (given / "metrics.csv").read_bytes()


@pytest.mark.parametrize("cls", [WarmStart, WSRL, SO2, PEX])
def test_a_clone_has_no_critics_to_go_on_from(cls, data, tmp_path):
    small = {"task": toy.TOY, "demos": data, "online": LOOP, "cost_limit": 1.0}
    small |= {"clone": CloningSettings(hidden=(8,), updates=60, batch=8)}
    sac = replace(cls(task=toy.TOY).sac, hidden=(8,))
    run = through(Clone(task=toy.TOY, demos=data, clone=small["clone"]), tmp_path / "clone")
    for offline in ("clone", str(run)):
        with pytest.raises(HandrailError, match=f"{cls.name} goes on from critics, and a clone"):
            cls(**small, sac=sac, offline=offline).check()
    Relearn(**small, sac=sac, offline=str(run)).check()


def test_from_the_command_line(data, tmp_path, capsys):
    out = tmp_path / "run"
    small = ["--hidden", "8", "--steps", "1000", "--evaluate-every", "500", "--start", "500",
             "--updates-per-step"]  # fmt: skip
    assert main(["train", "handrail", toy.TOY, "--demos", str(data), "--out", str(out), *small,
                 "0.1", "--clone.hidden", "8", "--clone.updates", "50", "--vpa.updates", "50",
                 "--leash", "2", "--share", "0.5"]) == 0  # fmt: skip
    assert Learnt.load(out / "prealigned" / HANDOVER, toy.TOY).networks.layer_norm
    assert main(["evaluate", str(out), "--episodes", "2"]) == 0
    assert "Handrail" in capsys.readouterr().out
