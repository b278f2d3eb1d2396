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
"""A feature that varies less than this is not magnified further."""


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Shifts and scales observations to mean 0 and standard deviation 1, feature by feature."""

    mean: Float32[np.ndarray, " O"]
    std: Float32[np.ndarray, " O"]
    """``LEAST_DEVIATION`` or more: what hardly varies here may do so where the policy acts, and a
    gravity of 9.81 +- 1e-6, magnified, leaves float32 no digits for what else a layer adds up."""

    @classmethod
    def of(cls, observations: Float[np.ndarray, "N O"]) -> Normaliser:
        mean = observations.mean(axis=0, dtype=np.float64)
        std = observations.std(axis=0, dtype=np.float64).clip(min=LEAST_DEVIATION)
        return cls(mean.astype(np.float32), std.astype(np.float32))

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
    ):
        for name, value in (("length", length), ("return_scale", return_scale)):
            if value <= 0:
                raise HandrailError(f"{name} is {value}; it must be above 0")
        episodes.require(spec)
        self.length = length
        self.steps = episodes.steps
        observations = [e.observations[:-1] for e in episodes]  # the final one was not acted on
        self.normaliser = Normaliser.of(np.concatenate(observations))
        lengths = [len(e) for e in episodes]
        self._end = np.repeat(np.cumsum(lengths), lengths)  # of each step's episode, exclusive
        # Each array ends in a row of zeros, the padding's.
        self._observation = _padded([self.normaliser(o) for o in observations], np.float32)
        self._action = _padded([spec.to_unit(e.actions) for e in episodes], np.float32)
        shaped = [e.rewards.astype(np.float64) - cost_weight * e.costs for e in episodes]
        self._return_to_go = _padded(
            [r[::-1].cumsum()[::-1] / return_scale for r in shaped], np.float32
        )
        last = spec.horizon - 1  # where a set's episodes are longer
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
