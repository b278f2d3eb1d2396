"""Where things stand: rejection sampling of layouts, and of goals within an episode.

The numbers are drawn in safety-gymnasium's order, so that a seed gives its layout. Placing the
objects of a Button task takes some ten thousand rejections: they are one compiled loop over
uniform numbers drawn ahead, and the generator is then set to where the loop stopped reading.
"""

from __future__ import annotations

import numba
import numpy as np

from handrail.envs.native import model
from handrail.envs.native.settings import Settings

EPSILON = 1e-9
"""Freedom of an object with a place of its own, m (safety-gymnasium)."""
ATTEMPTS = 100
"""Tries for one object before the layout is begun anew (safety-gymnasium)."""
LAYOUTS = 10_000
"""Layouts begun, or goals tried, before giving up (safety-gymnasium)."""
_AHEAD = 4096


class Placer:
    """Draws layouts of a task."""

    def __init__(self, settings: Settings):
        box = settings.extents if settings.agent_extents is None else settings.agent_extents
        rows = [("agent", settings.agent_keepout, (-box, -box, box, box))]
        full = settings.extents
        for group in settings.objects:
            k = group.keepout + EPSILON
            for i, name in enumerate(model.names(group)):
                area = (-full, -full, full, full)
                if i < len(group.locations):
                    x, y = group.locations[i]
                    area = (x - k, y - k, x + k, y + k)
                rows.append((name, group.keepout, area))
        self.names = [name for name, _, _ in rows]
        self._keepout = np.array([keepout for _, keepout, _ in rows])
        self._area = np.array([area for _, _, area in rows])
        self._area += self._keepout[:, None] * np.array([1, 1, -1, -1])

    def layout(self, rng: np.random.RandomState) -> dict[str, np.ndarray] | None:
        """x and y of the agent and of every object, by name; None where 10,000 layouts failed."""
        places = np.empty((len(self.names), 2))
        ahead = _AHEAD
        state = rng.get_state()
        while True:
            uniform = rng.random_sample(ahead)
            read = _layout(uniform, self._area, self._keepout, places)
            if read:
                break
            rng.set_state(state)
            ahead *= 8
        rng.set_state(state)
        rng.random_sample(abs(read))
        return dict(zip(self.names, places.copy(), strict=True)) if read > 0 else None

    def goal(self, rng: np.random.RandomState, places: dict[str, np.ndarray]) -> np.ndarray | None:
        """A new place for the goal, clear of everything else; None where 10,000 tries failed."""
        i = self.names.index("goal")
        others = np.array([j for j in range(len(self.names)) if j != i])
        taken = np.array([places[self.names[j]] for j in others])
        clear = self._keepout[others] + self._keepout[i]
        low, high = self._area[i, :2], self._area[i, 2:]
        for _ in range(LAYOUTS):
            place = np.array([rng.uniform(low[0], high[0]), rng.uniform(low[1], high[1])])
            if (np.sqrt(((taken - place) ** 2).sum(1)) >= clear).all():
                return place
        return None


@numba.njit(cache=True)
def _layout(uniform, area, keepout, places):  # pragma: no cover - compiled
    """Fill ``places``; returns how many numbers were read, negative where every layout failed, 0
    where there were too few of them."""
    n, read = len(places), 0
    for _ in range(LAYOUTS):
        done = True
        for i in range(n):
            free = False
            for _ in range(ATTEMPTS):
                if read + 2 > len(uniform):
                    return 0
                x = area[i, 0] + (area[i, 2] - area[i, 0]) * uniform[read]
                y = area[i, 1] + (area[i, 3] - area[i, 1]) * uniform[read + 1]
                read += 2
                free = True
                for j in range(i):
                    dx, dy = x - places[j, 0], y - places[j, 1]
                    if np.sqrt(dx * dx + dy * dy) < keepout[j] + keepout[i]:
                        free = False
                        break
                if free:
                    places[i, 0], places[i, 1] = x, y
                    break
            if not free:
                done = False
                break
        if done:
            return read
    return -read
