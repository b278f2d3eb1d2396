"""The compiled part of a step: distances, what the lidar sees, who touches whom.

They agree with safety-gymnasium's NumPy to the last bit or two.
"""

from __future__ import annotations

import numba
import numpy as np

from handrail.envs.native.settings import LIDAR_BINS


@numba.njit(cache=True)
def lidar(xpos, xmat, agent, bodies, ends, out, at, reach):  # pragma: no cover - compiled
    """Each group's lidar, safety-gymnasium's "pseudo" one, into ``out`` from ``at`` on.

    A bin reads 1 - distance / reach of the nearest object in its direction, and neighbouring bins
    a part of it, by how near the object is to their edge.

    Args:
        xpos, xmat: of all bodies, (N, 3) m and (N, 9).
        agent: its body.
        bodies: of all groups, one group after the other; -1 is the origin.
        ends: of each group in ``bodies``.
        reach: m.
    """
    bins = LIDAR_BINS
    width = 2 * np.pi / bins
    x0, y0, z0 = xpos[agent, 0], xpos[agent, 1], xpos[agent, 2]
    r = xmat[agent]
    begin = 0
    for g in range(len(ends)):
        row = out[at + g * bins : at + (g + 1) * bins]
        row[:] = 0.0
        for i in range(begin, ends[g]):
            x, y = -x0, -y0
            if bodies[i] >= 0:
                x, y = xpos[bodies[i], 0] - x0, xpos[bodies[i], 1] - y0
            # Into the agent's frame; the object is taken to lie on the floor.
            ego_x = x * r[0] + y * r[3] - z0 * r[6]
            ego_y = x * r[1] + y * r[4] - z0 * r[7]
            near = max(0.0, reach - np.hypot(ego_x, ego_y)) / reach
            angle = np.arctan2(ego_y, ego_x) % (2 * np.pi)
            k = int(angle / width)
            part = (angle - width * k) / width
            k %= bins  # the remainder of a tiny negative angle is 2 pi itself
            row[k] = max(row[k], near)
            up, down = (k + 1) % bins, (k - 1) % bins
            row[up] = max(row[up], part * near)
            row[down] = max(row[down], (1 - part) * near)
        begin = ends[g]


@numba.njit(cache=True)
def touched(pairs, group, out):  # pragma: no cover - compiled
    """How many contacts the agent has with each group of geoms.

    Args:
        pairs: of geoms in contact, (C, 2).
        group: of each geom; 0 is the agent's, -1 those of no interest.
        out: counts by group.
    """
    out[:] = 0
    for i in range(len(pairs)):
        a, b = pairs[i, 0], pairs[i, 1]
        if a < 0 or b < 0:  # of a flexible body: there is none here
            continue
        a, b = group[a], group[b]
        if a == 0 and b > 0:
            out[b] += 1
        elif b == 0 and a > 0:
            out[a] += 1


@numba.njit(cache=True)
def inside(xpos, agent, bodies, radius):  # pragma: no cover - compiled
    """Whether the agent is within ``radius`` of one of the bodies, in the plane.

    At the very edge safety-gymnasium's cost is 0 too, for it is the depth's sign.
    """
    for i in bodies:
        dx, dy = xpos[i, 0] - xpos[agent, 0], xpos[i, 1] - xpos[agent, 1]
        if np.sqrt(dx * dx + dy * dy) < radius:
            return True
    return False


@numba.njit(cache=True)
def gap(xpos, a, b, axes):  # pragma: no cover - compiled
    """Distance of two bodies along the first ``axes`` axes, m."""
    total = 0.0
    for i in range(axes):
        total += (xpos[a, i] - xpos[b, i]) ** 2
    return np.sqrt(total)


@numba.njit(cache=True)
def speed(qvel, at):  # pragma: no cover - compiled
    """Of a free body whose velocity begins at ``at``, m/s."""
    return np.sqrt(qvel[at] ** 2 + qvel[at + 1] ** 2 + qvel[at + 2] ** 2)
