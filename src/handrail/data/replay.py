"""Replay: a ring of transitions, reward and cost apart, sampled many batches at once."""

from __future__ import annotations

import numpy as np

from handrail.data.episodes import Episode, Episodes
from handrail.types import Batch, Spec


class Replay:
    """The newest ``capacity`` transitions, first in, first out, as float32 arrays on the host."""

    def __init__(self, capacity: int, spec: Spec):
        o, a = spec.observation_size, spec.action_size
        sizes = Batch((o,), (a,), (), (), (o,), ())
        self._rows = Batch(*(np.zeros((capacity, *size), np.float32) for size in sizes))
        self._spec = spec
        self._capacity = capacity
        self._added = 0

    @classmethod
    def of(cls, episodes: Episodes, spec: Spec) -> Replay:
        """All transitions of a data set."""
        replay = cls(episodes.steps, spec)
        for episode in episodes:
            replay.add_episode(episode)
        return replay

    def __len__(self) -> int:
        return min(self._added, self._capacity)

    def add(self, rows: Batch) -> None:
        """Append transitions (arrays of n rows); the oldest give way."""
        n = len(rows.reward)
        at = np.arange(self._added, self._added + n) % self._capacity
        for store, new in zip(self._rows, rows, strict=True):
            store[at] = new
        self._added += n

    def add_episode(self, episode: Episode) -> None:
        """Append an episode, given in the environment's units."""
        terminated = np.zeros(len(episode), np.float32)
        terminated[-1] = episode.terminated
        self.add(
            Batch(
                episode.observations[:-1],
                self._spec.to_unit(episode.actions),
                episode.rewards,
                episode.costs,
                episode.observations[1:],
                terminated,
            )
        )

    @property
    def observations(self) -> np.ndarray:
        """The observations acted on, (n, O)."""
        return self._rows.observation[: len(self)]

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Batch:
        """Transitions drawn uniformly with replacement, arrays of ``shape`` rows."""
        at = rng.integers(len(self), size=shape)
        return Batch(*(store[at] for store in self._rows))
