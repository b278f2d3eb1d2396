"""Which student a run ends in: the average of its parameters, and room for doubt about its cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import toy

from handrail import envs
from handrail.cli import main
from handrail.errors import HandrailError
from handrail.judge import VALIDATION_SEED, Judge, JudgeSettings
from handrail.metrics_file import read_metrics
from handrail.multipliers import Fixed, Unshaped
from handrail.rollout import play


@dataclass(frozen=True)
class Still(toy.Steady):
    """A policy whose one parameter is where it goes."""

    noise: float = 0.0

    def mode(self) -> Still:
        return self


def goes_to(actor: np.ndarray) -> Still:
    return Still(goal=float(actor[0]))


def judge(controller=None, **settings) -> Judge:
    first = np.zeros(1, np.float32)
    return Judge(
        JudgeSettings(**settings), controller or Fixed(0.0), [envs.make(toy.TOY)], first, unit=1.0
    )


def costs_of(actor: np.ndarray, episodes: int) -> np.ndarray:
    seeds = range(VALIDATION_SEED, VALIDATION_SEED + episodes)
    return np.array([e.cost for e in play(goes_to(actor), [envs.make(toy.TOY)], seeds)])


def at(goal: float) -> np.ndarray:
    return np.array([goal], np.float32)


def test_without_an_average_the_latest_parameters_are_judged():
    follower = judge()
    for goal in (0.4, 0.1, 0.2):
        follower.follow(at(goal), 60)
        np.testing.assert_array_equal(follower.actor, at(goal))


@pytest.mark.parametrize("steps", [1, 50, 100, 400])
def test_half_of_what_was_is_left_after_the_half_life_however_it_is_cut(steps):
    """What the run began with, 99, is no part of it: nothing was learnt then."""
    follower = judge(average=200.0)
    follower.begin(at(99.0))
    for actor in (8.0, 4.0):
        for _ in range(400 // steps):
            follower.follow(at(actor), steps)
    older = 0.5 ** (400 / 200)
    np.testing.assert_allclose(follower.actor, (8 * older + 4) / (older + 1), rtol=1e-5)


def test_restored_an_average_goes_on_with_the_same_weights():
    first, second = judge(average=200.0), judge(average=200.0)
    first.follow(at(8.0), 50)
    second.restore(first.state(), None, at(8.0))
    for follower in (first, second):
        follower.follow(at(4.0), 100)
    np.testing.assert_array_equal(first.actor, second.actor)


def test_what_came_before_a_beginning_is_forgotten():
    follower = judge(average=200.0)
    follower.follow(at(0.4), 100)
    follower.evaluate(goes_to)
    follower.begin(at(-0.2))
    np.testing.assert_array_equal(follower.actor, at(-0.2))
    follower.evaluate(goes_to)  # it earns less, and is the best since
    np.testing.assert_array_equal(follower.best_actor, at(-0.2))


def test_the_average_is_what_is_played_and_kept():
    follower = judge(average=100.0)
    follower.follow(at(0.1), 100)
    follower.follow(at(0.25), 100)  # counts twice
    row = follower.evaluate(goes_to)
    seeds = range(VALIDATION_SEED, VALIDATION_SEED + 10)
    played = list(play(goes_to(at(0.2)), [envs.make(toy.TOY)], seeds))
    assert row["eval/return"] == pytest.approx(np.mean([e.return_ for e in played]))
    assert row["eval/return_min"] == pytest.approx(min(e.return_ for e in played))
    np.testing.assert_allclose(follower.best_actor, at(0.2))


def test_caution_passes_over_a_student_that_may_be_beyond_the_limit():
    bold, careful = at(0.55), at(0.45)
    costs = costs_of(bold, 10)
    error = costs.std(ddof=1) / np.sqrt(10)
    assert error > 0
    assert (costs_of(careful, 10) == 0).all()
    limit = Unshaped(float(costs.mean() + 0.5 * error))
    for caution, best in ((0.0, bold), (0.4, bold), (0.6, careful)):
        follower = judge(limit, caution=caution)
        for actor in (careful, bold):
            follower.follow(actor, 60)
            row = follower.evaluate(goes_to)
        assert row["eval/cost"] == pytest.approx(costs.mean())  # what is shown is the mean
        np.testing.assert_array_equal(follower.best_actor, best)


def test_by_a_weight_caution_counts_as_cost():
    costs = costs_of(at(0.55), 10)
    follower = judge(Fixed(2.0), caution=3.0)
    follower.follow(at(0.55), 60)
    follower.evaluate(goes_to)
    assert follower.best is not None
    error = costs.std(ddof=1) / np.sqrt(10)
    assert follower.best[1] == pytest.approx(costs.mean() + 3.0 * error)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"average": -1.0}, "average is -1; it must be 0 or more"),
        ({"average": float("nan")}, "average is nan"),
        ({"caution": float("inf")}, "caution is inf"),
        ({"caution": 1.0, "evaluate_episodes": 1}, "caution needs 2 or more evaluate_episodes"),
    ],
)
def test_refusals(settings, line):
    with pytest.raises(HandrailError, match=line):
        JudgeSettings(**settings)


def test_from_the_command_line(tmp_path):
    small = ["--steps", "120", "--block", "30", "--environments", "3", "--start", "40"]
    small += ["--batch", "8", "--evaluate-every", "60", "--evaluate-episodes", "2"]
    small += ["--hidden", "8", "--warmup", "30", "--seed", "3"]
    runs = {}
    for name, more in (("plain", []), ("averaged", ["--average", "60", "--caution", "1"])):
        out = tmp_path / name
        assert main(["train", "iql", toy.TOY, "--out", str(out), *small, *more]) == 0
        runs[name] = read_metrics(out)
    # Training is the same; what is judged of it is not.
    assert (runs["plain"]["train/return"] == runs["averaged"]["train/return"]).all()
    assert (runs["plain"]["loss/q"][-1:] == runs["averaged"]["loss/q"][-1:]).all()
    assert runs["plain"]["eval/return"][-1] != runs["averaged"]["eval/return"][-1]
    assert main(["train", "iql", toy.TOY, "--out", str(tmp_path / "no"), "--average", "-1"]) == 2
