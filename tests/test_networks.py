"""Networks against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain import KEY, close, ensemble, shaken

from handrail import networks
from handrail.networks import Critic
from handrail.products import product

B, STATE, A = 6, 3, 2


@pytest.mark.parametrize("at_a_time", [1, 4 * B, 100 * B])  # alone; 4, 4, 3; all together
@pytest.mark.parametrize("hidden", [(), (8, 8)])
def test_a_critic_of_many_actions(hidden, at_a_time, monkeypatch):
    monkeypatch.setattr(networks, "AT_A_TIME", at_a_time)
    critic = shaken(Critic(STATE + A, hidden, members=3, key=KEY))
    rng = np.random.default_rng(0)
    s, a = rng.normal(size=(B, STATE)), rng.normal(size=(B, 11, A))
    q = critic.of_actions(jnp.float32(s), jnp.float32(a))
    assert q.shape == (3, B, 11)
    for j in range(11):
        close(q[:, :, j], ensemble(critic, s, a[:, j]), 1e-4)


def test_a_critic_of_many_actions_standardises_its_layers():
    critic = shaken(Critic(STATE + A, (8, 8), layer_norm=True, key=KEY))
    rng = np.random.default_rng(0)
    s, a = jnp.float32(rng.normal(size=(B, STATE))), jnp.float32(rng.normal(size=(B, 5, A)))
    q = critic.of_actions(s, a)
    for j in range(5):
        close(q[:, :, j], critic(s, a[:, j]), 1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), [(7, 2), (2, 7), (4, 4)])
def test_the_gradients_of_a_product(inputs, outputs):
    """Of the sum of x w times g: g wᵀ by x and xᵀ g by w; of a w tall, wide and square."""
    rng = np.random.default_rng(0)
    x, w, g = (rng.normal(size=size) for size in ((5, inputs), (inputs, outputs), (5, outputs)))
    close(product(x, w), x @ w)
    of_x, of_w = jax.jit(jax.grad(lambda x, w: (product(x, w) * g).sum(), argnums=(0, 1)))(x, w)
    close(of_x, g @ w.T)
    close(of_w, x.T @ g)
