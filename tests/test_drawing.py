"""Which complete runs are drawn together, and what they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy

from handrail import drawing
from handrail.drawing import draw
from handrail.errors import HandrailError
from handrail.runs import Run


def test_a_figure_of_no_run_is_refused(tmp_path):
    with pytest.raises(HandrailError, match="no run to draw"):
        draw([], tmp_path)


@pytest.fixture
def finished(tmp_path):
    """Makes a complete run of IQL with evaluations at these steps, which return the step."""

    def make(
        name: str, steps: list[int], limit: float = 25.0, task: str = toy.TOY, **settings
    ) -> Path:
        judged = {"return": {"mean": 1.0}, "cost": {"mean": 2.0}, "cost_limit": limit}
        with Run.create(tmp_path / name, settings) as run:
            for step in steps:
                run.log(step, {"eval/return": float(step), "eval/cost": 2.0 * step})
            run.finish({"task": task, "method": "IQL", "env_steps": 9, "validation": judged})
        return run.path

    return make


def test_runs_evaluated_at_other_steps_are_joined_by_the_step(finished, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(drawing, "reward_cost_plane", lambda *given: drawn.append(given))
    fine, coarse = finished("fine", [0, 10, 20, 30, 40]), finished("coarse", [0, 40, 80])
    draw([fine, coarse, tmp_path / "coarse" / ".." / "fine"], tmp_path)
    ((points, ways, limit, _),) = drawn
    assert points == [("IQL", 1.0, 2.0, "scratch")]
    np.testing.assert_allclose(ways["IQL"][0], [0, 10, 20, 30, 40])
    np.testing.assert_allclose(ways["IQL"][1], [0, 20, 40, 60, 80])
    assert limit == 25.0


def test_a_run_that_is_named_twice_counts_once(finished, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(drawing, "learning_curves", lambda *given: drawn.append(given))
    one = finished("one", [0, 9])
    draw([one, tmp_path / "one" / ".." / "one"], tmp_path)
    assert [len(runs) for runs in drawn[0][0].values()] == [1]


def test_what_cannot_be_drawn_together_or_at_all_is_told(finished, tmp_path):
    one = finished("one", [0, 9])
    for other, what in [
        (finished("strict", [0, 9], limit=5.0), "cost limits in one figure: 5.0, 25.0; draw them"),
        (finished("ends", [0, 9], task=toy.ENDS), f"tasks in one figure: {toy.TOY}, {toy.ENDS};"),
    ]:
        with pytest.raises(HandrailError, match=f"runs of different {what}"):
            draw([one, other], tmp_path)
    (one / "summary.json").write_text('{"task": "gym/toy:Toy-v0", "method": "IQL"}')
    with pytest.raises(HandrailError, match=r"one/summary.json is damaged: it lacks 'validation'"):
        draw([one], tmp_path)
    two = finished("two", [0, 9])
    (two / "metrics.csv").write_text("eval/return,eval/cost\n1,2\n")
    with pytest.raises(HandrailError, match=r"two/metrics.csv is damaged at line 1; restore it"):
        draw([two], tmp_path)


@pytest.fixture
def labels(finished, tmp_path, monkeypatch):
    """Draws runs of these settings, and gives each line's label with the names of its runs."""
    drawn = []
    monkeypatch.setattr(drawing, "learning_curves", lambda *given: drawn.append(given))

    def found(**settings: dict) -> dict[str, list[str]]:
        draw([finished(name, [0, 9], **of) for name, of in settings.items()], tmp_path)
        return {label: [run.name for run in runs] for label, runs in drawn[-1][0].items()}

    return found


def test_runs_of_one_setting_are_seeds_and_others_are_called_by_what_differs(labels):
    one, two = {"iql": {"tau": 0.7}, "noise": 0.5}, {"iql": {"tau": 0.9}, "noise": 0.5}
    seeds = labels(a={**one, "seed": 0, "demos": "x"}, b={**one, "seed": 1, "demos": "y"})
    assert seeds == {"IQL": ["a", "b"]}
    assert labels(c={**one, "seed": 0}, d={**two, "seed": 0}, e={**two, "seed": 1}) == {
        "IQL, iql.tau = 0.7": ["c"],
        "IQL, iql.tau = 0.9": ["d", "e"],
    }
    assert labels(f=one, g={**one, "cost_limit": 9.0}) == {
        "IQL, cost_limit = unset": ["f"],
        "IQL, cost_limit = 9": ["g"],
    }
    # More than two differ: too much for a label.
    assert labels(h={"x": 1, "y": 1, "z": 1}, i={"x": 2, "y": 2, "z": 2}) == {
        "IQL, h": ["h"],
        "IQL, i": ["i"],
    }


def test_what_runs_begin_with_is_told_by_its_method(labels, finished, tmp_path):
    bc, other = (finished(f"bc-{seed}", [0], method="bc") for seed in (0, 1))
    dt = finished("dt-0", [0], method="dt")
    gone = str(tmp_path / "gone")
    assert labels(a={"guide": str(bc)}, b={"guide": str(other)}, c={"guide": "bc"}) == {
        "IQL": ["a", "b", "c"]
    }
    assert labels(d={"guide": str(bc)}, e={"guide": str(dt)}, f={"guide": gone}) == {
        "IQL, guide = bc": ["d"],
        "IQL, guide = dt": ["e"],
        "IQL, guide = another run": ["f"],
    }
