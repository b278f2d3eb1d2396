"""Which complete runs are drawn together, and what they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy

from handrail import drawing
from handrail.errors import HandrailError
from handrail.gold import GOLD
from handrail.jobs import _compared
from handrail.methods import BC, DT, Method
from handrail.online_methods import IQL
from handrail.runs import Run


def draw(paths: list[Path], out: Path) -> None:
    drawing.draw(paths, out, lambda run: run.settings)


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


def test_runs_of_one_setting_are_seeds_and_others_are_called_by_what_differs(labels, tmp_path):
    one, two = {"tau": 0.7, "noise": 0.5}, {"tau": 0.9, "noise": 0.5}
    assert labels(a=one, b=one) == {"IQL": ["a", "b"]}
    assert labels(c=one, d=two, e=two) == {"IQL, tau = 0.7": ["c"], "IQL, tau = 0.9": ["d", "e"]}
    assert labels(f=one, g={**one, "horizon": 9}) == {
        "IQL, horizon = unset": ["f"],
        "IQL, horizon = 9": ["g"],
    }
    # More than two differ: too much for a label.
    one, two = {"x": 1, "y": 1, "z": 1}, {"x": 2, "y": 2, "z": 2}
    assert labels(h=one, i=two, j=one) == {
        f"IQL, {tmp_path / 'h'}": ["h", "j"],
        f"IQL, {tmp_path / 'i'}": ["i"],
    }


def test_runs_inside_others_are_told_apart_though_all_are_called_alike(
    finished, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(drawing, "reward_cost_plane", lambda *given: drawn.append(given[0]))
    outer = [finished(name, [0, 9]) for name in "ab"]
    for name, number in (("a/guide", 1), ("b/guide", 2)):
        finished(name, [0], x=number, y=number, z=number)
    draw(outer, tmp_path)
    # Of "a" and "b" as well: all four are of one method here.
    assert len(drawn[0]) == 3


# -- what runs are compared by -------------------------------------------------------------------


def compared(method: Method, path: Path, **written) -> dict:
    """By a run of the method, whose settings.toml has been ``written`` otherwise."""
    with Run.create(path, {**method.settings(), **written}) as run:
        return _compared(run)


def test_seeds_files_and_what_is_not_read_make_no_difference(tmp_path):
    iql = IQL(task=toy.TOY, demos=Path("one.hdf5"), seed=0)
    one = compared(iql, tmp_path / "one")
    assert one["iql.expectile"] == iql.iql.expectile
    # Of another version, which did not know of the group yet; the limit is the task's own.
    other = IQL(task=toy.TOY, demos=Path("two.hdf5"), seed=1, cost_limit=25.0)
    assert compared(other, tmp_path / "two", pid={}, online={}) == one
    assert compared(IQL(task=toy.TOY, demos=Path("x"), warmup=7), tmp_path / "three") == one
    held = IQL(task=toy.TOY, demos=Path("x"), multiplier="pid")
    found = compared(held, tmp_path / "four")
    assert {name for name in found if found[name] != one.get(name)} >= {"multiplier", "pid.kp"}


def test_what_runs_begin_with_is_told_by_its_method(tmp_path):
    def of(guide: Path | str, name: str) -> str:
        return compared(GOLD(task=toy.TOY, guide=str(guide)), tmp_path / name)["guide"]

    for name, method in (("bc-0", BC), ("bc-1", BC), ("dt-0", DT)):
        Run.create(tmp_path / name, method(task=toy.TOY).settings()).close()
    found = [of(tmp_path / f"{name}", f"of-{name}") for name in ("bc-0", "bc-1", "dt-0")]
    assert found == ["bc", "bc", "dt"] == [of("bc", "own-0"), of("bc", "own-1"), of("dt", "own-2")]
    # Gone, or damaged: then it is its path that tells.
    gone, damaged = tmp_path / "gone", tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "settings.toml").write_bytes(b"\xff = [")
    assert [of(gone, "of-gone"), of(damaged, "of-damaged")] == [str(gone), str(damaged)]
