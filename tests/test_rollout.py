"""Episodes are functions of their seeds: together or alone, through or broken off."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pytest
import toy

from handrail import envs
from handrail.errors import HandrailError
from handrail.policies import HeldRandom
from handrail.rollout import Rollout, episode_seed, play
from handrail.types import Draws, Step


def simulators(count: int, task: str = toy.ENDS) -> list:
    return [envs.make(task) for _ in range(count)]


def assert_same(left, right):
    for name in ("observations", "actions", "rewards", "costs"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert (left.terminated, left.seed) == (right.terminated, right.seed)


@dataclass
class Spy:
    """``toy.Steady``, noting what it is asked."""

    policy: Any = field(default_factory=toy.Steady)
    asked: list[tuple[Step, Draws]] = field(default_factory=list)

    def initial(self, batch: int) -> Any:
        return self.policy.initial(batch)

    def act(self, carry: Any, step: Step, draws: Draws) -> tuple[np.ndarray, Any]:
        self.asked.append((step, draws))
        return self.policy.act(carry, step, draws)


@pytest.mark.parametrize("policy", [toy.Steady(), HeldRandom(1, hold=4)], ids=["steady", "held"])
def test_in_lock_step_the_episodes_are_those_of_one_after_the_other(policy):
    seeds = list(range(100, 111))
    alone = [next(play(policy, simulators(1), [seed])) for seed in seeds]
    for rows in (1, 3, 20):
        together = list(play(policy, simulators(rows), seeds))
        assert [episode.seed for episode in together] == seeds  # in their order, not of finishing
        for left, right in zip(together, alone, strict=True):
            assert_same(left, right)
    assert len({len(episode) for episode in alone}) > 3


def test_an_episode_is_what_the_simulator_said():
    (episode,) = play(toy.Steady(), simulators(1), [5])
    env, terminated = envs.make(toy.ENDS), False
    observations = [env.reset(seed=5)[0]]
    for t, action in enumerate(env.spec_.to_unit(episode.actions)):
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        assert episode.rewards[t] == np.float32(reward)
        assert episode.costs[t] == info["cost"]
        assert (terminated or truncated) == (t == len(episode) - 1)
    assert episode.terminated == terminated
    np.testing.assert_array_equal(episode.observations, observations)


def test_a_time_limit_is_no_termination():
    (cut,) = play(toy.Steady(), simulators(1, toy.TOY), [0])
    assert (len(cut), cut.terminated) == (toy.HORIZON, False)
    ended = list(play(toy.Steady(), simulators(2), range(6)))
    assert all(episode.terminated and len(episode) < toy.HORIZON for episode in ended)


def test_a_policy_sees_what_was_executed_and_nothing_of_another_episode():
    spy = Spy()
    episodes = list(play(spy, simulators(1), [0, 1]))
    t = 0
    for episode in episodes:
        for step, _ in spy.asked[t : t + len(episode)]:
            n = t - (0 if episode is episodes[0] else len(episodes[0]))
            np.testing.assert_array_equal(step.observation[0], episode.observations[n])
            assert step.first[0] == (n == 0)
            before = (episode.actions[n - 1, 0] / 2, episode.rewards[n - 1], episode.costs[n - 1])
            seen = (step.action[0, 0], step.reward[0], step.cost[0])
            np.testing.assert_allclose(seen, before if n else (0, 0, 0), rtol=1e-6)
            t += 1
    assert t == len(spy.asked)


def test_the_draws_are_the_episodes_alone():
    quiet, loud = Spy(toy.Steady(noise=0.0)), Spy(toy.Steady(noise=2.0))
    list(play(quiet, simulators(1, toy.TOY), [7]))
    list(play(loud, simulators(3, toy.TOY), [3, 7, 9]))
    rng = np.random.default_rng([7, 1])
    for (_, left), (_, right) in zip(quiet.asked, loud.asked, strict=True):
        assert left.normal[0, 0] == right.normal[1, 0] == rng.standard_normal(1, np.float32)[0]
        assert left.uniform[0] == right.uniform[1] == np.float32(rng.random())


def test_the_draws_tell_nothing_of_the_episodes_start():
    """Gymnasium seeds a simulator's generator with the episode's seed: of the same stream, ours
    would give the sizes and signs of noise away to who has seen the start."""
    starts, draws = [], []
    for seed in range(400):
        spy = Spy()
        list(itertools.islice(play(spy, simulators(1, toy.TOY), [seed]), 1))
        starts.append(spy.asked[0][0].observation[0, 0])
        first = [draws for _, draws in spy.asked[:4]]
        draws.append([(d.normal[0, 0], abs(d.normal[0, 0]), d.uniform[0]) for d in first])
    related = np.corrcoef(np.column_stack([starts, np.reshape(draws, (400, -1))]).T)[0, 1:]
    assert np.abs(related).max() < 0.2  # four standard errors


def test_idle_rows_wait():
    spy = Spy()
    assert len(list(play(spy, simulators(3, toy.TOY), [0, 1, 2, 3]))) == 4
    last, draws = spy.asked[-1]
    assert last.observation[1:].tolist() == [[0, 0, 0]] * 2
    assert last.first.tolist() == [False, True, True]
    assert (draws.normal[1:] == 0).all()
    assert list(play(spy, simulators(2), [])) == []


def test_numbers_are_given_in_the_order_of_finishing():
    rollout = Rollout(simulators(2), lambda number: number if number < 6 else None)
    ended, running = [], [0, 1]
    while not rollout.done:
        for number, episode, row in rollout.advance(toy.Steady()):
            assert episode.seed == number
            assert running[row] == number
            running[running.index(number)] = max(*running, *ended, 1) + 1
            ended.append(number)
    assert sorted(ended) == list(range(6))
    assert ended != sorted(ended)


@pytest.mark.parametrize("policy", [toy.Steady(), HeldRandom(1, hold=4)], ids=["steady", "held"])
@pytest.mark.parametrize("moment", [0, 1, 17, 30])
def test_a_restored_rollout_goes_on_exactly(policy, moment):
    def make():
        return Rollout(simulators(3), lambda number: episode_seed(1, number))

    whole, broken, resumed = make(), make(), make()
    for _ in range(moment):
        whole.advance(policy)
        broken.advance(policy)
    state = broken.state()
    if state["carry"] is None:
        state["carry"] = policy.initial(3)
    resumed.restore(state)
    for _ in range(40):
        left, right = whole.advance(policy), resumed.advance(policy)
        assert [(a.number, a.row) for a in left] == [(b.number, b.row) for b in right]
        for a, b in zip(left, right, strict=True):
            assert_same(a.episode, b.episode)
    left, right = (jax.tree.leaves(rollout.state()) for rollout in (whole, resumed))
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_simulator_that_does_not_repeat_itself_is_told():
    def make():
        return Rollout(simulators(1, toy.FORGETS), lambda number: number)

    rollout = make()
    for _ in range(5):
        rollout.advance(toy.Steady())
    with pytest.raises(HandrailError, match="does not repeat an episode from its seed"):
        make().restore(rollout.state())


def test_seeds_of_episodes_differ_between_runs():
    seeds = {episode_seed(run, number) for run in range(20) for number in range(100)}
    assert len(seeds) == 2000
    assert min(seeds) >= 0
    assert max(seeds) < 2**32
    assert episode_seed(3, 4) == episode_seed(3, 4)
