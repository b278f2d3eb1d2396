"""Who acts when: the schedules against values worked out by hand, the mixture step by step."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import toy

from handrail import envs
from handrail.behaviour import Alone, Ended
from handrail.data.episodes import Episode
from handrail.errors import HandrailError
from handrail.guidance import (
    PATIENCE,
    BernoulliDecay,
    Guidance,
    GuidanceSettings,
    PrefixCurriculum,
    PrefixRandom,
    guided,
)
from handrail.rollout import Rollout
from handrail.types import Draws, Step

ANY = np.zeros(2, np.float32)


def prefix(schedule, state, steps=0, uniform=ANY) -> list[int]:
    return schedule.prefix(state, steps, uniform).tolist()


# -- the curriculum ------------------------------------------------------------------------------


def curriculum(**changes) -> PrefixCurriculum:
    settings = GuidanceSettings(**{"share": 0.5, "stages": 4, "window": 2, **changes})
    return PrefixCurriculum(horizon=20, steps=800, settings=settings)  # a stage: 100 steps


def follow(schedule, episodes) -> list[tuple[int, Any]]:
    """Stage and best average after each of (shaped return, steps), through JSON. The episodes are
    the stage's own."""
    state, seen = schedule.init(), []
    for shaped, steps in episodes:
        state = schedule.observe(state, [Ended(state.get("changed", 0), shaped)], steps)
        state = json.loads(json.dumps(state))
        seen.append((state["stage"], state["best"]))
    return seen


def test_the_prefix_falls_by_a_part_of_the_horizon_at_each_stage():
    schedule = curriculum()
    found = [prefix(schedule, {**schedule.init(), "stage": stage}) for stage in range(5)]
    assert found == [[20, 20], [15, 15], [10, 10], [5, 5], [0, 0]]
    thirds = PrefixCurriculum(10, 800, GuidanceSettings(stages=3))
    assert [prefix(thirds, {"stage": stage})[0] for stage in range(4)] == [10, 7, 3, 0]


def test_a_stage_ends_when_its_time_is_over_and_the_average_is_near_the_best():
    assert follow(
        curriculum(tolerance=0.1),
        [
            (10, 40),  # no window of two yet
            (10, 80),  # best 10, but before step 100
            (9, 100),  # 9.5 is within 10% of 10: stage 1, due at 100
            (8.9, 150),  # a window is a stage's own: not full
            (8.9, 200),  # 8.9 is not within 10% of 10
            (9.2, 220),  # 9.05 is: stage 2
        ],
    ) == [(0, None), (0, 10), (1, 10), (1, 10), (1, 10), (2, 10)]


def test_the_tolerance_is_of_the_magnitude_of_a_negative_best():
    negative = [(-10, 10), (-10, 20), (-12, 100), (-10, 110)]  # averages -10, -11, -11
    assert [stage for stage, _ in follow(curriculum(tolerance=0.1), negative)] == [0, 0, 1, 1]
    assert [stage for stage, _ in follow(curriculum(tolerance=0.05), negative)] == [0, 0, 0, 0]


def test_a_stage_waits_no_longer_than_its_patience():
    late = 100 * PATIENCE
    bad = [(10, 10), (10, 20), (0, 100), (0, late - 1), (0, late)]
    assert [stage for stage, _ in follow(curriculum(), bad)] == [0, 0, 0, 0, 1]
    # Also where fewer episodes than the window have ended.
    assert [stage for stage, _ in follow(curriculum(window=9), bad)] == [0, 0, 0, 0, 1]


def test_a_stage_begins_when_the_one_before_was_due_to_end():
    state = curriculum().init()
    for steps in (50, 190):  # good, and 90 steps late
        state = curriculum().observe(state, [Ended(0, 1.0)], steps)
    assert (state["stage"], state["since"], state["returns"]) == (1, 100, [])


def test_a_stage_is_not_judged_by_episodes_that_an_earlier_one_began():
    schedule, state = curriculum(tolerance=0.1), curriculum().init()
    for steps in (60, 110):  # both rows end together, twice: stage 1
        state = schedule.observe(state, [Ended(0, 10.0), Ended(0, 10.0)], steps)
    assert (state["stage"], state["changed"], state["returns"]) == (1, 110, [])
    # Begun before 110, or in a block that began before: by stage 0, however good they are.
    state = schedule.observe(state, [Ended(100, 10.0), Ended(60, 10.0)], 205)
    assert (state["stage"], state["returns"]) == (1, [])
    state = schedule.observe(state, [Ended(120, 5.0), Ended(110, 5.0)], 210)
    assert (state["stage"], state["returns"]) == (1, [5.0, 5.0])  # due, and far below the best


def test_stages_shorter_than_the_time_between_ends_are_made_up_for():
    state = curriculum().observe(curriculum().init(), [Ended(0, 10.0)] * 2, 380)
    # The first was good at 100; two more waited out their patience, to 366.7.
    assert (state["stage"], state["changed"]) == (3, 380)
    assert state["since"] == pytest.approx(100 + 2 * 100 * PATIENCE)


@pytest.mark.parametrize("good", [True, False])
def test_rows_that_end_together_are_judged_together(good):
    schedule, state = curriculum(window=3), {**curriculum().init(), "best": 10.0}
    state = schedule.observe(state, [Ended(0, 10.0 if good else 5.0)] * 3, 150)
    # Later than either was due: what tells them apart is from when the next stage's time counts.
    assert (state["stage"], state["since"]) == (1, 100 if good else 100 * PATIENCE)


def test_the_last_stage_is_the_students_for_good():
    schedule = curriculum(window=1)
    episodes = [(1, steps) for steps in range(0, 2000, 50)]
    assert follow(schedule, episodes)[-1][0] == 4
    assert prefix(schedule, {"stage": 4}) == [0, 0]


def test_a_prefix_ends_after_h_steps():
    schedule = curriculum()
    t, h = np.array([0, 4, 5, 19]), np.array([5, 5, 5, 20])
    assert schedule.acts(t, h, 0, t).tolist() == [True, True, False, True]
    assert not schedule.over(t, h, 0)
    assert schedule.over(np.array([5, 20]), np.array([5, 20]), 0)


# -- the other two -------------------------------------------------------------------------------


def test_a_random_prefix_is_uniform_on_0_to_the_horizon():
    schedule = PrefixRandom(4, 1000, GuidanceSettings(share=0.5))
    uniform = np.random.default_rng(0).random(50_000).astype(np.float32)
    counts = np.bincount(prefix(schedule, {}, 0, uniform))
    assert len(counts) == 5
    assert np.abs(counts / 10_000 - 1).max() < 0.04  # four standard deviations
    assert prefix(schedule, {}, 0, np.float32([0, 0.2, 1])) == [0, 1, 4]  # rounded up to 1
    assert prefix(schedule, {}, 499, np.float32([0.99])) == [4]
    assert prefix(schedule, {}, 500, np.float32([0.99])) == [0]  # share of the run is over


@pytest.mark.parametrize("steps", [0, 100, 499])
def test_the_coin_falls_as_the_published_code_has_it(steps):
    settings = GuidanceSettings(share=0.5, probability=0.9, decay=5)
    schedule = BernoulliDecay(20, 1000, settings)
    p = 0.9 * math.exp(-5 * steps / 500)
    uniform = np.array([0, p - 1e-9, p + 1e-9, 0.999])
    assert schedule.acts(uniform, uniform, steps, uniform).tolist() == [True, True, False, False]
    assert not schedule.over(uniform, uniform, steps)


def test_the_coin_is_thrown_no_more_after_its_part_of_the_run():
    schedule = BernoulliDecay(20, 1000, GuidanceSettings(share=0.5))
    assert not schedule.acts(ANY, ANY, 500, np.zeros(2)).any()
    assert schedule.over(ANY, ANY, 500)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"share": 0}, r"share is 0; it must lie in \(0, 1\]"),
        ({"share": 1.1}, "share is 1.1"),
        ({"stages": 0}, "1 or more"),
        ({"window": 0}, "1 or more"),
        ({"horizon": 0}, "1 or more"),  # not a None that means the task's
        ({"tolerance": 1}, "between 0 and 1"),
        ({"probability": 1.5}, "between 0 and 1"),
        ({"decay": -1}, "decay is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, line):
    with pytest.raises(HandrailError, match=line):
        GuidanceSettings(**wrong)


# -- the mixture ---------------------------------------------------------------------------------


@dataclass
class Recorder:
    """Always acts alike; notes what it saw."""

    action: float

    def __post_init__(self):
        self.seen: list[Step] = []

    def initial(self, batch: int) -> np.ndarray:
        return np.zeros(batch, int)

    def act(self, carry: Any, step: Step, draws: Draws) -> tuple[np.ndarray, Any]:
        self.seen.append(step)
        t = None if carry is None else np.where(step.first, 1, carry + 1)
        return np.full((len(step.first), 1), self.action, np.float32), t


@dataclass
class Turns:
    """A schedule of given prefixes, an episode after the other in the order of beginning."""

    prefixes: list[int]

    def __post_init__(self):
        self.left = list(self.prefixes)

    def init(self):
        return {}

    def prefix(self, state, steps, uniform):
        return np.array(self.prefixes[: len(uniform)])

    acts = PrefixCurriculum.acts
    over = PrefixCurriculum.over


GUIDE, STUDENT = 0.5, -0.25


def played(schedule, *, task=toy.TOY, rows=1, steps=40, run_steps=0):
    """The episodes that ended, by number, and what guide and student saw, and the last carry."""
    guide, student = Recorder(GUIDE), Recorder(STUDENT)
    rollout = Rollout([envs.make(task) for _ in range(rows)], lambda number: number)
    policy = guided(guide, student, schedule, schedule.init(), run_steps)
    ended: dict[int, Episode] = {}
    for _ in range(steps):
        ended.update((over.number, over.episode) for over in rollout.advance(policy))
    return ended, guide, student, rollout.carry


def actors(episode: Episode) -> str:
    """G and S, by the actions that were executed (in a box of [-2, 2])."""
    return "".join({2 * GUIDE: "G", 2 * STUDENT: "S"}[float(a)] for a in episode.actions[:, 0])


def test_the_guide_acts_first_and_the_student_for_the_rest():
    ended, *_ = played(Turns([7]))
    assert [actors(ended[n]) for n in (0, 1)] == ["G" * 7 + "S" * 13] * 2


def test_rows_have_prefixes_of_their_own_across_the_ends_of_episodes():
    prefixes = [0, 3, 50]
    ended, _, _, carry = played(Turns(prefixes), task=toy.ENDS, rows=3, steps=60)
    lengths = {len(episode) for episode in ended.values()}
    assert len(lengths) > 3  # the rows are out of step
    for number in range(3):  # the first episodes: one of each row
        h, n = prefixes[number], len(ended[number])
        assert actors(ended[number]) == "G" * min(h, n) + "S" * max(0, n - h)
    acted = sum(actors(episode).count("G") for episode in ended.values())
    kinds = {actors(episode)[:4] for episode in ended.values()}
    assert kinds <= {"SSSS", "GGGS", "GGGG", "SSS", "GGG"}
    assert carry.guided[0] == 0
    assert acted <= carry.guided.sum() <= acted + 60


def test_both_see_what_was_executed_whoever_acted():
    _, guide, student, _ = played(Turns([5]), steps=20)
    for t, step in enumerate(student.seen):
        previous = 0 if t == 0 else GUIDE if t <= 5 else STUDENT
        assert step.action[0, 0] == previous
        assert step.first[0] == (t == 0)
    # The guide is asked for its own part alone ...
    assert len(guide.seen) == 5
    # ... and where a coin may give it the next step, it has seen the student's actions too.
    half = BernoulliDecay(20, 1000, GuidanceSettings(probability=0.5, share=1.0, decay=0.0))
    ended, guide, student, _ = played(half, steps=20)
    assert len(guide.seen) == 20
    said = [0.0, *(float(a) / 2 for a in ended[0].actions[:-1, 0])]
    assert [float(step.action[0, 0]) for step in guide.seen] == said
    assert {"G", "S"} == set(actors(ended[0]))


def test_a_guide_that_rested_begins_the_next_episode_afresh():
    _, guide, _, _ = played(Turns([5]), steps=25)
    assert [bool(step.first[0]) for step in guide.seen] == [True, *[False] * 4] * 2
    assert guide.seen[5].action[0, 0] == 0


def test_the_mixture_in_a_batch_is_the_mixture_alone():
    coin = BernoulliDecay(20, 1000, GuidanceSettings(probability=0.5, share=1.0))
    together, *_ = played(coin, task=toy.ENDS, rows=3, steps=60)
    alone, *_ = played(coin, task=toy.ENDS, rows=1, steps=60)
    assert len(set(alone) & set(together)) >= 3
    for number in set(alone) & set(together):
        np.testing.assert_array_equal(alone[number].actions, together[number].actions)


# -- the behaviour -------------------------------------------------------------------------------


COIN = BernoulliDecay(20, 1000, GuidanceSettings(probability=0.5, share=1.0, decay=0.0))


@pytest.mark.parametrize("schedule", [Turns([0, 3, 50]), COIN], ids=["prefix", "coin"])
def test_the_students_part_of_an_episode_is_of_its_own_steps(schedule):
    guidance = Guidance(Recorder(GUIDE), schedule)
    rollout = Rollout([envs.make(toy.ENDS) for _ in range(3)], lambda number: number)
    parts = set()
    policy = guidance.policy(Recorder(STUDENT), 0)  # type: ignore[arg-type]
    for _ in range(60):
        for over in rollout.advance(policy):
            part = guidance.part(rollout.carry, over.row)
            assert part == pytest.approx(actors(over.episode).count("S") / len(over.episode))
            parts.add(part)
    assert len(parts) > 2


@pytest.mark.parametrize(("warmup", "waits"), [(0, 0), (45, 0), (0, 45), (30, 60)])
def test_alone_what_counts_is_what_the_student_acted_in_once_it_learns(warmup, waits):
    """Neither chance nor a policy that waits for its first update answers to a multiplier."""
    behaviour = Alone(warmup, 1, waits)
    rollout = Rollout([envs.make(toy.ENDS) for _ in range(3)], lambda number: number)
    rollout.carry = behaviour.policy(Recorder(STUDENT), 0).initial(3)  # type: ignore[arg-type]
    begun, parts = np.zeros(3, int), []
    for step in range(40):
        policy = behaviour.policy(Recorder(STUDENT), 3 * step)  # type: ignore[arg-type]
        for over in rollout.advance(policy):
            steps = 3 * np.arange(begun[over.row], step + 1)
            expected = (steps >= max(warmup, waits)).mean()
            parts.append(behaviour.part(rollout.carry, over.row))
            assert parts[-1] == pytest.approx(expected)
            begun[over.row] = step + 1
    assert parts[-1] == 1
    assert (min(parts) == 0) == (max(warmup, waits) > 0)


def test_the_share_is_of_the_steps_since_it_was_last_asked_for():
    schedule = curriculum()
    guidance = Guidance(Recorder(GUIDE), schedule)
    rollout = Rollout([envs.make(toy.TOY) for _ in range(2)], lambda number: number)
    shares = []
    for begin in (0, 20, 40):
        policy = guidance.policy(Recorder(STUDENT), begin)  # type: ignore[arg-type]
        for _ in range(10):
            for _ in rollout.advance(policy):
                guidance.observe([Ended(0, 1.0)], 100)
        shares.append(guidance.metrics(begin + 20, rollout.carry)["guide/share"])
        guidance.state = json.loads(json.dumps(guidance.state))
    # Stage 0 has 20 of 20 steps; two episodes end at step 20 of each row, which advances to 15.
    assert shares == [1.0, 1.0, 1.0]
    assert guidance.state["schedule"]["stage"] == 1
    policy = guidance.policy(Recorder(STUDENT), 60)  # type: ignore[arg-type]
    for _ in range(10):
        rollout.advance(policy)
    assert guidance.metrics(80, rollout.carry)["guide/share"] == 0.5
