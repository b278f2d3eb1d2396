"""What is where in a task's model: numbers of bodies, of sensors and of columns.

An :class:`Index` is what the compiled part of a step knows of its task.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from handrail.envs.native import model
from handrail.envs.native.settings import KINDS, LIDAR_BINS, Objects, Settings

PARTS = (
    "cost_hazards", "cost_out_of_boundary", "cost_buttons", "cost_vases_contact",
    "cost_vases_velocity", "cost_pillars", "cost_gremlins",
)  # fmt: skip
_PARTS_OF = {
    "hazard": PARTS[:1], "sigwall": PARTS[1:2], "button": PARTS[2:3], "vase": PARTS[3:5],
    "pillar": PARTS[5:6], "gremlin": PARTS[6:],
}  # fmt: skip
NOWHERE = -1


class Index(NamedTuple):
    """Of one task; NOWHERE (-1) or empty: it has none of the kind."""

    kind: int
    """Of the task, in ``KINDS``."""
    horizon: int
    """Steps of an episode."""
    timestep: float
    """Of the physics, s."""
    width: int
    """Numbers of an observation."""
    bodies: int
    sensors: int
    """Numbers of all of them."""
    guides: int
    """Mocap bodies, which lead the gremlins."""
    guided_at: float
    """Their height, m."""
    travel: float
    """Radius of their circles, m."""
    agent: int
    goal: int
    box: int
    goal_size: float
    """m"""
    plain: int
    """Sensors that are observed as they are; the first ones."""
    car: bool
    """Whether a quaternion comes after them."""
    lidar_at: int
    """The lidar's first column in an observation."""
    lidar_bodies: np.ndarray
    """Those it sees, one group after the other; NOWHERE is the origin."""
    lidar_ends: np.ndarray
    """Of each group in ``lidar_bodies``."""
    lidar_range: float
    """m"""
    buttons_at: int
    """First column of the buttons' lidar."""
    hazards: np.ndarray
    """Bodies."""
    hazard_size: float
    """m"""
    walls: int
    """How many walls stand around the circle."""
    vases: np.ndarray
    """Where the velocities begin of vases that cost."""
    touch_buttons: np.ndarray
    """Sensors that count the agent's contacts with them, one each; so of the others."""
    touch_vases: np.ndarray
    touch_pillars: np.ndarray
    touch_gremlins: np.ndarray
    costly: np.ndarray
    """Which of ``PARTS`` the task has."""


def of(m: Any, settings: Settings) -> Index:
    """Of an MjModel of ``model.mjcf(settings)``."""
    groups = {group.name: group for group in settings.objects}
    seen = [group for group in settings.objects if group.lidar]
    sensors = [m.sensor(i) for i in range(m.nsensor)]
    plain = sum(int(s.dim[0]) for s in sensors if not s.name.startswith(("touch", "ballquat_rear")))
    lidar_at = plain + (9 if settings.agent == "Car" else 0)
    names = [group.name for group in seen]
    costly = {part for group in settings.objects if group.costs for part in _PARTS_OF[group.name]}

    def touch(kind: str) -> np.ndarray:
        return np.array([s.adr[0] for s in sensors if s.name.startswith(f"touch_{kind}")], np.int64)

    def ids(kind: str) -> np.ndarray:
        return np.array(bodies(m, groups[kind]) if kind in groups else [], np.int64)

    def size(kind: str) -> float:
        return groups[kind].size if kind in groups else 0.0

    def one(kind: str) -> int:
        return m.body(kind).id if kind in groups else NOWHERE

    return Index(
        kind=KINDS.index(settings.kind),
        horizon=settings.horizon,
        timestep=settings.timestep,
        width=lidar_at + LIDAR_BINS * len(seen),
        bodies=m.nbody,
        sensors=m.nsensordata,
        guides=m.nmocap,
        guided_at=size("gremlin"),
        travel=settings.travel,
        agent=m.body("agent").id,
        goal=one("goal"),
        box=one("push_box"),
        goal_size=size("goal"),
        plain=plain,
        car=settings.agent == "Car",
        lidar_at=lidar_at,
        lidar_bodies=np.array([i for group in seen for i in bodies(m, group)]),
        lidar_ends=np.cumsum([len(bodies(m, group)) for group in seen]),
        lidar_range=settings.lidar_range,
        buttons_at=lidar_at + names.index("button") * LIDAR_BINS if "button" in names else NOWHERE,
        hazards=ids("hazard"),
        hazard_size=size("hazard"),
        walls=groups["sigwall"].count if "sigwall" in groups else 0,
        vases=m.jnt_dofadr[m.body_jntadr[ids("vase")]].astype(np.int64),
        touch_buttons=touch("button"),
        touch_vases=touch("vase"),
        touch_pillars=touch("pillar"),
        touch_gremlins=touch("gremlin"),
        costly=np.array([part in costly for part in PARTS]),
    )


def bodies(m: Any, group: Objects) -> list[int]:
    """Of the group's objects."""
    if group.name == "circle":
        return [NOWHERE]  # its lidar looks to the origin (safety-gymnasium)
    return [m.body(model.body(name)).id for name in model.names(group)]
