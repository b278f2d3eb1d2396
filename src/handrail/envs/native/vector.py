"""Many episodes of a native task at once, on threads: MuJoCo's steps release Python's lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from handrail.envs.native.env import Layout, NativeEnv
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
        parts = np.array_split(np.arange(num_envs), min(num_envs, threads or len(usable_cores())))
        self._parts = [part.tolist() for part in parts]
        self._pool = ThreadPoolExecutor(len(parts)) if len(parts) > 1 else None
        self._observations = np.empty(self.observation_space.shape or ())
        self._rewards = np.zeros(num_envs)
        self._terminated = np.zeros(num_envs, bool)
        self._truncated = np.zeros(num_envs, bool)
        self._infos: list[dict[str, Any]] = [{} for _ in range(num_envs)]
        self._final: dict[int, tuple[np.ndarray, dict[str, Any]]] = {}
        self._ended = np.zeros(num_envs, bool)

    def _each(self, work: Any) -> None:
        """``work(i)`` for every environment, a thread for each part."""

        def some(part: list[int]) -> None:
            for i in part:
                work(i)

        if self._pool is None:
            some(self._parts[0])
        else:
            for done in [self._pool.submit(some, part) for part in self._parts]:
                done.result()

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

        def one(i: int) -> None:
            self._observations[i] = self.envs[i].reset(seed=seeds[i], options=options)[0]

        self._each(one)
        self._ended[:] = False
        return self._observations.copy(), {}

    def step(self, actions: np.ndarray):
        self._final.clear()

        def one(i: int) -> None:
            env = self.envs[i]
            if self._ended[i] and self._mode == AutoresetMode.NEXT_STEP:
                self._observations[i] = env.reset()[0]
                self._rewards[i] = self._terminated[i] = self._truncated[i] = 0
                self._infos[i] = {"cost": 0.0}
                return
            observation, self._rewards[i], self._terminated[i], self._truncated[i], info = env.step(
                actions[i]
            )
            if self._mode == AutoresetMode.SAME_STEP and (
                self._terminated[i] or self._truncated[i]
            ):
                self._final[i] = observation, info
                observation = env.reset()[0]
            self._observations[i], self._infos[i] = observation, info

        self._each(one)
        self._ended = self._terminated | self._truncated
        infos = _table(self._infos)
        if self._final:
            who = np.zeros(self.num_envs, bool)
            who[list(self._final)] = True
            last = np.full(self.num_envs, None, object)
            for i, (observation, _) in self._final.items():
                last[i] = observation
            own = [info if who[i] else {} for i, info in enumerate(self._infos)]
            infos |= {"final_obs": last, "_final_obs": who}
            infos |= {"final_info": _table(own), "_final_info": who}
        return (
            self._observations.copy(),
            self._rewards.copy(),
            self._terminated.copy(),
            self._truncated.copy(),
            infos,
        )

    def render(self) -> tuple[Any, ...] | None:
        return tuple(env.render() for env in self.envs) if self.render_mode else None

    def close_extras(self, **_: Any) -> None:
        if self._pool is not None:
            self._pool.shutdown()
        for env in self.envs:
            env.close()


def _table(infos: list[dict[str, Any]]) -> dict[str, Any]:
    """Infos of environments as arrays, and beside each, as ``_name``, who has it."""
    table: dict[str, Any] = {}
    for name in dict.fromkeys(name for info in infos for name in info):
        has = np.array([name in info for info in infos])
        values = np.array([info.get(name, 0.0) for info in infos], float)
        table[name], table[f"_{name}"] = (values > 0 if name == "goal_met" else values), has
    return table
