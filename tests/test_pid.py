"""PID and adaptive PID: the equations against plain NumPy, then on simulated tasks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from plant import respond

from handrail.errors import HandrailError
from handrail.multipliers import Controller, Unshaped
from handrail.pid import PID, PIDSettings, adaptive, controller

COSTS = [0, 2, 9, 40, 1000, 7, 5, 0, 0, 0, 3, 12, 0, 0, 0, 0, 0, 0, 0, 6, 8, 30, 30, 30, 30, 30, 4]


def states(control: Controller, costs, steps: int = 100, parts=None) -> list[dict[str, Any]]:
    """After each episode, ``steps`` apart; the state passes through JSON, as in a checkpoint."""
    state, seen = control.init(), []
    for number, cost in enumerate(costs):
        part = 1.0 if parts is None else float(parts[number])
        new = control.update(state, 0.0, float(cost), (number + 1) * steps, part)
        state = json.loads(json.dumps(new))
        assert state == new
        seen.append(state)
    return seen


def plain(costs, limit, weight, s: PIDSettings, fade_in, gains=None, parts=1.0) -> np.ndarray:
    """Weight and integral after each episode: whole series at once, where an equation allows it."""
    n = len(costs)
    e = parts * np.minimum((np.array(costs) - limit) / max(limit, 1), s.most)
    share = np.minimum(1, 100 * np.arange(1, n + 1) / fade_in) if fade_in else np.ones(n)
    powers = s.smoothing ** np.subtract.outer(np.arange(n), np.arange(n))
    smooth = np.tril(powers * (1 - s.smoothing)) @ e
    ago = np.maximum(np.arange(n) - s.delay, 0)
    growth = np.maximum(0, smooth - np.where(np.arange(n) > 0, smooth[ago], 0))
    growth[0] = max(0, smooth[0])
    gains = np.tile([s.kp, s.ki, s.kd], (n, 1)) if gains is None else gains
    integral = [weight]
    for t in range(n):
        integral.append(np.clip(integral[-1] + share[t] * gains[t, 1] * e[t], 0, s.largest))
    w = integral[1:] + share * (gains[:, 0] * smooth + gains[:, 2] * growth)
    return np.stack([np.maximum(0, w), integral[1:]], 1)


# -- equations -----------------------------------------------------------------------------------

SETTINGS = PIDSettings(kp=0.8, ki=0.3, kd=1.5, smoothing=0.7, delay=4, largest=2.5, most=2.0)


@pytest.mark.parametrize("fade_in", [0.0, 900.0])
@pytest.mark.parametrize("limit", [6.0, 0.5, 0.0])
def test_the_update_is_stookes(limit, fade_in):
    seen = states(PID(limit, 1.5, fade_in, SETTINGS), COSTS)
    found = np.array([(state["weight"], state["integral"]) for state in seen])
    np.testing.assert_allclose(found, plain(COSTS, limit, 1.5, SETTINGS, fade_in), atol=1e-12)
    assert (found[:, 1] == 2.5).any()
    if limit == 6:  # both bounds of the integral, and that of w, were met
        assert (found[:, 1] == 0).any()
        assert (found[:, 0] == 0).any()
    assert len(seen[-1]["errors"]) == SETTINGS.delay


@pytest.mark.parametrize("limit", [0.5, 6.0, 0.0])
def test_it_may_aim_below_the_limit_that_it_is_judged_by(limit):
    aiming = replace(SETTINGS, aim=0.75)
    for kind in (lambda *given: PID(*given), lambda *given: adaptive(PID(*given))):
        left = states(kind(limit, 1.5, 900.0, aiming), COSTS)
        assert left == states(kind(0.75 * limit, 1.5, 900.0, SETTINGS), COSTS)
        assert kind(limit, 1.5, 0.0, aiming).score(3.0, limit) == (1.0, 3.0)


def test_an_episode_counts_by_the_part_that_the_student_acted_in():
    parts = np.random.default_rng(0).uniform(size=len(COSTS)) * (np.arange(len(COSTS)) % 3 > 0)
    assert (parts == 0).any()
    seen = states(PID(6.0, 1.5, 900.0, SETTINGS), COSTS, parts=parts)
    found = np.array([(state["weight"], state["integral"]) for state in seen])
    expected = plain(COSTS, 6.0, 1.5, SETTINGS, 900.0, parts=parts)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    # What a guide plays alone counts as an episode at the limit, whatever it costs.
    for name in KINDS:
        parts, student = [1.0] * 3 + [0.0] * 50, [18.0] * 3
        at_limit, *others = (
            states(made(name, 6.0, weight=1.5), [*student, *[cost] * 50], parts=parts)
            for cost in (6.0, 0.0, 1000.0)
        )
        assert others == [at_limit, at_limit]
        assert at_limit[-1]["integral"] == at_limit[2]["integral"] > 1.5


@pytest.mark.parametrize("limit", [0.5, 6.0])
def test_the_gains_adapt_by_their_own_equation(limit):
    rate, pull, reach = 0.4, 0.1, 1.6
    unit = max(limit, 1.0)
    control = adaptive(PID(limit, 1.5, 0.0, SETTINGS), rate, pull, reach)
    seen = states(control, COSTS)
    n, e = len(COSTS), np.minimum((np.array(COSTS) - limit) / unit, SETTINGS.most)
    smooth, costs = 0.0, []
    gains, first = [], np.array([SETTINGS.kp, SETTINGS.ki, SETTINGS.kd])
    now = first.copy()
    for t in range(n):
        gains.append(now)
        smooth = SETTINGS.smoothing * smooth + (1 - SETTINGS.smoothing) * e[t]
        costs.append(limit + unit * smooth)  # the smoothed cost, in its own unit
        queue = costs[-SETTINGS.delay :]
        mean, deviation = np.mean(queue), np.std(queue)
        towards = (mean - limit) / max(mean, limit)
        growth = 1 + rate * np.array([towards, towards, deviation / max(mean, limit)])
        now = np.clip(now * (first / now) ** pull * growth, first / reach, reach * first)
    expected = plain(COSTS, limit, 1.5, SETTINGS, 0.0, np.array(gains))
    found = np.array([(state["weight"], state["integral"]) for state in seen])
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(seen[-1]["factors"], now / first)
    factors = np.array([state["factors"] for state in seen])
    assert factors.max() == reach
    assert factors.min() < 0.8 or limit < 1  # which COSTS are hardly ever within


def test_a_cost_that_is_always_0_leaves_the_gains_of_a_limit_of_0():
    control = adaptive(PID(0.0, 1.0, 0.0, SETTINGS))
    assert states(control, [0.0] * 30)[-1] == {**states(control, [0.0] * 10)[-1]}


def test_without_adaptation_the_wrapper_is_the_pid():
    pid = PID(6.0, 1.0, 0.0, SETTINGS)
    for left, right in zip(states(adaptive(pid, rate=0), COSTS), states(pid, COSTS), strict=True):
        assert left == {**right, "factors": [1, 1, 1]}


def test_a_weight_begins_where_it_is_told_and_is_judged_by_the_limit():
    for name in ("pid", "adaptive-pid"):
        control = controller(name, PIDSettings(), weight=3.0, cost_limit=10.0)
        assert control.init()["weight"] == 3
        for evaluation in ((50, 10), (90, 11)):
            assert control.score(*evaluation) == Unshaped(10.0).score(*evaluation)
    fixed = controller("fixed", PIDSettings(), weight=3.0, cost_limit=10.0)
    assert {state["weight"] for state in states(fixed, COSTS)} == {3.0}


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"kp": -1.0}, "pid.kp is -1; it must be 0 or more"),
        ({"ki": float("nan")}, "pid.ki is nan"),
        ({"largest": float("inf")}, "pid.largest is inf"),
        ({"smoothing": 1.0}, r"pid.smoothing is 1; it must lie in \[0, 1\)"),
        ({"delay": 0}, "pid.delay is 0"),
        ({"most": 0.0}, "pid.most is 0"),
        ({"aim": 0.0}, "pid.aim is 0; it must be above 0, and 1 at most"),
        ({"aim": 1.1}, "pid.aim is 1.1"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, line):
    with pytest.raises(HandrailError, match=line):
        PIDSettings(**wrong)


# -- on simulated tasks --------------------------------------------------------------------------


KINDS = ["pid", "adaptive-pid"]
TASKS = [
    {"unweighted": 30.0, "falls": 3.0, "lag": 25.0},
    {"unweighted": 80.0, "falls": 2.0, "lag": 10.0},
    {"unweighted": 30.0, "falls": 1.0, "lag": 25.0},  # answers strongly
    {"unweighted": 25.0, "falls": 5.0, "lag": 50.0},  # answers weakly and late
]


def made(name, limit: float, weight: float = 3.0, **changes) -> Controller:
    return controller(name, PIDSettings(), weight=weight, cost_limit=limit, **changes)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("limit", [5.0, 10.0, 20.0])
@pytest.mark.parametrize("task", TASKS)
def test_one_set_of_gains_settles_on_every_limit(task, limit, name):
    """Without noise each episode, with noise the mean over episodes and seeds."""
    _, quiet = respond(made(name, limit), **task, noise=0.0)
    assert abs(quiet[350:] / limit - 1).max() < 0.1
    noisy = [respond(made(name, limit), **task, seed=seed)[1] for seed in range(12)]
    assert abs(np.mean(noisy, axis=0)[150:].mean() / limit - 1) < 0.1


@pytest.mark.parametrize("name", KINDS)
def test_it_winds_up_less_over_a_guides_cost_where_it_is_told_whose_it_is(name):
    task = {"falls": 3.0, "lag": 25.0, "deaf": 75, "noise": 0.0}
    control = made(name, 5.0)
    # A guide that costs six times the limit; its student needs little.
    careless = {**task, "guide": 30.0, "unweighted": 8.0}
    wanted, (w, costs) = 3 * np.log(8 / 5), respond(control, **careless)
    untold, _ = respond(control, **careless, told=False)
    assert w[75] - wanted < 0.75 * (untold[75] - wanted)
    assert abs(costs[400:] / 5 - 1).max() < 0.1
    # A guide that costs nothing; its student needs much.
    careful = {**task, "guide": 0.0, "unweighted": 30.0}
    w, costs = respond(control, **careful)
    untold, _ = respond(control, **careful, told=False)
    assert w[:75].min() > 0.75 * 3 > untold[:75].min()
    assert abs(costs[350:] / 5 - 1).max() < 0.1


@pytest.mark.parametrize("name", KINDS)
def test_after_a_long_time_at_its_bound_the_weight_comes_back(name):
    """A limit out of reach for 1,000 episodes; then the same task at a limit within it."""
    far = made(name, 0.5)
    saturated = states(far, [30.0] * 1000)[-1]
    assert saturated["integral"] == PIDSettings().largest
    assert saturated["weight"] < 14
    control, state, costs = made(name, 10.0), saturated, []
    followed = state["weight"]
    for number in range(500):
        followed += (state["weight"] - followed) / 25
        costs.append(30 * np.exp(-followed / 3))
        state = control.update(state, 0.0, costs[-1], 400 * number, 1.0)
    assert abs(np.array(costs)[350:] / 10 - 1).max() < 0.1


def test_one_accident_is_one_bad_episode():
    for name in KINDS:
        usual = [5.0] * 50
        before, after = states(made(name, 5.0), usual)[-1], states(made(name, 5.0), [*usual, 1e6])
        assert after[-1]["weight"] - before["weight"] < 0.5


def test_a_limit_of_nothing_is_approached_and_kept():
    for name in KINDS:
        weights, costs = respond(
            made(name, 0.0), unweighted=30.0, falls=1.0, lag=25.0, noise=0.0, episodes=300
        )
        assert costs[-1] < 0.3
        assert weights.max() < 13


def test_forgetting_gains_keep_the_limit_where_the_published_ones_lose_it():
    """The reason of ``adaptive.pull``; and why gains adapt at all: less is paid on the way."""
    task, limit = TASKS[0], 10.0
    off, paid = {}, {}
    pid = PID(limit, 0.0)
    forms = {"pid": pid, "here": adaptive(pid), "published": adaptive(pid, pull=0.0)}
    for name, control in forms.items():
        runs = [respond(control, **task, seed=seed)[1] / limit - 1 for seed in range(12)]
        off[name] = np.mean([np.sqrt(np.mean(run[200:] ** 2)) for run in runs])
        paid[name] = np.mean([np.maximum(run[:200], 0).sum() for run in runs])
    assert off["here"] < 1.2 * off["pid"]
    assert paid["here"] < 0.9 * paid["pid"]
    assert off["published"] > 1.5 * off["here"]
