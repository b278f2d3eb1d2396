"""The compiled step: ten substeps of physics, reward, cost and observation, without Python's lock.

The physics is MuJoCo's C functions, those that ``mj_step`` is made of. Two things are gained over a
loop in Python: threads that step different environments do not wait for each other, and sensors are
computed once a step instead of ten times (nothing of the physics depends on them). The bits are
those of ``mj_step``; the rest agrees with safety-gymnasium's NumPy to the last bit or two. Tests
compare them.

It is one file, for numba's cache does not see a change of a function that lies in another.
"""

from __future__ import annotations

import numba
import numpy as np

from handrail.envs.native.atomics import YIELD, load, store
from handrail.envs.native.index import NOWHERE
from handrail.envs.native.physics import (
    ACCELERATION,
    ACTUATION,
    CHECK_ACC,
    CHECK_POS,
    CHECK_VEL,
    CONSTRAINT,
    COPY,
    EULER,
    FORWARD,
    MATRIX,
)
from handrail.envs.native.settings import BOUNDARY, KINDS, LIDAR_BINS

REWARD_CLIP = 10.0
VASE_SPEED = 1e-4
"""A vase that is faster than this, m/s, has been moved."""
_BUTTON = KINDS.index("Button")


@numba.njit(cache=True, nogil=True)
def step(
    index, rows, controls, ways, observations, parts, first, last
):  # pragma: no cover - compiled
    """Of the rows from ``first`` to ``last`` that are not idle.

    Args:
        index: an ``Index``.
        rows: (N,) of ``ROW``.
        controls: (N, 2).
        ways: where all mocap bodies are at each substep, (N, S, 3) m.
        observations: (N, O); written.
        parts: the cost's, (N, P), in the order of ``PARTS``; written.
    """
    for i in range(first, last):
        row = rows[i]
        row.reward, row.cost = 0.0, 0.0
        row.met = row.terminated = row.truncated = False
        if row.idle:
            continue
        COPY(row.ctrl, controls[i].ctypes.data, controls.shape[1])
        _substeps(row.model, row.data, row.mocap_pos, index.guides, ways[i])
        row.steps += 1
        row.truncated = row.steps >= index.horizon
        xpos, axes, sensors = _seen(index, row)
        if index.goal != NOWHERE:
            _gain(index, row, xpos, sensors)
        _costs(index, row, xpos, sensors, parts[i])
        row.timer = max(0, row.timer - 1)
        _observe(index, row, xpos, axes, sensors, observations[i])


@numba.njit(cache=True)
def announce(turns):  # pragma: no cover - compiled
    """The leader's next turn, to threads that :func:`follow`."""
    store(turns[0], load(turns[0]) + 1)


@numba.njit(cache=True, nogil=True)
def follow(
    index, rows, controls, ways, observations, parts, first, last, turns, who, looks
):  # pragma: no cover - compiled
    """:func:`step` at every turn that the leader announces, until it has not announced one within
    ``looks`` looks.

    Args:
        turns: (T,) int64 addresses of the threads' turns: the leader's is the one it announced
            last, another's the one it has done last. The leader waits for all before the next.
        who: the thread's own, 1 or more.
        looks: 1 or more.
    """
    turn, left = load(turns[who]), looks
    while left > 0:
        if load(turns[0]) == turn:
            YIELD()
            left -= 1
            continue
        step(index, rows, controls, ways, observations, parts, first, last)
        turn, left = turn + 1, looks
        store(turns[who], turn)


@numba.njit(cache=True, nogil=True)
def gathered(turns, looks):  # pragma: no cover - compiled
    """Whether all threads have done the leader's turn, waited for for ``looks`` looks."""
    turn = load(turns[0])
    for address in turns[1:]:
        while load(address) != turn:
            if looks == 0:
                return False
            YIELD()
            looks -= 1
    return True


@numba.njit(cache=True, nogil=True)
def look(index, row, observation):  # pragma: no cover - compiled
    """The observation, (O,), of a row as its state is; written."""
    xpos, axes, sensors = _seen(index, row)
    _observe(index, row, xpos, axes, sensors, observation)


@numba.njit(cache=True)
def _substeps(model, data, guides, many, ways):  # pragma: no cover - compiled
    """A substep for each of ``ways``; at the end all that follows from the state, sensors too. The
    integrator is Euler's.

    Args:
        model, data, guides: addresses of MjModel, MjData and ``mocap_pos``.
        many: mocap bodies.
        ways: where they all are at each substep, (S, 3) m.
    """
    for k in range(len(ways)):
        if k == 0 and not many:
            # What follows from position and velocity is there, from the pass that ended a step.
            ACTUATION(model, data)
            ACCELERATION(model, data)
            CONSTRAINT(model, data)
        else:
            for i in range(many):
                COPY(guides + 24 * i, ways[k].ctypes.data, 3)
            CHECK_POS(model, data)
            CHECK_VEL(model, data)
            FORWARD(model, data, 0, 1)
        CHECK_ACC(model, data)
        EULER(model, data)
    FORWARD(model, data, 0, 0)


@numba.njit(cache=True)
def _seen(index, row):  # pragma: no cover - compiled
    """Where all bodies are, (B, 3) m, the agent's axes, (9,), and what the sensors say."""
    xpos, axes, sensors = np.empty((index.bodies, 3)), np.empty(9), np.empty(index.sensors)
    COPY(xpos.ctypes.data, row.xpos, xpos.size)
    COPY(axes.ctypes.data, row.xmat + 72 * index.agent, axes.size)
    COPY(sensors.ctypes.data, row.sensordata, sensors.size)
    return xpos, axes, sensors


@numba.njit(cache=True)
def _observe(index, row, xpos, axes, sensors, out):  # pragma: no cover - compiled
    COPY(out.ctypes.data, sensors.ctypes.data, index.plain)
    if index.car:
        MATRIX(out[index.plain :].ctypes.data, sensors[index.plain :].ctypes.data)
    _lidar(index, xpos, axes, out)
    if row.timer and index.buttons_at != NOWHERE:  # just pressed: the buttons are off
        out[index.buttons_at : index.buttons_at + LIDAR_BINS] = 0.0


@numba.njit(cache=True)
def _lidar(index, xpos, axes, out):  # pragma: no cover - compiled
    """Each group's lidar, safety-gymnasium's "pseudo" one, into an observation.

    A bin reads 1 - distance / range of the nearest object in its direction, and neighbouring bins a
    part of it, by how near the object is to their edge.

    Args:
        xpos: of all bodies, (B, 3) m.
        axes: the agent's, (9,).
        out: (O,).
    """
    agent, bodies, ends = index.agent, index.lidar_bodies, index.lidar_ends
    at, reach = index.lidar_at, index.lidar_range
    bins = LIDAR_BINS
    width = 2 * np.pi / bins
    x0, y0, z0 = xpos[agent, 0], xpos[agent, 1], xpos[agent, 2]
    begin = 0
    for g in range(len(ends)):
        ring = out[at + g * bins : at + (g + 1) * bins]
        ring[:] = 0.0
        for i in range(begin, ends[g]):
            x, y = -x0, -y0
            if bodies[i] >= 0:
                x, y = xpos[bodies[i], 0] - x0, xpos[bodies[i], 1] - y0
            # Into the agent's frame; the object is taken to lie on the floor.
            ego_x = x * axes[0] + y * axes[3] - z0 * axes[6]
            ego_y = x * axes[1] + y * axes[4] - z0 * axes[7]
            near = max(0.0, reach - np.hypot(ego_x, ego_y)) / reach
            angle = np.arctan2(ego_y, ego_x) % (2 * np.pi)
            k = int(angle / width)
            part = (angle - width * k) / width
            k %= bins  # the remainder of a tiny negative angle is 2 pi itself
            ring[k] = max(ring[k], near)
            up, down = (k + 1) % bins, (k - 1) % bins
            ring[up] = max(ring[up], part * near)
            ring[down] = max(ring[down], (1 - part) * near)
        begin = ends[g]


@numba.njit(cache=True)
def distances(xpos, agent, box, goal):  # pragma: no cover - compiled
    """0 and agent to goal, in the plane; with a box, agent to box and box to goal, in space. m"""
    if box < 0:
        return 0.0, _gap(xpos, agent, goal, 2)
    return _gap(xpos, box, agent, 3), _gap(xpos, box, goal, 3)


@numba.njit(cache=True)
def _gain(index, row, xpos, sensors):  # pragma: no cover - compiled
    """Whether the goal was met, and the reward: metres gained towards it, and 1 for reaching it."""
    box, goal = distances(xpos, index.agent, index.box, index.goal)
    if index.kind == _BUTTON:
        row.met = sensors[index.touch_buttons[row.button]] > 0
    else:
        row.met = goal <= index.goal_size
    reward = (row.last_box - box) + (row.last_goal - goal) + row.met
    row.reward = min(max(reward, -REWARD_CLIP), REWARD_CLIP)
    row.last_box, row.last_goal = box, goal


@numba.njit(cache=True)
def _costs(index, row, xpos, sensors, parts):  # pragma: no cover - compiled
    """The cost, 0 or 1, and its parts, in the order of ``PARTS``."""
    x, y = abs(xpos[index.agent, 0]), abs(xpos[index.agent, 1])
    wrong = fast = False
    for i in range(len(index.touch_buttons)):
        wrong |= i != row.button and sensors[index.touch_buttons[i]] > 0
    velocity = np.empty(3)
    for i in index.vases:
        COPY(velocity.ctypes.data, row.qvel + 8 * i, 3)
        fast |= np.sqrt(velocity[0] ** 2 + velocity[1] ** 2 + velocity[2] ** 2) >= VASE_SPEED
    parts[0] = _inside(xpos, index.agent, index.hazards, index.hazard_size)
    parts[1] = x > BOUNDARY or (y > BOUNDARY and index.walls == 4)
    parts[2] = wrong and row.timer == 0
    parts[3] = _touched(sensors, index.touch_vases)
    parts[4] = fast
    parts[5] = _touched(sensors, index.touch_pillars)
    parts[6] = _touched(sensors, index.touch_gremlins)
    for i in range(len(parts)):
        parts[i] *= index.costly[i]
    row.cost = parts.max()


@numba.njit(cache=True)
def _inside(xpos, agent, bodies, radius):  # pragma: no cover - compiled
    """Whether the agent is within ``radius`` of one of the bodies, in the plane.

    At the very edge safety-gymnasium's cost is 0 too, for it is the depth's sign.
    """
    for i in bodies:
        dx, dy = xpos[i, 0] - xpos[agent, 0], xpos[i, 1] - xpos[agent, 1]
        if np.sqrt(dx * dx + dy * dy) < radius:
            return True
    return False


@numba.njit(cache=True)
def _touched(sensors, which):  # pragma: no cover - compiled
    found = False
    for i in which:
        found |= sensors[i] > 0
    return found


@numba.njit(cache=True)
def _gap(xpos, a, b, axes):  # pragma: no cover - compiled
    """Distance of two bodies along the first ``axes`` axes, m."""
    total = 0.0
    for i in range(axes):
        total += (xpos[a, i] - xpos[b, i]) ** 2
    return np.sqrt(total)
