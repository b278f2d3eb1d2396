"""K-step windows of demonstrations for the decision transformer.

Source: the official gym code of Decision Transformer (arXiv 2106.01345), ``get_batch``: a window
begins at a uniform step of an episode that is drawn in proportion to its length, which is a uniform
step of all; where the episode ends within the window, the padding is on the left. Two deviations:
the padding is zero throughout (there, actions of -10 and normalised zeros; the mask hides both),
and the reward is GOLD's shaped one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from handrail.data.episodes import Episodes
from handrail.errors import HandrailError
from handrail.types import Spec, Window

LEAST_DEVIATION = 0.01
"""A feature that varies less than this is not magnified further, where deviations are floored."""


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Shifts and scales observations to mean 0 and standard deviation 1, feature by feature."""

    mean: Float32[np.ndarray, " O"]
    std: Float32[np.ndarray, " O"]
    """Plus 1e-6, so that a constant feature becomes 0."""

    @classmethod
    def of(cls, episodes: Episodes) -> Normaliser:
        """Of the observations that were acted on: an episode's final one is not among them."""
        observations = np.concatenate([e.observations[:-1] for e in episodes])
        mean = observations.mean(axis=0, dtype=np.float64)
        std = observations.std(axis=0, dtype=np.float64) + 1e-6
        return cls(mean.astype(np.float32), std.astype(np.float32))

    @classmethod
    def floored(cls, observations: Float[np.ndarray, "N O"]) -> Normaliser:
        """With deviations of ``LEAST_DEVIATION`` or more: for what acts on observations that the
        statistics have not seen."""
        return cls(observations.mean(0), np.maximum(observations.std(0), LEAST_DEVIATION))

    @classmethod
    def none(cls, size: int) -> Normaliser:
        """Changes nothing."""
        return cls(np.zeros(size, np.float32), np.ones(size, np.float32))

    def __call__(self, observation: Float[np.ndarray, "*B O"]) -> Float32[np.ndarray, "*B O"]:
        return np.asarray((observation - self.mean) / self.std, np.float32)


class Windows:
    """Draws windows; everything is laid out flat at the start, so that a draw is four gathers.

    Args:
        episodes: of the task ``spec``.
        length: K, steps of a window.
        return_scale: what returns-to-go are divided by, in units of return, > 0.
        cost_weight: w of the shaped reward r - w·c, both in the environment's units.
        normaliser: of observations; that of ``episodes`` by default.
        max_timestep: timesteps are below it, those beyond are held at ``max_timestep`` - 1; the
            task's horizon by default.

    Raises:
        HandrailError: the episodes are not of the task, or a setting is out of range.
    """

    def __init__(
        self,
        episodes: Episodes,
        spec: Spec,
        length: int = 20,
        *,
        return_scale: float,
        cost_weight: float,
        normaliser: Normaliser | None = None,
        max_timestep: int | None = None,
    ):
        for name, value in (("length", length), ("return_scale", return_scale)):
            if value <= 0:
                raise HandrailError(f"{name} is {value}; it must be above 0")
        episodes.require(spec)
        self.length = length
        self.steps = episodes.steps
        self.normaliser = normaliser or Normaliser.of(episodes)
        lengths = [len(e) for e in episodes]
        self._end = np.repeat(np.cumsum(lengths), lengths)  # of each step's episode, exclusive
        # Each array ends in a row of zeros, the padding's.
        self._observation = _padded(
            [self.normaliser(e.observations[:-1]) for e in episodes], np.float32
        )
        self._action = _padded([spec.to_unit(e.actions) for e in episodes], np.float32)
        shaped = [e.rewards.astype(np.float64) - cost_weight * e.costs for e in episodes]
        self._return_to_go = _padded(
            [r[::-1].cumsum()[::-1] / return_scale for r in shaped], np.float32
        )
        last = (spec.horizon if max_timestep is None else max_timestep) - 1
        self._timestep = _padded([np.arange(n).clip(max=last) for n in lengths], np.int32)

    def sample(self, rng: np.random.Generator, shape: int | tuple[int, ...]) -> Window:
        """Windows drawn with replacement: so many, or arrays of ``shape`` windows."""
        shape = (shape,) if isinstance(shape, int) else shape
        begin = rng.integers(self.steps, size=(*shape, 1))
        held = np.minimum(self.length, self._end[begin] - begin)
        offset = np.arange(self.length) - (self.length - held)
        mask = offset >= 0
        index = np.where(mask, begin + offset, self.steps)
        return Window(
            observation=self._observation[index],
            action=self._action[index],
            return_to_go=self._return_to_go[index],
            timestep=self._timestep[index],
            mask=mask.astype(np.float32),
        )


def _padded(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    flat = np.concatenate([*arrays, np.zeros_like(arrays[0][:1])])
    return np.ascontiguousarray(flat, dtype)
