"""Networks as Equinox modules that take whole batches: shapes as in ``handrail.types``.

Layers multiply 2-D arrays (rows x features): on a CPU the gradient of a 2-D product is several
times cheaper than that of the same layer mapped over 3-D input. Ensembles are tuples of networks,
one matrix product each, because XLA's CPU backend runs batched products slower than separate ones.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.errors import HandrailError
from handrail.products import product
from handrail.types import LOG_STD_RANGE

AT_A_TIME = 2048
"""Rows that :meth:`Critic.of_actions` takes at a time: 2 MiB of activations of 256 units."""


class Linear(eqx.Module):
    """x W + b, W of shape (inputs, outputs), orthogonal at the start, b zero."""

    weight: Float[Array, "I J"]
    bias: Float[Array, " J"]

    def __init__(self, inputs: int, outputs: int, *, gain: float, key: PRNGKeyArray):
        self.weight = jax.nn.initializers.orthogonal(gain)(key, (inputs, outputs))
        self.bias = jnp.zeros(outputs)

    def __call__(self, x: Float[Array, "B I"]) -> Float[Array, "B J"]:
        return product(x, self.weight) + self.bias[None]


class MLP(eqx.Module):
    """Linear layers with ReLU between them.

    With ``layer_norm`` what goes into each ReLU has mean 0 and variance 1 over the layer's units
    (Ba et al. 2016, arXiv 1607.06450, without gains and biases). It bounds what a critic says of
    actions it has not seen (RLPD: Ball et al. 2023, arXiv 2302.02948, Sec. 4.2).
    """

    layers: tuple[Linear, ...]
    layer_norm: bool = eqx.field(static=True)

    def __init__(
        self,
        sizes: tuple[int, ...],
        *,
        key: PRNGKeyArray,
        last_gain: float = 1.0,
        layer_norm: bool = False,
    ):
        self.layer_norm = layer_norm
        keys = jax.random.split(key, len(sizes) - 1)
        gains = [2**0.5] * (len(sizes) - 2) + [last_gain]
        self.layers = tuple(
            Linear(i, o, gain=g, key=k)
            for i, o, g, k in zip(sizes[:-1], sizes[1:], gains, keys, strict=True)
        )

    def __call__(self, x: Float[Array, "B I"]) -> Float[Array, "B J"]:
        return self.after_first(self.layers[0](x))

    def after_first(self, x: Float[Array, "B H"]) -> Float[Array, "B J"]:
        """The network's output where its first layer, before the ReLU, gave ``x``."""
        for layer in self.layers[1:]:
            x = layer(jax.nn.relu(standardised(x) if self.layer_norm else x))
        return x


def standardised(x: Float[Any, "B I"]) -> Float[Any, "B I"]:
    """Each row less its mean, over its deviation; of NumPy or of JAX."""
    x = x - x.mean(-1, keepdims=True)
    return x / ((x**2).mean(-1, keepdims=True) + 1e-5) ** 0.5


class Critic(eqx.Module):
    """An ensemble of Q(s, a), or of V(s) where no action is given."""

    members: tuple[MLP, ...]

    def __init__(
        self,
        inputs: int,
        hidden: tuple[int, ...],
        *,
        members: int = 2,
        layer_norm: bool = False,
        key: PRNGKeyArray,
    ):
        keys = jax.random.split(key, members)
        self.members = tuple(MLP((inputs, *hidden, 1), key=k, layer_norm=layer_norm) for k in keys)

    @property
    def layer_norm(self) -> bool:
        return self.members[0].layer_norm

    def __call__(
        self, observation: Float[Array, "B O"], action: Float[Array, "B A"] | None = None
    ) -> Float[Array, "E B"]:
        x = observation if action is None else jnp.concatenate([observation, action], axis=-1)
        return jnp.stack([member(x)[:, 0] for member in self.members])

    def of_actions(
        self, observation: Float[Array, "B O"], actions: Float[Array, "B M A"]
    ) -> Float[Array, "E B M"]:
        """Q(s, a) of M actions in each state, as ``critic(s, a)`` has them, on one core in little
        more than half the time: what the first layer makes of a state is made once, and no more
        actions go through at a time than keep what the layers make of them in the processor's
        cache. For targets: nothing is gained where a gradient must go through it.
        """
        size = observation.shape[1]
        first = [member.layers[0] for member in self.members]
        of_state = [observation @ layer.weight[:size] + layer.bias[None] for layer in first]

        def of_one(action: Float[Array, "B A"]) -> Float[Array, "E B"]:
            return jnp.stack(
                [
                    member.after_first(made + action @ member.layers[0].weight[size:])[:, 0]
                    for member, made in zip(self.members, of_state, strict=True)
                ]
            )

        at_a_time = max(1, AT_A_TIME // len(observation))
        q = jax.lax.map(of_one, jnp.swapaxes(actions, 0, 1), batch_size=at_a_time)
        return jnp.moveaxis(q, 0, -1)


class Actor(eqx.Module):
    """A Gaussian policy over the unit box.

    ``squashed`` true: a = tanh(u), u ~ N(mean(s), std(s)), log-probabilities corrected for the
    tanh (SAC). False: a ~ N(tanh(mean(s)), std), one std for all states (IQL's published policy);
    actions are clipped where they are executed.
    """

    trunk: MLP
    log_std: Float[Array, " A"] | None
    squashed: bool = eqx.field(static=True)

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hidden: tuple[int, ...],
        *,
        squashed: bool,
        key: PRNGKeyArray,
    ):
        outputs = 2 * action_size if squashed else action_size
        self.trunk = MLP((observation_size, *hidden, outputs), key=key, last_gain=1e-2)
        self.log_std = None if squashed else jnp.zeros(action_size)
        self.squashed = squashed

    def distribution(
        self, observation: Float[Array, "B O"]
    ) -> tuple[Float[Array, "B A"], Float[Array, "B A"]]:
        """Mean and standard deviation of the Gaussian (before the tanh where squashed)."""
        output = self.trunk(observation)
        if self.log_std is None:
            mean, log_std = jnp.split(output, 2, axis=-1)
        else:
            mean = jnp.tanh(output)
            log_std = jnp.broadcast_to(self.log_std[None], mean.shape)
        return mean, jnp.exp(jnp.clip(log_std, *LOG_STD_RANGE))

    def mode(self, observation: Float[Array, "B O"]) -> Float[Array, "B A"]:
        mean, _ = self.distribution(observation)
        return jnp.tanh(mean) if self.squashed else mean

    def sample(
        self, observation: Float[Array, "B O"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "B A"], Float[Array, " B"]]:
        """A reparametrised action and its log-probability."""
        mean, std = self.distribution(observation)
        noise = jax.random.normal(key, mean.shape)
        u = mean + std * noise
        log_prob = normal_log_density(noise, std)
        if self.squashed:
            # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)), stable for large |u|
            log_prob -= (2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))).sum(-1)
            u = jnp.tanh(u)
        return u, log_prob

    def log_prob(
        self, observation: Float[Array, "B O"], action: Float[Array, "B A"]
    ) -> Float[Array, " B"]:
        """Log-probability of an executed action; a squashed one is kept off the box's faces."""
        mean, std = self.distribution(observation)
        if not self.squashed:
            return normal_log_density((action - mean) / std, std)
        action = jnp.clip(action, -1 + 1e-6, 1 - 1e-6)
        u = jnp.arctanh(action)
        return normal_log_density((u - mean) / std, std) - jnp.log1p(-(action**2)).sum(-1)


class ActorCritics(eqx.Module):
    """What an offline learner hands to an online one: a policy, its values, and their targets."""

    actor: Actor
    critic: Critic
    target: Critic
    cost_critic: Critic
    """Q_c(s, a), of one member: the discounted cost to come."""
    cost_target: Critic

    @property
    def layer_norm(self) -> bool:
        """Whether the critics have it."""
        return self.critic.layer_norm

    @classmethod
    def new(
        cls,
        observation_size: int,
        action_size: int,
        hidden: tuple[int, ...],
        *,
        layer_norm: bool = False,
        key: PRNGKeyArray,
    ) -> ActorCritics:
        """Untrained ones; the policy is squashed. ``layer_norm``: of the critics."""
        o, a = observation_size, action_size
        k1, k2, k3 = jax.random.split(key, 3)
        critic = Critic(o + a, hidden, layer_norm=layer_norm, key=k2)
        cost_critic = Critic(o + a, hidden, members=1, layer_norm=layer_norm, key=k3)
        return cls(
            actor=Actor(o, a, hidden, squashed=True, key=k1),
            critic=critic,
            target=jax.tree.map(jnp.copy, critic),
            cost_critic=cost_critic,
            cost_target=jax.tree.map(jnp.copy, cost_critic),
        )

    def going_on(
        self,
        observation_size: int,
        action_size: int,
        hidden: tuple[int, ...],
        *,
        actor: bool,
        critics: bool,
        key: PRNGKeyArray,
    ) -> ActorCritics:
        """Networks for an online learner of these sizes: copies of the policy (where ``actor``) and
        of both critics with their targets (where ``critics``), new ones in place of the others.

        Raises:
            HandrailError: these here have other sizes, or the policy is not squashed.
        """
        o, a = observation_size, action_size
        new = ActorCritics.new(o, a, hidden, layer_norm=self.layer_norm, key=key)
        for field in fields(new):
            ours, theirs = (
                [leaf.shape for leaf in jax.tree.leaves(getattr(nets, field.name))]
                for nets in (new, self)
            )
            if ours != theirs:
                what = field.name.replace("_", " ")
                raise HandrailError(
                    f"the {what} learnt offline has arrays of {theirs}, the online learner asks "
                    f"for {ours}; give both the same `hidden`"
                )
        if jax.tree.structure(new) != jax.tree.structure(self):
            raise HandrailError(
                "the policy learnt offline is not a squashed Gaussian; learn it anew"
            )
        kept = self if critics else new
        kept = eqx.tree_at(lambda nets: nets.actor, kept, self.actor if actor else new.actor)
        return jax.tree.map(jnp.array, kept)  # copies: a learner's state is donated


def normal_log_density(noise: Float[Array, "B A"], std: Float[Array, "B A"]) -> Float[Array, " B"]:
    """log N of mean + std * noise, summed over the action's axes."""
    return -(0.5 * noise**2 + jnp.log(std) + 0.5 * jnp.log(2 * jnp.pi)).sum(-1)
