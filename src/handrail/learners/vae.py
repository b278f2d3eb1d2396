"""A conditional variational auto-encoder of actions (BCQ: Fujimoto et al. 2019, arXiv 1812.02900).

What the data do in a state, as a network: its encoder's KL tells how unusual an action is, its
decoder draws actions like the data's.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from handrail.networks import MLP
from handrail.types import Batch

LOG_STD_RANGE = (-4.0, 15.0)
"""Of the latent (BCQ's code)."""
LATENT_MOST = 0.5
"""Largest latent that actions are drawn from: the middle of what was learnt (BCQ's code)."""


class VAE(eqx.Module):
    """(s, a) -> z ~ N(mean, std) of 2 A axes; (s, z) -> a in the unit box."""

    encoder: MLP
    decoder: MLP

    def __init__(
        self, observation_size: int, action_size: int, hidden: tuple[int, ...], *, key: PRNGKeyArray
    ):
        latent = 2 * action_size
        k1, k2 = jax.random.split(key)
        self.encoder = MLP((observation_size + action_size, *hidden, 2 * latent), key=k1)
        self.decoder = MLP((observation_size + latent, *hidden, action_size), key=k2)

    def encode(
        self, observation: Float[Array, "B O"], action: Float[Array, "B A"]
    ) -> tuple[Float[Array, "B Z"], Float[Array, "B Z"]]:
        output = self.encoder(jnp.concatenate([observation, action], axis=-1))
        mean, log_std = jnp.split(output, 2, axis=-1)
        return mean, jnp.exp(jnp.clip(log_std, *LOG_STD_RANGE))

    def decode(
        self, observation: Float[Array, "B O"], z: Float[Array, "B Z"]
    ) -> Float[Array, "B A"]:
        return jnp.tanh(self.decoder(jnp.concatenate([observation, z], axis=-1)))


def divergence(mean: Float[Array, "B Z"], std: Float[Array, "B Z"]) -> Float[Array, " B"]:
    """KL(N(mean, std) || N(0, 1)), the mean over the latent's axes."""
    return 0.5 * (mean**2 + std**2 - 1 - 2 * jnp.log(std)).mean(-1)


def loss(
    vae: VAE, batch: Batch, beta: float, key: PRNGKeyArray
) -> tuple[Float[Array, ""], Float[Array, " B"]]:
    """E[(a - decode(s, z))^2] + beta E[KL], z ~ encode(s, a), the mean over the action's axes too;
    the KLs as aux. Eq. V1."""
    mean, std = vae.encode(batch.observation, batch.action)
    z = mean + std * jax.random.normal(key, mean.shape)
    kl = divergence(mean, std)
    error = batch.action - vae.decode(batch.observation, z)
    return (error**2).mean() + beta * kl.mean(), kl


def sample(
    vae: VAE, observation: Float[Array, "B O"], count: int, key: PRNGKeyArray
) -> Float[Array, "B M A"]:
    """``count`` actions like the data's in each state."""
    n, latent = len(observation), vae.encoder.layers[-1].bias.size // 2
    z = jax.random.normal(key, (n * count, latent)).clip(-LATENT_MOST, LATENT_MOST)
    return vae.decode(jnp.repeat(observation, count, axis=0), z).reshape(n, count, -1)
