"""The controllers of the cost weight, against sequences worked out by hand."""

import json

import pytest

from handrail.errors import HandrailError
from handrail.multipliers import Fixed, Ramp, Unshaped


def weights(controller, episodes) -> list[float]:
    """After each of (return, cost, steps); the state passes through JSON, as in a checkpoint."""
    state, seen = controller.init(), []
    for episode in episodes:
        state = json.loads(json.dumps(controller.update(state, *episode, 1.0)))
        seen.append(state["weight"])
    return seen


def test_a_fixed_weight_is_fixed():
    assert Fixed(1.5).init()["weight"] == 1.5
    assert weights(Fixed(1.5), [(0, 9, 10), (9, 0, 20)]) == [1.5, 1.5]


def test_scores():
    """With a weight what shaping earns; without, the limit first."""
    assert Fixed(2.0).score(10, 3) == (4.0,)
    assert Ramp(weight=2.0, least=0).score(10, 3) == (4.0,)
    best = [(50, 10), (40, 2), (90, 11), (200, 30)]  # return and cost, the limit being 10
    scores = [Unshaped(10.0).score(*evaluation) for evaluation in best]
    assert sorted(scores, reverse=True) == scores
    assert weights(Unshaped(10.0), [(0, 90, 10)]) == [0.0]


RAMP = Ramp(
    start_return=10, weight=4, ramp_steps=100, window=2, ease_rate=0.5, ease_cost=3, least=1
)


def test_a_ramp_waits_for_a_whole_window_of_the_return():
    assert RAMP.init()["weight"] == 0
    # Means of the windows: (20) is none yet, 12.5, which starts it at step 40; then it is a ramp
    # of the steps alone, whatever the return becomes.
    assert weights(RAMP, [(20, 0, 20), (5, 0, 40), (0, 0, 65), (0, 0, 90)]) == [0, 0, 1, 2]
    assert weights(RAMP, [(20, 0, 20), (-1, 0, 40), (20, 0, 60), (0, 0, 85)]) == [0, 0, 0, 0]
    assert weights(RAMP, [(20, 0, 20), (0, 0, 40), (0, 0, 90)]) == [0, 0, 2]  # 10 is reached


def test_after_the_ramp_the_weight_follows_the_cost():
    full = [(10, 0, 0), (10, 0, 10), (0, 7, 110)]
    # Mean costs of the windows (7, 1): 4, (1, 1): 1, (1, 2): 1.5, (2, 20): 11, (20, 0): 10, ...
    costs = [(0, c, 200) for c in (1, 1, 2, 20, 0, 0, 0, 0, 0)]
    # 4 + 0.5 is cut to 4; 4 - 1; 3 - 0.75; 2.25 + 4 is cut; cut; then -1.5 each, not below 1.
    expected = [0, 0, 4, 4, 3, 2.25, 4, 4, 2.5, 1, 1, 1]
    assert weights(RAMP, full + costs) == expected


def test_without_easing_the_ramp_stays_where_it_ends():
    flat = Ramp(start_return=10, weight=4, ramp_steps=100, window=1, ease_rate=0, least=1)
    assert weights(flat, [(10, 0, 0), (0, 0, 50), (0, 0, 100), (0, 99, 200)]) == [0, 2, 4, 4]


@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"ramp_steps": 0}, {"weight": -1}, {"ease_rate": -0.1}]
)
def test_a_ramp_that_cannot_be_is_refused(wrong):
    with pytest.raises(HandrailError, match=f"{next(iter(wrong))}.* must be"):
        Ramp(**wrong)
