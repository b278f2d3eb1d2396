"""Cloning by maximum likelihood: its loss against NumPy, and a distribution that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from plain import KEY, close, gaussian, random_batch, shaken

from handrail.errors import HandrailError
from handrail.learners import cloning
from handrail.learners.cloning import CloningSettings
from handrail.networks import Actor


def test_loss():
    actor = shaken(Actor(3, 2, (8,), squashed=True, key=KEY))
    batch = random_batch(16, 3, 2)
    batch.action[0] = 1.0  # clipped to the box's face
    mean, std = gaussian(actor, batch.observation)
    inside = np.clip(np.asarray(batch.action, float), -0.999, 0.999)
    normal = -0.5 * ((np.arctanh(inside) - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    density = (normal - np.log(1 - inside**2)).sum(-1)
    close(cloning.actor_loss(actor, batch.observation, batch.action), -density.mean(), 1e-4)


def test_probe_mean_and_spread_of_the_data():
    """tanh(N(0.4, 0.3^2)) where the observation is 1, tanh(N(-0.2, 0.1^2)) where it is -1."""
    rng = np.random.default_rng(0)
    observation = np.repeat([1.0, -1.0], 2048)
    u = np.where(observation > 0, rng.normal(0.4, 0.3, 4096), rng.normal(-0.2, 0.1, 4096))
    data = probes.one_step(observation, np.tanh(u), 0.0)
    learner = cloning.learner(CloningSettings(actor_rate=3e-3, updates=2000, hidden=(32, 32)))
    state = probes.train(learner, data)
    mean, std = state.actor.net.distribution(jnp.array([[1.0], [-1.0]]))
    np.testing.assert_allclose(mean[:, 0], [0.4, -0.2], atol=0.03)
    np.testing.assert_allclose(std[:, 0], [0.3, 0.1], atol=0.03)


def test_its_critics_stay_as_they_were():
    batch = random_batch(16, 1, 1)
    before = cloning.init(CloningSettings(hidden=(8,)), KEY, probes.SPEC)
    after, metrics = cloning.update(before, batch)
    assert set(metrics) == {"loss/actor"}
    for name in ("critic", "target", "cost_critic", "cost_target"):
        leaves = (jax.tree.leaves(getattr(state, name)) for state in (before, after))
        assert all((ours == theirs).all() for ours, theirs in zip(*leaves, strict=True))
    assert not np.array_equal(
        after.actor.net.trunk.layers[0].weight, before.actor.net.trunk.layers[0].weight
    )


def test_settings_are_checked():
    with pytest.raises(HandrailError, match="updates is 0; it must be 1 or more"):
        CloningSettings(updates=0)
