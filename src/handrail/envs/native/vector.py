"""Many episodes of a native task at once, stepped on threads that do without Python's lock; resets
and goals are the caller's."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from handrail.envs.native.crew import Crew
from handrail.envs.native.env import Layout, NativeEnv
from handrail.envs.native.rows import Rows
from handrail.machine import usable_cores


class NativeVectorEnv(VectorEnv):
    """``num_envs`` environments of one task, shared out among ``threads``.

    A reset with one seed gives environment i the seed plus i. ``autoreset_mode`` is Gymnasium's:
    ``NEXT_STEP`` (the default: the step after an episode's last takes no action and returns the
    first observation of the next, with reward and cost 0) or ``SAME_STEP`` (that observation is
    returned at once, the last one in ``infos["final_obs"]``, its info in ``infos["final_info"]``).
    ``infos`` holds arrays over the environments: ``cost``, its parts, ``goal_met``.

    What an environment does depends on no other and on no number of threads.

    Args:
        task: a name below ``native/``.
        num_envs: environments, 1 or more.
        threads: None: one a core, but no more than environments.
        layout, max_episode_steps, render_mode: as :class:`NativeEnv`.
    """

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        *,
        threads: int | None = None,
        layout: Layout = None,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ):
        if num_envs < 1 or (threads is not None and threads < 1):
            raise ValueError("num_envs and threads must be 1 or more")
        self._mode = AutoresetMode(autoreset_mode)
        if self._mode == AutoresetMode.DISABLED:
            raise ValueError("autoreset_mode must be NEXT_STEP or SAME_STEP")
        same: dict[str, Any] = {"layout": layout, "max_episode_steps": max_episode_steps}
        self.envs = [NativeEnv(task, render_mode=render_mode, **same) for _ in range(num_envs)]
        first = self.envs[0]
        self.num_envs, self.render_mode = num_envs, render_mode
        self.metadata = {**first.metadata, "autoreset_mode": self._mode}
        self.single_observation_space = first.observation_space
        self.single_action_space = first.action_space
        self.observation_space = batch_space(first.observation_space, num_envs)
        self.action_space = batch_space(first.action_space, num_envs)
        self._rows = Rows(first.index, num_envs)
        for i, env in enumerate(self.envs):
            env.lie_in(self._rows, i)
        self._crew = Crew(self._rows, threads or len(usable_cores()))
        self._final: dict[int, np.ndarray] = {}

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[np.ndarray, dict[str, Any]]:
        n = self.num_envs
        seeds = [None] * n if seed is None else seed
        if isinstance(seeds, int):
            seeds = [seeds + i for i in range(n)]
        if len(seeds) != n:
            raise ValueError(f"{len(seeds)} seeds for {n} environments")
        for env, own in zip(self.envs, seeds, strict=True):  # Python's work: threads gain nothing
            env.reset(seed=own, options=options)
        self._rows.rows["idle"] = False
        return self._rows.observations.copy(), {}

    def step(self, actions: np.ndarray):
        rows = self._rows.rows
        stepped = ~rows["idle"]
        self._rows.prepare(actions, 0, self.num_envs)
        self._final.clear()
        self._crew.step()
        self._arrive()
        reward, terminated, truncated = (
            rows[name].copy() for name in ("reward", "terminated", "truncated")
        )
        infos = self._rows.infos(np.ones(self.num_envs, bool), stepped)
        if self._mode == AutoresetMode.NEXT_STEP:
            rows["idle"] = terminated | truncated
        elif self._final:
            who = terminated | truncated
            last = np.full(self.num_envs, None, object)
            for i, observation in self._final.items():
                last[i] = observation
            infos |= {"final_obs": last, "_final_obs": who}
            infos |= {"final_info": self._rows.infos(who, who), "_final_info": who}
        return self._rows.observations.copy(), reward, terminated, truncated, infos

    def _arrive(self) -> None:
        """What of a step is Python's: most environments have none of it in most steps."""
        rows, same = self._rows.rows, self._mode == AutoresetMode.SAME_STEP
        idle, over = rows["idle"], rows["terminated"] | rows["truncated"]
        always = self.envs[0].settings.kind == "Circle"
        for i in np.flatnonzero(idle | rows["met"] | (same & over) | always).tolist():
            env = self.envs[i]
            if idle[i]:
                env.reset()
                continue
            env.arrive()
            if same and (rows["terminated"][i] or rows["truncated"][i]):
                self._final[i] = self._rows.observations[i].copy()
                env.reset()

    def render(self) -> tuple[Any, ...] | None:
        return tuple(env.render() for env in self.envs) if self.render_mode else None

    def close_extras(self, **_: Any) -> None:
        self._crew.close()
        for env in self.envs:
            env.close()
