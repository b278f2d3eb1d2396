"""BEAR with a Lagrangian on the cost (BEAR: Kumar et al. 2019, arXiv 1906.00949), from a fixed data
set.

A policy that earns most while its actions stay near the data's, by their maximum mean discrepancy,
and its cost within a limit, by a multiplier that PID control moves. Reward is in the batch
unshaped, in the task's reward unit. Equations, and what differs from published code:
docs/offline-learners.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.errors import HandrailError
from handrail.learners import vae
from handrail.learners.sac import critic_loss
from handrail.learners.vae import VAE
from handrail.networks import Actor, ActorCritics, Critic
from handrail.training import Learner, Trained, check_ranges, discounted_limit, polyak
from handrail.types import Batch, Metrics, Spec


@dataclass(frozen=True)
class BEARSettings:
    """Settings of BEAR-Lag; the source stands beside each default. Marvel's "reward x 0.1" is the
    task's reward unit."""

    actor_rate: float = 1e-3
    """Adam's of the policy, per update (Marvel)."""
    critic_rate: float = 1e-3
    """Adam's of the reward critic, per update (Marvel)."""
    cost_critic_rate: float = 1e-3
    """Adam's of the cost critic, per update (Marvel)."""
    vae_rate: float = 1e-3
    """Adam's of the auto-encoder, per update (Marvel)."""
    alpha_rate: float = 1e-3
    """Adam's of log alpha, per update (BEAR's code; OSRL: a plain gradient step)."""
    beta: float = 0.05
    """Weight of the KL in the auto-encoder's loss (OSRL: 0.5, with which all draws of a state are
    one where the data's actions spread less than 0.35)."""
    actions: int = 10
    """Actions of the policy in each state: the best of them is backed up; and as many of it and of
    the auto-encoder are compared (Marvel)."""
    pessimism: float = 0.75
    """Part of the smaller of two target critics in a backup; the rest is of the larger (BEAR)."""
    kernel: Literal["gaussian", "laplacian"] = "gaussian"
    """Of the discrepancy (OSRL)."""
    sigma: float = 50.0
    """Width of the kernel, in squared units of action, or units with ``laplacian`` (Marvel)."""
    target_mmd: float = 0.05
    """Largest discrepancy: with the Gaussian kernel, means that lie 0.05 sqrt(sigma) = 0.35 apart
    (Marvel)."""
    kp: float = 0.1
    """Of the cost's error, in reward units for each unit of cost, squared (Marvel)."""
    ki: float = 0.003
    """Of its sum over the updates, likewise (Marvel)."""
    kd: float = 0.001
    """Of its growth in one update, likewise; its fall counts nothing (Marvel)."""
    discount: float = 0.99
    """Per step, of reward and of cost (OSRL)."""
    tau: float = 0.005
    """Polyak rate of the target critics and of the old policy, per update (OSRL)."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden layer, of every network (Marvel; OSRL's auto-encoder: 400, 400)."""
    batch: int = 256
    """Transitions of one update (OSRL: 512)."""
    updates: int = 20_000
    """Gradient updates in all (Marvel: 50,000)."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.kernel not in ("gaussian", "laplacian"):
            raise HandrailError(f"kernel must be gaussian or laplacian, not {self.kernel!r}")
        if not 0 < self.sigma < math.inf:  # nor NaN
            raise HandrailError(f"sigma is {self.sigma:g}; it must be above 0")


class Control(NamedTuple):
    """The PID control of the cost's multiplier."""

    multiplier: Float[Array, ""]
    integral: Float[Array, ""]
    error: Float[Array, ""]
    """Of the update before."""


class BEARState(eqx.Module):
    actor: Trained
    old: Actor  # the policy that backups draw from: the actor's Polyak average
    critic: Trained
    target: Critic
    cost_critic: Trained
    cost_target: Critic
    vae: Trained
    log_alpha: Trained
    control: Control
    key: PRNGKeyArray


LOG_ALPHA_RANGE = (-5.0, 5.0)
"""(OSRL.)"""


def init(settings: BEARSettings, key: PRNGKeyArray, spec: Spec) -> BEARState:
    o, a, hidden = spec.observation_size, spec.action_size, settings.hidden
    key, k1, k2 = jax.random.split(key, 3)
    nets = ActorCritics.new(o, a, hidden, key=k1)
    return BEARState(
        actor=Trained.of(nets.actor, optax.adam(settings.actor_rate)),
        old=jax.tree.map(jnp.copy, nets.actor),
        critic=Trained.of(nets.critic, optax.adam(settings.critic_rate)),
        target=nets.target,
        cost_critic=Trained.of(nets.cost_critic, optax.adam(settings.cost_critic_rate)),
        cost_target=nets.cost_target,
        vae=Trained.of(VAE(o, a, hidden, key=k2), optax.adam(settings.vae_rate)),
        log_alpha=Trained.of(jnp.float32(0.0), optax.adam(settings.alpha_rate)),
        control=Control(*(jnp.float32(0.0) for _ in Control._fields)),
        key=key,
    )


def draw(
    actor: Actor, observation: Float[Array, "B O"], count: int, key: PRNGKeyArray
) -> Float[Array, "B M A"]:
    """``count`` reparametrised actions in each state, of one pass over the states."""
    mean, std = actor.distribution(observation)
    noise = jax.random.normal(key, (len(mean), count, mean.shape[1]))
    return jnp.tanh(mean[:, None] + std[:, None] * noise)


def backups(
    settings: BEARSettings, state: BEARState, batch: Batch, key: PRNGKeyArray
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """y_r = r + gamma (1 - d) max_j [p min_i Q'_i + (1 - p) max_i Q'_i](s', a'_j), a'_j of the old
    policy, and y_c = c + gamma Qc'(s', a'_1). Eq. B1, B2.

    The limit is compared with Qc as it stands, so no largest of several is backed up there; and a
    cost goes on past a terminal, as in CVPO.
    """
    p = settings.pessimism
    action = draw(state.old, batch.next_observation, settings.actions, key)
    q = state.target.of_actions(batch.next_observation, action)
    q_next = (p * q.min(0) + (1 - p) * q.max(0)).max(1)
    qc_next = state.cost_target(batch.next_observation, action[:, 0])[0]
    y = batch.reward + settings.discount * (1 - batch.terminated) * q_next
    return y, batch.cost + settings.discount * qc_next


def discrepancy(
    x: Float[Array, "B M A"], y: Float[Array, "B M A"], kernel: str, sigma: float
) -> Float[Array, " B"]:
    """MMD of two samples, sqrt(E k(x, x') + E k(y, y') - 2 E k(x, y)), with k = exp(-|.|^2 / 2
    sigma), or of |.|_1 with ``laplacian``. Eq. B3."""

    def mean_kernel(x: Float[Array, "B M A"], y: Float[Array, "B M A"]) -> Float[Array, " B"]:
        apart = x[:, :, None] - y[:, None]
        size = (apart**2 if kernel == "gaussian" else jnp.abs(apart)).sum(-1)
        # k - 1, whose ones cancel: a wide kernel is 1 but for the last digits.
        return jnp.expm1(-size / (2 * sigma)).mean((1, 2))

    square = mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)
    return jnp.sqrt(jnp.maximum(square, 0.0) + 1e-6)  # OSRL's; no root of 0 has a gradient


def actor_loss(
    settings: BEARSettings,
    actor: Actor,
    critic: Critic,
    cost_critic: Critic,
    batch: Batch,
    like: Float[Array, "B M A"],
    alpha: Float[Array, ""],
    multiplier: Float[Array, ""],
    limit: Float[Array, ""] | float,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Float[Array, ""]]]:
    """E[-min Q(s, a) + lambda (Qc(s, a) - limit) + alpha (MMD - target)], a ~ pi; the means of MMD
    and of Qc - limit as aux. Eq. B4."""
    action = draw(actor, batch.observation, settings.actions, key)
    q = critic(batch.observation, action[:, 0]).min(0).mean()
    error = (cost_critic(batch.observation, action[:, 0])[0] - limit).mean()
    mmd = discrepancy(like, action, settings.kernel, settings.sigma).mean()
    return -q + multiplier * error + alpha * (mmd - settings.target_mmd), (mmd, error)


def alpha_loss(
    log_alpha: Float[Array, ""], mmd: Float[Array, ""], target: float
) -> Float[Array, ""]:
    """-alpha (MMD - target): alpha grows while the actions are too far from the data's. Eq. B5."""
    return -jnp.exp(log_alpha) * (mmd - target)


def controlled(settings: BEARSettings, control: Control, error: Float[Array, ""]) -> Control:
    """I <- max(0, I + e), lambda = Kp max(0, e) + Ki I + Kd max(0, e - e of before). Eq. B6."""
    integral = jnp.maximum(control.integral + error, 0)
    growth = jnp.maximum(error - control.error, 0)
    multiplier = settings.kp * jnp.maximum(error, 0) + settings.ki * integral + settings.kd * growth
    return Control(multiplier, integral, error)


def update(
    settings: BEARSettings, spec: Spec, cost_limit: float, state: BEARState, batch: Batch
) -> tuple[BEARState, Metrics]:
    """Auto-encoder, critics, policy, alpha, multiplier, averages."""
    key, k1, k2, k3, k4 = jax.random.split(state.key, 5)
    alpha = jnp.exp(state.log_alpha.net)
    limit = discounted_limit(cost_limit, settings.discount, spec.horizon)
    encoder, (loss_vae, _) = state.vae.descend(
        lambda net: vae.loss(net, batch, settings.beta, k1), aux=True
    )

    y, yc = backups(settings, state, batch, k2)
    critic, loss_q = state.critic.descend(lambda net: critic_loss(net, batch, y))
    cost_critic, loss_qc = state.cost_critic.descend(lambda net: critic_loss(net, batch, yc))

    like = vae.sample(encoder.net, batch.observation, settings.actions, k3)
    actor, (loss_pi, (mmd, error)) = state.actor.descend(
        lambda net: actor_loss(
            settings,
            net,
            critic.net,
            cost_critic.net,
            batch,
            like,
            alpha,
            state.control.multiplier,
            limit,
            k4,
        ),
        aux=True,
    )
    log_alpha, _ = state.log_alpha.descend(lambda net: alpha_loss(net, mmd, settings.target_mmd))
    log_alpha = eqx.tree_at(lambda t: t.net, log_alpha, log_alpha.net.clip(*LOG_ALPHA_RANGE))
    new = BEARState(
        actor=actor,
        old=polyak(state.old, actor.net, settings.tau),
        critic=critic,
        target=polyak(state.target, critic.net, settings.tau),
        cost_critic=cost_critic,
        cost_target=polyak(state.cost_target, cost_critic.net, settings.tau),
        vae=encoder,
        log_alpha=log_alpha,
        control=controlled(settings, state.control, error),
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
        "bear/alpha": alpha,
        "bear/lambda": state.control.multiplier,
        "bear/mmd": mmd,
        "bear/error": error,
    }
    return new, metrics


def learner(settings: BEARSettings, spec: Spec, cost_limit: float) -> Learner:
    """``cost_limit``: of an episode of ``spec.horizon`` steps, undiscounted."""
    return Learner(
        "BEAR-Lag",
        lambda key, spec: init(settings, key, spec),
        lambda state, batch, weight: update(settings, spec, cost_limit, state, batch),
        lambda state: state.actor.net,
    )
