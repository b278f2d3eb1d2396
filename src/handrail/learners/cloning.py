"""Cloning by maximum likelihood: a squashed Gaussian that an online learner can go on from.

    max over pi of  E_D[log pi(a|s)]

``learners.bc`` fits the mean alone; here the spread is fitted too, so the policy explores as those
did who gave the data. There are no values in it: its critics are untrained, for whoever goes on
from it to learn or to align.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.networks import Actor, ActorCritics, Critic
from handrail.training import Learner, Trained, annealed, check_ranges
from handrail.types import Batch, Metrics, Spec

EDGE = 0.999
"""Actions are kept within it: one on the box's face has no finite likelihood."""


@dataclass(frozen=True)
class CloningSettings:
    """Settings of cloning by maximum likelihood."""

    actor_rate: float = 1e-3
    """Adam's, per update, at its highest: a cosine brings it to 0 by the last update."""
    updates: int = 5_000
    """Gradient updates in all."""
    batch: int = 256
    """Transitions in an update's batch."""
    hidden: tuple[int, ...] = (256, 256)

    def __post_init__(self) -> None:
        check_ranges(self)


class CloningState(eqx.Module):
    actor: Trained
    critic: Trained  # untrained, as the three below it: no update touches them
    target: Critic
    cost_critic: Trained
    cost_target: Critic


def init(settings: CloningSettings, key: PRNGKeyArray, spec: Spec) -> CloningState:
    nets = ActorCritics.new(spec.observation_size, spec.action_size, settings.hidden, key=key)
    return CloningState(
        actor=Trained.of(nets.actor, optax.adam(annealed(settings.actor_rate, settings.updates))),
        critic=Trained.of(nets.critic, optax.identity()),
        target=nets.target,
        cost_critic=Trained.of(nets.cost_critic, optax.identity()),
        cost_target=nets.cost_target,
    )


def actor_loss(
    actor: Actor, observation: Float[Array, "B O"], action: Float[Array, "B A"]
) -> Float[Array, ""]:
    """-E[log pi(a|s)]"""
    return -actor.log_prob(observation, jnp.clip(action, -EDGE, EDGE)).mean()


def update(state: CloningState, batch: Batch) -> tuple[CloningState, Metrics]:
    actor, loss = state.actor.descend(lambda net: actor_loss(net, batch.observation, batch.action))
    return eqx.tree_at(lambda s: s.actor, state, actor), {"loss/actor": loss}


def learner(settings: CloningSettings) -> Learner:
    return Learner(
        "cloning",
        lambda key, spec: init(settings, key, spec),
        lambda state, batch, weight: update(state, batch),
        lambda state: state.actor.net,
    )
