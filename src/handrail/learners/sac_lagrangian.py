"""SAC-Lagrangian: soft actor-critic with a cost critic and a multiplier (Marvel's online learner).

    min over pi of  E[alpha log pi(a|s) - min Q(s, a) + lambda Q_c(s, a)]

The multiplier lambda is the weight that comes with each update: whoever finishes episodes moves it
(``handrail.pid``), by what they cost. So Q_c need not be right in size for the limit to be held,
only in its gradient. SAC is Haarnoja et al. 2018 (arXiv 1812.05905), the Lagrangian form Ha et al.
2020 (arXiv 2002.08550), Marvel arXiv 2412.04426.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.errors import HandrailError
from handrail.learners.leash import Leash
from handrail.learners.sac import alpha_loss, critic_loss
from handrail.networks import Actor, ActorCritics, Critic
from handrail.training import Learner, Trained, check_ranges, polyak
from handrail.types import Batch, Metrics, Spec

NOISE_CLIP = 3.0
"""Largest target noise, in deviations (TD3: 0.5 of 0.2; SO2's code: 3)."""


@dataclass(frozen=True)
class SACLagrangianSettings:
    """Settings of SAC-Lagrangian. Rewards are in the task's unit, costs as they are."""

    actor_rate: float = 3e-4
    """Adam's of the policy and alpha (Marvel: 2e-6 to 1e-3 by task)."""
    critic_rate: float = 3e-4
    """Adam's of the reward critic (Marvel: 5e-4 to 1e-2)."""
    cost_critic_rate: float = 3e-4
    """Adam's of the cost critic (Marvel: 8e-4 to 1e-2)."""
    discount: float = 0.99
    """Of rewards and costs alike."""
    tau: float = 0.005
    """Polyak rate of the target critics, per update."""
    hidden: tuple[int, ...] = (256, 256)
    initial_alpha: float = 0.2
    """Weight of the entropy at the start."""
    adapt_alpha: bool = True
    """It then follows the target entropy -A; else it stays (Marvel's code: it stays)."""
    target_noise: float = 0.0
    """Deviation of Gaussian noise on the actions of the targets, in the unit box (SO2: 0.1)."""
    critic_steps: int = 1
    """Steps of the critics for each of the policy (SO2: several): a batch is dealt out among them,
    row by row, so that each has its share of demonstrations; the policy steps on the whole."""

    def __post_init__(self) -> None:
        check_ranges(self)

    def require_rows(self, batch: int) -> None:
        """Raise a HandrailError where a batch has too few rows for the steps of the critics."""
        if self.critic_steps > batch:
            raise HandrailError(
                f"critic_steps is {self.critic_steps}, a batch has {batch} rows; raise the batch"
            )


class SACLagrangianState(eqx.Module):
    actor: Trained
    critic: Trained
    target: Critic
    cost_critic: Trained
    cost_target: Critic
    log_alpha: Trained
    key: PRNGKeyArray


def init(settings: SACLagrangianSettings, key: PRNGKeyArray, spec: Spec) -> SACLagrangianState:
    key, k1 = jax.random.split(key)
    new = ActorCritics.new(spec.observation_size, spec.action_size, settings.hidden, key=k1)
    return _state(settings, new, key)


def from_offline(
    settings: SACLagrangianSettings,
    key: PRNGKeyArray,
    spec: Spec,
    offline: ActorCritics,
    *,
    actor: bool = True,
    critics: bool = True,
) -> SACLagrangianState:
    """A state that goes on from what was learnt offline.

    Kept are the policy (where ``actor``), and both critics with their targets (where ``critics``).
    New are what is not kept, alpha, and all optimisers: their moments are of other losses.

    Raises:
        HandrailError: what was learnt offline has other sizes than the settings ask for.
    """
    key, k1 = jax.random.split(key)
    o, a = spec.observation_size, spec.action_size
    nets = offline.going_on(o, a, settings.hidden, actor=actor, critics=critics, key=k1)
    return _state(settings, nets, key)


def _state(
    settings: SACLagrangianSettings, nets: ActorCritics, key: PRNGKeyArray
) -> SACLagrangianState:
    actor_adam = optax.adam(settings.actor_rate)
    return SACLagrangianState(
        actor=Trained.of(nets.actor, actor_adam),
        critic=Trained.of(nets.critic, optax.adam(settings.critic_rate)),
        target=nets.target,
        cost_critic=Trained.of(nets.cost_critic, optax.adam(settings.cost_critic_rate)),
        cost_target=nets.cost_target,
        log_alpha=Trained.of(jnp.log(jnp.float32(settings.initial_alpha)), actor_adam),
        key=key,
    )


def actor_loss(
    actor: Actor,
    critic: Critic,
    cost_critic: Critic,
    alpha: Float[Array, ""],
    multiplier: Float[Array, ""],
    batch: Batch,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, " B"]]:
    """E[alpha log pi(a|s) - min Q(s, a) + lambda Q_c(s, a)], a ~ pi; the log-probabilities as aux.
    Marvel Sec. 4 (SAC's Eq. 7 with the Lagrangian's term)."""
    action, log_prob = actor.sample(batch.observation, key)
    q = critic(batch.observation, action).min(0)
    qc = cost_critic(batch.observation, action).mean(0)
    return (alpha * log_prob - q + multiplier * qc).mean(), log_prob


def critics_step(
    settings: SACLagrangianSettings, state: SACLagrangianState, batch: Batch, key: PRNGKeyArray
) -> tuple[SACLagrangianState, Metrics]:
    """One step of Q and Q_c towards one step of the task and the targets at the policy's next
    action; then the targets'."""
    k1, k2 = jax.random.split(key)
    action, log_prob = state.actor.net.sample(batch.next_observation, k1)
    if settings.target_noise:
        noise = jnp.clip(jax.random.normal(k2, action.shape), -NOISE_CLIP, NOISE_CLIP)
        action = jnp.clip(action + settings.target_noise * noise, -1, 1)
    q_next = state.target(batch.next_observation, action).min(0)
    # No cost is below 0, so no sum of costs is. A policy that flees Q_c finds where it errs below,
    # and targets that believed it there would spread that (docs/decisions/0015).
    qc_next = jnp.maximum(state.cost_target(batch.next_observation, action).mean(0), 0)
    going = settings.discount * (1 - batch.terminated)
    y = batch.reward + going * (q_next - jnp.exp(state.log_alpha.net) * log_prob)
    yc = batch.cost + going * qc_next
    critic, loss_q = state.critic.descend(lambda net: critic_loss(net, batch, y))
    cost_critic, loss_qc = state.cost_critic.descend(lambda net: critic_loss(net, batch, yc))
    new = SACLagrangianState(
        actor=state.actor,
        critic=critic,
        target=polyak(state.target, critic.net, settings.tau),
        cost_critic=cost_critic,
        cost_target=polyak(state.cost_target, cost_critic.net, settings.tau),
        log_alpha=state.log_alpha,
        key=state.key,
    )
    metrics = {
        "loss/q": loss_q,
        "loss/qc": loss_qc,
        "value/q": y.mean(),
        "value/qc": yc.mean(),
    }
    return new, metrics


def update(
    settings: SACLagrangianSettings,
    state: SACLagrangianState,
    batch: Batch,
    multiplier: Float[Array, ""],
    leash: Leash | None = None,
) -> tuple[SACLagrangianState, Metrics]:
    """The critics, then the policy (on a leash, where there is one), then alpha."""
    key, k1, *keys = jax.random.split(state.key, 2 + settings.critic_steps)
    metrics: Metrics = {}
    for i, k in enumerate(keys):
        part = Batch(*(x[i :: settings.critic_steps] for x in batch))
        state, metrics = critics_step(settings, state, part, k)

    alpha, critics = jnp.exp(state.log_alpha.net), (state.critic.net, state.cost_critic.net)

    def loss(net: Actor) -> tuple[Float[Array, ""], tuple[Float[Array, " B"], Metrics]]:
        value, log_prob = actor_loss(net, *critics, alpha, multiplier, batch, k1)
        held = {} if leash is None else {"loss/leash": leash.loss(net, batch)}
        return value + sum(held.values()), (log_prob, {"loss/actor": value, **held})

    actor, (_, (log_prob, losses)) = state.actor.descend(loss, aux=True)
    log_alpha = state.log_alpha
    if settings.adapt_alpha:
        log_alpha, _ = log_alpha.descend(
            lambda net: alpha_loss(net, log_prob, target_entropy=-batch.action.shape[-1])
        )
    metrics |= {**losses, "alpha": alpha, "entropy": -log_prob.mean()}
    return (
        SACLagrangianState(
            actor=actor,
            critic=state.critic,
            target=state.target,
            cost_critic=state.cost_critic,
            cost_target=state.cost_target,
            log_alpha=log_alpha,
            key=key,
        ),
        metrics,
    )


def learner(
    settings: SACLagrangianSettings,
    offline: ActorCritics | None = None,
    *,
    actor: bool = True,
    critics: bool = True,
    leash: Leash | None = None,
) -> Learner:
    """From scratch, or from what was learnt offline: then see ``from_offline``."""

    def start(key: PRNGKeyArray, spec: Spec) -> SACLagrangianState:
        if offline is None:
            return init(settings, key, spec)
        return from_offline(settings, key, spec, offline, actor=actor, critics=critics)

    return Learner(
        "SAC-Lagrangian",
        start,
        lambda state, batch, weight: update(settings, state, batch, weight, leash),
        lambda state: state.actor.net,
    )
