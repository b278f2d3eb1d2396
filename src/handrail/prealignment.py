"""Value pre-alignment (VPA): Marvel's second stage (arXiv 2412.04426, Sec. 4).

Offline safe RL leaves critics that are pessimistic on purpose: they rank what lies off the data as
bad, so a policy that is to improve on the data is held back by them, or misled. Pre-alignment makes
both critics the values of the offline policy pi_0, which is frozen, by policy evaluation on the
offline data, a' ~ pi_0(s'):

    Q   <-  r + gamma (1 - d) (min Q'(s', a') + alpha   H(pi_0(.|s')))
    Q_c <-  c + gamma (1 - d) (    Q_c'(s', a') + alpha_c H(pi_0(.|s')))

The published code has no entropies, the paper has; alpha = 0, the default here, is the code's form.
What it must show is ``rank_correlations``: that of Q, and above all of Q_c, with the returns that
the policy does get.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.data.episodes import Episode
from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.learners.sac import critic_loss
from handrail.networks import Actor, ActorCritics, Critic
from handrail.training import Learner, Trained, check_ranges, polyak
from handrail.types import Batch, Metrics, Spec


@dataclass(frozen=True)
class PrealignmentSettings:
    """Settings of the pre-alignment; discount and sizes are the learners'."""

    updates: int = 5_000
    """Gradient updates (Marvel's code: 20,000)."""
    batch: int = 128
    """Transitions in an update's batch (Marvel's code: 64)."""
    critic_rate: float = 1e-3
    """Adam's of the reward critic (Marvel: the online learner's, 5e-4 to 1e-2 by task)."""
    cost_critic_rate: float = 1e-3
    """Adam's of the cost critic (the same)."""
    tau: float = 0.005
    """Polyak rate of the targets, per update (Marvel)."""
    alpha: float = 0.0
    """Weight of the policy's entropy in Q (paper: above 0, that of the online learner; code: 0)."""
    cost_alpha: float | None = None
    """Weight of the entropy in Q_c (paper: below alpha). None: half of alpha."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("alpha", "cost_alpha"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):  # nor NaN
                raise HandrailError(f"{name} is {value:g}; it must be 0 or more")


class PrealignmentState(eqx.Module):
    actor: Actor  # pi_0: no update touches it
    critic: Trained
    target: Critic
    cost_critic: Trained
    cost_target: Critic
    key: PRNGKeyArray


def init(
    settings: PrealignmentSettings, offline: ActorCritics, key: PRNGKeyArray
) -> PrealignmentState:
    nets = jax.tree.map(jnp.array, offline)  # copies: a state is donated to its update
    return PrealignmentState(
        actor=nets.actor,
        critic=Trained.of(nets.critic, optax.adam(settings.critic_rate)),
        target=nets.target,
        cost_critic=Trained.of(nets.cost_critic, optax.adam(settings.cost_critic_rate)),
        cost_target=nets.cost_target,
        key=jax.random.fold_in(key, 0),
    )


def targets(
    settings: PrealignmentSettings,
    discount: float,
    state: PrealignmentState,
    batch: Batch,
    key: PRNGKeyArray,
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The right-hand sides above. The entropy lies in the bracket, as in SAC; reviews of the paper
    write it outside, where an episode's last step would earn it too."""
    action, log_prob = state.actor.sample(batch.next_observation, key)
    q = state.target(batch.next_observation, action).min(0)
    qc = state.cost_target(batch.next_observation, action).mean(0)
    alpha, cost_alpha = settings.alpha, settings.cost_alpha
    cost_alpha = alpha / 2 if cost_alpha is None else cost_alpha
    going = discount * (1 - batch.terminated)
    y = batch.reward + going * (q - alpha * log_prob)
    yc = batch.cost + going * (qc - cost_alpha * log_prob)
    return y, yc


def update(
    settings: PrealignmentSettings, discount: float, state: PrealignmentState, batch: Batch
) -> tuple[PrealignmentState, Metrics]:
    key, k1 = jax.random.split(state.key)
    y, yc = targets(settings, discount, state, batch, k1)
    critic, loss_q = state.critic.descend(lambda net: critic_loss(net, batch, y))
    cost_critic, loss_qc = state.cost_critic.descend(lambda net: critic_loss(net, batch, yc))
    new = PrealignmentState(
        actor=state.actor,
        critic=critic,
        target=polyak(state.target, critic.net, settings.tau),
        cost_critic=cost_critic,
        cost_target=polyak(state.cost_target, cost_critic.net, settings.tau),
        key=key,
    )
    metrics = {
        "loss/q": loss_q,
        "loss/qc": loss_qc,
        "value/q": y.mean(),
        "value/qc": yc.mean(),
    }
    return new, metrics


def networks(state: PrealignmentState) -> ActorCritics:
    """The policy as it was, and its values."""
    return ActorCritics(
        state.actor, state.critic.net, state.target, state.cost_critic.net, state.cost_target
    )


def learner(settings: PrealignmentSettings, offline: ActorCritics, discount: float) -> Learner:
    def start(key: PRNGKeyArray, spec: Spec) -> PrealignmentState:
        return init(settings, offline, key)

    return Learner(
        "pre-alignment",
        start,
        lambda state, batch, weight: update(settings, discount, state, batch),
        lambda state: state.actor,
    )


def rank_correlations(
    nets: ActorCritics,
    episodes: Sequence[Episode],
    normaliser: Normaliser,
    spec: Spec,
    discount: float,
) -> Metrics:
    """Spearman's rank correlation of Q(s, a) and Q_c(s, a) with what came after, over the steps.

    What came after a step is the discounted sum over the next half of the horizon; so steps that
    have fewer after them because time ran out are left out, and no correlation comes of the time
    left alone. Of an episode that terminated all count: nothing comes after its end. ``rank/q`` and
    ``rank/qc``, -1 to 1; of steps that all cost the same there is none.

    Args:
        episodes: of the policy whose values Q and Q_c are, acting by samples.
        normaliser: of the observations that the networks see.
    """
    from scipy.stats import spearmanr

    window = max(1, spec.horizon // 2)
    observations, actions, returns, costs = [], [], [], []
    for episode in episodes:
        full = len(episode) if episode.terminated else len(episode) - window + 1
        steps = max(1, full)
        observations.append(episode.observations[:steps])
        actions.append(episode.actions[:steps])
        returns.append(_windowed(episode.rewards, window, discount)[:steps])
        costs.append(_windowed(episode.costs, window, discount)[:steps])
    inputs = [
        jnp.asarray(array)
        for array in (
            normaliser(np.concatenate(observations)),
            spec.to_unit(np.concatenate(actions)),
        )
    ]
    found: Metrics = {}
    for name, values, after in (
        ("q", nets.critic(*inputs).min(0), np.concatenate(returns)),
        ("qc", nets.cost_critic(*inputs).mean(0), np.concatenate(costs)),
    ):
        if np.ptp(after) > 0 and np.ptp(values) > 0:
            rank: Any = spearmanr(np.asarray(values), after)
            found[f"rank/{name}"] = float(rank.statistic)
    return found


def _windowed(
    values: Float[np.ndarray, " T"], window: int, discount: float
) -> Float[np.ndarray, " T"]:
    """For each step the discounted sum of its own and the following values, ``window`` in all."""
    kernel = discount ** np.arange(window)
    padded = np.concatenate([values.astype(np.float64), np.zeros(window - 1)])
    return np.convolve(padded, kernel[::-1], mode="valid")
