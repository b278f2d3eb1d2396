"""Data sets of many returns and costs: who plays them, and how they are chosen."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import toy

from handrail import datasets, envs
from handrail.cli import main
from handrail.data import sources
from handrail.datasets import apart, kept
from handrail.errors import HandrailError
from handrail.networks import Actor
from handrail.policies import MLPPolicy
from handrail.policy_files import load_policy, save_policy
from handrail.progress import Watcher
from handrail.rollout import play


def _policy(path: Path, drift: float) -> Path:
    """Acts by about ``drift``: the toy task earns and costs by where that leads."""
    actor = Actor(3, 1, (4,), squashed=True, key=jax.random.key(0))
    zero = jax.tree.map(lambda x: np.zeros_like(np.asarray(x)), actor)
    last = zero.trunk.layers[-1]
    object.__setattr__(last, "bias", np.float32([drift, -3.0]))
    save_policy(MLPPolicy.of(zero), path, envs.make(toy.TOY).spec_)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run's directory with four policies kept."""
    path = tmp_path_factory.mktemp("run")
    for step, drift in ((500, 0.0), (1000, 0.01), (1500, 0.4), (10000, -0.4)):
        _policy(path / "policy" / f"step-{step}", drift)
    return path


def test_points_that_lie_apart():
    points = np.array([[0.0, 0.0], [0.1, 1.0], [10.0, 90.0], [5.0, 100.0], [9.9, 0.0]])
    # The largest return, then what is farthest from all taken; both axes count alike.
    assert apart(points, 1) == [2]
    assert apart(points, 3) == [2, 0, 4]
    assert sorted(apart(points, 5)) == [0, 1, 2, 3, 4]
    assert apart(np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), 2) == [2, 0]  # no cost at all


def test_policies_of_a_run_are_found_in_their_order(run, tmp_path):
    steps = [policy.name for policy in kept([run])]
    assert steps == ["step-500", "step-1000", "step-1500", "step-10000"]
    one = run / "policy" / "step-500"
    assert kept([one, run])[0] == one
    with pytest.raises(HandrailError, match="no run that kept policies; train it with --keep-p"):
        kept([tmp_path])


def test_episodes_are_shared_out_and_do_not_depend_on_cores(run):
    policies = kept([run])
    played = datasets.play(toy.TOY, 6, policies, seed=7, watcher=Watcher())
    shares = [policies[0], policies[0], policies[1], policies[1], policies[2], policies[3]]
    for seed, (path, episode) in enumerate(zip(shares, played, strict=True), 7):
        policy, _ = load_policy(path)
        assert isinstance(policy, MLPPolicy)
        (alone,) = play(policy.sampled(), [envs.make(toy.TOY)], [seed])
        np.testing.assert_array_equal(alone.actions, episode.actions)
        np.testing.assert_array_equal(alone.rewards, episode.rewards)
    with pytest.raises(HandrailError, match="3 episodes for 4 policies"):
        datasets.play(toy.TOY, 3, policies, watcher=Watcher())


def test_the_command_chooses_keeps_plays_and_draws(run, tmp_path, capsys):
    out, keep = tmp_path / "sets", tmp_path / "kept"
    out.mkdir()
    asked = ["dataset", toy.TOY, "--policies", str(run), "--choose", "3", "--episodes", "9"]
    assert main([*asked, "--out", str(out), "--keep", str(keep)]) == 0
    (file,) = out.glob("*.hdf5")
    found = sources.read(file)
    largest = round(max(episode.cost for episode in found))
    assert file.name == f"Safetytoy:Toy-v0-v0-{largest}-9.hdf5".replace("-v0-v0", "-v0Gymnasium-v1")
    assert file.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    # The two that do nearly the same are not both among them.
    drifts = [load_policy(path)[0].biases[-1][0] for path in sorted(keep.iterdir())]
    assert sorted(np.round(drifts, 2))[::2] == [np.float32(-0.4), np.float32(0.4)]
    assert len(drifts) == 3
    assert "9 episodes of 3 policies" in capsys.readouterr().out
    third = tmp_path / "third.hdf5"
    assert main([*asked, "--out", str(third), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    returns = [episode.return_ for episode in found]
    assert told["return"] == pytest.approx(
        {"mean": np.mean(returns), "min": min(returns), "max": max(returns)}
    )
    assert (told["file"], told["episodes"], told["policies"]) == (str(third), 9, 3)
    assert told["within_limit"] == np.mean([episode.cost <= 25 for episode in found])
    assert main([*asked, "--out", str(file)]) == 2
    assert "exists already" in capsys.readouterr().err
    again = ["--out", str(out), "--keep", str(tmp_path / "kept2"), "--json"]
    capsys.readouterr()
    assert main([*asked, *again]) == 0  # the name that it would have is taken
    assert json.loads(capsys.readouterr().out)["file"] == str(file.with_stem(f"{file.stem}-2"))
    assert file.read_bytes() == file.with_stem(f"{file.stem}-2").read_bytes()
    assert len(list((tmp_path / "kept2").iterdir())) == 3
    assert main(["dataset", toy.TOY]) == 2
    assert main([*asked, "--out", str(tmp_path / "set.png")]) == 2
    (tmp_path / "other.png").touch()
    assert main([*asked, "--out", str(tmp_path / "other.hdf5")]) == 2
    (tmp_path / "file").touch()
    assert main([*asked, "--out", str(tmp_path / "file" / "set.hdf5")]) == 2
    assert not (tmp_path / "other.hdf5").exists()
    assert "no policies are shipped that play a data set of" in capsys.readouterr().err
    assert main([*asked[:-4], "--choose", "5", "--out", str(tmp_path / "x.hdf5")]) == 2
    assert "5 of 4 policies: ask for 1 to 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    "task", [p.name.replace("-", "/", 1) for p in datasets.ASSETS.iterdir() if p.is_dir()]
)
def test_shipped_policies_make_a_set_on_both_sides_of_the_limit(task):
    pytest.importorskip("bullet_safety_gym")
    policies = datasets.shipped(task)
    limit = envs.make(task).spec_.cost_limit
    played = datasets.play(task, len(policies), policies, watcher=Watcher())
    costs, returns = (np.array([getattr(e, n) for e in played]) for n in ("cost", "return_"))
    assert 0.2 < (costs <= limit).mean() < 0.8
    assert np.ptp(returns) > 0.5 * np.abs(returns).max()
