"""Reports on episodes whose numbers are known by hand."""

import io
import json
import math

import gymnasium
import numpy as np
import pytest

from handrail.data.episodes import Episode
from handrail.envs.cmdp import CMDP, Task
from handrail.errors import HandrailError, Stopped
from handrail.evaluate import evaluate, report, table
from handrail.progress import Watcher
from handrail.stats import bootstrap


def episode(rewards, costs) -> Episode:
    t = len(rewards)
    return Episode(
        np.zeros((t + 1, 1), np.float32),
        np.zeros((t, 1), np.float32),
        np.float32(rewards),
        np.float32(costs),
        terminated=False,
    )


EPISODES = [
    episode([1, 2], [0, 0]),  # return 3, cost 0
    episode([4, 0, 1], [1, 1, 0]),  # return 5, cost 2: on the limit, which is within it
    episode([0], [3]),  # return 0, cost 3: above it
    episode([8, 8], [0, 7]),  # return 16, cost 7: above it
]
NAMES = {"task": "native/Probe", "method": "gold", "seed": 3}


def test_a_report_by_hand():
    got = report(EPISODES, **NAMES, cost_limit=2)
    assert got == {
        "task": "native/Probe",
        "method": "gold",
        "episodes": 4,
        "seed": 3,
        "return": {
            "mean": 6.0,
            "iqm": 4.0,
            "ci95": list(bootstrap([3, 5, 0, 16])),
            "min": 0.0,
            "max": 16.0,
            "std": pytest.approx(math.sqrt((9 + 1 + 36 + 100) / 4)),
        },
        "cost": {
            "mean": 3.0,
            "iqm": 2.5,
            "ci95": list(bootstrap([0, 2, 3, 7])),
            "min": 0.0,
            "max": 7.0,
            "std": pytest.approx(math.sqrt((9 + 1 + 0 + 16) / 4)),
        },
        "length": {
            "mean": 2.0,
            "iqm": 2.0,
            "ci95": list(bootstrap([2, 3, 1, 2])),
            "min": 1.0,
            "max": 3.0,
            "std": pytest.approx(math.sqrt(2 / 4)),
        },
        "cost_limit": 2.0,
        "violation_rate": 0.5,
    }
    assert json.loads(json.dumps(got)) == got


def test_rounding_in_storage_is_no_violation():
    tenths = episode(np.zeros(250), np.full(250, 0.1))
    assert tenths.cost > 25
    assert report([tenths], **NAMES, cost_limit=25)["violation_rate"] == 0
    free = episode([0], [1e-3])
    assert report([free], **NAMES, cost_limit=0)["violation_rate"] == 1


def test_no_episode_is_an_error():
    with pytest.raises(HandrailError, match="no episode"):
        report([], **NAMES, cost_limit=1)


def rendered(report, width: int = 100) -> str:
    from rich.console import Console

    console = Console(width=width, file=io.StringIO())
    console.print(table(report))
    return console.file.getvalue()


def test_the_table_says_what_the_report_says():
    text = rendered(report(EPISODES, **NAMES, cost_limit=2))
    assert "gold on native/Probe" in text
    for row in (("return", "6.00", "4.00", "16.00"), ("cost", "3.00", "2.50", "7.00")):
        (line,) = (line for line in text.splitlines() if row[0] in line and row[1] in line)
        assert all(cell in line for cell in row)
    caption = " ".join(text.split())
    assert "4 episodes from seed 3; 2 of them (50%) exceed the cost limit of 2" in caption


def test_the_table_of_a_large_return_is_whole_in_80_columns():
    text = rendered(
        report([episode([1234.56], [0]), episode([-987.6], [250])], **NAMES, cost_limit=2), 80
    )
    (line,) = (line for line in text.splitlines() if "return" in line)
    assert all(cell in line for cell in ("123.5", "-987.6 to 1234.6", "1111.1", "-987.6", "1234.6"))


class Ended(Watcher):
    """Stops after the first episode; counts how often it is told that the stage is over."""

    ends = 0

    def advance(self, done, latest) -> None:
        self.stopping = True

    def end(self) -> None:
        self.ends += 1


class Counting(gymnasium.Env):
    """Starts at its seed; an episode of 2 + seed % 3 steps; pays the action, costs the start."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    closed = 0

    def reset(self, *, seed=None, options=None):
        self.start, self.t = seed, 0
        return np.float32([self.start]), {}

    def step(self, action):
        self.t += 1
        done = self.t == 2 + self.start % 3
        return np.float32([self.start]), float(action[0]), done, False, {"cost": self.start}

    def close(self):
        Counting.closed += 1


def test_its_watcher_stops_it_and_is_told_when_it_is_over():
    """Else a bar would stay on the terminal, and its cursor hidden."""
    watcher = Ended()
    with pytest.raises(Stopped, match="stopped after 1 of 4 episodes of half"):
        evaluate(Half(), make_env, episodes=4, seed=3, method="half", watcher=watcher)
    assert watcher.ends == 1


class Half:
    def initial(self, batch):
        return ()

    def act(self, carry, step, draws):
        return np.full((len(step.observation), 1), 0.5, np.float32), carry


def make_env() -> CMDP:
    return CMDP(Counting(), Task("gym/Counting", 10, 9.0, ""))


@pytest.mark.parametrize("batch", [1, 2, 10])
def test_evaluate_plays_one_episode_for_each_seed(batch):
    Counting.closed = 0
    got, played = evaluate(Half(), make_env, episodes=4, seed=3, method="half", batch=batch)
    assert [e.seed for e in played] == [3, 4, 5, 6]
    assert [len(e) for e in played] == [2, 3, 4, 2]
    assert [e.cost for e in played] == [6, 12, 20, 12]
    assert got["task"] == "gym/Counting"
    assert got["return"]["mean"] == (1 + 1.5 + 2 + 1) / 4
    assert got["cost_limit"] == 9  # the task's own
    assert got["violation_rate"] == 0.75
    assert Counting.closed == min(batch, 4)


def test_evaluate_takes_another_limit_and_refuses_no_episodes():
    got, _ = evaluate(Half(), make_env, episodes=2, seed=3, method="half", cost_limit=12)
    assert got["violation_rate"] == 0
    with pytest.raises(HandrailError, match="1 or more"):
        evaluate(Half(), make_env, episodes=0, seed=3, method="half")
