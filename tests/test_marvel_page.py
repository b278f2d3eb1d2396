"""The page of Marvel's table: what it says of a small table whose answers are known."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from made_up import result, row_of, write_csv

from handrail import cli, envs
from handrail.errors import HandrailError
from handrail.page import papers
from handrail.page.ablations import PID, VARIANTS, WHOLE, ablations
from handrail.page.aims import aims
from handrail.page.correlations import correlations
from handrail.page.measured import CURVE_COLUMNS, read_curves, read_ranks, read_results
from handrail.page.other_start import other_start
from handrail.page.over_steps import multipliers, training_cost
from handrail.page.over_tasks import over_tasks
from handrail.page.rank_panels import TaskChanges, changes
from handrail.page.sections import normalised, overview, tasks_in_detail, times
from handrail.page.sources import Sources
from handrail.page.step_panels import TaskLines, lines
from handrail.page.together import together
from handrail.results import COLUMNS, RANK_COLUMNS, append_ranks
from handrail.runs import Run
from handrail.style import colours
from handrail.tables import definition

BALL, CAR, DRONE, RUN = (
    "bullet/BallCircle", "bullet/CarCircle", "bullet/DroneCircle", "bullet/CarRun"
)  # fmt: skip
FROM = json.dumps({"offline": "runs/cpq-0-01234567"})


def run(task: str, method: str, seed: int, return_: float, cost: float, **other) -> dict:
    """A row; scores of the first two tasks are easy to tell by hand."""
    low, high = {BALL: (0.3831, 881.4634), CAR: (3.4844, 534.3061)}.get(task, (0.0, 1000.0))
    acts = method not in ("CPQ", "BEAR-Lag")
    more = {
        "settings": FROM if acts and not method.startswith("From Scratch") else "{}",
        "env_steps": 40000 * acts,
        "cumulative_cost": "" if not acts else 9000,
        "normalised_return": f"{(return_ - low) / (high - low):.4f}",
        "normalised_cost": f"{cost / 20:.3f}",
    }
    return result(task, method, seed, return_, cost, **{**more, **other})


ROWS = [
    run(BALL, "CPQ", 0, 300.0, 10.0), run(BALL, "CPQ", 1, 320.0, 14.0),
    run(BALL, "From Scratch", 0, 400.0, 25.0, cumulative_cost=20000),
    run(BALL, "From Scratch", 1, 500.0, 25.0, cumulative_cost=22000),
    run(BALL, "Warm Start", 0, 600.0, 16.0), run(BALL, "Warm Start", 1, 620.0, 18.0),
    run(BALL, "Marvel", 0, 590.0, 17.0, cumulative_cost=8000),
    run(BALL, "Marvel", 1, 650.0, 19.0, cumulative_cost=10000),
    run(BALL, "Marvel (PID)", 0, 500.0, 30.0, cumulative_cost=12000),
    # Tied: the difference of the means, 10, is within what the seeds differ in.
    run(CAR, "PEX", 0, 300.0, 10.0), run(CAR, "PEX", 1, 340.0, 10.0),
    run(CAR, "Marvel", 0, 290.0, 19.0), run(CAR, "Marvel", 1, 330.0, 21.0),
    run(CAR, "From Scratch", 0, 350.0, 21.0, cumulative_cost=9000),
    run(CAR, "Marvel (PID)", 0, 300.0, 18.0, cumulative_cost=10000),
    run(CAR, "PEX (PID)", 0, 310.0, 30.0),
    # Beaten, and above the limit by more than a tenth.
    run(DRONE, "Marvel", 0, 700.0, 22.5), run(DRONE, "CPQ", 0, 600.0, 20.0),
    run(RUN, "Warm Start", 0, 500.0, 5.0),
]  # fmt: skip
CURVES = [
    dict(zip(CURVE_COLUMNS, (task, method, 0, step, 1.0, 2.0, spent, weight), strict=True))
    for task, method, points in [
        (BALL, "Marvel", [(100, 500, 1.0), (200, 800, 0.5)]),
        (BALL, "From Scratch", [(100, 9000, ""), (200, 20000, "")]),
        (BALL, "Marvel (PID)", [(100, 600, 3.0)]),
    ]
    for step, spent, weight in points
]


@pytest.fixture
def sources(tmp_path) -> Sources:
    results = read_results(write_csv(tmp_path / "marvel.csv", COLUMNS, ROWS))
    curves = read_curves(write_csv(tmp_path / "curves.csv", CURVE_COLUMNS, CURVES))
    return Sources(papers.of(results, "marvel"), results, curves, tmp_path / "marvel.md")


def joined(text: str) -> str:
    return re.sub(r"\s+", " ", text)


# -- which paper ---------------------------------------------------------------------------------


def test_tasks_and_methods_tell_the_paper(sources, tmp_path):
    assert sources.paper is papers.MARVEL
    for rows, paper in (
        ([result("native/PointGoal1-gold", "DT", 0, 1.0, 1.0), ROWS[0]], papers.GOLD),
        # GOLD's own is on both pages, Marvel on one.
        ([run(BALL, "GOLD (DT-IQL)", 0, 1.0, 1.0), run(BALL, "Marvel", 0, 1, 1)], papers.MARVEL),
        ([run(BALL, "GOLD (DT-IQL)", 0, 1.0, 1.0)], papers.MARVEL),
        # Half of it, and less than half.
        ([run(BALL, "Marvel", 0, 1.0, 1.0), run(BALL, "mine", 0, 1.0, 1.0)], papers.MARVEL),
        ([run(BALL, "Marvel", 0, 1, 1), *(run(BALL, x, 0, 1, 1) for x in "ab")], None),
        # A paper's method on a task of the user's, and the reverse.
        ([run("gym/own", "Marvel (PID)", 0, 1.0, 1.0)], None),
        ([run(BALL, "mine", 0, 1.0, 1.0)], None),
        # Of the same methods the task tells.
        ([run("native/CarGoal1", "GOLD (DT-IQL)", 0, 1.0, 1.0)], papers.LAYOUTS),
        ([run("native/CarGoal1-gold", "GOLD (DT-IQL)", 0, 1.0, 1.0)], papers.GOLD),
    ):
        found = papers.of(read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows)), "r")
        assert found is paper if paper else (found.title, dict(found.tasks)) == ("Results: r", {})


def test_no_method_is_of_two_papers():
    gold, marvel = ({*p.methods, *p.variants} for p in (papers.GOLD, papers.MARVEL))
    assert not gold & marvel
    assert all({paper.own, *paper.scratch} <= set(paper.methods) for paper in papers.PAPERS)


def test_the_paper_has_the_rows_and_tasks_of_its_table():
    shipped, paper = definition.read("marvel"), papers.MARVEL
    assert {row.label for row in shipped.method} == {*paper.methods, *paper.beside, *paper.variants}
    assert list(paper.tasks) == shipped.tasks
    assert all(envs.cost_limit(task) == 20 for task in paper.tasks)
    assert set(VARIANTS) <= {*paper.methods, *paper.variants}
    acting = [m for m in paper.methods if m != "CPQ"]
    assert {m + PID for m in acting} == {m for m in paper.variants if m.endswith(PID)}
    assert (WHOLE, acting[0]) == (paper.own, *paper.scratch)


def test_methods_of_a_figure_have_colours_of_their_own():
    methods = (*papers.MARVEL.methods, *papers.MARVEL.beside)
    whole = colours(methods)
    assert len(set(whole.values())) == len(methods)
    assert colours(methods[::-1]) == whole


# -- tables --------------------------------------------------------------------------------------


def test_the_overview_leaves_out_the_variants(sources):
    text = overview(sources)
    assert text.startswith("# Marvel\n")
    assert "13 of 162 cells" in text  # 6 tasks, 27 methods
    heads = row_of(text, "task")
    assert heads[2:] == [*papers.MARVEL.methods, *papers.MARVEL.beside]
    ball = dict(zip(heads, row_of(text, "BallCircle", "20"), strict=True))
    assert ball["Marvel"] == "**620.0 / 18.0** (2)"
    assert (ball["From Scratch"], ball["SO2"]) == ("450.0 / 25.0 (2)", "not run")


def test_normalised_figures_are_means_of_what_the_rows_say(sources, tmp_path):
    text = normalised(sources)
    ball = dict(zip(row_of(text, "task"), row_of(text, "BallCircle"), strict=True))
    score = np.mean([(r - 0.3831) / (881.4634 - 0.3831) for r in (590, 650)])
    assert ball["Marvel"] == f"**{score:.2f} / 0.90**"
    assert ball["From Scratch"].endswith("/ 1.25")
    assert ball["PEX"] == "not run"
    bare = [run("driving/own", "Marvel", 0, 1.0, 10.0, normalised_return="")]
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, bare))
    text = normalised(replace(sources, results=read))
    assert row_of(text, "`driving/own`")[9] == "unknown / 0.50"


def test_both_joined_are_set_beside_the_two(sources, tmp_path):
    assert together(sources) == ""  # no task has all three
    rows = [
        # Ahead of the one that keeps within the limit; the other earns more, beyond it.
        run(BALL, "GOLD (DT-IQL)", 0, 700.0, 20.5), run(BALL, "Marvel", 0, 600.0, 10.0),
        run(BALL, "Handrail", 0, 640.0, 18.0, cumulative_cost=1234),
        run(BALL, "Handrail", 1, 660.0, 22.0, cumulative_cost=1236),
        # Beyond the limit itself.
        run(CAR, "GOLD (DT-IQL)", 0, 300.0, 0.0), run(CAR, "Marvel", 0, 200.0, 0.0),
        run(CAR, "Handrail", 0, 400.0, 21.0),
        run(DRONE, "GOLD (DT-IQL)", 0, 300.0, 0.0), run(DRONE, "Handrail", 0, 400.0, 1.0),
    ]  # fmt: skip
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
    text = together(replace(sources, results=read))
    assert row_of(text, "BallCircle")[1:] == [
        "700.0 / 20.5, 9,000", "600.0 / 10.0, 9,000", "**650.0 / 20.0** (2), 1,235", "yes", "1",
    ]  # fmt: skip
    assert row_of(text, "CarCircle")[1].startswith("**300.0 / 0.0**")
    assert row_of(text, "CarCircle")[-2:] == ["no", "1"]
    assert "DroneCircle" not in text
    assert row_of(text, "ahead on")[-2] == "**1 of 2**"
    assert "BEAR-Lag" not in text
    # From the other offline policy a table of its own, with the same GOLD.
    rows += [
        run(BALL, "Marvel (BEAR-Lag)", 0, 660.0, 10.0),
        run(BALL, "Handrail (BEAR-Lag)", 0, 655.0, 18.0),
        run(CAR, "Marvel (BEAR-Lag)", 0, 380.0, 0.0),
        run(CAR, "Handrail (BEAR-Lag)", 0, 381.0, 20.0),
    ]
    read = read_results(write_csv(tmp_path / "s.csv", COLUMNS, rows))
    first, other = together(replace(sources, results=read)).split("of BEAR-Lag instead")
    assert first.startswith(text.split("\n\n| task")[0])
    assert row_of(other, "BallCircle")[1:] == [
        "700.0 / 20.5, 9,000", "**660.0 / 10.0**, 9,000", "655.0 / 18.0, 9,000", "no", "1",
    ]  # fmt: skip
    assert row_of(other, "CarCircle")[-2:] == ["yes", "1"]
    assert row_of(other, "ahead on")[-2] == "**1 of 2**"
    # Which needs no row of the first.
    bare = [row for row in rows if row["method"] not in ("Marvel", "Handrail")]
    read = read_results(write_csv(tmp_path / "t.csv", COLUMNS, bare))
    assert together(replace(sources, results=read)).endswith(other.split("\n\n", 1)[1])


def test_from_another_policy_by_hand(sources, tmp_path):
    assert other_start(sources) == ""
    rows = [run(task, "BEAR-Lag", 0, 800.0, 60.0) for task in sources.tasks]
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
    assert other_start(replace(sources, results=read)) == ""  # nothing goes on from it
    rows += [run(task, "SO2 (BEAR-Lag)", 0, 500.0, 20.0) for task in sources.tasks]
    rows += [run(BALL, "SO2 (BEAR-Lag)", 1, 700.0, 10.0), run(BALL, "Marvel", 0, 900.0, 0.0)]
    rows += [run(CAR, "Handrail (BEAR-Lag)", 0, 550.0, 20.1)]
    text = other_start(
        replace(sources, results=read_results(write_csv(tmp_path / "s.csv", COLUMNS, rows)))
    )
    assert row_of(text, "task")[1:] == ["BEAR-Lag", "SO2", "Handrail"]
    assert row_of(text, "BallCircle")[1:] == ["800.0 / 60.0", "**600.0 / 15.0** (2)", "not run"]
    assert row_of(text, "CarCircle")[1:] == ["800.0 / 60.0", "**500.0 / 20.0**", "550.0 / 20.1"]
    # Each task weighs the same: one seed of five counts twice.
    both = {BALL: [500.0, 700.0]}
    scores = [
        papers.MARVEL.scale.scores(task, np.array(both.get(task, [500.0, 500.0])))
        for task in sources.tasks
    ]
    score = scipy.stats.trim_mean(np.ravel(scores), 0.25)
    assert row_of(text, "score")[2:] == [f"{score:.2f} (1 seed)", ""]
    # A task that has no scale leaves no score of all tasks.
    rows += [run("driving/own", m, 0, 1.0, 1.0) for m in ("BEAR-Lag", "SO2 (BEAR-Lag)")]
    read = read_results(write_csv(tmp_path / "t.csv", COLUMNS, rows))
    assert set(row_of(other_start(replace(sources, results=read)), "score")[1:]) == {""}


def test_aims_by_hand(sources):
    text = aims(sources)
    # 8,000 and 10,000 against 20,000 and 22,000.
    assert row_of(text, "BallCircle")[1:] == [
        "yes: 620.0, the best of 4", "yes: 0.90", "yes: 9,000 < 21,000", "2",
    ]  # fmt: skip
    # At the limit is within it; as much cost is not less.
    assert row_of(text, "CarCircle")[1:] == [
        "yes: 310.0, tied with 320.0 of PEX", "yes: 1.00", "**no**: 9,000 ≥ 9,000", "2",
    ]  # fmt: skip
    assert row_of(text, "DroneCircle")[1:] == [
        "**no**: 700.0 above the limit", "**no**: 1.12", "From Scratch not run", "1",
    ]  # fmt: skip
    assert row_of(text, "CarRun")[1:] == ["not run", "not run", "Marvel not run", "0"]
    assert row_of(text, "met on") == ["met on", "**2 of 3**", "**2 of 3**", "**1 of 2**", ""]
    gaps = "BallCircle (3 of 8), CarCircle (2 of 8) and DroneCircle (1 of 8)."
    assert joined(text).count(f"not all have been run: {gaps}") == 1


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("Marvel", 0, 290, 5), ("Marvel", 1, 291, 5), ("PEX", 0, 299, 5), ("PEX", 1, 300, 5)],
         "**no**: 290.5 against 299.5 of PEX"),
        ([("Marvel", 0, 300, 5), ("PEX", 0, 301, 5)], "**no**: 300.0 against 301.0 of PEX"),
        ([("Marvel", 0, 300, 5)], "nothing to compare with"),
        # Who keeps the limit counts, and variants are no rivals.
        ([("Marvel", 0, 300, 5), ("PEX", 0, 400, 21), ("Marvel (PID)", 0, 400, 5)],
         "yes: 300.0, the best of 2"),
        ([("Marvel", 0, 300, 21), ("PEX", 0, 400, 22)], "**no**: 300.0 above the limit"),
    ],
)  # fmt: skip
def test_the_best_return_within_the_limit(rows, told, sources, tmp_path):
    rows = [run(BALL, method, seed, r, c) for method, seed, r, c in rows]
    read = read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
    assert row_of(aims(replace(sources, results=read)), "BallCircle")[1] == told


def test_a_task_without_a_limit_is_not_judged(sources, tmp_path):
    read = read_results(
        write_csv(tmp_path / "r.csv", COLUMNS, [run("driving/own", "Marvel", 0, 1.0, 1.0)])
    )
    row = row_of(aims(replace(sources, results=read)), "`driving/own`")
    assert row[1:] == ["limit unknown", "no limit to divide by", "From Scratch not run", "1"]


def test_the_score_over_tasks_is_dsrls(sources):
    text = over_tasks(sources)
    scores = [(r - 0.3831) / 881.0803 for r in (590, 650)]
    # 4 methods on one task are no fewer than 2 on two.
    score = f"{np.mean(scores):.2f} (2 seeds)"
    assert row_of(text, "Marvel")[1:4] == [score, "0.90 (2 seeds)", "1 of 1"]
    assert "the return between the two: BallCircle 881.1." in joined(text)


def test_a_task_in_detail_has_what_is_known_elsewhere(sources):
    ball, _, _, run_ = re.split("\n### ", tasks_in_detail(sources))[1:]
    assert row_of(ball, "method")[-1] == "elsewhere: return"
    assert row_of(ball, "From Scratch")[-1] == "above 600"
    assert row_of(ball, "Marvel")[-1] == ""
    assert row_of(ball, "Marvel (PID)")[1] == "500.0"
    assert row_of(run_, "method")[-1] == "seeds"  # nothing is known of it


def test_time_tells_whose_offline_policy_is_apart(sources):
    text = joined(times(sources))
    assert (
        "Where an offline policy was fitted by a run of its own (Warm Start, PEX, Marvel and "
        in text
    )
    assert "variants of these), its minutes" in text


# -- ablations -----------------------------------------------------------------------------------


def test_ablations_by_hand(sources):
    text = ablations(sources)
    heads = [cell.split(":")[0] for cell in row_of(text, "task")]
    ball, car, less = (
        dict(zip(heads, row_of(text, first), strict=True))
        for first in ("BallCircle", "CarCircle", "difference")
    )

    def score(return_: float) -> float:
        return round((return_ - 0.3831) / 881.0803, 4)

    whole = np.mean([score(590), score(650)])
    assert ball["Marvel"] == f"{whole:.2f} / 0.90 / 9,000"
    assert ball["Marvel (PID)"] == f"{score(500):.2f} / 1.50 / 12,000"
    assert (car["Warm Start"], car["Marvel (entropy)"]) == ("not run", "not run")
    start = np.mean([score(600), score(620)]) - whole
    assert less["Warm Start"] == f"{start:+.2f} / -0.05 / +0 (1 task)"
    assert less["Marvel (PID)"].endswith(
        " / +0.25 / +2,000 (2 tasks)"
    )  # 0.6 and -0.1; 3,000 and 1,000
    assert less["Marvel (entropy)"] == ""


def test_multipliers_are_compared_where_both_have_been_run(sources):
    text = ablations(sources)
    marvel = row_of(text, "Marvel")
    # Costs 0.9 and 1.0 against 1.5 and 0.9, both means over two tasks.
    assert [cell.split(" / ")[1] for cell in (marvel[1], marvel[3])] == ["0.95", "1.20"]
    assert (marvel[2], marvel[4:]) == ("2 of 2", ["1 of 2", "2"])
    pex = row_of(text, "PEX")
    assert (pex[2], pex[4:]) == ("1 of 1", ["0 of 1", "1"])
    assert "| Warm Start |" not in text  # no row of its own: it was not run with both


def test_no_ablation_leaves_no_heading(sources):
    kept = {of: runs for of, runs in sources.results.items() if of[1] in ("Marvel", "PEX")}
    assert ablations(replace(sources, results=kept)) == ""


# -- over steps ----------------------------------------------------------------------------------


def test_cost_of_training(sources):
    text = training_cost(sources)
    ball = dict(zip(row_of(text, "task"), row_of(text, "BallCircle"), strict=True))
    assert ball["From Scratch"] == "21,000"
    assert ball["Marvel"] == ball["Warm Start"] == "**9,000**"  # both the least
    assert ball["PEX"] == "not run"
    assert "CPQ" not in ball  # it does not act
    assert sources.figure("spent").read_bytes().startswith(b"\x89PNG")


def test_multipliers_are_drawn_where_there_are_any(sources, tmp_path):
    assert "![" in multipliers(sources)
    assert sources.figure("multiplier").exists()
    none = [{**row, "multiplier": ""} for row in CURVES]
    bare = read_curves(write_csv(tmp_path / "c.csv", CURVE_COLUMNS, none))
    assert multipliers(replace(sources, curves=bare)) == ""
    (curve,) = bare[BALL, "Marvel"]
    assert np.isnan(curve["multiplier"]).all()
    np.testing.assert_array_equal(curve["train_cost"], [500, 800])


def test_panels_of_lines(tmp_path):
    steps, values = np.array([0.0, 10.0]), np.array([[0.0, 2000.0], [2.0, 4000.0]])
    small = {"PEX": (steps, values[:1] / 4000)}
    shown = [TaskLines("one", {"Marvel": (steps, values)}), TaskLines("two", small)]
    figure = lines(shown, ["PEX", "Marvel"], "unit", tmp_path / "l.png")
    one, two = figure.axes
    assert one.get_lines()[0].get_xydata().tolist() == [[0, 1], [10, 3000]]
    assert (len(one.collections), len(two.collections)) == (1, 0)
    assert one.get_ylim()[0] == two.get_ylim()[0] == 0
    assert "k" in one.get_yticklabels()[-1].get_text()
    assert "m" not in two.get_yticklabels()[1].get_text()


# -- correlations --------------------------------------------------------------------------------


RANKS = (
    f"{BALL},Marvel,0,0.1,0.5,-0.2,0.4",
    f"{BALL},Marvel,1,0.3,0.6,,",
    f"{BALL},Marvel (PID),0,1,1,1,1",
    f"{RUN},Marvel (BEAR-Lag),0,0,1,,",
)


def ranks(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([",".join(RANK_COLUMNS), *rows, ""]))
    return path


def test_rank_correlations_by_hand(sources, tmp_path):
    found = read_ranks(ranks(tmp_path / "ranks.csv", *RANKS))
    text = correlations(replace(sources, ranks=found))
    assert row_of(text, "BallCircle", "Marvel")[2:] == [
        "0.20", "0.55", "-0.20 (1 of 2)", "0.40 (1 of 2)", "2", "-0.25, then 0.36",
    ]  # fmt: skip
    assert row_of(text, "CarRun", "Marvel (BEAR-Lag)")[2:] == [
        "0.00",
        "1.00",
        "none",
        "none",
        "1",
        "",
    ]
    assert "PID" not in text
    assert sources.figure("correlations").read_bytes().startswith(b"\x89PNG")
    assert correlations(sources) == ""


@pytest.mark.parametrize(("value", "line"), [("2", "beyond -1 and 1"), ("a", "qc_after")])
def test_what_is_no_rank_correlation_is_named(value, line, tmp_path):
    file = ranks(tmp_path / "ranks.csv", RANKS[0], f"{BALL},Marvel,1,0,0,0,{value}")
    with pytest.raises(HandrailError, match=f"{file}, row 2.*{line}"):
        read_ranks(file)


def test_a_table_has_the_rank_correlations_of_runs_that_have_both(tmp_path):
    settings = {"method": "marvel", "task": BALL, "seed": 3}
    with Run.create(tmp_path / "run", settings) as aligned:
        file = tmp_path / "ranks.csv"
        append_ranks(file, aligned, "Marvel")  # without pre-alignment
        with Run.create(aligned.path / "prealigned", settings) as aligning:
            aligning.log(500, {"rank/q": 0.5, "rank/qc": 0.5})
        append_ranks(file, aligned, "Marvel")  # its critics are new
        assert not file.exists()
        shutil.rmtree(aligned.path / "prealigned")
        with Run.create(aligned.path / "prealigned", settings) as aligning:
            for step, rank in ((0, -0.25), (500, 0.75), (1000, 0.5)):
                aligning.log(step, {"rank/q": rank})
        for _ in range(2):
            append_ranks(file, aligned, "Marvel")
    assert file.read_text().splitlines()[1:] == [f"{BALL},Marvel,3,-0.250,0.500,,"]
    assert read_ranks(file) == {(BALL, "Marvel"): ({"q": (-0.25, 0.5), "qc": (None, None)},)}


def test_panels_of_changes(tmp_path):
    tasks = [
        TaskChanges("one", {"Q": [(0.0, 0.2), (0.2, 0.6)], "Q_c": [(-0.5, 0.5)]}),
        TaskChanges("two", {"Q": [(0.1, 0.2)], "Q_c": []}),
    ]
    figure = changes(tasks, "rank correlation", tmp_path / "c.png")
    one, two = figure.axes
    ways = [line.get_ydata() for line in one.get_lines() if len(line.get_ydata()) == 2][:5]
    np.testing.assert_allclose(ways, [(0, 0.2), (0.2, 0.6), (0.1, 0.4), (-0.5, 0.5), (-0.5, 0.5)])
    assert len(two.get_lines()) == 3  # the seed, the mean and the line at 0


# -- the page ------------------------------------------------------------------------------------


def test_the_command_as_a_user_types_it(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "marvel.csv", COLUMNS, ROWS)
    write_csv(tmp_path / "curves.csv", CURVE_COLUMNS, CURVES)
    ranks(tmp_path / "ranks.csv", *RANKS)
    typed = ["results", "marvel.csv", "--out", "docs/m.md", "--curves", "curves.csv"]

    def files() -> dict[str, bytes]:
        return {str(f): f.read_bytes() for f in sorted(Path("docs").rglob("*.*"))}

    assert cli.main([*typed, "--ranks", "ranks.csv"]) == 0
    assert capfd.readouterr() == ("docs/m.md\n", "")
    first, text = files(), Path("docs/m.md").read_text()
    assert re.findall("^##? (.+)$", text, re.M) == [
        "Marvel", "Aims", "Normalised return and cost", "Over tasks", "Return and cost",
        "Learning curves", "Cost of training", "Multiplier", "Ablations",
        "Rank correlation of the critics", "Task by task", "Time", "How it was made",
    ]  # fmt: skip
    assert len(re.findall(r"!\[.+\]\(figures/m-.+\.png\)", text)) == 5
    assert "`handrail table marvel` measured" in joined(text)
    assert cli.main([*typed, "--ranks", "ranks.csv"]) == 0
    assert files() == first  # the same files, the same bytes
    capfd.readouterr()

    assert cli.main([*typed, "--ranks", "nowhere"]) == 2
    assert capfd.readouterr() == (
        "", "handrail: nowhere: no such file; `handrail table` writes it\n"
    )  # fmt: skip
    assert cli.main([*typed, "--runs", "table"]) == 2
    line = "marvel.csv: its page (Marvel) reads no --runs; leave it out"
    assert capfd.readouterr() == ("", f"handrail: {line}\n")
    assert cli.main([*typed, "--guides", "marvel.csv"]) == 2
    line = "marvel.csv: its page (Marvel) reads no --guides; leave it out"
    assert capfd.readouterr() == ("", f"handrail: {line}\n")


@pytest.mark.parametrize("column", ["train_cost", "multiplier"])
def test_a_curve_that_is_no_number_is_named(column, tmp_path):
    rows = [{**CURVES[0], column: "nan"}]
    with pytest.raises(HandrailError, match=f"row 1: {column} is 'nan'"):
        read_curves(write_csv(tmp_path / "c.csv", CURVE_COLUMNS, rows))


@pytest.mark.parametrize("column", ["normalised_return", "normalised_cost"])
def test_a_result_that_is_no_number_is_named(column, tmp_path):
    rows = [{**ROWS[0], column: "much"}]
    with pytest.raises(HandrailError, match=f"row 1: {column} is 'much'"):
        read_results(write_csv(tmp_path / "r.csv", COLUMNS, rows))
