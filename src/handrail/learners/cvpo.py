"""Constrained variational policy optimisation (Liu et al. 2022, arXiv 2201.11927).

Policy search as expectation-maximisation. The E-step finds, in closed form but for two scalars, the
best action weights within a KL ball of the old policy and within the cost limit (Sec. 4.2); the
M-step fits the network to them, the KL of its mean and of its deviation bounded apart (Sec. 4.3).
Reward is in the batch unshaped; the cost has critics of its own.

The policy is a Gaussian u ~ N(mean(s), std(s)) behind a tanh. Densities and divergences are those
of u: a KL divergence does not change under the tanh, and no action has to be clipped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from handrail.errors import HandrailError
from handrail.learners.cvpo_dual import RANGE, Dual, solve_dual, weights
from handrail.learners.sac import critic_loss
from handrail.networks import Actor, ActorCritics, Critic
from handrail.training import Learner, Trained, check_ranges, discounted_limit, polyak
from handrail.types import Batch, Metrics, Spec


@dataclass(frozen=True)
class CVPOSettings:
    """Settings of CVPO; the source stands beside each default."""

    actor_rate: float = 1e-3
    """Adam's of the policy, per M-step (CVPO's code: 0.002, on Circle 0.0064; GOLD's: 3e-4)."""
    critic_rate: float = 3e-4
    """Adam's of the critics, per update (GOLD's code; CVPO's: 0.001)."""
    actions: int = 16
    """Actions of the old policy at each state, among which the E-step chooses; an update takes time
    in proportion (GOLD's code, CVPO on Button: 32; on Circle 64)."""
    m_steps: int = 6
    """Gradient steps of the policy for each E-step (GOLD's code, CVPO on Button; on Circle 29)."""
    epsilon: float = 0.1
    """E-step: largest mean KL(q || old policy) over the states, in nats (both)."""
    epsilon_mean: float = 0.001
    """M-step: bound of the KL that the move of the mean makes (both)."""
    epsilon_std: float = 0.001
    """M-step: bound of the KL that the change of the deviation makes (both)."""
    discount: float = 0.99
    """Per step, of reward and of cost (both)."""
    tau: float = 0.01
    """Polyak rate of the target critics and of the old policy, per update (CVPO's code: 0.005, with
    more updates)."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden layer, of every network (both)."""
    largest_multiplier: float = 10.0
    """Of the cost limit, in reward units per unit of cost, above 1e-6. A batch whose limit no
    policy within the KL ball meets drives lambda there. At CVPO's 1e5 such a batch teaches nothing
    but cost, and they are many near the limit; any bound above the limit's true price will do."""
    slack: float = 2.0
    """Times the cost limit, added to it at the start; falls as exp(-5 n / slack_updates). A limit
    that is met from the first step on teaches to stand still (GOLD's code: 20 on a limit of 10;
    CVPO: 0)."""
    slack_updates: int = 20_000
    """Updates n after which 0.7% of the slack is left (GOLD's code: those of 200 epochs)."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if not RANGE[0] < self.largest_multiplier <= RANGE[1]:  # nor NaN
            raise HandrailError(
                f"largest_multiplier is {self.largest_multiplier:g}; it must be above "
                f"{RANGE[0]:g}, and {RANGE[1]:g} at most"
            )
        for name in ("epsilon", "epsilon_mean", "epsilon_std"):
            if not 0 < getattr(self, name) < math.inf:  # nor NaN
                raise HandrailError(f"{name} is {getattr(self, name):g}; it must be above 0")


class CVPOState(eqx.Module):
    actor: Trained
    old: Actor  # the policy that actions are drawn from: the actor's Polyak average
    critic: Trained
    target: Critic
    cost_critic: Trained
    cost_target: Critic
    dual: Dual  # where the next E-step's search begins
    multipliers: Float[Array, " 2"]  # alpha_mean, alpha_std of the two KL bounds, an action
    updates: Int[Array, ""]
    key: PRNGKeyArray


MULTIPLIER_MOST = (0.1, 10.0)
"""Largest alpha_mean and alpha_std (CVPO's code), for each of the actions: the likelihood that they
stand against is a mean over states and actions there. Eq. 12 sums over the actions, and so does
``policy_loss``, which therefore takes them M times."""
MULTIPLIER_STEP = (1.0, 100.0)
"""Change of alpha_mean and alpha_std for each unit of KL beyond its bound (CVPO's code)."""


def init(settings: CVPOSettings, key: PRNGKeyArray, spec: Spec) -> CVPOState:
    o, a, hidden = spec.observation_size, spec.action_size, settings.hidden
    key, k1, k2, k3 = jax.random.split(key, 4)
    critic, cost_critic = Critic(o + a, hidden, key=k2), Critic(o + a, hidden, key=k3)
    nets = ActorCritics(
        actor=Actor(o, a, hidden, squashed=True, key=k1),
        critic=critic,
        target=jax.tree.map(jnp.copy, critic),
        cost_critic=cost_critic,
        cost_target=jax.tree.map(jnp.copy, cost_critic),
    )
    return _state(settings, nets, key)


def from_offline(
    settings: CVPOSettings,
    key: PRNGKeyArray,
    spec: Spec,
    offline: ActorCritics,
    *,
    actor: bool = True,
    critics: bool = True,
) -> CVPOState:
    """A state that goes on from what was learnt offline.

    Kept are the policy (where ``actor``), and both critics with their targets (where ``critics``).
    New are what is not kept, the duals and multipliers, and all optimisers. The cost critic has one
    member then, as those that are learnt offline have.

    Raises:
        HandrailError: what was learnt offline has other sizes than the settings ask for.
    """
    key, k1 = jax.random.split(key)
    o, a = spec.observation_size, spec.action_size
    nets = offline.going_on(o, a, settings.hidden, actor=actor, critics=critics, key=k1)
    return _state(settings, nets, key)


def _state(settings: CVPOSettings, nets: ActorCritics, key: PRNGKeyArray) -> CVPOState:
    adam = optax.adam(settings.critic_rate)
    return CVPOState(
        actor=Trained.of(nets.actor, optax.adam(settings.actor_rate)),
        old=jax.tree.map(jnp.copy, nets.actor),
        critic=Trained.of(nets.critic, adam),
        target=nets.target,
        cost_critic=Trained.of(nets.cost_critic, adam),
        cost_target=nets.cost_target,
        dual=Dual(jnp.float32(0.1), jnp.float32(0.1)),
        multipliers=jnp.zeros(2),
        updates=jnp.int32(0),
        key=key,
    )


# ---- M-step --------------------------------------------------------------------------------------


class Improved(NamedTuple):
    """Mean and variance of u under the E-step's q(a|s): the fit of a Gaussian, Eq. 12, asks no more
    of the actions."""

    mean: Float[Array, "B A"]
    variance: Float[Array, "B A"]

    @classmethod
    def of(cls, u: Float[Array, "B M A"], p: Float[Array, "B M"]) -> Improved:
        """Of actions ``u`` (before the tanh) with weights ``p``, whose sum in each state is 1."""
        mean = jnp.einsum("bm,bma->ba", p, u)
        return cls(mean, jnp.einsum("bm,bma->ba", p, (u - mean[:, None]) ** 2))

    def log_density(
        self, mean: Float[Array, "B A"], std: Float[Array, "B A"]
    ) -> Float[Array, " B"]:
        """E_q[log N(u; mean, std)]."""
        squares = (self.mean - mean) ** 2 + self.variance
        return -(0.5 * squares / std**2 + jnp.log(std) + 0.5 * math.log(2 * math.pi)).sum(1)


def divergences(
    mean: Float[Array, "B A"],
    std: Float[Array, "B A"],
    old_mean: Float[Array, "B A"],
    old_std: Float[Array, "B A"],
) -> Float[Array, " 2"]:
    """Means over the states of KL(old || N(mean, old_std)) and KL(old || N(old_mean, std)).
    Eq. 13."""
    of_mean = 0.5 * (((mean - old_mean) / old_std) ** 2).sum(1)
    of_std = (0.5 * ((old_std / std) ** 2 - 1) + jnp.log(std / old_std)).sum(1)
    return jnp.stack([of_mean.mean(), of_std.mean()])


def policy_loss(
    actor: Actor,
    observation: Float[Array, "B O"],
    old: tuple[Float[Array, "B A"], Float[Array, "B A"]],
    improved: Improved,
    multipliers: Float[Array, " 2"],
    epsilons: tuple[float, float],
) -> tuple[Float[Array, ""], Float[Array, " 2"]]:
    """-E_q[log N(u; mean, old_std) + log N(u; old_mean, std)] - alpha · (eps - KL), the two KLs as
    aux. Eq. 12, 14."""
    mean, std = actor.distribution(observation)
    old_mean, old_std = old
    fit = improved.log_density(mean, old_std) + improved.log_density(old_mean, std)
    kl = divergences(mean, std, old_mean, old_std)
    return -fit.mean() - (multipliers * (jnp.stack(epsilons) - kl)).sum(), kl


# ---- the update ----------------------------------------------------------------------------------


def update(
    settings: CVPOSettings, spec: Spec, cost_limit: float, state: CVPOState, batch: Batch
) -> tuple[CVPOState, Metrics]:
    """Critics, E-step, M-steps, averages."""
    key, k1, k2 = jax.random.split(state.key, 3)

    # Critics: one step ahead, actions of the old policy. A cost goes on past a terminal. Its two
    # critics are averaged: the smaller would be too small by a little at each step, which a ranking
    # of actions does not mind, but a limit does (docs/gold.md).
    next_action, _ = state.old.sample(batch.next_observation, k1)
    q_next = state.target(batch.next_observation, next_action).min(0)
    qc_next = state.cost_target(batch.next_observation, next_action).mean(0)
    y = batch.reward + settings.discount * (1 - batch.terminated) * q_next
    yc = batch.cost + settings.discount * qc_next
    critic, loss_q = state.critic.descend(lambda net: critic_loss(net, batch, y))
    cost_critic, loss_qc = state.cost_critic.descend(lambda net: critic_loss(net, batch, yc))

    # E-step, by the target critics, among actions of the old policy.
    n, m = len(batch.reward), settings.actions
    old_mean, old_std = state.old.distribution(batch.observation)
    u = old_mean[:, None] + old_std[:, None] * jax.random.normal(k2, (n, m, old_mean.shape[1]))
    q = state.target.of_actions(batch.observation, jnp.tanh(u)).min(0)
    qc = state.cost_target.of_actions(batch.observation, jnp.tanh(u)).mean(0)
    slack = settings.slack * jnp.exp(-5 * state.updates / settings.slack_updates)
    limit = discounted_limit(cost_limit * (1 + slack), settings.discount, spec.horizon)
    dual, iterations = solve_dual(
        state.dual, q, qc, limit, settings.epsilon, settings.largest_multiplier
    )
    improved = Improved.of(u, weights(dual, q, qc))

    # M-steps, the multipliers of the two KL bounds moved after each.
    epsilons = settings.epsilon_mean, settings.epsilon_std

    def m_step(carry: tuple[Trained, Float[Array, " 2"]], _: None):
        actor, multipliers = carry
        alphas = m * multipliers
        actor, (loss, kl) = actor.descend(
            lambda net: policy_loss(
                net, batch.observation, (old_mean, old_std), improved, alphas, epsilons
            ),
            aux=True,
        )
        moved = multipliers + jnp.array(MULTIPLIER_STEP) * (kl - jnp.stack(epsilons))
        return (actor, jnp.clip(moved, 0.0, jnp.array(MULTIPLIER_MOST))), (loss, kl)

    (actor, multipliers), (loss_pi, kl) = jax.lax.scan(
        m_step, (state.actor, state.multipliers), None, length=settings.m_steps
    )

    new = CVPOState(
        actor=actor,
        old=polyak(state.old, actor.net, settings.tau),
        critic=critic,
        target=polyak(state.target, critic.net, settings.tau),
        cost_critic=cost_critic,
        cost_target=polyak(state.cost_target, cost_critic.net, settings.tau),
        dual=dual,
        multipliers=multipliers,
        updates=state.updates + 1,
        key=key,
    )
    metrics = {
        "loss/q": loss_q,
        "loss/qc": loss_qc,
        "loss/actor": loss_pi.mean(),
        "value/q": y.mean(),
        "value/qc": yc.mean(),
        "value/qc_limit": jnp.asarray(limit),
        "cvpo/eta": dual.eta,
        "cvpo/lambda": dual.lam,
        "cvpo/iterations": iterations,
        "cvpo/kl_mean": kl[-1, 0],
        "cvpo/kl_std": kl[-1, 1],
        "cvpo/alpha_mean": multipliers[0],
        "cvpo/alpha_std": multipliers[1],
        "cvpo/std": old_std.mean(),
    }
    return new, metrics


def learner(
    settings: CVPOSettings,
    spec: Spec,
    cost_limit: float,
    offline: ActorCritics | None = None,
    *,
    actor: bool = True,
    critics: bool = True,
) -> Learner:
    """From scratch, or from what was learnt offline: then see ``from_offline``.

    Args:
        cost_limit: of an episode of ``spec.horizon`` steps, undiscounted.
    """

    def start(key: PRNGKeyArray, spec: Spec) -> CVPOState:
        if offline is None:
            return init(settings, key, spec)
        return from_offline(settings, key, spec, offline, actor=actor, critics=critics)

    return Learner(
        "CVPO",
        start,
        lambda state, batch, weight: update(settings, spec, cost_limit, state, batch),
        lambda state: state.actor.net,
    )
