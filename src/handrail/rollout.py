"""Playing policies in environments; knows nothing of learning.

Several environments are stepped in lock-step, so that a policy which is costly to call acts on all
of them at once. An episode's start and randomness come from its own seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from handrail.data.episodes import Episode
from handrail.envs.cmdp import CMDP
from handrail.errors import HandrailError
from handrail.types import Draws, Policy, Step


def episode_seed(run_seed: int, number: int) -> int:
    """The seed of a run's episode ``number``: a hash of both, in [0, 2^32)."""
    return int(np.random.SeedSequence([run_seed, number]).generate_state(1)[0])


class _Slot:
    """One environment and the episode that it is in."""

    def __init__(self, env: CMDP):
        self.env = env
        self.number = -1
        self.idle = True

    def begin(self, number: int, seed: int) -> None:
        self.number, self.seed, self.idle = number, seed, False
        # Not of the seed alone: Gymnasium's simulators draw from that very stream.
        self.rng = np.random.default_rng([seed, 1])
        self.observations = [self.env.reset(seed=seed)[0]]
        self.actions: list[np.ndarray] = []
        self.rewards: list[float] = []
        self.costs: list[float] = []

    def draw(self, size: int) -> tuple[np.ndarray, float]:
        return self.rng.standard_normal(size, np.float32), self.rng.random()

    def step(self, action: np.ndarray) -> tuple[bool, bool]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.observations.append(observation)
        self.actions.append(action)
        self.rewards.append(reward)
        self.costs.append(info["cost"])
        return terminated, truncated

    def episode(self, terminated: bool) -> Episode:
        return Episode(
            np.stack(self.observations),
            self.env.spec_.to_box(np.stack(self.actions)),
            np.asarray(self.rewards, np.float32),
            np.asarray(self.costs, np.float32),
            terminated,
            self.seed,
        )


class Over(NamedTuple):
    """An episode that has ended."""

    number: int
    episode: Episode
    row: int
    """In which it was played."""


class Rollout:
    """Environments in lock-step, episode after episode.

    ``seed_of(number)`` gives the seed of episode ``number``, or None when there is no such
    episode: a row without one is idle. Numbers are given out in the order of finishing, by row
    where several finish at once, so everything is a function of the seeds and the policies.
    """

    def __init__(
        self,
        envs: Sequence[CMDP],
        seed_of: Callable[[int], int | None],
        steps: int | None = None,
    ):
        """``steps``: how many of each environment are played, at most; its ``state`` needs to hold
        no longer episode."""
        self._slots = [_Slot(env) for env in envs]
        self._spec = envs[0].spec_
        self._longest = min(self._spec.horizon, steps or self._spec.horizon)
        self._seed_of = seed_of
        self._next = 0
        self.carry: Any = None  # until the first policy gives its own
        for slot in self._slots:
            self._begin(slot)

    @property
    def done(self) -> bool:
        """Whether every row is idle: all episodes were played."""
        return all(slot.idle for slot in self._slots)

    def _begin(self, slot: _Slot) -> None:
        seed = self._seed_of(self._next)
        slot.idle = seed is None
        if seed is not None:
            slot.begin(self._next, seed)
            self._next += 1

    def _step(self) -> Step:
        n, spec = len(self._slots), self._spec
        step = Step(
            np.zeros((n, spec.observation_size), np.float32),
            np.zeros((n, spec.action_size), np.float32),
            np.zeros(n, np.float32),
            np.zeros(n, np.float32),
            np.ones(n, bool),
        )
        for row, slot in enumerate(self._slots):
            if not slot.idle:
                step.observation[row] = slot.observations[-1]
                if slot.actions:
                    step.action[row] = slot.actions[-1]
                    step.reward[row] = slot.rewards[-1]
                    step.cost[row] = slot.costs[-1]
                    step.first[row] = False
        return step

    def _draws(self) -> Draws:
        size = self._spec.action_size
        drawn = [(np.zeros(size), 0.0) if s.idle else s.draw(size) for s in self._slots]
        return Draws(*(np.asarray(x, np.float32) for x in zip(*drawn, strict=True)))

    def advance(self, policy: Policy) -> list[Over]:
        """One step of every row; the episodes that ended with it."""
        if self.carry is None:
            self.carry = policy.initial(len(self._slots))
        actions, self.carry = policy.act(self.carry, self._step(), self._draws())
        ended = []
        for row, (slot, action) in enumerate(zip(self._slots, actions, strict=True)):
            if slot.idle:
                continue
            terminated, truncated = slot.step(np.clip(action, -1, 1).astype(np.float32))
            if terminated or truncated:
                ended.append(Over(slot.number, slot.episode(terminated), row))
                self._begin(slot)
        return ended

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs: the unfinished episodes as played, and the policy's carry.

        Its arrays have the same shapes whenever it is taken.
        """
        n = len(self._slots)
        actions = np.zeros((n, self._longest, self._spec.action_size), np.float32)
        for row, slot in enumerate(self._slots):
            if slot.actions:
                actions[row, : len(slot.actions)] = slot.actions
        return {
            "number": np.array([slot.number for slot in self._slots]),
            "length": np.array([len(slot.actions) for slot in self._slots]),
            "actions": actions,
            "observation": np.stack([slot.observations[-1] for slot in self._slots]),
            "next": np.array(self._next),
            "carry": self.carry,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue exactly where ``state`` was taken, by playing the unfinished episodes again.

        Raises:
            HandrailError: the simulator did not repeat itself.
        """
        for row, slot in enumerate(self._slots):
            seed = self._seed_of(int(state["number"][row]))
            assert seed is not None
            slot.begin(int(state["number"][row]), seed)
            for action in state["actions"][row, : state["length"][row]]:
                slot.draw(self._spec.action_size)
                slot.step(action)
            if not np.array_equal(slot.observations[-1], state["observation"][row]):
                raise HandrailError(
                    f"{self._spec.task}: the simulator does not repeat an episode from its seed "
                    "and actions, so this run cannot be resumed exactly; start it anew"
                )
        self._next = int(state["next"])
        self.carry = state["carry"]


def play(policy: Policy, envs: Sequence[CMDP], seeds: Sequence[int]) -> Iterator[Episode]:
    """Play one episode for each seed and yield them in the order of the seeds."""
    if not seeds:
        return
    rollout = Rollout(envs[: len(seeds)], lambda i: seeds[i] if i < len(seeds) else None)
    waiting: dict[int, Episode] = {}
    wanted = 0
    while not rollout.done:
        waiting.update((over.number, over.episode) for over in rollout.advance(policy))
        while wanted in waiting:
            yield waiting.pop(wanted)
            wanted += 1
