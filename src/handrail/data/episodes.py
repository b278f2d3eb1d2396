"""Episodes as validated values: what demonstrations, logs and data sets are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from handrail.errors import HandrailError
from handrail.types import Spec


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, in the environment's own units, all float32.

    ``terminated`` is true where the task itself ended the episode; an episode that is not
    terminated was cut by a time limit, and its last observation may be bootstrapped from.

    Raises:
        HandrailError: lengths disagree, there is no step, or a value is not finite.
    """

    observations: Float32[np.ndarray, "T+1 O"]
    actions: Float32[np.ndarray, "T A"]
    rewards: Float32[np.ndarray, " T"]
    costs: Float32[np.ndarray, " T"]
    terminated: bool
    seed: int | None = None

    def __post_init__(self) -> None:
        steps = len(self.actions)
        lengths = (len(self.observations), steps, len(self.rewards), len(self.costs))
        if steps == 0 or lengths != (steps + 1, steps, steps, steps):
            raise HandrailError(
                "an episode has {} observations, {} actions, {} rewards and {} costs; T actions "
                "need T + 1 observations, T rewards and T costs, T > 0".format(*lengths)
            )
        for name in ("observations", "actions", "rewards", "costs"):
            array = getattr(self, name)
            if not np.isfinite(array).all():
                step = int(np.argwhere(~np.isfinite(array))[0][0])
                raise HandrailError(
                    f"{name} are not finite at step {step} of an episode; remove or mend it"
                )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def return_(self) -> float:
        """Undiscounted sum of rewards."""
        return float(self.rewards.sum(dtype=np.float64))

    @property
    def cost(self) -> float:
        """Undiscounted sum of costs: what a cost limit limits."""
        return float(self.costs.sum(dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Episodes(Sequence[Episode]):
    """A set of episodes of one task.

    Raises:
        HandrailError: it is empty, or observation or action sizes differ between episodes.
    """

    episodes: tuple[Episode, ...]
    task: str | None = None

    def __post_init__(self) -> None:
        if not self.episodes:
            raise HandrailError("the set holds no episode; `handrail demos TASK` makes some")
        sizes = {(e.observations.shape[1:], e.actions.shape[1:]) for e in self.episodes}
        if len(sizes) > 1:
            raise HandrailError(f"episodes of different sizes in one set: {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.episodes)

    def __getitem__(self, index):
        return self.episodes[index]

    def __iter__(self) -> Iterator[Episode]:
        return iter(self.episodes)

    @property
    def steps(self) -> int:
        return sum(map(len, self.episodes))

    def spread(self, spec: Spec) -> float:
        """Mean squared distance of the actions from their mean, in the unit box, summed over its
        axes, 0.01 at least: what a leash to them is counted in. One strength serves tasks in which
        a tenth of the box is a great change, and those in which its whole width is none."""
        actions = np.concatenate([spec.to_unit(episode.actions) for episode in self.episodes])
        return max(0.01, float(actions.var(0, dtype=np.float64).sum()))

    def require(self, spec: Spec) -> Episodes:
        """These episodes, if they can be of the task ``spec``.

        Raises:
            HandrailError: they are named after another task, their observation or action size is
                another, or an action lies outside the task's box.
        """
        if self.task is not None and self.task != spec.task:
            raise HandrailError(
                f"these are demonstrations of {self.task}, not of {spec.task}; "
                f"make some with `handrail demos {spec.task}`"
            )
        first = self.episodes[0]
        for what, have, want in (
            ("observations", first.observations.shape[1], spec.observation_size),
            ("actions", first.actions.shape[1], spec.action_size),
        ):
            if have != want:
                raise HandrailError(
                    f"the {what} of the demonstrations have {have} values, {spec.task} has {want}; "
                    "they are of another task"
                )
        for number, episode in enumerate(self.episodes):
            outside = spec.outside(episode.actions)
            if outside.any():
                step, axis = np.argwhere(outside)[0]
                raise HandrailError(
                    f"action {axis} is {episode.actions[step, axis]:g} at step {step} of episode "
                    f"{number}, outside [{spec.action_low[axis]:g}, {spec.action_high[axis]:g}] "
                    f"of {spec.task}; clip or rescale the actions"
                )
        return self
