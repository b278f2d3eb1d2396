"""What is drawn is what was measured; how it looks was judged by eye."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from handrail.errors import HandrailError
from handrail.figures import learning_curves, reward_cost_plane
from handrail.runs import Run
from handrail.style import BLUE, PALETTE, VERMILLION, colours


@pytest.fixture
def make_run(tmp_path):
    def make(name: str, rows: list[tuple[int, dict]]):
        with Run.create(tmp_path / name, {}) as run:
            for step, metrics in rows:
                run.log(step, metrics)
        return run.path

    return make


def line(axes, label):
    (found,) = (line for line in axes.get_lines() if line.get_label() == label)
    return found


def assert_png(path):
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_method_keeps_its_colour():
    assert colours(["scratch (iql)", "GOLD"]) == {"scratch (iql)": VERMILLION, "GOLD": BLUE}
    assert colours(["GOLD"])["GOLD"] == BLUE
    rows = ["BC", "DT", "IQL", "IQL (demos)", "CVPO"]
    rows += ["GOLD (BC-IQL)", "GOLD (DT-CVPO)", "GOLD (DT-IQL)"]
    whole = colours(rows)
    assert len(set(whole.values())) == len(rows)
    assert colours(rows[:1:-1]) == {row: whole[row] for row in rows[2:]}
    twice = colours(["iql", "iql, no guide"])
    assert twice["iql"] == VERMILLION != twice["iql, no guide"]
    many = colours([f"x{i}" for i in range(len(PALETTE) + 1)])
    assert set(list(many.values())[:-1]) == set(PALETTE)


def test_curves_are_means_with_bands_over_the_common_steps(make_run, tmp_path):
    a = make_run("a", [(s, {"eval/return": s / 10, "eval/cost": 30.0}) for s in (0, 100, 200)])
    b = make_run("b", [(s, {"eval/return": s / 5, "eval/cost": 10.0}) for s in (0, 100, 300)])
    c = make_run("c", [(0, {"guide/share": 1.0}), (50, {"eval/return": 4.0}), (60, {"loss": 1})])
    before = dict(matplotlib.rcParams)
    path = tmp_path / "figures" / "curves.png"
    figure = learning_curves({"GOLD": [a, b], "scratch": [c]}, path, cost_limit=25)
    assert_png(path)
    assert dict(matplotlib.rcParams) == before

    returns, costs, shares = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Return", "Cost", "Guide"]
    # b at 200 lies between its 100 and its 300; beyond 200 there is no a.
    np.testing.assert_allclose(
        line(returns, "GOLD").get_xydata(), [[0, 0], [100, 15], [200, (20 + 40) / 2]]
    )
    (band,) = returns.collections
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert {(100, 10), (100, 20), (200, 20), (200, 40)} <= corners
    np.testing.assert_allclose(line(returns, "scratch").get_xydata(), [[50, 4]])
    np.testing.assert_allclose(line(costs, "GOLD").get_ydata(), [20, 20, 20])
    limit = [drawn for drawn in costs.get_lines() if drawn.is_dashed()]
    assert [set(drawn.get_ydata()) for drawn in limit] == [{25}]
    assert [text.get_text() for text in costs.texts] == ["limit 25"]
    np.testing.assert_allclose(line(shares, "scratch").get_xydata(), [[0, 1]])
    assert to_hex(line(costs, "GOLD").get_color()).upper() == BLUE
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["GOLD", "scratch"]


def test_a_panel_without_values_is_left_out(make_run, tmp_path):
    run = make_run("a", [(0, {"eval/cost": 1.0}), (10, {"eval/cost": 2.0})])
    figure = learning_curves({"GOLD": [run]}, tmp_path / "curves.png", cost_limit=25)
    (costs,) = figure.axes
    assert costs.get_ylim()[1] > 25  # the limit is in sight
    assert not costs.collections  # one seed has no band


def test_nothing_to_draw_is_said(make_run, tmp_path):
    run = make_run("a", [(0, {"loss": 1.0})])
    with pytest.raises(HandrailError, match="nothing to draw"):
        learning_curves({"GOLD": [run]}, tmp_path / "curves.png", cost_limit=25)
    with pytest.raises(HandrailError, match=r"no metrics\.csv"):
        learning_curves({"GOLD": [tmp_path]}, tmp_path / "curves.png", cost_limit=25)


POINTS = [
    ("guide", 24.0, 15.0, "guide"),
    ("GOLD", 34.0, 8.0, "student"),
    ("scratch", 25.0, 14.5, "scratch"),  # all but on the guide
]


def test_the_plane_shows_points_ways_and_the_limit(tmp_path):
    ways = {"GOLD": ([5, 20, 34], [12, 10, 8]), "scratch": ([2, 25], [60, 14.5])}
    figure = reward_cost_plane(POINTS, ways, 25, tmp_path / "plane.png")
    assert_png(tmp_path / "plane.png")
    (axes,) = figure.axes
    for label, return_, cost, _ in POINTS:
        np.testing.assert_array_equal(line(axes, label).get_xydata(), [[return_, cost]])
    for label, way in ways.items():
        np.testing.assert_array_equal(line(axes, f"_{label}").get_xydata(), np.transpose(way))
        assert line(axes, f"_{label}").get_color() == line(axes, label).get_color()
    assert {line(axes, label).get_marker() for label, *_ in POINTS} == {"D", "*", "s"}
    (region,) = axes.patches
    assert region.get_y() + region.get_height() == 25


def test_the_plane_says_which_point_is_which_outside_of_it(tmp_path):
    figure = reward_cost_plane(POINTS, {"GOLD": ([5, 34], [12, 8])}, 25, tmp_path / "plane.png")
    (legend,) = figure.legends
    named = zip(legend.get_texts(), legend.legend_handles, strict=True)
    assert {text.get_text(): handle.get_marker() for text, handle in named} == {
        "guide": "D", "GOLD": "*", "scratch": "s"
    }  # fmt: skip
    assert not legend.get_window_extent().overlaps(figure.axes[0].bbox)


def test_a_way_that_goes_nowhere_and_no_way_at_all_are_drawn(tmp_path):
    reward_cost_plane(POINTS, {"GOLD": ([1, 1], [2, 2])}, 0, tmp_path / "a.png")
    reward_cost_plane(POINTS[:1], {"GOLD": ([1], [2])}, 25, tmp_path / "b.png")
    reward_cost_plane(POINTS[:1], {}, 25, tmp_path / "c.png")
