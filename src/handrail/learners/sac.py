"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) on the shaped reward.

The paper's source of demonstrations (GOLD Sec. IV-A.3). Reward r - w·c is in the batch already.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.networks import Actor, Critic
from handrail.training import Learner, Trained, check_ranges, polyak
from handrail.types import Batch, Metrics, Spec


@dataclass(frozen=True)
class SACSettings:
    """Settings of SAC; the defaults are the published ones."""

    learning_rate: float = 3e-4
    discount: float = 0.99
    tau: float = 0.005
    """Polyak rate of the target critic, per update."""
    hidden: tuple[int, ...] = (256, 256)
    initial_alpha: float = 0.2
    """Weight of the entropy at the start; it then follows the target entropy -A."""

    def __post_init__(self) -> None:
        check_ranges(self)


class SACState(eqx.Module):
    actor: Trained
    critic: Trained
    target: Critic
    log_alpha: Trained
    key: PRNGKeyArray


def init(settings: SACSettings, key: PRNGKeyArray, spec: Spec) -> SACState:
    o, a = spec.observation_size, spec.action_size
    key, k1, k2 = jax.random.split(key, 3)
    critic = Critic(o + a, settings.hidden, key=k2)
    adam = optax.adam(settings.learning_rate)
    return SACState(
        actor=Trained.of(Actor(o, a, settings.hidden, squashed=True, key=k1), adam),
        critic=Trained.of(critic, adam),
        target=jax.tree.map(jnp.copy, critic),
        log_alpha=Trained.of(jnp.log(jnp.float32(settings.initial_alpha)), adam),
        key=key,
    )


def critic_loss(critic: Critic, batch: Batch, y: Float[Array, " B"]) -> Float[Array, ""]:
    """Mean over the rows of (Q(s, a) - y)^2, summed over the critics, one or two. Eq. 5."""
    return ((critic(batch.observation, batch.action) - y[None]) ** 2).sum(0).mean()


def actor_loss(
    actor: Actor, critic: Critic, alpha: Float[Array, ""], batch: Batch, key: PRNGKeyArray
) -> tuple[Float[Array, ""], Float[Array, " B"]]:
    """E[alpha log pi(a|s) - min Q(s, a)], a ~ pi; the log-probabilities as aux. Eq. 7."""
    action, log_prob = actor.sample(batch.observation, key)
    q = critic(batch.observation, action).min(0)
    return (alpha * log_prob - q).mean(), log_prob


def alpha_loss(
    log_alpha: Float[Array, ""], log_prob: Float[Array, " B"], target_entropy: float
) -> Float[Array, ""]:
    """-alpha E[log pi(a|s) + target entropy]. Eq. 18."""
    return -(jnp.exp(log_alpha) * (log_prob + target_entropy)).mean()


def update(settings: SACSettings, state: SACState, batch: Batch) -> tuple[SACState, Metrics]:
    key, k1, k2 = jax.random.split(state.key, 3)
    alpha = jnp.exp(state.log_alpha.net)

    next_action, next_log_prob = state.actor.net.sample(batch.next_observation, k1)
    q_next = state.target(batch.next_observation, next_action).min(0) - alpha * next_log_prob
    y = batch.reward + settings.discount * (1 - batch.terminated) * q_next  # Eq. 3, 6

    critic, loss_q = state.critic.descend(lambda net: critic_loss(net, batch, y))
    actor, (loss_pi, log_prob) = state.actor.descend(
        lambda net: actor_loss(net, critic.net, alpha, batch, k2), aux=True
    )
    log_alpha, _ = state.log_alpha.descend(
        lambda net: alpha_loss(net, log_prob, target_entropy=-batch.action.shape[-1])
    )
    target = polyak(state.target, critic.net, settings.tau)
    metrics = {
        "loss/q": loss_q,
        "loss/actor": loss_pi,
        "value/q": y.mean(),
        "alpha": alpha,
        "entropy": -log_prob.mean(),
    }
    return SACState(actor, critic, target, log_alpha, key), metrics


def learner(settings: SACSettings) -> Learner:
    return Learner(
        "SAC",
        lambda key, spec: init(settings, key, spec),
        lambda state, batch, weight: update(settings, state, batch.shaped(weight)),
        lambda state: state.actor.net,
    )
