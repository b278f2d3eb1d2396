"""What an episode and a set of episodes refuse, and what they sum up."""

import numpy as np
import pytest

from handrail.data.episodes import Episode, Episodes
from handrail.errors import HandrailError
from handrail.types import Spec

SPEC = Spec("toy/Box", 3, 2, (-2.0, 0.0), (2.0, 1.0), 6, 5.0)


def _arrays(steps: int) -> dict[str, np.ndarray]:
    return {
        "observations": np.zeros((steps + 1, 3), np.float32),
        "actions": np.zeros((steps, 2), np.float32),
        "rewards": np.arange(steps, dtype=np.float32),
        "costs": np.ones(steps, np.float32),
    }


def _episode(steps=4, **changes) -> Episode:
    return Episode(**{**_arrays(steps), "terminated": False, **changes})


@pytest.mark.parametrize("name", ["observations", "actions", "rewards", "costs"])
def test_a_length_that_disagrees_is_refused_with_all_lengths(name):
    shorter = _arrays(4)[name][:-1]
    with pytest.raises(HandrailError, match=r"T actions need T \+ 1 observations"):
        _episode(**{name: shorter})


def test_an_episode_without_steps_is_refused():
    with pytest.raises(HandrailError, match="1 observations, 0 actions"):
        _episode(0)


@pytest.mark.parametrize("name", ["observations", "actions", "rewards", "costs"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_step(name, value):
    array = _arrays(4)[name]
    array[2] = value
    with pytest.raises(HandrailError, match=f"{name} are not finite at step 2"):
        _episode(**{name: array})


def test_sums_are_undiscounted_and_do_not_lose_small_terms():
    episode = _episode()
    assert (len(episode), episode.return_, episode.cost) == (4, 6.0, 4.0)
    small = np.full(100_000, 0.1, np.float32)
    long = _episode(100_000, rewards=small)
    assert long.return_ == pytest.approx(100_000 * float(np.float32(0.1)), rel=1e-12)


def test_a_set_is_a_sequence_and_counts_its_steps():
    episodes = Episodes((_episode(4), _episode(2)), "toy/Box")
    assert (len(episodes), episodes.steps, len(episodes[1])) == (2, 6, 2)
    assert [len(e) for e in episodes] == [4, 2]


def test_the_spread_is_of_actions_in_the_unit_box():
    """The box is [-2, 2] x [0, 1]: 1 and -1 of the first axis are half of it either way, 1 and 0.5
    of the second all of it and none."""
    actions = np.array([[1, 1], [-1, 0.5], [1, 0.5], [-1, 1]], np.float32)
    one, two = _episode(1, actions=actions[:1]), _episode(3, actions=actions[1:])
    assert Episodes((one, two)).spread(SPEC) == pytest.approx(0.25 + 0.25)
    assert Episodes((_episode(),)).spread(SPEC) == 0.01  # all the same: no leash is without end


def test_an_empty_set_says_how_to_make_one():
    with pytest.raises(HandrailError, match="handrail demos"):
        Episodes(())


def test_sizes_that_differ_are_refused():
    wide = _episode(observations=np.zeros((5, 7), np.float32))
    with pytest.raises(HandrailError, match="different sizes"):
        Episodes((_episode(), wide))


def test_require_lets_the_task_through_and_returns_the_set():
    actions = np.float32([[2, 1], [-2, 0], [0, 0.5], [2, 1 + 1e-6]])
    for task in (None, "toy/Box"):
        episodes = Episodes((_episode(actions=actions),), task)
        assert episodes.require(SPEC) is episodes


@pytest.mark.parametrize(
    ("episode", "task", "message"),
    [
        (_episode(), "toy/Other", "demonstrations of toy/Other, not of toy/Box"),
        (_episode(observations=np.zeros((5, 7), np.float32)), None, "have 7 values, toy/Box has 3"),
        (_episode(actions=np.zeros((4, 1), np.float32)), None, "have 1 values, toy/Box has 2"),
        (
            _episode(actions=np.float32([[0, 0], [0, 0], [0, 1.5], [0, 0]])),
            None,
            r"action 1 is 1.5 at step 2 of episode 0, outside \[0, 1\] of toy/Box",
        ),
        (
            _episode(actions=np.float32([[0, 0], [0, -0.1], [0, 0], [0, 0]])),
            None,
            r"action 1 is -0.1 at step 1 of episode 0",
        ),
    ],
)
def test_require_names_what_is_not_of_the_task(episode, task, message):
    with pytest.raises(HandrailError, match=message):
        Episodes((episode,), task).require(SPEC)
