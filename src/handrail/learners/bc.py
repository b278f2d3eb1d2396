"""Behaviour cloning by a small network: regression from observation to action.

The network sees normalised observations, as the decision transformer does. ``actor`` folds the
normaliser into the first layer, so that what acts is an ordinary policy of raw observations.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.networks import Actor
from handrail.training import Learner, Trained, annealed, check_ranges
from handrail.types import LOG_STD_RANGE, Batch, Metrics, Spec


@dataclass(frozen=True)
class BCSettings:
    """Settings of behaviour cloning; the source stands beside each default."""

    learning_rate: float = 1e-3
    """Adam's, per update, at its highest: a cosine brings it to 0 by the last update (GOLD's code:
    3e-4 throughout)."""
    batch: int = 256
    """Transitions of one update (as every learner of GOLD's code)."""
    updates: int = 5000
    """Gradient updates in all."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden layer (the student's)."""

    def __post_init__(self) -> None:
        check_ranges(self)


class BCState(eqx.Module):
    actor: Trained  # of normalised observations
    mean: Float[Array, " O"]
    std: Float[Array, " O"]


def init(
    settings: BCSettings,
    key: PRNGKeyArray,
    spec: Spec,
    mean: Float[np.ndarray, " O"] | None = None,
    std: Float[np.ndarray, " O"] | None = None,
) -> BCState:
    o, a = spec.observation_size, spec.action_size
    net = Actor(o, a, settings.hidden, squashed=False, key=key)
    # The regression fits no spread; the smallest one keeps a sampled action at the mean.
    net = eqx.tree_at(lambda n: n.log_std, net, jnp.full(a, LOG_STD_RANGE[0]))
    return BCState(
        Trained.of(net, optax.adam(annealed(settings.learning_rate, settings.updates))),
        jnp.zeros(o) if mean is None else jnp.array(mean, jnp.float32),
        jnp.ones(o) if std is None else jnp.array(std, jnp.float32),
    )


def actor_loss(
    actor: Actor, observation: Float[Array, "B O"], action: Float[Array, "B A"]
) -> Float[Array, ""]:
    """E[(a - mode(s))^2], the mean over the action's axes too."""
    return ((action - actor.mode(observation)) ** 2).mean()


def update(state: BCState, batch: Batch) -> tuple[BCState, Metrics]:
    observation = (batch.observation - state.mean[None]) / state.std[None]
    actor, loss = state.actor.descend(lambda net: actor_loss(net, observation, batch.action))
    return BCState(actor, state.mean, state.std), {"loss/actor": loss}


def actor(state: BCState) -> Actor:
    """The policy of raw observations: (x - mean)/std W + b = x (W/std) + (b - (mean/std) W)."""
    net: Actor = state.actor.net
    first = net.trunk.layers[0]
    folded = (
        first.weight / state.std[:, None],
        first.bias - (state.mean / state.std) @ first.weight,
    )
    return eqx.tree_at(lambda n: (n.trunk.layers[0].weight, n.trunk.layers[0].bias), net, folded)


def learner(
    settings: BCSettings,
    mean: Float[np.ndarray, " O"] | None = None,
    std: Float[np.ndarray, " O"] | None = None,
) -> Learner:
    """``mean`` and ``std`` normalise the observations; the state carries them from then on."""
    return Learner(
        "BC",
        lambda key, spec: init(settings, key, spec, mean, std),
        lambda state, batch, weight: update(state, batch),
        actor,
    )
