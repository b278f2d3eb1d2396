"""The page of results: what it says of a small table whose answers are known."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from made_up import result, row_of, write_csv

from handrail import cli, envs
from handrail.demonstrations import expert_path
from handrail.envs.native.paths import follow
from handrail.errors import HandrailError
from handrail.evaluate import evaluate
from handrail.page import papers
from handrail.page.elsewhere import elsewhere
from handrail.page.guide_quality import guide_quality, pairs, rank_correlation, same_order
from handrail.page.judged import judged
from handrail.page.measured import CURVE_COLUMNS, _begun_apart, read_curves, read_results
from handrail.page.over_tasks import over_tasks
from handrail.page.panels import TaskPoints, TaskWays, Way, planes, ways
from handrail.page.paper import Figures, PaperTask, tasks
from handrail.page.sections import overview, tasks_in_detail, times, write
from handrail.page.sources import Sources
from handrail.page.step_panels import TaskCurves, curves
from handrail.page.steps_to_reach import steps_to_reach
from handrail.page.trajectories import trajectories
from handrail.policy_files import load_policy
from handrail.results import COLUMNS
from handrail.tables import definition

CIRCLE, GATHER, GOAL, OWN = (
    "bullet/CarCircle-gold", "bullet/CarGather-gold", "native/PointGoal1-gold", "driving/Merge"
)  # fmt: skip
GOLD = "GOLD (DT-IQL)"


ROWS = [
    result(CIRCLE, "BC", 0, 400.0, 20.0),
    result(CIRCLE, "BC", 1, 500.0, 30.0),
    result(CIRCLE, "CVPO", 0, 480.0, 9.0),
    result(CIRCLE, "CVPO", 1, 520.0, 11.0),
    result(CIRCLE, GOLD, 1, 700.0, 12.0),
    result(CIRCLE, GOLD, 0, 1.0, 1.0),  # another setting, run before the one that counts
    result(CIRCLE, GOLD, 0, 600.0, 14.0, settings=json.dumps({"guide": "runs/dt"})),
    result(GATHER, "BC", 0, 5.0, 0.75),
    result(GATHER, "CVPO", 0, 12.0, 0.25, wall_seconds=150),
    result(GATHER, GOLD, 0, 14.0, 0.25),
    result(OWN, GOLD, 0, 3.0, 1.25),
]
CURVES = [
    dict(zip(CURVE_COLUMNS, (CIRCLE, method, seed, step, return_, cost, 7, ""), strict=True))
    for method, seed, points in [
        ("CVPO", 0, [(100, 90.0, 4.0), (200, 310.0, 5.0), (300, 290.0, 6.0)]),
        ("CVPO", 1, [(100, 110.0, 4.0), (200, 290.0, 5.0), (300, 310.0, 8.0)]),
        ("IQL", 0, [(100, 500.0, 3.0), (200, 200.0, 3.0)]),
        (GOLD, 0, [(50, 250.0, 70.0), (100, 350.0, 30.0), (300, 600.0, 2.0)]),
        ("GOLD (BC-IQL)", 0, [(100, 100.0, 1.0), (300, 299.0, 1.0)]),
    ]
    for step, return_, cost in points
]


@pytest.fixture
def results_file(tmp_path) -> Path:
    return write_csv(tmp_path / "gold.csv", COLUMNS, ROWS)


@pytest.fixture
def curves_file(tmp_path) -> Path:
    return write_csv(tmp_path / "curves.csv", CURVE_COLUMNS, CURVES)


@pytest.fixture
def sources(results_file, curves_file, tmp_path) -> Sources:
    return Sources(
        papers.GOLD, read_results(results_file), read_curves(curves_file), tmp_path / "results.md"
    )


# -- the paper -----------------------------------------------------------------------------------


def test_the_papers_table_is_whole():
    methods = {"BC", "DT", "IQL", "CVPO", "GOLD (BC-IQL)", "GOLD (DT-CVPO)", GOLD}
    known = papers.GOLD.tasks
    assert len(known) == 9
    assert all(set(task.methods) == methods for task in known.values())
    assert known[CIRCLE].methods["DT"] == Figures(450.3, 40.4)
    assert known["metadrive/Waymo"].methods[GOLD] == Figures(143.69, 1.15, 0.73)
    limits = {task: envs.cost_limit(task) for task in known}
    assert (limits[CIRCLE], limits[GATHER], limits[GOAL]) == (10.0, 0.5, 10.0)
    assert all(limits[task] for task in limits if not task.startswith("metadrive/"))


def test_scores_are_0_at_the_papers_cvpo_and_1_at_its_gold():
    got = papers.GOLD.scale.scores(CIRCLE, np.array([502.5, 688.3, 595.4, 316.7]))
    np.testing.assert_allclose(got, [0, 1, 0.5, -1])


@pytest.mark.parametrize("ahead", [8.0, 9.0])
def test_no_score_where_the_papers_gold_is_not_ahead(ahead, monkeypatch):
    task = PaperTask("Odd", {"CVPO": Figures(ahead, 1.0), GOLD: Figures(8.0, 1.0)})
    monkeypatch.setitem(tasks("gold"), "gym/odd", task)
    assert papers.GOLD.scale.unit("gym/odd") is None
    with pytest.raises(ValueError, match="gym/odd has no scale: not in the paper"):
        papers.GOLD.scale.scores("gym/odd", np.array([1.0]))


# -- the tables ----------------------------------------------------------------------------------


def test_the_overview_counts_cells_and_marks_the_best_within_the_limit(sources):
    text = overview(sources)
    # 9 tasks of the paper and one more, 8 methods and ours; 3 + 3 + 1 cells.
    assert "7 of 90 cells" in text
    heads = row_of(text, "task")
    circle = dict(zip(heads, row_of(text, "Car-Circle"), strict=True))
    assert circle["BC"] == "450.0 / 25.0 (2)"
    assert circle["CVPO"] == "**500.0 / 10.0** (2)"  # at the limit is within it
    assert circle[GOLD] == "650.0 / 13.0 (2)"  # earns more, costs too much
    assert circle["DT"] == "not run"
    gather = dict(zip(heads, row_of(text, "Car-Gather", "0.5"), strict=True))
    assert (gather[GOLD], gather["CVPO"]) == ("**14.0 / 0.25**", "12.0 / 0.25")
    assert set(row_of(text, "Car-Push", "10")[2:]) == {"not run"}
    own = dict(zip(heads, row_of(text, f"`{OWN}`", "unknown"), strict=True))
    assert own[GOLD] == "3.0 / 1.25"  # no limit, no best


def test_a_task_in_detail(sources):
    third = replace(sources.results[CIRCLE, GOLD][0], seed=2, return_=650.0, cost=13.0)
    results = {**sources.results, (CIRCLE, GOLD): (*sources.results[CIRCLE, GOLD], third)}
    sources = replace(sources, results=results)
    circle, gather, own = re.split("\n### ", tasks_in_detail(sources))[1:]
    assert row_of(circle, GOLD) == [
        GOLD, "650.0 (600.0 to 700.0)", "500.0", "13.0 (12.0 to 14.0)", "42", "50%", "1,000", "3",
        "688.3 / 3.2",
    ]  # fmt: skip
    assert row_of(circle, "CVPO")[1] == "**500.0**"  # two seeds tell no interval
    assert row_of(circle, "BC")[6] == ""  # it does not train in the simulator
    assert row_of(circle, "IQL") == ["IQL", "not run", "", "", "", "", "", "0", "630.7 / 17.5"]
    assert row_of(circle, "IQL (demos)")[-1] == ""  # not in the paper
    assert row_of(gather, GOLD)[1:4] == ["**14.0**", "-86.0", "**0.25**"]
    assert row_of(gather, GOLD)[-1] == "14.0 / 0.14"
    assert own.startswith(f"`{OWN}`")
    assert "paper" not in row_of(own, "method")[-1]


def test_from_four_seeds_on_the_interquartile_mean_is_told(sources):
    assert "| IQM |" not in tasks_in_detail(sources)
    cell = (CIRCLE, GOLD)
    runs = tuple(
        replace(sources.results[cell][0], seed=seed, return_=return_)
        for seed, return_ in enumerate([100.0, 600.0, 650.0, 700.0, 710.0])
    )
    with_five = replace(sources, results={**sources.results, cell: runs})
    circle, gather, _ = re.split("\n### ", tasks_in_detail(with_five))[1:]
    assert row_of(circle, "method")[:4] == ["method", "return", "IQM", "lowest"]
    mean, robust = row_of(circle, GOLD)[1:3]
    assert mean.startswith("552.0 (")
    assert robust.startswith("650.0 (")  # of 600, 650 and 700
    low, high = map(float, re.findall(r"[\d.]+", robust)[1:])
    assert 100 <= low < 650 < high <= 710
    assert row_of(circle, "CVPO")[2] == row_of(circle, "IQL")[2] == ""
    assert "IQM" not in row_of(gather, "method")


MINE = "gym/own:Task-v0"
LIMITED = [
    result(MINE, method, seed, return_, cost, settings=json.dumps(settings))
    for method, seed, return_, cost, settings in [
        ("loose", 0, 30.0, 20.0, {}),  # 25, where none is stated
        ("loose", 1, 30.0, 20.0, {"cost_limit": None}),
        ("strict", 0, 20.0, 4.0, {"cost_limit": 5.0}),
        ("strict", 1, 24.0, 5.0, {"cost_limit": 5.0}),
        ("beyond", 0, 40.0, 6.0, {"cost_limit": 5}),
        ("none", 0, 10.0, 0.0, {"cost_limit": 0}),
    ]
]


def test_the_page_of_a_users_own_table_is_no_papers(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_csv(Path("mine.csv"), COLUMNS, LIMITED)
    assert cli.main(["results", "mine.csv", "--out", "pages/mine.md"]) == 0
    text = Path("pages/mine.md").read_text()
    assert text.startswith("# Results: mine\n\n4 of 4 cells")
    assert not re.search("GOLD|Marvel|Handrail|paper|not run", text)
    first = text.split("\n## ")[0]
    heads, cells = row_of(first, "task"), row_of(first, f"`{MINE}`")
    # Each is held to its own limit: 6 is beyond 5, and 20 is within 25.
    assert dict(zip(heads, cells, strict=True)) == {
        "task": f"`{MINE}`", "limit": "0, 5 and 25", "loose": "**30.0 / 20.00** (2)",
        "strict": "22.0 / 4.50 (2)", "beyond": "40.0 / 6.00", "none": "10.0 / 0.00",
    }  # fmt: skip
    assert "Of several limits of a task each is held to its own" in re.sub(r"\s+", " ", text)
    detail = text.split("## Task by task")[1].split("\n## ")[0]
    found = [row_of(detail, m)[1] for m in ("loose", "strict", "beyond", "none")]
    assert found == ["25", "5", "5", "0"]
    assert "from what `handrail table` measured" in re.sub(r"\s+", " ", text)
    assert Path("pages/figures/mine-planes.png").is_file()
    capfd.readouterr()
    assert cli.main(["results", "mine.csv", "--out", "pages/mine.md", "--guides", "mine.csv"]) == 2
    line = "mine.csv: its page (Results: mine) reads no --guides; leave it out"
    assert capfd.readouterr() == ("", f"handrail: {line}\n")


def test_a_page_takes_the_place_of_nothing_it_is_made_from(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_csv(Path("mine.csv"), COLUMNS, LIMITED)
    before = Path("mine.csv").read_bytes()
    assert cli.main(["results", "mine.csv", "--out", "./mine.csv"]) == 2
    assert "--out is mine.csv, which the page is made from" in capfd.readouterr().err
    assert cli.main(["results", "mine.csv", "--out", "."]) == 2
    assert "a directory; name the page's file" in capfd.readouterr().err
    assert Path("mine.csv").read_bytes() == before


def test_a_dollar_in_a_label_is_a_dollar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{**LIMITED[0], "method": label} for label in ("$^$", "a $\\b$", "3 $")]
    write_csv(Path("mine.csv"), COLUMNS, rows)
    assert cli.main(["results", "mine.csv", "--out", "mine.md"]) == 0
    assert Path("figures/mine-planes.png").is_file()


@pytest.mark.parametrize("limit", ["much", -1, float("nan"), [5], True])
def test_a_limit_that_is_none_is_named(limit, tmp_path):
    rows = [{**LIMITED[1], "settings": json.dumps({"cost_limit": limit})}]
    with pytest.raises(HandrailError, match=r"row 1: settings is .* not a JSON object with a cost"):
        read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))


def test_the_page_of_random_layouts_shows_what_others_published(tmp_path):
    point, car = "native/PointGoal1", "native/CarGoal1"
    rows = [result(point, GOLD, 0, 20.0, 15.0), result(point, "Handrail", 0, 19.0, 30.0)]
    read = read_results(write_csv(tmp_path / "l.csv", COLUMNS, rows))
    paper = papers.of(read, "l")
    shipped = definition.read("layouts")
    assert list(paper.tasks) == shipped.tasks == [point, car]
    assert {row.label for row in shipped.method} == {*paper.methods, *paper.beside}
    assert all(envs.cost_limit(task) == 25 for task in shipped.tasks)
    made = Sources(paper, read, {}, tmp_path / "l.md")
    write(made)
    text = (tmp_path / "l.md").read_text()
    assert row_of(text.split("## Published")[0], "PointGoal1")[-2:] == [
        "**20.0 / 15.0**",
        "19.0 / 30.0",
    ]
    known = row_of(elsewhere(made), "CarGoal1")
    assert known == ["CarGoal1", "36.6 / 55.6", "27.0 / 26.8", "25.5 / 43.3", "13.3 / 21.7",
                     "10.8 / 22.7", "16.2 / 6.7"]  # fmt: skip
    # None of these is a column of the task by task tables, which have no published ones.
    assert (
        row_of(text.split("### PointGoal1")[1].split("###")[0].split("\n## ")[0], GOLD)[-1] == "1"
    )


def test_a_guide_or_an_offline_policy_that_a_run_fits_itself_is_not_apart():
    for own in (
        {},
        {"guide": "dt"},
        {"guide": "bc"},
        {"offline": "clone"},
        {"offline": "bear-lag"},
    ):
        assert not _begun_apart(own)
    for other in ({"guide": "runs/dt-0"}, {"offline": "runs/cpq-0"}):
        assert _begun_apart(other)


def test_time_tells_which_guides_are_apart(sources):
    text = times(sources)
    assert f"({GOLD}), its minutes" in re.sub(r"\s+", " ", text)
    assert row_of(text, "CVPO") == ["CVPO", "3", "100,000", "1.8", "1.5 to 2.5"]
    assert row_of(text, "BC")[2] == "0"


# -- over tasks ----------------------------------------------------------------------------------


def test_over_tasks_by_hand(sources):
    text = over_tasks(sources)
    # Gather, with one seed, weighs as much as Circle with two.
    scores = [(600 - 502.5) / 185.8, (700 - 502.5) / 185.8, *2 * [(14 - 10.2) / 3.8]]
    iqm = scipy.stats.trim_mean(scores, 0.25)
    costs = np.mean([14 / 10, 12 / 10, *2 * [0.25 / 0.5]])
    assert row_of(text, GOLD) == [
        GOLD, f"{iqm:.2f} (1 seed)", f"{costs:.2f} (1 seed)", "1 of 2", "", "",
    ]  # fmt: skip
    # Circle: all 4 pairs earn more and 4 cost less; Gather: 1 and 1.
    assert row_of(text, "BC")[4:] == ["100% (1 seed)", "100% (1 seed)"]
    # Cost: Circle 0 of 4 pairs, Gather a tie.
    assert row_of(text, "CVPO")[4:] == ["100% (1 seed)", "25% (1 seed)"]
    assert "Tasks: Car-Circle and Car-Gather;" in text
    assert "undefined" in text
    assert f"`{OWN}`" in text


def test_intervals_over_tasks_come_with_three_seeds(tmp_path):
    rows = [row for row in ROWS if row["task"] == CIRCLE]
    third = [result(CIRCLE, GOLD, 2, 650.0, 13.0), result(CIRCLE, "CVPO", 2, 500.0, 10.0)]
    two, rows = rows, [*rows, *third]
    sources = Sources(
        papers.GOLD,
        read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows)),
        {},
        tmp_path / "r.md",
    )
    text = over_tasks(sources)
    low, high = (600 - 502.5) / 185.8, (700 - 502.5) / 185.8
    assert row_of(text, GOLD)[1] == f"{(low + high) / 2:.2f} ({low:.2f} to {high:.2f})"
    assert row_of(text, GOLD)[2] == "1.30 (1.20 to 1.40)"
    assert row_of(text, "CVPO")[4:] == ["100% (100% to 100%)", "0% (0% to 0%)"]
    assert row_of(text, "BC")[1].endswith(" (2 seeds)")
    assert row_of(text, "BC")[4] == "100% (2 seeds)"
    assert "Left out" not in text
    read = read_results(write_csv(tmp_path / "two.csv", COLUMNS, two))
    text = over_tasks(replace(sources, results=read))
    assert row_of(text, GOLD)[1:3] == [f"{(low + high) / 2:.2f} (2 seeds)", "1.30 (2 seeds)"]


def test_the_largest_part_without_a_gap_is_compared(tmp_path):
    """Goal has no CVPO: two tasks x three methods are more than three x two."""
    rows = [*ROWS, *(result(GOAL, method, 0, 30.0, 5.0) for method in ("BC", GOLD))]
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
    text = over_tasks(Sources(papers.GOLD, read, {}, tmp_path / "r.md"))
    assert "Tasks: Car-Circle and Car-Gather;" in text
    assert "not all of their cells have been run: Point-Goal." in re.sub(r"\s+", " ", text)
    # Without Gather's CVPO too: three tasks x two methods.
    rows = [row for row in rows if (row["task"], row["method"]) != (GATHER, "CVPO")]
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
    text = over_tasks(Sources(papers.GOLD, read, {}, tmp_path / "r.md"))
    assert "Tasks: Car-Circle, Car-Gather and Point-Goal;" in text
    assert "not all of their cells have been run: CVPO." in re.sub(r"\s+", " ", text)


def test_a_part_without_a_gap_is_found_among_many_methods(tmp_path):
    """Of thirty methods nobody could try every subset. Ten on Circle are more cells than two on
    two tasks."""
    places = (CIRCLE, GATHER, GOAL)
    rows = [result(task, GOLD, 0, 30.0, 5.0) for task in places]
    rows += [result(places[i % 3], f"mine {i}", 0, 30.0, 5.0) for i in range(30)]
    rows += [result(task, "CVPO", 0, 30.0, 5.0) for task in (CIRCLE, GATHER)]
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
    text = over_tasks(Sources(papers.GOLD, read, {}, tmp_path / "r.md"))
    named = re.findall(r"^\| (mine \d+|CVPO|GOLD \(DT-IQL\)) \|", text, re.MULTILINE)
    (place,) = re.findall(r"Tasks: (Car-Circle|Car-Gather);", text)
    mine = [f"mine {i}" for i in range(("Car-Circle", "Car-Gather").index(place), 30, 3)]
    assert sorted(named) == sorted([*mine, "CVPO", GOLD])


def test_nothing_is_said_over_tasks_before_gold_has_run(tmp_path):
    rows = [row for row in ROWS if row["method"] != GOLD]
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
    assert over_tasks(Sources(papers.GOLD, read, {}, tmp_path / "r.md")) == ""


# -- curves --------------------------------------------------------------------------------------


def test_steps_to_reach_the_best_from_scratch(sources):
    elsewhere = {(GATHER, "GOLD (DT-CVPO)"): sources.curves[CIRCLE, GOLD]}
    text = steps_to_reach(replace(sources, curves={**sources.curves, **elsewhere}))
    # CVPO ends at 300, IQL (which was higher before) at 200; CVPO is at 300 after 200 steps.
    row = row_of(text, "Car-Circle")
    assert row[:3] == ["Car-Circle", "CVPO: 300.0 / 7.0", "200"]
    by_method = dict(zip(row_of(text, "task"), row, strict=True))
    assert by_method["with no step"] == "BC"
    assert by_method[GOLD] == "100 (30.0)"
    assert by_method["GOLD (BC-IQL)"] == "not in 300"
    assert by_method["GOLD (DT-CVPO)"] == "no curve"
    assert by_method[f"{GOLD} saves"] == "100"


def lines(axes) -> list[list[list[float]]]:
    return [line.get_xydata().tolist() for line in axes.get_lines() if not line.is_dashed()]


def test_panels_of_curves_show_means_bands_levels_and_the_limit(tmp_path):
    steps, returns = np.array([0.0, 10.0]), np.array([[0.0, 2.0], [2.0, 6.0]])
    costs = np.array([[500.0, 4.0], [700.0, 8.0]])
    task = TaskCurves("Car-Circle", [10.0], {GOLD: (steps, returns, costs)}, {"BC": (3.0, 7.0)})
    other = TaskCurves("`own`", [], {"IQL": (steps, returns[:1], costs[:1])}, {})
    path = tmp_path / "curves.png"
    figure = curves([task, other], ["BC", "IQL", GOLD], path)
    assert path.read_bytes().startswith(b"\x89PNG")
    above, no_limit, below, its_cost = figure.axes
    assert lines(above) == [[[0, 1], [10, 4]]]
    assert len(above.collections) == 1
    assert len(no_limit.collections) == 0  # one seed has no band
    assert [set(line.get_ydata()) for line in above.get_lines() if line.is_dashed()] == [{3.0}]
    assert lines(below) == [[[0, 600], [10, 6]]]
    assert [set(x.get_ydata()) for x in below.get_lines() if x.is_dashed()] == [{7.0}, {10.0}]
    assert below.get_ylim() == (0, 40)  # four limits
    assert its_cost.get_ylim()[1] > 500
    assert below.get_title(loc="right") == "limit 10"
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["BC", "IQL", GOLD]


def test_panels_of_planes_show_means_seeds_and_the_limit(tmp_path):
    points = {GOLD: (np.array([1.0, 3.0]), np.array([4.0, 6.0]))}
    tasks = [
        TaskPoints(f"{i}", limits, points)
        for i, limits in enumerate([[10.0], [], [0.0], [1.0, 4.0], [2.0]])
    ]
    figure = planes(tasks, [GOLD], tmp_path / "planes.png")
    axes = [axes for axes in figure.axes if axes.get_visible()]
    assert len(axes) == 5
    assert lines(axes[0]) == [[[1, 4], [3, 6]], [[2, 5]]]
    assert [shade.get_y() + shade.get_height() for shade in axes[0].patches] == [10.0]
    assert not axes[1].patches
    # Of two limits the least is kept by all that is shaded.
    assert [shade.get_y() + shade.get_height() for shade in axes[3].patches] == [1.0]
    names = [panel.get_title(loc="right") for panel in axes]
    assert names == ["limit 10", "", "limit 0", "limits 1, 4", "limit 2"]
    assert figure.axes[5].get_visible() is False


def test_what_is_far_beyond_the_limit_is_named_not_drawn(tmp_path):
    points = {
        GOLD: (np.array([1.0, 3.0]), np.array([4.0, 6.0])),
        "CPQ": (np.array([10.0, 30.0]), np.array([40.0, 40.5])),  # four limits are 40
        "BC": (np.array([5.0]), np.array([40.0])),
    }
    tasks = [TaskPoints(f"{i}", limits, points) for i, limits in enumerate([[10.0], [], [0.0]])]
    limited, *others = planes(tasks, [*points], tmp_path / "planes.png").axes
    assert lines(limited) == [[[1, 4], [3, 6]], [[2, 5]], [[5, 40]], [[5, 40]]]
    assert [text.get_text() for text in limited.texts] == ["beyond the picture:\nCPQ: 20 / 40"]
    for axes in others:  # nothing to measure it by
        assert len(lines(axes)) == 6
        assert not axes.texts


@pytest.mark.parametrize(("returns", "width"), [((38.3, 38.4), 3.85), ((-20.0, 40.0), 75.0)])
def test_a_difference_of_next_to_nothing_looks_so(returns, width, tmp_path):
    points = {GOLD: (np.array(returns), np.array([4.0, 6.0]))}
    figure = planes([TaskPoints("0", [10.0], points)], [GOLD], tmp_path / "planes.png")
    low, high = figure.axes[0].get_xlim()
    assert high - low == pytest.approx(width, rel=0.02)
    assert (low + high) / 2 == pytest.approx(np.mean(returns), abs=0.05)


# -- guides --------------------------------------------------------------------------------------

CAR_GOAL = "native/CarGoal1-gold"
GUIDES = [
    result(GOAL, "BC", 0, 20.0, 30.0), result(GOAL, "GOLD (BC-IQL)", 0, 31.0, 9.0),
    result(GOAL, "BC", 1, 24.0, 20.0), result(GOAL, "GOLD (BC-IQL)", 1, 29.0, 7.0),
    result(GOAL, "BC", 2, 99.0, 99.0),  # its student has not been run
    result(GOAL, "DT", 0, 26.0, 10.0), result(GOAL, GOLD, 0, 28.0, 5.0),
    result(GOAL, "DT (medium)", 0, 18.0, 40.0), result(GOAL, "GOLD (DT-IQL, medium)", 0, 25.0, 6.0),
    result(CAR_GOAL, "BC (medium)", 0, 2.0, 3.0),
    result(CAR_GOAL, "GOLD (BC-IQL, medium)", 0, 3.0, 3.0),
    result(CAR_GOAL, "DT (medium)", 0, 4.0, 3.0),
    result(CAR_GOAL, "GOLD (DT-IQL, medium)", 0, 5.0, 3.0),
    result(CAR_GOAL, "DT", 0, 6.0, 3.0),  # no student
    result(CIRCLE, "DT", 0, 1.0, 1.0), result(CIRCLE, GOLD, 0, 1.0, 1.0),  # not of that table
]  # fmt: skip


@pytest.fixture
def guided(sources, tmp_path) -> Sources:
    results = read_results(write_csv(tmp_path / "guides.csv", COLUMNS, GUIDES))
    return replace(sources, guides=results)


def test_guides_stand_beside_the_students_of_their_seeds(guided):
    text = guide_quality(guided)
    # Gains are 11 and 5, each of its own seed.
    assert row_of(text, "Point-Goal", "BC") == [
        "Point-Goal", "BC", "22.0 / 25.0", "GOLD (BC-IQL)", "30.0 / 8.0", "8.0", "2",
    ]  # fmt: skip
    assert row_of(text, "Point-Goal", "DT (medium)")[2:] == [
        "18.0 / 40.0", "GOLD (DT-IQL, medium)", "25.0 / 6.0", "7.0", "1",
    ]  # fmt: skip
    assert text.count("| Point-Goal") == 3
    assert text.count("| Car-Goal") == 2
    assert "Car-Circle" not in text
    assert guided.figure("guides").read_bytes().startswith(b"\x89PNG")
    assert guide_quality(replace(guided, guides={})) == ""


def test_whether_better_guides_make_better_students_by_hand(guided):
    found = pairs(guided.guides)
    # Ranks less their task's mean: guides 0, 1, -1 and -.5, .5, students 1, 0, -1 and -.5, .5. The
    # second task's returns are all below the first's: not ranked within tasks it were 0.9.
    assert rank_correlation(found) == pytest.approx((1 + 0.5) / (2 + 0.5))
    # From the same demonstrations: DT ahead of BC, not so their students; and both on the other.
    assert same_order(found) == (1, 2)
    text = re.sub(r"\s+", " ", guide_quality(guided))
    assert "0.60 (pairs: n = 5; tasks: 2)" in text
    assert "in 1 of 2 comparisons" in text


def test_a_single_pair_ranks_nothing(guided):
    only = [result(GOAL, "BC", 0, 20.0, 30.0), result(GOAL, "GOLD (BC-IQL)", 0, 31.0, 9.0)]
    results = read_results(write_csv(guided.page.parent / "g.csv", COLUMNS, only))
    assert rank_correlation(pairs(results)) is None
    text = re.sub(r"\s+", " ", guide_quality(replace(guided, guides=results)))
    assert "undefined (pairs: n = 1; tasks: 1)" in text
    assert "in 0 of 0 comparisons" in text


def test_arrows_lead_from_guides_to_students(tmp_path):
    way = Way("BC", False, (20.0, 30.0), (31.0, 9.0))
    other = Way("DT", True, (26.0, 10.0), (28.0, 5.0))
    touching = Way("DT", True, (26.0, 10.0), (26.0, 9.9))
    figure = ways(
        [TaskWays("one", [10.0], [way, other]), TaskWays("two", [], [other, touching])],
        tmp_path / "g.png",
    )
    axes = figure.axes[0]
    hollow, _, filled, _ = marks = [
        line for line in axes.get_lines() if line.get_marker() != "None"
    ]
    places = [[[20, 30]], [[31, 9]], [[26, 10]], [[28, 5]]]
    assert [mark.get_xydata().tolist() for mark in marks] == places
    assert [(text.xyann, text.xy) for text in axes.texts] == [
        ((20.0, 30.0), (31.0, 9.0)), ((26.0, 10.0), (28.0, 5.0)),
    ]  # fmt: skip
    assert hollow.get_mfc() == "white"
    assert filled.get_mfc() not in ("white", hollow.get_mec())
    assert [shade.get_y() + shade.get_height() for shade in axes.patches] == [10.0]
    assert not figure.axes[1].patches
    assert len(figure.axes[1].texts) == 1  # no arrow where the marks touch


# -- trajectories --------------------------------------------------------------------------------


def student(table: Path, task: str, method: str, name: str, level: str, at: float) -> None:
    """A run that a table judged at a time, in s; a shipped expert stands in for its policy."""
    run = table / task.replace("/", "-") / name
    shutil.copytree(expert_path(task, level), run)
    judged = run / "evaluation.json"
    judged.write_text(json.dumps({"task": task, "method": method}))
    os.utime(judged, (at, at))


def test_the_runs_that_were_judged_last_are_taken(tmp_path):
    for name, at in [("gold-dt-iql-0-11111111", 5), ("gold-dt-iql-0-22222222", 7),
                     ("gold-dt-iql-0-00000000", 6), ("gold-dt-iql-1-33333333", 9)]:  # fmt: skip
        student(tmp_path, GOAL, GOLD, name, "expert", at)
    (tmp_path / "native-PointGoal1-gold" / "bc-0-44444444").mkdir()  # not judged yet
    runs = tmp_path / "native-PointGoal1-gold"
    assert judged(tmp_path) == {
        (GOAL, GOLD, 0): runs / "gold-dt-iql-0-22222222",
        (GOAL, GOLD, 1): runs / "gold-dt-iql-1-33333333",
    }


def test_episodes_of_two_students_are_drawn(sources, tmp_path):
    table = tmp_path / "table"
    table.mkdir()
    sources = replace(sources, runs=table)
    student(table, CAR_GOAL, GOLD, "gold-dt-iql-0-11111111", "expert", 1)
    assert trajectories(sources) == ""  # of one student alone
    student(table, GOAL, GOLD, "gold-dt-iql-0-11111111", "expert", 1)
    student(table, GOAL, "GOLD (BC-IQL)", "gold-bc-iql-0-22222222", "medium", 1)
    text = re.sub(r"\s+", " ", trajectories(sources))
    assert text.startswith("## Trajectories")
    assert "Point-Goal" in text
    env = envs.make(GOAL)
    for level, name in (("medium", "gold-bc-iql-0-22222222"), ("expert", "gold-dt-iql-0-11111111")):
        policy, _ = load_policy(expert_path(GOAL, level))
        _, played = evaluate(policy, lambda: envs.make(GOAL), episodes=12, seed=1000, method=level)
        first, second = (follow(episode, env).told for episode in played[:2])
        assert f"(`{name}`): {first} in episode 1000 and {second} in episode 1001" in text
    # The paper's task goes first.
    button = "native/CarButton1-gold"
    student(table, button, GOLD, "gold-dt-iql-0-11111111", "expert", 1)
    student(table, button, "GOLD (BC-IQL)", "gold-bc-iql-0-22222222", "medium", 1)
    text = trajectories(sources)
    assert "Car-Button" in text
    assert "presses" in text


# -- the page ------------------------------------------------------------------------------------


def test_the_command_as_a_user_types_it(results_file, curves_file, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)

    def typed(out: str, *more: str) -> str:
        assert cli.main(["results", "gold.csv", "--out", out, *more]) == 0
        assert capfd.readouterr() == (f"{out}\n", "")
        return Path(out).read_text()

    assert cli.main(["results", "gold.csv", "--out", "docs/results.md", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"page": "docs/results.md"}
    first = typed("docs/results.md", "--curves", "curves.csv")
    shown = [Path("docs") / found for found in re.findall(r"!\[.+\]\((.+)\)", first)]
    assert [file.name for file in shown] == ["results-planes.png", "results-curves.png"]
    before = [file.read_bytes() for file in shown]
    assert all(picture.startswith(b"\x89PNG") for picture in before)
    headings = re.findall("^##? (.+)$", first, re.M)
    assert headings[0] == "GOLD, Table I"
    assert "0123456789 (10)" in first

    # The same files, the same bytes.
    assert typed("docs/results.md", "--curves", "curves.csv") == first
    assert [file.read_bytes() for file in shown] == before

    # With guides, what they say comes before the tasks.
    write_csv(tmp_path / "guides.csv", COLUMNS, GUIDES)
    (tmp_path / "table").mkdir()
    more = typed("more.md", "--guides", "guides.csv", "--runs", "table")
    found = re.findall("^##? (.+)$", more, re.M)
    assert found.index("Guide quality") == found.index("Task by task") - 1  # no runs, no drawing

    # Without curves the page has no such parts, and no empty heading.
    bare = typed("bare.md")
    gone = {"Learning curves", "Steps to reach the best method from scratch"}
    assert re.findall("^##? (.+)$", bare, re.M) == [h for h in headings if h not in gone]
    assert "\n\n\n" not in bare
    assert not Path("figures/bare-curves.png").exists()


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ("--guides", "nowhere: no such file; `handrail table` writes it"),
        ("--runs", "nowhere: no such directory; name the --out of `handrail table gold`"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(results_file, tmp_path, capfd, option, line):
    page = tmp_path / "page.md"
    assert cli.main(["results", str(results_file), "--out", str(page), option, "nowhere"]) == 2
    assert capfd.readouterr() == ("", f"handrail: {line}\n")
    assert not page.exists()


def test_a_page_of_one_row_and_of_curves_of_a_cell_that_is_not_judged(tmp_path, curves_file):
    rows = write_csv(tmp_path / "one.csv", COLUMNS, [result(OWN, "mine", 0, 3.0, 1.25)])
    page = tmp_path / "page.md"
    write(Sources(papers.GOLD, read_results(rows), read_curves(curves_file), page))
    text = page.read_text()
    heads = row_of(text, "task", "limit")
    assert heads[-1] == "mine"
    assert "1 of 100 cells" in text
    assert "## Learning curves" in text


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"return": "nan"}, r"r\.csv, row 2: return is 'nan', not a number; remove the row"),
        ({"cost": "inf"}, "row 2: cost is 'inf', not a number"),
        ({"cost": ""}, "row 2: cost is '', not a number"),
        ({"seed": "0.5"}, "row 2: seed is '0.5', not a whole number"),
        ({"cumulative_cost": "much"}, "row 2: cumulative_cost is 'much'"),
        ({"violation_rate": "7"}, "row 2: violation_rate is '7', not a number of 0 or more, and 1"),
        ({"episodes": "0"}, "row 2: episodes is '0', not a number of 1 or more"),
        ({"seed": "-1"}, "row 2: seed is '-1', not a number of 0 or more"),
        ({"settings": "[1]"}, "row 2: settings is '.1.', not a JSON object"),
    ],
)
def test_a_result_that_is_no_number_is_named(change, line, tmp_path):
    rows = [result(CIRCLE, "IQL", 0, 1.0, 2.0), result(CIRCLE, "IQL", 1, 1.0, 2.0) | change]
    with pytest.raises(HandrailError, match=line):
        read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))


@pytest.mark.parametrize("column", ["step", "return", "cost"])
def test_a_curve_that_is_no_number_is_named(column, tmp_path):
    rows = [{**CURVES[0], column: "nan"}]
    with pytest.raises(HandrailError, match=f"row 1: {column} is 'nan'"):
        read_curves(write_csv(tmp_path / "c.csv", CURVE_COLUMNS, rows))


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "file.csv"
    for read, columns in ((read_results, COLUMNS), (read_curves, CURVE_COLUMNS)):
        file.unlink(missing_ok=True)
        with pytest.raises(HandrailError, match=r"no such file; `handrail table` writes it"):
            read(file)
        for data, line in (
            (",".join(columns).encode(), "has no rows"),
            (b"a,b\n1,2\n", r"its columns are others \(there is 'a'\)"),
            (",".join(columns[1:]).encode(), r"are others \(there is no 'task'\)"),
            (",".join(columns).encode() + b"\n" + b"1," * len(columns), "row 1 has more values"),
            (b"", "is empty; remove it, or name another"),
            (b"\x89PNG\xff\xfe\n", "is no CSV file"),
            (",".join(columns).encode() + b"\na,b\n", "row 1 is cut short"),
            ("é".encode("latin1"), "is no CSV file"),
        ):
            file.write_bytes(data)
            with pytest.raises(HandrailError, match=line):
                read(file)


def test_curves_are_sorted_and_the_last_row_of_a_step_counts(tmp_path):
    seeds = [(1, 20, 5.0), (0, 20, 3.0), (0, 10, 2.0), (0, 20, 4.0)]
    rows = [{**CURVES[0], "seed": s, "step": t, "return": r} for s, t, r in seeds]
    ((first, second),) = read_curves(write_csv(tmp_path / "c.csv", CURVE_COLUMNS, rows)).values()
    np.testing.assert_array_equal(first["step"], [10, 20])
    np.testing.assert_array_equal(first["return"], [2, 4])
    np.testing.assert_array_equal(second["return"], [5])
