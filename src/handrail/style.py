"""How figures look: colours, fonts, the limit's line.

A method has one colour in every figure, from the palette of Okabe and Ito, which readers with any
colour vision can tell apart; a brown stands for its yellow, which is faint as a line on white, and
an indigo and a wine are added. Grey is like some of them to some eyes: CPQ's, whose marker and kind
of line differ too.
Figures are objects of their own: pyplot's global state, and any setting of a notebook around it,
stay untouched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILLION, ORANGE, GREEN = "#0072B2", "#D55E00", "#E69F00", "#009E73"
PURPLE, SKY, BLACK, BROWN = "#CC79A7", "#56B4E9", "#000000", "#7A4B1E"
GREY, OLIVE, INDIGO, WINE = "#999999", "#808000", "#332288", "#882255"
PALETTE = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BLACK, BROWN, GREY, OLIVE, INDIGO, WINE)
PREFERRED = {  # by how a label begins, the first that fits; none twice on a page of results
    "gold (bc": SKY,
    "gold (dt-cvpo": BROWN,
    "iql (demos)": GREEN,
    "bc": PURPLE,
    **dict.fromkeys(("gold", "student"), BLUE),
    **dict.fromkeys(("guide", "dt"), ORANGE),
    **dict.fromkeys(("scratch", "from scratch", "iql"), VERMILLION),
    "warm start": ORANGE,
    "wsrl": SKY,
    "re-learn q": GREEN,
    "jsrl": PURPLE,
    **dict.fromkeys(("cvpo", "so2"), BLACK),
    **dict.fromkeys(("sac-lag", "bear-lag", "pex"), BROWN),
    "cpq": GREY,
    "marvel": OLIVE,
    "handrail": INDIGO,
}

_DPI = 150
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": "#333333",
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "legend.frameon": False,
    "savefig.dpi": _DPI,
    "text.parse_math": False,  # labels are the user's: a dollar in one is a dollar
}
_LIMIT = "#444444"
FEASIBLE = "#E3F2EC"


def colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label: the method's own where it is free, else the next free one."""
    given: dict[str, str] = {}
    for label in dict.fromkeys(labels):
        free = [c for c in PALETTE if c not in given.values()] or list(PALETTE)
        own = next((c for m, c in PREFERRED.items() if label.lower().startswith(m)), free[0])
        given[label] = own if own in free else free[0]
    return given


def draw_limit(axes: Axes, cost_limit: float) -> None:
    """The cost limit of an episode as a dashed line below what is drawn, named beside the line."""
    from matplotlib.patheffects import withStroke

    _line_of(axes, cost_limit)
    axes.annotate(
        f"limit {cost_limit:g}",
        (1, cost_limit),
        xycoords=axes.get_yaxis_transform(),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=9,
        color=_LIMIT,
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )


def draw_limits(axes: Axes, cost_limits: Sequence[float]) -> str:
    """The same for a small panel, which has room for their names at the right of its title alone;
    rising, and more than one where runs were judged by several. Returns what is written there."""
    if not cost_limits:
        return ""
    for cost_limit in cost_limits:
        _line_of(axes, cost_limit)
    name = f"limit{'s' * (len(cost_limits) > 1)} {', '.join(f'{x:g}' for x in cost_limits)}"
    axes.set_title(name, loc="right", fontsize=9, fontweight="normal", color=_LIMIT)
    return name


def _line_of(axes: Axes, cost_limit: float) -> None:
    axes.axhline(cost_limit, color=_LIMIT, ls=(0, (5, 3)), lw=1.4, zorder=1)


class styled:
    """A block within which figures have the house's style; gives what makes one of a size."""

    def __enter__(self):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self._context = matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE})
        self._context.__enter__()

        def new(inches: tuple[float, float]) -> Figure:
            figure = Figure(figsize=inches, dpi=_DPI, layout="constrained")
            FigureCanvasAgg(figure)
            return figure

        return new

    def __exit__(self, *error: Any) -> None:
        self._context.__exit__(*error)


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure, and the directory that it is to lie in."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
