"""The native tasks as a Gymnasium environment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import gymnasium
import numpy as np

from handrail.envs.native import kernels, model
from handrail.envs.native.camera import Camera
from handrail.envs.native.layout import Placer
from handrail.envs.native.model import mujoco
from handrail.envs.native.physics import Physics
from handrail.envs.native.settings import (
    BOUNDARY,
    BUTTON_DELAY,
    CIRCLE_RADIUS,
    LIDAR_BINS,
    SETTINGS,
    SUBSTEPS,
    Objects,
)

REWARD_CLIP = 10.0
VASE_SPEED = 1e-4
"""A vase that is faster than this, m/s, has been moved."""
FIXED_LAYOUT = 0
"""Seed of the layout ``fixed``."""
Layout = Literal["random", "fixed"] | Sequence[int] | None
FULL = int(mujoco.mjtState.mjSTATE_INTEGRATION)
_STILL = np.zeros((SUBSTEPS, 3))


class NativeEnv(gymnasium.Env):
    """A native task.

    Args:
        task: its name below ``native/``.
        layout: where things stand at the start of an episode: ``random``, by the episode's seed;
            ``fixed``, the same always; the seeds of the layouts that episodes draw from, so that
            those of training and of testing can be kept apart; None: as the task has it.
        max_episode_steps: None: the task's horizon.
        render_mode: ``rgb_array`` or None.

    Observation, float64: accelerometer (m/s^2), velocimeter (m/s), gyro (rad/s), magnetometer, for
    the Car the rear ball's velocity (rad/s) and its rotation matrix, then 16 lidar bins in [0, 1]
    for each kind of object. Action: two controls in [-1, 1]. ``info`` has ``cost``, 0 or 1, its
    parts ``cost_...``, and ``goal_met`` where a goal was reached in this step.

    ``reset(seed=s)`` makes the episode a function of s. ``options={"layout_seed": n}`` takes the
    layout (where everything stands at the start) from another seed, as ``settings.layout_seeds``
    does for all episodes; goals that are drawn later follow s.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        task: str,
        *,
        layout: Layout = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
    ):
        if task not in SETTINGS:
            raise ValueError(f"unknown task {task!r}; give one of {', '.join(SETTINGS)}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode {render_mode!r} is none of rgb_array, None")
        settings = SETTINGS[task]
        if layout is not None:
            settings = replace(settings, layout_seeds=_seeds(layout))
        if max_episode_steps is not None:
            settings = replace(settings, horizon=max_episode_steps)
        self.task, self.settings, self.render_mode = task, settings, render_mode
        self.model = mujoco.MjModel.from_xml_string(model.mjcf(settings))
        self.data = mujoco.MjData(self.model)
        self._physics = Physics(self.model, self.data)
        self._placer = Placer(settings)
        self._groups = {group.name: group for group in settings.objects}
        self._index()
        self._goal_button, self._timer = 0, 0
        self._steps, self._last, self._now = 0, (0.0,), (0.0,)
        self._start: dict[str, np.ndarray] = {}
        self._layout: dict[str, np.ndarray] = {}
        self._turns: dict[str, float] = {}
        self._rng = np.random.RandomState()
        self._camera: Camera | None = None
        self.cost = 0.0
        size = self._lidar_at + LIDAR_BINS * len(self._lidar_ends)
        self._size = size
        low, high = np.full(size, -np.inf), np.full(size, np.inf)
        low[self._lidar_at :], high[self._lidar_at :] = 0.0, 1.0
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.model.nu,), np.float64)

    # -- what is where in MuJoCo's arrays ---------------------------------------------------------

    def _bodies(self, group: Objects) -> list[int]:
        if group.name == "circle":
            return [-1]  # its lidar looks to the origin (safety-gymnasium)
        return [self.model.body(model.body(name)).id for name in model.names(group)]

    def _index(self) -> None:
        m, d, objects = self.model, self.data, self.settings.objects
        # Views: MuJoCo's arrays stay where they are as long as the data lives.
        self._xpos, self._xmat, self._ctrl = d.xpos, d.xmat, d.ctrl
        self._qvel, self._sensors, self._guides = d.qvel, d.sensordata, d.mocap_pos
        self._agent = m.body("agent").id
        seen = [self._bodies(group) for group in objects if group.lidar]
        self._lidar_bodies = np.array([i for ids in seen for i in ids])
        self._lidar_ends = np.cumsum([len(ids) for ids in seen])
        sensors = [m.sensor(i) for i in range(m.nsensor)]
        self._plain = sum(int(s.dim[0]) for s in sensors if s.name != "ballquat_rear")
        self._lidar_at = self._plain + (9 if self.settings.agent == "Car" else 0)
        self._buttons_at = None
        if "button" in self._groups:
            at = [group.name for group in objects if group.lidar].index("button")
            self._buttons_at = slice(
                self._lidar_at + at * LIDAR_BINS, self._lidar_at + (at + 1) * LIDAR_BINS
            )
        # Geoms: 0 the agent's, then one number a group, and one for each button.
        self._geom_group = np.full(m.ngeom, -1)
        bodies = [i for i in range(m.nbody) if m.body_rootid[i] == self._agent]
        self._geom_group[np.isin(m.geom_bodyid, bodies)] = 0
        self._contacts: dict[str, list[int]] = {}
        number = 0
        for group in objects:
            if group.name not in ("button", "pillar", "vase", "gremlin"):
                continue
            numbers = []
            for body in self._bodies(group):
                if group.name == "button" or not numbers:
                    number += 1
                numbers.append(number)
                self._geom_group[m.geom_bodyid == body] = number
            self._contacts[group.name] = sorted(set(numbers))
        self._counts = np.zeros(number + 1, np.int64)
        self._hazards = np.array(self._bodies(self._groups["hazard"])) if (
            "hazard" in self._groups) else np.zeros(0, np.int64)  # fmt: skip
        self._goal = m.body("goal").id if "goal" in self._groups else -1
        self._goal_size = self._groups["goal"].size if "goal" in self._groups else 0.0
        self._gremlin_size = self._groups["gremlin"].size if "gremlin" in self._groups else 0.0
        self._box = m.body("push_box").id if "push_box" in self._groups else None
        self._buttons = self._bodies(self._groups["button"]) if "button" in self._groups else []
        self._costly = [group.name for group in objects if group.costs]
        self._moving = {
            name: m.body(name).id
            for name in ["agent", *(n for g in objects for n in model.names(g))]
            if name == "agent" or name.startswith(("vase", "push_box"))
        }
        self._jacobian = np.zeros((3, m.nv))
        self._vases = [
            m.jnt_dofadr[m.body_jntadr[i]]
            for group in objects
            if group.name == "vase" and group.costs
            for i in self._bodies(group)
        ]

    # -- an episode -------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        if seed is not None:
            self._rng = np.random.RandomState(seed % 2**32)
        layout_rng, known = self._rng, (options or {}).get("layout_seed")
        if known is None and self.settings.layout_seeds is not None:
            seeds = self.settings.layout_seeds
            known = seeds[self._rng.randint(len(seeds))]
        if known is not None:
            layout_rng = np.random.RandomState(known)
        self._build(layout_rng)
        return self._observe(), {}

    def _build(self, rng: np.random.RandomState) -> None:
        layout = self._placer.layout(rng)
        if layout is None:
            raise RuntimeError("no layout was found in 10,000 attempts")
        turns = {"agent": rng.uniform(0, 2 * np.pi)}
        fixed = ("circle", "sigwall")
        for group in self.settings.objects:
            for i, name in enumerate(model.names(group)):
                turn = rng.uniform(0, 2 * np.pi)
                quarter = np.pi / 2 if group.name == "sigwall" and i >= 2 else 0.0
                turns[name] = quarter if group.name in fixed else turn
        self._start, self._layout, self._turns = layout, dict(layout), turns
        model.place(self.model, self.data, self.settings, layout, turns)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)
        if not self._next_goal(rng):
            raise RuntimeError("no room for a goal was found in 10,000 attempts")
        self._steps, self._timer, self.cost = 0, 0, 0.0

    def step(self, action: np.ndarray):
        d = self.data
        np.maximum(np.minimum(action, 1.0), -1.0, out=self._ctrl)
        if not math.isfinite(self._ctrl.sum()):
            raise ValueError(f"the action {action} is not finite")
        self._physics.step(self._ways(d.time) if len(self._guides) else _STILL)
        self._steps += 1
        self._rng.random_sample()  # safety-gymnasium draws the number of substeps, always 10
        if self._contacts:
            kernels.touched(d.contact.geom, self._geom_group, self._counts)
        met = self._goal_met()
        reward, info = self._reward(met), self._costs()
        self._timer = max(0, self._timer - 1)
        terminated = False
        if met:
            info["goal_met"] = True
            for name, body in self._moving.items():
                self._layout[name] = self._xpos[body, :2].copy()
            terminated = not self._next_goal(self._rng)
        return self._observe(), reward, terminated, self._steps >= self.settings.horizon, info

    def _ways(self, time: float) -> np.ndarray:
        """Where gremlins are led at each substep, (10, 3) m: in circles, all with the same phase, 1
        rad/s."""
        steps = np.full(SUBSTEPS, self.settings.timestep)
        steps[0] = time
        phase, travel = np.cumsum(steps), self.settings.travel  # adds up as MuJoCo's clock does
        height = np.full(SUBSTEPS, self._gremlin_size)
        return np.stack([np.sin(phase) * travel, np.cos(phase) * travel, height], axis=1)

    # -- states ------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that the rest of the episode depends on: arrays, numbers and text by name."""
        physics = np.empty(mujoco.mj_stateSize(self.model, FULL))
        mujoco.mj_getState(self.model, self.data, physics, FULL)
        _, key, at, _, _ = self._rng.get_state(legacy=True)
        return {
            "task": self.task,
            "physics": physics,
            "start": np.array([self._start[name] for name in self._placer.names]),
            "places": np.array([self._layout[name] for name in self._placer.names]),
            "turns": np.array([self._turns[name] for name in self._placer.names]),
            "goal": self.model.body_pos[self._goal].copy(),
            "goal_button": self._goal_button,
            "timer": self._timer,
            "steps": self._steps,
            "last": np.array(self._last),
            "rng_key": np.asarray(key),
            "rng_at": int(at),
        }

    def set_state(self, state: dict[str, Any]) -> np.ndarray:
        """Go to a state that ``get_state`` gave, of this environment or of another of the task; the
        steps that follow are the same, bit for bit. Returns the observation."""
        names = self._placer.names
        if state["task"] != self.task:
            raise ValueError(f"this state is of {state['task']}, not of {self.task}")
        self._start, self._layout = (
            dict(zip(names, np.array(state[which]), strict=True)) for which in ("start", "places")
        )
        self._turns = dict(zip(names, map(float, state["turns"]), strict=True))
        model.place(self.model, self.data, self.settings, self._start, self._turns)
        mujoco.mj_resetData(self.model, self.data)
        if self._goal >= 0:
            self.model.body_pos[self._goal] = state["goal"]
        self._goal_button, self._timer = int(state["goal_button"]), int(state["timer"])
        self._steps, self._last = int(state["steps"]), tuple(map(float, state["last"]))
        self._rng.set_state(("MT19937", state["rng_key"], int(state["rng_at"]), 0, 0.0))
        # Twice: computing what follows from the state moves the solver's warm start, a part of it.
        mujoco.mj_setState(self.model, self.data, state["physics"], FULL)
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state["physics"], FULL)
        return self._observe()

    def places(self) -> dict[str, np.ndarray]:
        """x and y of the agent and of each kind of object now, (N, 2) m by kind."""
        at = {group.name: self._bodies(group) for group in self.settings.objects}
        at = {"agent": [self._agent], **at}
        return {
            name: np.array([self._xpos[i, :2] if i >= 0 else (0.0, 0.0) for i in ids])
            for name, ids in at.items()
        }

    def render(self) -> np.ndarray | None:
        """The scene from behind and above the agent, (480, 640, 3) uint8.

        Raises:
            HandrailError: neither EGL nor OSMesa is there.
        """
        if self.render_mode is None:
            return None
        if self._camera is None:
            self._camera = Camera(self.model)
        return self._camera.picture(self.data, self._xpos[self._agent], self.cost > 0)

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    # -- goals, rewards, costs --------------------------------------------------------------------

    def _next_goal(self, rng: np.random.RandomState) -> bool:
        """Draw a goal and measure the way to it; False where there is no room for one."""
        kind = self.settings.kind
        if kind == "Circle":
            return True
        if kind == "Button":
            self._goal_button, self._timer = int(rng.choice(len(self._buttons))), BUTTON_DELAY
            place = self._xpos[self._buttons[self._goal_button], :2]
        else:
            place = self._placer.goal(rng, self._layout)
            if place is None:
                return False
            self._layout["goal"] = place
        self.model.body_pos[self._goal, :2] = place
        mujoco.mj_forward(self.model, self.data)
        self._last = self._distances()
        return True

    def _distances(self) -> tuple[float, ...]:
        """Agent to goal in the plane; of Push, agent to box and box to goal in space. m"""
        at, agent, goal, box = self._xpos, self._agent, self._goal, self._box
        if box is None:
            return (kernels.gap(at, agent, goal, 2),)
        return kernels.gap(at, box, agent, 3), kernels.gap(at, box, goal, 3)

    def _goal_met(self) -> bool:
        kind = self.settings.kind
        if kind == "Circle":
            return False
        if kind == "Button":
            return self._counts[self._contacts["button"][self._goal_button]] > 0
        self._now = self._distances()
        return self._now[-1] <= self._goal_size

    def _reward(self, met: bool) -> float:
        """Metres gained towards the goal, and 1 for reaching it; of Circle, speed along it."""
        if self.settings.kind == "Circle":
            mujoco.mj_jacBody(self.model, self.data, self._jacobian, None, self._agent)
            u, v, _ = self._jacobian @ self._qvel
            x, y, _ = self._xpos[self._agent]
            radius = np.sqrt(x**2 + y**2)
            return float((-u * y + v * x) / radius / (1 + abs(radius - CIRCLE_RADIUS)) * 0.1)
        now = self._distances() if self.settings.kind == "Button" else self._now
        reward = sum(a - b for a, b in zip(self._last, now, strict=True))
        self._last = now
        return float(min(max(reward + met, -REWARD_CLIP), REWARD_CLIP))

    def _costs(self) -> dict[str, Any]:
        """``cost`` and its parts, each 0 or 1."""
        parts: dict[str, Any] = {}
        for name in self._costly:
            if name == "hazard":
                size = self._groups["hazard"].size
                parts["cost_hazards"] = kernels.inside(self._xpos, self._agent, self._hazards, size)
            elif name == "sigwall":
                x, y = np.abs(self._xpos[self._agent, :2]) > BOUNDARY
                parts["cost_out_of_boundary"] = x or (y and self._groups["sigwall"].count == 4)
            elif name == "button":
                own = self._contacts["button"][self._goal_button]
                parts["cost_buttons"] = self._timer == 0 and any(
                    self._counts[i] for i in self._contacts["button"] if i != own
                )
            elif name == "vase":
                parts["cost_vases_contact"] = self._counts[self._contacts["vase"][0]] > 0
                parts["cost_vases_velocity"] = any(
                    kernels.speed(self._qvel, i) >= VASE_SPEED for i in self._vases
                )
            else:
                parts[f"cost_{name}s"] = self._counts[self._contacts[name][0]] > 0
        parts = {name: float(part) for name, part in parts.items()}
        parts["cost"] = self.cost = float(any(parts.values()))
        return parts

    def _observe(self) -> np.ndarray:
        observation = np.empty(self._size)
        plain = self._plain
        observation[:plain] = self._sensors[:plain]
        if self.settings.agent == "Car":
            mujoco.mju_quat2Mat(observation[plain : plain + 9], self._sensors[plain : plain + 4])
        kernels.lidar(
            self._xpos,
            self._xmat,
            self._agent,
            self._lidar_bodies,
            self._lidar_ends,
            observation,
            self._lidar_at,
            self.settings.lidar_range,
        )
        if self._timer and self._buttons_at is not None:
            observation[self._buttons_at] = 0.0
        return observation


def _seeds(layout: str | Sequence[int]) -> tuple[int, ...] | None:
    if isinstance(layout, str):
        if layout not in ("random", "fixed"):
            raise ValueError(f"layout {layout!r} is none of random, fixed, a list of seeds")
        return None if layout == "random" else (FIXED_LAYOUT,)
    seeds = tuple(map(int, layout))
    if not seeds or min(seeds) < 0 or max(seeds) >= 2**32:
        raise ValueError("layout seeds must be one or more, each from 0 to 2^32 - 1")
    return seeds
