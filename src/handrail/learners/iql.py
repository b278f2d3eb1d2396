"""Implicit Q-learning (Kostrikov et al. 2021, arXiv 2110.06169), as GOLD distils with it.

The equations are those of GOLD Sec. III-B. Reward r - w·c is in the batch already. Three ways to
draw a policy out of Q and V: advantage-weighted regression, which is IQL as published, the soft
actor-critic's, which is what the code of GOLD's authors does, and Q's gradient on a leash to the
demonstrations (Park et al. 2024), GOLD's default here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.errors import HandrailError
from handrail.learners import sac
from handrail.networks import Actor, Critic
from handrail.training import Learner, Trained, check_ranges, demonstrated, polyak
from handrail.types import Batch, Metrics, Spec


@dataclass(frozen=True)
class IQLSettings:
    """Settings of IQL; the source stands beside each default."""

    extraction: Literal["awr", "ddpg_bc", "sac"] | None = None
    """How the policy is drawn out of Q and V: ``awr`` (IQL), ``ddpg_bc`` (Park et al. 2024), or
    ``sac`` (GOLD's code). None: ``ddpg_bc``, which keeps near what demonstrations do; where there
    are none to keep near, ``sac``."""
    expectile: float = 0.8
    """Expectile of Q that V regresses to, in (0, 1) (GOLD's code; IQL on locomotion: 0.7)."""
    temperature: float = 3.0
    """``awr``: inverse temperature of the advantage weights, per unit of return (IQL)."""
    max_weight: float = 100.0
    """``awr``: largest advantage weight (IQL)."""
    bc_weight: float = 11.0
    """``ddpg_bc``: alpha times the spread of the demonstrated actions (``Episodes.spread``; 1 where
    there are none), alpha being twice the return that Q must promise for a step of length 1 away
    from the action of the data, or of its demonstrations alone (docs/decisions/0006, 0013 and
    0016)."""
    initial_alpha: float = 0.2
    """``sac``: weight of the entropy at the start; it then follows the target entropy -A."""
    learning_rate: float = 3e-4
    """Adam's, of every network, per update (both)."""
    discount: float = 0.99
    """Per step (both)."""
    tau: float = 0.02
    """Polyak rate of the target critic, per update (both: 0.005, with 1,000,000 updates; values
    need some 1 / (tau (1 - discount)) updates to settle)."""
    hidden: tuple[int, ...] = (256, 256)
    """Units of each hidden layer, of every network (both)."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.extraction not in ("awr", "ddpg_bc", "sac", None):
            raise HandrailError(f"extraction must be awr, ddpg_bc or sac, not {self.extraction!r}")
        if not 0 < self.expectile < 1:
            raise HandrailError(f"expectile must lie between 0 and 1, not {self.expectile}")


class IQLState(eqx.Module):
    actor: Trained
    value: Trained
    critic: Trained
    target: Critic
    log_alpha: Trained | None  # of the soft actor-critic's extraction alone
    key: PRNGKeyArray


def init(settings: IQLSettings, key: PRNGKeyArray, spec: Spec) -> IQLState:
    o, a, hidden = spec.observation_size, spec.action_size, settings.hidden
    key, k1, k2, k3 = jax.random.split(key, 4)
    soft = settings.extraction == "sac"
    critic = Critic(o + a, hidden, key=k2)
    adam = optax.adam(settings.learning_rate)
    return IQLState(
        actor=Trained.of(Actor(o, a, hidden, squashed=soft, key=k1), adam),
        value=Trained.of(Critic(o, hidden, members=1, key=k3), adam),
        critic=Trained.of(critic, adam),
        target=jax.tree.map(jnp.copy, critic),
        log_alpha=Trained.of(jnp.log(jnp.float32(settings.initial_alpha)), adam) if soft else None,
        key=key,
    )


def value_loss(
    value: Critic, batch: Batch, q: Float[Array, " B"], expectile: float
) -> tuple[Float[Array, ""], Float[Array, " B"]]:
    """E[L2^tau(Q_target(s, a) - V(s))], V as aux. GOLD Sec. III-B, L_V; IQL Eq. 5."""
    v = value(batch.observation)[0]
    u = q - v
    return (jnp.where(u < 0, 1 - expectile, expectile) * u**2).mean(), v


def critic_loss(critic: Critic, batch: Batch, y: Float[Array, " B"]) -> Float[Array, ""]:
    """E[(y - Q(s, a))^2], summed over the ensemble. GOLD Sec. III-B, L_Q; IQL Eq. 6."""
    return sac.critic_loss(critic, batch, y)


def awr_loss(
    actor: Actor, batch: Batch, advantage: Float[Array, " B"], settings: IQLSettings
) -> Float[Array, ""]:
    """-E[min(exp(beta A(s, a)), 100) log pi(a|s)]. IQL Eq. 7."""
    weight = jnp.minimum(jnp.exp(settings.temperature * advantage), settings.max_weight)
    return -(weight * actor.log_prob(batch.observation, batch.action)).mean()


def ddpg_bc_loss(
    actor: Actor, critic: Critic, batch: Batch, bc_alpha: float, held: int = 0
) -> Float[Array, ""]:
    """-E[min Q(s, mode(s)) - alpha/2 |a - mode(s)|^2]. Park et al. 2024 (arXiv 2406.09329), Sec. 4,
    with a policy of deviation 1 (the leash of TD3+BC, arXiv 2106.06860).

    The leash is to the last ``held`` rows, the batch's demonstrations, where it has some: what the
    student did itself would take it along, ever further (docs/decisions/0016).

    The policy's own deviation is fitted beside, by its likelihood, and pulls at nothing: it shrinks
    with the run's own noise, and would shorten the leash by its square (docs/decisions/0006).
    """
    mode = actor.mode(batch.observation)
    q = critic(batch.observation, mode).min(0)
    first = len(batch.reward) - held if held else 0
    leash = 0.5 * ((batch.action - mode)[first:] ** 2).sum(-1).mean()
    still = eqx.tree_at(lambda net: net.trunk, actor, jax.lax.stop_gradient(actor.trunk))
    log_prob = still.log_prob(batch.observation, batch.action)
    return bc_alpha * leash - (q + log_prob).mean()


def update(
    settings: IQLSettings, state: IQLState, batch: Batch, spread: float = 1.0, share: float = 0.0
) -> tuple[IQLState, Metrics]:
    """One update in the published order: V, actor, Q, target; ``spread`` as in the settings,
    ``share`` of the batch, its last rows, is demonstrations."""
    q = state.target(batch.observation, batch.action).min(0)
    value, (loss_v, v) = state.value.descend(
        lambda net: value_loss(net, batch, q, settings.expectile), aux=True
    )

    key, log_alpha, advantage, metrics = state.key, state.log_alpha, q - v, {}
    if log_alpha is not None:
        key, k1 = jax.random.split(key)
        alpha = jnp.exp(log_alpha.net)
        actor, (loss_pi, log_prob) = state.actor.descend(
            lambda net: sac.actor_loss(net, state.critic.net, alpha, batch, k1), aux=True
        )
        log_alpha, _ = log_alpha.descend(
            lambda net: sac.alpha_loss(net, log_prob, target_entropy=-batch.action.shape[-1])
        )
        metrics = {"alpha": alpha, "entropy": -log_prob.mean()}
    elif settings.extraction in ("ddpg_bc", None):
        alpha, held = settings.bc_weight / spread, demonstrated(share, len(batch.reward))
        actor, loss_pi = state.actor.descend(
            lambda net: ddpg_bc_loss(net, state.critic.net, batch, alpha, held)
        )
    else:
        # As published, the advantage (and the backup) take the value that has just been updated.
        advantage = q - value.net(batch.observation)[0]
        actor, loss_pi = state.actor.descend(lambda net: awr_loss(net, batch, advantage, settings))

    v_next = value.net(batch.next_observation)[0]
    y = batch.reward + settings.discount * (1 - batch.terminated) * v_next
    critic, loss_q = state.critic.descend(lambda net: critic_loss(net, batch, y))
    target = polyak(state.target, critic.net, settings.tau)

    metrics |= {
        "loss/v": loss_v,
        "loss/q": loss_q,
        "loss/actor": loss_pi,
        "value/v": v.mean(),
        "value/q": q.mean(),
        "value/advantage": advantage.mean(),
    }
    return IQLState(actor, value, critic, target, log_alpha, key), metrics


def learner(settings: IQLSettings, spread: float = 1.0, share: float = 0.0) -> Learner:
    return Learner(
        "IQL",
        lambda key, spec: init(settings, key, spec),
        lambda state, batch, weight: update(settings, state, batch.shaped(weight), spread, share),
        lambda state: state.actor.net,
    )
