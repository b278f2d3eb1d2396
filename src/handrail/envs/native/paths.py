"""Trajectories of a native task in the plane, as GOLD's Fig. 3: no OpenGL needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from handrail.data.episodes import Episode
from handrail.envs.cmdp import CMDP
from handrail.envs.native.env import NativeEnv
from handrail.envs.native.settings import BOUNDARY, Settings
from handrail.errors import HandrailError

_COLOURS = {
    "goal": "#35a835", "button": "#f08c1e", "hazard": "#5b78e6", "pillar": "#8686c8",
    "circle": "#35a835", "vase": "#22b8c2", "push_box": "#d8b400", "gremlin": "#8a2be2",
}  # fmt: skip


@dataclass(frozen=True)
class Trajectory:
    """Where everything was in the T steps of an episode, m."""

    settings: Settings
    agent: Float[np.ndarray, "T+1 2"]
    objects: dict[str, Float[np.ndarray, "T+1 N 2"]]
    """By the name of their kind."""
    costs: Bool[np.ndarray, "T+1"]
    """Whether the step that led here cost."""
    goals: list[int]
    """Steps in which a goal was met; of Button, in which the right button was pressed."""
    return_: float

    @property
    def told(self) -> str:
        """Return, cost and goals in words."""
        text = f"return {self.return_:.1f}, cost {int(self.costs.sum())}"
        if "goal" not in self.objects:  # Circle
            return text
        one, more = ("press", "presses") if self.settings.kind == "Button" else ("goal", "goals")
        return f"{text}, {len(self.goals)} {one if len(self.goals) == 1 else more}"


def follow(episode: Episode, env: CMDP) -> Trajectory:
    """Play the actions of ``episode`` again from its seed, and note where everything is.

    Raises:
        HandrailError: the task is not a native one.
    """
    native: Any = env.unwrapped
    if not isinstance(native, NativeEnv):
        raise HandrailError(f"{env.task.name} is no native task: its paths cannot be drawn")
    env.reset(seed=episode.seed)
    seen, goals = [native.places()], []
    for step, action in enumerate(env.spec_.to_unit(episode.actions), 1):
        info = env.step(action)[4]
        seen.append(native.places())
        if info.get("goal_met"):
            goals.append(step)
    places = {name: np.stack([at[name] for at in seen]) for name in seen[0]}
    agent = places.pop("agent")[:, 0]
    costs = np.concatenate([[False], episode.costs > 0])
    return Trajectory(native.settings, agent, places, costs, goals, episode.return_)


def draw(trajectories: Sequence[Trajectory], titles: Sequence[str], columns: int = 3) -> Any:
    """A matplotlib figure, a panel for each, ``columns`` in a row: the agent's path from light to
    dark, red where it costs, the objects at the start, and the ways of those that move."""
    from matplotlib.figure import Figure

    columns = min(len(trajectories), columns)
    rows = -(-len(trajectories) // columns)
    figure = Figure(figsize=(4.2 * columns, 4.5 * rows), layout="constrained")
    for i, (trajectory, title) in enumerate(zip(trajectories, titles, strict=True)):
        _panel(figure.add_subplot(rows, columns, i + 1), trajectory, title)
    return figure


def _panel(axes: Any, t: Trajectory, title: str) -> None:
    from matplotlib.patches import Circle, Rectangle

    for group in t.settings.objects:
        colour, at = _COLOURS.get(group.name, "#999999"), t.objects.get(group.name)
        if group.name == "sigwall":
            for x, y in group.locations:
                (axes.axvline if x else axes.axhline)(x or y, color="#c9a400", lw=2, ls="--")
            continue
        assert at is not None
        for n in range(at.shape[1]):
            seen = dict.fromkeys(map(tuple, np.round(at[:, n], 6))) if group.name == "goal" else {}
            for x, y in list(seen)[:8] or [tuple(at[0, n])]:
                if group.name in ("vase", "push_box", "gremlin"):
                    s = group.size
                    patch: Any = Rectangle((x - s, y - s), 2 * s, 2 * s)
                else:
                    patch = Circle((x, y), group.size, fill=group.name != "circle")
                patch.set(color=colour, alpha=0.35 if group.name in ("goal", "hazard") else 0.8)
                axes.add_patch(patch)
            if group.name in ("vase", "push_box", "gremlin"):
                axes.plot(*at[:, n].T, color=colour, lw=0.8, alpha=0.6)
    axes.plot(*t.agent.T, color="#bbbbbb", lw=0.7, zorder=2)
    shade = np.linspace(0.25, 1, len(t.agent))
    axes.scatter(*t.agent.T, c=shade, cmap="Greys", vmin=0, vmax=1, s=3, zorder=3)
    axes.scatter(*t.agent[t.costs].T, color="#d62728", s=8, zorder=4)
    axes.plot(*t.agent[0], "o", color="black", ms=6, zorder=5)
    if t.goals:
        axes.plot(*t.agent[t.goals].T, "*", color="#1a7a1a", ms=10, zorder=5)
    edge = max(t.settings.extents, BOUNDARY) + 0.3
    edge = max(edge, float(np.abs(t.agent).max()) + 0.2)
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal")
    axes.set_title(f"{title}\n{t.told}", fontsize=10)
    axes.grid(False)
    axes.tick_params(labelsize=8)
