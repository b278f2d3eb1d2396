"""Policies that run on the host, in NumPy: the student as it acts, and random exploration.

One observation at a time, NumPy arithmetic is several times faster than a compiled call, and it
runs beside the learner's computation without waiting for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from jaxtyping import Float32

from handrail.data.windows import Normaliser
from handrail.types import LOG_STD_RANGE, Draws, Policy, Step


class Storable(Policy, Protocol):
    """A policy that can be written."""

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays by name, and a card of JSON values that says what they are."""
        ...


class Student(Storable, Protocol):
    """A policy that is learnt online, on the host."""

    def behind(self, normaliser: Normaliser) -> Self:
        """The same policy of raw observations, where this one is of normalised ones."""
        ...

    def mode(self) -> Self:
        """The same policy acting deterministically."""
        ...

    def sampled(self, spread: float = 1.0) -> Self:
        """The same policy acting by samples, with a part of its own deviation."""
        ...


@dataclass(frozen=True, eq=False)
class MLPPolicy:
    """``networks.Actor`` on the host: the same numbers, up to float32 rounding.

    ``deterministic`` acts by the mode; otherwise by a sample made of the step's draws, with
    ``spread`` times the actor's standard deviation.
    """

    weights: tuple[Float32[np.ndarray, "I J"], ...]
    biases: tuple[Float32[np.ndarray, " J"], ...]
    log_std: Float32[np.ndarray, " A"] | None
    squashed: bool
    deterministic: bool = False
    spread: float = 1.0

    @classmethod
    def of(cls, actor: Any, *, deterministic: bool = False) -> MLPPolicy:
        """From an ``Actor`` whose leaves are NumPy or JAX arrays."""
        layers = actor.trunk.layers
        return cls(
            tuple(np.asarray(layer.weight) for layer in layers),
            tuple(np.asarray(layer.bias) for layer in layers),
            None if actor.log_std is None else np.asarray(actor.log_std),
            actor.squashed,
            deterministic,
        )

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays by name, and a card of JSON values that says what they are."""
        arrays = {f"weight{i}": w for i, w in enumerate(self.weights)}
        arrays |= {f"bias{i}": b for i, b in enumerate(self.biases)}
        if self.log_std is not None:
            arrays["log_std"] = self.log_std
        return arrays, {"kind": "mlp", "squashed": self.squashed, "layers": len(self.weights)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> MLPPolicy:
        """What ``to_arrays`` gave; it acts deterministically.

        Raises:
            ValueError: there are more or fewer layers than the card says, or they do not fit.
        """
        if card["layers"] != sum(name.startswith("weight") for name in arrays):
            raise ValueError(f"the card says {card['layers']!r} layers")
        units = None
        for i in range(card["layers"]):
            weight, bias = arrays[f"weight{i}"], arrays[f"bias{i}"]
            if weight.ndim != 2 or weight.shape[0] != (units or weight.shape[0]):
                raise ValueError(f"weight{i} is of shape {weight.shape}")
            units = weight.shape[1]
            if bias.shape != (units,):
                raise ValueError(f"bias{i} is of shape {bias.shape}")
        return cls(
            tuple(arrays[f"weight{i}"] for i in range(card["layers"])),
            tuple(arrays[f"bias{i}"] for i in range(card["layers"])),
            arrays.get("log_std"),
            card["squashed"],
            deterministic=True,
        )

    def behind(self, normaliser: Normaliser) -> MLPPolicy:
        """The same policy of raw observations, where this one is of normalised ones: the
        normaliser is folded into the first layer."""
        weight = self.weights[0] / normaliser.std[:, None]
        bias = self.biases[0] - (normaliser.mean / normaliser.std) @ self.weights[0]
        return replace(self, weights=(weight, *self.weights[1:]), biases=(bias, *self.biases[1:]))

    def mode(self) -> MLPPolicy:
        """The same policy acting deterministically."""
        return replace(self, deterministic=True)

    def sampled(self, spread: float = 1.0) -> MLPPolicy:
        """The same policy acting by samples."""
        return replace(self, deterministic=False, spread=spread)

    def initial(self, batch: int) -> None:
        return None

    def act(self, carry: None, step: Step, draws: Draws) -> tuple[np.ndarray, None]:
        x = step.observation
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0)
        x = x @ self.weights[-1] + self.biases[-1]
        if self.squashed:
            mean, log_std = np.split(x, 2, axis=-1)
        else:
            assert self.log_std is not None
            mean, log_std = np.tanh(x), self.log_std
        if not self.deterministic:
            std = np.float32(self.spread) * np.exp(np.clip(log_std, *LOG_STD_RANGE))
            mean = mean + std * draws.normal
        return (np.tanh(mean) if self.squashed else np.clip(mean, -1, 1)), None


@dataclass(frozen=True)
class HeldRandom:
    """Uniform random actions, each held for ``hold`` steps.

    Held actions carry a vehicle about five times farther than independent ones, which average
    out; without them a car-like agent hardly moves and a cost teaches it to stand still.
    """

    action_size: int
    hold: int = 20

    def initial(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((batch, self.action_size), np.float32), np.zeros(batch, np.int32)

    def act(self, carry: Any, step: Step, draws: Draws) -> tuple[np.ndarray, Any]:
        action, left = carry
        renew = step.first | (left == 0)
        # The normal distribution function turns the draws into uniform ones.
        from scipy.special import ndtr

        fresh = (2 * ndtr(draws.normal) - 1).astype(np.float32)
        action = np.where(renew[:, None], fresh, action)
        return action, (action, np.where(renew, self.hold, left) - 1)
