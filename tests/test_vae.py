"""The auto-encoder of actions: its equations against NumPy, and what it calls unusual."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from plain import KEY, close, mlp, shaken

from handrail.learners import vae
from handrail.learners.vae import VAE
from handrail.training import Trained
from handrail.types import Batch

B, O, A = 12, 3, 2  # noqa: E741


@pytest.fixture
def net() -> VAE:
    return shaken(VAE(O, A, (8, 8), key=KEY))


@pytest.fixture
def batch() -> Batch:
    rng = np.random.default_rng(3)
    f, nothing = np.float32, np.zeros(B, np.float32)
    s, a = rng.normal(size=(B, O)), np.tanh(rng.normal(size=(B, A)))
    return Batch(s.astype(f), a.astype(f), nothing, nothing, s.astype(f), nothing)


def encoded(net, observation, action):
    output = mlp(net.encoder, np.concatenate([observation, action], -1))
    return output[:, : 2 * A], np.exp(np.clip(output[:, 2 * A :], -4, 15))


def decoded(net, observation, z):
    return np.tanh(mlp(net.decoder, np.concatenate([observation, z], -1)))


def test_loss(net, batch):
    mean, std = encoded(net, batch.observation, batch.action)
    z = mean + std * np.asarray(jax.random.normal(KEY, mean.shape), float)
    error = ((batch.action - decoded(net, batch.observation, z)) ** 2).mean()
    kl = (np.log(1 / std) + (std**2 + mean**2) / 2 - 0.5).mean(-1)
    assert error > 0.1
    assert kl.mean() > 0.1
    loss, found = vae.loss(net, batch, 0.7, KEY)
    close(loss, error + 0.7 * kl.mean(), 1e-4)
    close(found, kl, 1e-4)


def test_a_standard_normal_is_no_distance_away():
    zero, one = jnp.zeros((1, 4)), jnp.ones((1, 4))
    assert vae.divergence(zero, one) == 0
    assert vae.divergence(zero, 0.9 * one) > 0
    assert vae.divergence(0.1 * one, one) > 0


def test_draws(net, batch):
    """From the latent's middle, the draws of a state side by side."""
    z = np.clip(np.asarray(jax.random.normal(KEY, (B * 5, 2 * A)), float), -0.5, 0.5)
    expected = decoded(net, np.repeat(batch.observation, 5, axis=0), z).reshape(B, 5, A)
    close(vae.sample(net, batch.observation, 5, KEY), expected, 1e-4)


def test_probe_what_the_data_do():
    """Actions are s ± 0.3, half and half: the draws are between the two, an action that is far off
    either is the more unusual the farther it is."""
    rng = np.random.default_rng(0)
    s = rng.uniform(-0.4, 0.4, (4096, 1)).astype(np.float32)
    a = s + rng.choice(np.float32([-0.3, 0.3]), s.shape)
    nothing = np.zeros(64, np.float32)

    def one(trained, drawn):
        rows, key = drawn
        at = jnp.asarray(s)[rows]
        batch = Batch(at, jnp.asarray(a)[rows], nothing, nothing, at, nothing)
        return trained.descend(lambda net: vae.loss(net, batch, 0.05, key), aux=True)

    trained = Trained.of(VAE(1, 1, (32, 32), key=KEY), optax.adam(3e-3))
    rows = rng.integers(len(s), size=(1500, 64))
    trained, _ = jax.jit(lambda t, d: jax.lax.scan(one, t, d))(
        trained, (rows, jax.random.split(KEY, 1500))
    )
    draws = np.asarray(vae.sample(trained.net, jnp.asarray(s[:200]), 20, KEY))
    from_middle = draws - s[:200, None]
    assert np.abs(from_middle).max() < 0.45
    assert from_middle.std() > 0.1
    at = jnp.full((4, 1), 0.2)
    kl = vae.divergence(*trained.net.encode(at, jnp.float32([[0.5], [0.7], [0.9], [1.0]])))
    assert (np.diff(kl) > 0).all()
    usual = vae.divergence(*trained.net.encode(jnp.asarray(s), jnp.asarray(a)))
    assert kl[1] > np.quantile(usual, 0.95)
