"""The networks in NumPy, float64, as a textbook writes them; the tests hold ours to them."""

import jax
import numpy as np

from handrail.types import Batch

KEY = jax.random.key(7)


def shaken(net, key=KEY):
    """The network with noise on every leaf: no bias is zero, no output nearly so."""
    leaves, structure = jax.tree.flatten(net)
    keys = jax.random.split(key, len(leaves))
    noisy = [x + 0.3 * jax.random.normal(k, x.shape) for x, k in zip(leaves, keys, strict=True)]
    return structure.unflatten(noisy)


def mlp(net, x):
    x = np.asarray(x, float)
    for layer in net.layers[:-1]:
        x = np.maximum(x @ np.asarray(layer.weight, float) + np.asarray(layer.bias), 0)
    return x @ np.asarray(net.layers[-1].weight, float) + np.asarray(net.layers[-1].bias)


def ensemble(net, *inputs):
    return np.array([mlp(member, np.concatenate(inputs, -1))[:, 0] for member in net.members])


def gaussian(actor, observation):
    output = mlp(actor.trunk, observation)
    if actor.squashed:
        a = output.shape[1] // 2
        mean, log_std = output[:, :a], output[:, a:]
    else:
        mean, log_std = np.tanh(output), np.tile(np.asarray(actor.log_std), (len(output), 1))
    return mean, np.exp(np.clip(log_std, -5, 2))


def log_density(u, mean, std):
    return np.log(np.exp(-0.5 * ((u - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))).sum(-1)


def close(ours, theirs, rtol=2e-5):
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=1e-5)


def random_batch(rows: int, observation_size: int, action_size: int) -> Batch:
    """Actions inside the box, costs of 0 or more, about half of the rows terminal."""
    rng = np.random.default_rng(3)
    o, a = (observation_size,), (action_size,)
    drawn = (rng.normal(size=(rows, *size)).astype(np.float32) for size in (o, a, (), (), o, ()))
    batch = Batch(*drawn)
    return batch._replace(
        action=np.tanh(batch.action),
        cost=np.abs(batch.cost),
        terminated=(batch.terminated > 0).astype(np.float32),
    )
