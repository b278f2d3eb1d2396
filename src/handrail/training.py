"""One way to train: ``Trained.descend``, Polyak averages, and blocks of updates in one scan."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

from handrail.errors import HandrailError
from handrail.policies import MLPPolicy, Student
from handrail.types import Batch, Metrics, Spec

_RANGES = {
    **dict.fromkeys(("learning_rate", "actor_rate", "critic_rate"), (0.0, 1.0)),
    **dict.fromkeys(("cost_critic_rate", "vae_rate", "alpha_rate", "target_noise"), (0.0, 1.0)),
    **dict.fromkeys(("discount", "tau", "quantile", "pessimism"), (0.0, 1.0)),
    "temperature": (0.0, math.inf),
    "max_weight": (0.0, math.inf),
    "bc_weight": (0.0, math.inf),
    "initial_alpha": (0.0, math.inf),
    "weight_decay": (0.0, math.inf),
    **dict.fromkeys(("beta", "ood_margin", "recovery"), (0.0, math.inf)),
    **dict.fromkeys(("target_mmd", "kp", "ki", "kd"), (0.0, math.inf)),
    **dict.fromkeys(("warmup", "slack"), (0, math.inf)),
    **dict.fromkeys(("batch", "updates", "context", "embed", "layers", "heads"), (1, math.inf)),
    **dict.fromkeys(("actions", "m_steps", "slack_updates", "critic_steps"), (1, math.inf)),
}


def check_ranges(settings: Any) -> None:
    """Settings of learners; a name means the same in all of them.

    Raises:
        HandrailError: one is out of its range, or not a number.
    """
    for name, (low, high) in _RANGES.items():
        value = getattr(settings, name, low)
        # Weights of AWR may go uncut; all else that is infinite ends in no number.
        if not low <= value <= high or (math.isinf(value) and name != "max_weight"):
            upper = f" and {high:g} at most" if high < math.inf else ""
            upper += ", and finite" if math.isinf(value) else ""
            raise HandrailError(f"{name} is {value:g}; it must be {low:g} or more{upper}")
    if any(units < 1 for units in getattr(settings, "hidden", ())):
        raise HandrailError(f"hidden is {settings.hidden}; a layer has 1 unit or more")


def annealed(learning_rate: float, updates: int, warmup: int = 0) -> optax.Schedule:
    """A rate that rises linearly over ``warmup`` updates and falls along a cosine to 0 at the last:
    a fit to noisy actions that stops at full rate keeps the noise of its last batches."""

    def rate(count: ArrayLike) -> Array:
        done = jnp.asarray(count)
        fallen = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(done / updates, 1)))
        return learning_rate * jnp.minimum((done + 1) / max(warmup, 1), fallen)

    return rate


class Trained(eqx.Module):
    """A network (any pytree of float arrays) with its optimiser and that optimiser's state."""

    net: Any
    state: PyTree
    optimiser: optax.GradientTransformation = eqx.field(static=True)

    @classmethod
    def of(cls, net: Any, optimiser: optax.GradientTransformation) -> Trained:
        return cls(net, optimiser.init(eqx.filter(net, eqx.is_array)), optimiser)

    def descend(self, loss: Callable[[Any], Any], *, aux: bool = False) -> tuple[Trained, Any]:
        """One step down the gradient of ``loss(net)``, a scalar, or ``(scalar, aux)`` with ``aux``.

        Returns the trained network and what ``loss`` returned.
        """
        value, gradient = eqx.filter_value_and_grad(loss, has_aux=aux)(self.net)
        return self.step(gradient), value

    def step(self, gradient: Any) -> Trained:
        """One step of the optimiser, given the gradient."""
        updates, state = self.optimiser.update(gradient, self.state, self.net)
        return Trained(eqx.apply_updates(self.net, updates), state, self.optimiser)


def polyak(target: PyTree, source: PyTree, tau: float) -> PyTree:
    """(1 - tau) * target + tau * source, leaf by leaf."""
    return jax.tree.map(lambda t, s: t + tau * (s - t), target, source)


def discounted_limit(
    cost_limit: Float[Array, ""] | float, discount: float, horizon: int
) -> Float[Array, ""] | float:
    """An episode's limit as one of the cost critic: d (1 - gamma^T) / ((1 - gamma) T)."""
    if discount == 1:
        return cost_limit
    return cost_limit * (1 - discount**horizon) / ((1 - discount) * horizon)


def demonstrated(share: float, batch: int) -> int:
    """Rows of a batch that are demonstrations, its last ones, where ``share`` of it is to be."""
    return round(batch * share)


class Learner(NamedTuple):
    """What the loops ask of an algorithm: pure functions over its state, a pytree."""

    name: str
    init: Callable[[PRNGKeyArray, Spec], PyTree]
    update: Callable[[PyTree, Batch, Float[Array, ""]], tuple[PyTree, Metrics]]
    """Takes the weight of the cost that is in force beside the batch, whose reward is unshaped."""
    actor: Callable[[PyTree], PyTree]
    """What acts: an ``Actor``, or more where the policy is made of more."""
    policy: Callable[[Any], Student] = MLPPolicy.of
    """It on the host, from NumPy arrays."""


class Block(NamedTuple):
    """What a block of updates leaves: the state, mean metrics, and the actor as one flat array.

    The flat array is a copy, so that the simulator's thread can act with it while the state that
    it came from is donated to the next block.
    """

    state: PyTree
    metrics: Metrics
    actor: Float[Array, " P"]


def pack(tree: PyTree) -> Float[Array, " P"]:
    """All array leaves as one flat array."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def unpack(flat: Float[np.ndarray, " P"], like: PyTree) -> PyTree:
    """``pack`` undone on the host: NumPy views of ``flat`` in the structure of ``like``."""
    leaves, structure = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size for leaf in leaves])
    parts = np.split(np.asarray(flat), ends[:-1])
    return structure.unflatten(p.reshape(leaf.shape) for p, leaf in zip(parts, leaves, strict=True))


def block(learner: Learner) -> Callable[[PyTree, Batch, float], Block]:
    """N updates in one compiled scan over N batches (every array of ``batches`` is N x B x ...).

    Reward and cost meet in the learner, by the weight of this block, so nothing stored goes stale.
    """

    def run(state: PyTree, batches: Batch, cost_weight: Float[Array, ""]) -> Block:
        def one(state: PyTree, batch: Batch) -> tuple[PyTree, Metrics]:
            return learner.update(state, batch, cost_weight)

        state, metrics = jax.lax.scan(one, state, batches)
        return Block(state, {k: v.mean() for k, v in metrics.items()}, pack(learner.actor(state)))

    compiled = jax.jit(run, donate_argnums=0)
    return lambda state, batches, weight: compiled(state, batches, jnp.float32(weight))
