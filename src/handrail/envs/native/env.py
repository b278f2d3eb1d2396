"""The native tasks as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import gymnasium
import numpy as np

from handrail.envs.native import index, kernels, model
from handrail.envs.native.camera import Camera
from handrail.envs.native.index import PARTS
from handrail.envs.native.layout import Placer
from handrail.envs.native.model import mujoco
from handrail.envs.native.rows import Rows
from handrail.envs.native.settings import BUTTON_DELAY, CIRCLE_RADIUS, SETTINGS

FIXED_LAYOUT = 0
"""Seed of the layout ``fixed``."""
Layout = Literal["random", "fixed"] | Sequence[int] | None
FULL = int(mujoco.mjtState.mjSTATE_INTEGRATION)


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
        self._placer = Placer(settings)
        self.index = index.of(self.model, settings)
        self._lasts = ("last_box", "last_goal")[0 if self.index.box >= 0 else 1 :]
        self._parts = np.flatnonzero(self.index.costly).tolist()
        self._buttons = [
            i for group in settings.objects if group.name == "button"
            for i in index.bodies(self.model, group)
        ]  # fmt: skip
        self._moving = {
            name: self.model.body(name).id
            for name in ["agent", *(n for g in settings.objects for n in model.names(g))]
            if name == "agent" or name.startswith(("vase", "push_box"))
        }
        self._jacobian = np.zeros((3, self.model.nv))
        self._xpos = self.data.xpos  # a view: MuJoCo's arrays stay where they are
        self._start: dict[str, np.ndarray] = {}
        self._layout: dict[str, np.ndarray] = {}
        self._turns: dict[str, float] = {}
        self._rng, self._drawn = np.random.RandomState(), 0
        self._camera: Camera | None = None
        at = self.index.lidar_at
        low, high = np.full(self.index.width, -np.inf), np.full(self.index.width, np.inf)
        low[at:], high[at:] = 0.0, 1.0
        self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float64)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self.model.nu,), np.float64)
        self.lie_in(Rows(self.index, 1), 0)

    def lie_in(self, rows: Rows, i: int) -> None:
        """Step in row i from the next episode on, beside others of the task."""
        self._rows, self._at, self._row = rows, i, rows.put(i, self.model, self.data)
        self._drawn = 0

    # -- an episode -------------------------------------------------------------------------------

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._draw()
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

    def _draw(self) -> None:
        """Bring the generator to where safety-gymnasium's is, which draws a number a step: that of
        substeps, always 10."""
        steps = int(self._row["steps"])
        self._rng.random_sample(steps - self._drawn)
        self._drawn = steps

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
        self._row["steps"] = self._row["timer"] = self._drawn = 0

    def step(self, action: np.ndarray):
        rows, at, row = self._rows, self._at, self._row
        rows.prepare(action, at, at + 1)
        rows.step(at, at + 1)
        self.arrive()
        parts, info = rows.parts[at], {"cost": float(row["cost"])}
        for i in self._parts:
            info[PARTS[i]] = float(parts[i])
        if row["met"]:
            info["goal_met"] = True
        ends = bool(row["terminated"]), bool(row["truncated"])
        return rows.observations[at].copy(), float(row["reward"]), *ends, info

    def arrive(self) -> None:
        """What of a step is left to Python: Circle's reward; where the goal was met, the next one.
        The episode ends where there is no room for it."""
        if self.settings.kind == "Circle":
            self._row["reward"] = self._along_the_circle()
        if not self._row["met"]:
            return
        for name, body in self._moving.items():
            self._layout[name] = self._xpos[body, :2].copy()
        self._draw()
        self._row["terminated"] = not self._next_goal(self._rng)
        self._observe()

    def _along_the_circle(self) -> float:
        """Speed along it, less the further from it. By NumPy: its product's last bit is the
        library's own."""
        mujoco.mj_jacBody(self.model, self.data, self._jacobian, None, self.index.agent)
        u, v, _ = self._jacobian @ self.data.qvel
        x, y, _ = self._xpos[self.index.agent]
        radius = np.sqrt(x**2 + y**2)
        return float((-u * y + v * x) / radius / (1 + abs(radius - CIRCLE_RADIUS)) * 0.1)

    # -- states ------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that the rest of the episode depends on: arrays, numbers and text by name."""
        physics = np.empty(mujoco.mj_stateSize(self.model, FULL))
        mujoco.mj_getState(self.model, self.data, physics, FULL)
        self._draw()
        row = self._row
        _, key, at, _, _ = self._rng.get_state(legacy=True)
        return {
            "task": self.task,
            "physics": physics,
            "start": np.array([self._start[name] for name in self._placer.names]),
            "places": np.array([self._layout[name] for name in self._placer.names]),
            "turns": np.array([self._turns[name] for name in self._placer.names]),
            "goal": self.model.body_pos[self.index.goal].copy(),
            "goal_button": int(row["button"]),
            "timer": int(row["timer"]),
            "steps": int(row["steps"]),
            "last": np.array([row[name] for name in self._lasts]),
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
        if self.index.goal >= 0:
            self.model.body_pos[self.index.goal] = state["goal"]
        row = self._row
        row["button"], row["timer"] = state["goal_button"], state["timer"]
        row["steps"] = self._drawn = int(state["steps"])
        for name, last in zip(self._lasts, state["last"], strict=True):
            row[name] = last
        self._rng.set_state(("MT19937", state["rng_key"], int(state["rng_at"]), 0, 0.0))
        # Twice: computing what follows from the state moves the solver's warm start, a part of it.
        mujoco.mj_setState(self.model, self.data, state["physics"], FULL)
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state["physics"], FULL)
        return self._observe()

    def places(self) -> dict[str, np.ndarray]:
        """x and y of the agent and of each kind of object now, (N, 2) m by kind."""
        groups = self.settings.objects
        at = {group.name: index.bodies(self.model, group) for group in groups}
        at = {"agent": [self.index.agent], **at}
        return {
            name: np.array([self._xpos[i, :2] if i >= 0 else (0.0, 0.0) for i in ids])
            for name, ids in at.items()
        }

    @property
    def cost(self) -> float:
        """Of the episode's last step."""
        return float(self._row["cost"]) if self._row["steps"] else 0.0

    def render(self) -> np.ndarray | None:
        """The scene from behind and above the agent, (480, 640, 3) uint8.

        Raises:
            HandrailError: neither EGL nor OSMesa is there.
        """
        if self.render_mode is None:
            return None
        if self._camera is None:
            self._camera = Camera(self.model)
        return self._camera.picture(self.data, self._xpos[self.index.agent], self.cost > 0)

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
            self._camera = None

    # -- goals ------------------------------------------------------------------------------------

    def _next_goal(self, rng: np.random.RandomState) -> bool:
        """Draw a goal and measure the way to it; False where there is no room for one."""
        kind = self.settings.kind
        if kind == "Circle":
            return True
        if kind == "Button":
            self._row["button"], self._row["timer"] = rng.choice(len(self._buttons)), BUTTON_DELAY
            place = self._xpos[self._buttons[self._row["button"]], :2]
        else:
            place = self._placer.goal(rng, self._layout)
            if place is None:
                return False
            self._layout["goal"] = place
        at = self.index
        self.model.body_pos[at.goal, :2] = place
        mujoco.mj_forward(self.model, self.data)
        self._row["last_box"], self._row["last_goal"] = kernels.distances(
            self._xpos, at.agent, at.box, at.goal
        )
        return True

    def _observe(self) -> np.ndarray:
        return self._rows.observe(self._at)


def _seeds(layout: str | Sequence[int]) -> tuple[int, ...] | None:
    if isinstance(layout, str):
        if layout not in ("random", "fixed"):
            raise ValueError(f"layout {layout!r} is none of random, fixed, a list of seeds")
        return None if layout == "random" else (FIXED_LAYOUT,)
    seeds = tuple(map(int, layout))
    if not seeds or min(seeds) < 0 or max(seeds) >= 2**32:
        raise ValueError("layout seeds must be one or more, each from 0 to 2^32 - 1")
    return seeds
