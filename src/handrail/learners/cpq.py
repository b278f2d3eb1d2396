"""Constraints penalised Q-learning (Xu, Zhan, Zhu 2022, arXiv 2107.09003), from a fixed data set.

A cost critic is learnt that calls actions unlike the data's costly; the reward critic and the
policy then count an action only where its cost keeps within the limit. Rewards must be 0 or more:
a forbidden action is worth 0. Reward is in the batch unshaped, in the task's reward unit.
Equations, and what differs from published code: docs/offline-learners.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from handrail.learners import vae
from handrail.learners.sac import critic_loss
from handrail.learners.vae import VAE
from handrail.networks import Actor, ActorCritics, Critic
from handrail.training import Learner, Trained, check_ranges, discounted_limit, polyak
from handrail.types import Batch, Metrics, Spec


@dataclass(frozen=True)
class CPQSettings:
    """Settings of CPQ; the source stands beside each default. Marvel's "reward x 0.1" is the task's
    reward unit."""

    actor_rate: float = 1e-4
    """Adam's of the policy, per update (Marvel)."""
    critic_rate: float = 1e-3
    """Adam's of the reward critic, per update (Marvel)."""
    cost_critic_rate: float = 1e-3
    """Adam's of the cost critic, per update (Marvel)."""
    vae_rate: float = 1e-3
    """Adam's of the auto-encoder, per update (Marvel)."""
    alpha_rate: float = 1e-4
    """Of log alpha, for each unit of cost, per update (OSRL)."""
    beta: float = 0.05
    """Weight of the KL in the auto-encoder's loss (Marvel: 0.5, with which the KL tells nothing
    where the data's actions spread less than 0.35 in a state)."""
    actions: int = 4
    """Actions of the policy in each state, among which are those unlike the data's (Marvel: 10)."""
    quantile: float = 0.95
    """Part of the data's actions whose KL is below that of an action unlike the data's (Marvel and
    OSRL: 0.75, of the policy's own actions)."""
    ood_margin: float = 1.5
    """Times the discounted limit: the cost that actions unlike the data's are driven
    to (Marvel)."""
    recovery: float = 1.0
    """Weight of Qc in the policy's loss where an action is past the limit, in reward units for each
    unit of cost (published: 0, from where no gradient leads back)."""
    discount: float = 0.99
    """Per step, of reward and of cost (Marvel)."""
    tau: float = 0.005
    """Polyak rate of the target critics, per update (Marvel)."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden layer, of every network (Marvel: 256, 256, 256; OSRL's auto-encoder:
    400, 400)."""
    batch: int = 256
    """Transitions of one update (Marvel: 512)."""
    updates: int = 3_000
    """Gradient updates in all (Marvel: 100,000). More may be worse: docs/offline-learners.md."""

    def __post_init__(self) -> None:
        check_ranges(self)


class CPQState(eqx.Module):
    actor: Trained
    critic: Trained
    target: Critic
    cost_critic: Trained
    cost_target: Critic
    vae: Trained
    log_alpha: Trained
    key: PRNGKeyArray


LOG_ALPHA_RANGE = (-5.0, 5.0)
"""(OSRL.)"""


def init(settings: CPQSettings, key: PRNGKeyArray, spec: Spec) -> CPQState:
    o, a, hidden = spec.observation_size, spec.action_size, settings.hidden
    key, k1, k2 = jax.random.split(key, 3)
    nets = ActorCritics.new(o, a, hidden, key=k1)
    return CPQState(
        actor=Trained.of(nets.actor, optax.adam(settings.actor_rate)),
        critic=Trained.of(nets.critic, optax.adam(settings.critic_rate)),
        target=nets.target,
        cost_critic=Trained.of(nets.cost_critic, optax.adam(settings.cost_critic_rate)),
        cost_target=nets.cost_target,
        vae=Trained.of(VAE(o, a, hidden, key=k2), optax.adam(settings.vae_rate)),
        log_alpha=Trained.of(jnp.float32(0.0), optax.sgd(settings.alpha_rate)),
        key=key,
    )


def backups(
    settings: CPQSettings,
    batch: Batch,
    q_next: Float[Array, " B"],
    qc_next: Float[Array, " B"],
    limit: Float[Array, ""] | float,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """y_r = r + gamma (1 - d) 1[Qc' <= limit] Q' and y_c = c + gamma Qc'. Eq. C1, C2.

    A cost goes on past a terminal, as in CVPO: to end an episode is no way to keep within a limit.
    """
    y = batch.reward + settings.discount * (1 - batch.terminated) * (qc_next <= limit) * q_next
    return y, batch.cost + settings.discount * qc_next


def cost_critic_loss(
    cost_critic: Critic,
    batch: Batch,
    yc: Float[Array, " B"],
    among: tuple[Float[Array, "BM O"], Float[Array, "BM A"]],
    unlike: Bool[Array, " BM"],
    alpha: Float[Array, ""],
    driven_to: Float[Array, ""] | float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """E[(Qc(s, a) - y_c)^2] - alpha E[1[a~ unlike the data's] (Qc(s, a~) - driven_to)], the latter
    expectation as aux. Eq. C3."""
    # The data's actions and the policy's in one pass.
    observation = jnp.concatenate([batch.observation, among[0]])
    qc = cost_critic(observation, jnp.concatenate([batch.action, among[1]]))[0]
    data, drawn = qc[: len(yc)], qc[len(yc) :]
    excess = (unlike * (drawn - driven_to)).mean()
    return ((data - yc) ** 2).mean() - alpha * excess, excess


def alpha_loss(log_alpha: Float[Array, ""], excess: Float[Array, ""]) -> Float[Array, ""]:
    """alpha E[1[a~ unlike the data's] (Qc(s, a~) - driven_to)]: alpha grows until they cost enough.
    Eq. C4."""
    return jnp.exp(log_alpha) * excess


def actor_loss(
    actor: Actor,
    critic: Critic,
    cost_critic: Critic,
    batch: Batch,
    limit: Float[Array, ""] | float,
    recovery: float,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """-E[1[Qc(s, a) <= limit] min Q(s, a) - recovery 1[Qc(s, a) > limit] Qc(s, a)], a ~ pi; the
    share within the limit as aux. Eq. C5."""
    action, _ = actor.sample(batch.observation, key)
    q, qc = critic(batch.observation, action).min(0), cost_critic(batch.observation, action)[0]
    within = qc <= limit
    return -jnp.where(within, q, -recovery * qc).mean(), within.mean()


def update(
    settings: CPQSettings, spec: Spec, cost_limit: float, state: CPQState, batch: Batch
) -> tuple[CPQState, Metrics]:
    """Auto-encoder, critics, alpha, policy, averages."""
    key, k1, k2, k3, k4 = jax.random.split(state.key, 5)
    alpha = jnp.exp(state.log_alpha.net)
    limit = discounted_limit(cost_limit, settings.discount, spec.horizon)
    encoder, (loss_vae, kl) = state.vae.descend(
        lambda net: vae.loss(net, batch, settings.beta, k1), aux=True
    )

    next_action, _ = state.actor.net.sample(batch.next_observation, k2)
    q_next = state.target(batch.next_observation, next_action).min(0)
    qc_next = state.cost_target(batch.next_observation, next_action)[0]
    y, yc = backups(settings, batch, q_next, qc_next, limit)
    critic, loss_q = state.critic.descend(lambda net: critic_loss(net, batch, y))

    # Actions of the policy, as they would be executed, whose KL is above most of the data's.
    n, m = len(batch.reward), settings.actions
    mean, std = state.actor.net.distribution(batch.observation)
    u = mean[:, None] + std[:, None] * jax.random.normal(k3, (n, m, mean.shape[1]))
    among = jnp.repeat(batch.observation, m, axis=0), jnp.tanh(u).reshape(n * m, -1)
    drawn_kl = vae.divergence(*state.vae.net.encode(*among))
    unlike = drawn_kl > jnp.quantile(kl, settings.quantile)
    cost_critic, (loss_qc, excess) = state.cost_critic.descend(
        lambda net: cost_critic_loss(
            net, batch, yc, among, unlike, alpha, settings.ood_margin * limit
        ),
        aux=True,
    )
    log_alpha, _ = state.log_alpha.descend(lambda net: alpha_loss(net, excess))
    log_alpha = eqx.tree_at(lambda t: t.net, log_alpha, log_alpha.net.clip(*LOG_ALPHA_RANGE))

    actor, (loss_pi, within) = state.actor.descend(
        lambda net: actor_loss(
            net, critic.net, cost_critic.net, batch, limit, settings.recovery, k4
        ),
        aux=True,
    )
    new = CPQState(
        actor=actor,
        critic=critic,
        target=polyak(state.target, critic.net, settings.tau),
        cost_critic=cost_critic,
        cost_target=polyak(state.cost_target, cost_critic.net, settings.tau),
        vae=encoder,
        log_alpha=log_alpha,
        key=key,
    )
    metrics = {
        "loss/vae": loss_vae,
        "loss/q": loss_q,
        "loss/qc": loss_qc,
        "loss/actor": loss_pi,
        "value/q": y.mean(),
        "value/qc": yc.mean(),
        "value/qc_limit": jnp.asarray(limit),
        "cpq/alpha": alpha,
        "cpq/unlike": unlike.mean(),
        "cpq/excess": excess,
        "cpq/within": within,
        "cpq/kl": kl.mean(),
    }
    return new, metrics


def learner(settings: CPQSettings, spec: Spec, cost_limit: float) -> Learner:
    """``cost_limit``: of an episode of ``spec.horizon`` steps, undiscounted."""
    return Learner(
        "CPQ",
        lambda key, spec: init(settings, key, spec),
        lambda state, batch, weight: update(settings, spec, cost_limit, state, batch),
        lambda state: state.actor.net,
    )
