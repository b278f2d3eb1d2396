"""The leash, its term against NumPy and what it holds; and critics with layer normalisation."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from plain import KEY, close, gaussian, random_batch, shaken

from handrail.errors import HandrailError
from handrail.learners import sac_lagrangian
from handrail.learners.leash import Leash
from handrail.learners.sac_lagrangian import SACLagrangianSettings
from handrail.networks import ActorCritics, Critic
from handrail.types import Batch

O, A, B = 3, 2, 32  # noqa: E741


@pytest.fixture
def nets() -> ActorCritics:
    return shaken(ActorCritics.new(O, A, (8, 8), key=KEY))


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_loss(nets, share):
    batch = random_batch(B, O, A)
    rows = slice(B - int(B * share), B)
    mode = np.tanh(gaussian(nets.actor, batch.observation[rows])[0])
    expected = 4.0 * ((mode - batch.action[rows]) ** 2).sum(-1).mean()
    close(Leash(4.0, share).loss(nets.actor, batch), expected, 1e-4)
    close(Leash(4.0, share, spread=0.5).loss(nets.actor, batch), 2 * expected, 1e-4)


SAC = SACLagrangianSettings(
    hidden=(32, 32), actor_rate=3e-3, critic_rate=3e-3, cost_critic_rate=3e-3,
    tau=0.05, initial_alpha=1e-3, adapt_alpha=False,
)  # fmt: skip


@pytest.mark.parametrize("strength", [0.0, 0.5, 5.0])
def test_probe_between_what_is_best_and_what_was_shown(strength):
    """r(a) = a, c(a) = a^2, lambda = 1, -0.5 is shown: a - a^2 - beta (a + 0.5)^2 is largest at
    (1 - beta) / (2 (1 + beta))."""
    data, shown = probes.trade_off(), probes.one_step(1.0, np.full(4096, -0.5), -0.5, 0.25)
    rows = np.random.default_rng(0).integers(4096, size=(2000, 32))
    batches = Batch(
        *(np.concatenate([x[rows], y[rows]], axis=1) for x, y in zip(data, shown, strict=True))
    )
    learner = sac_lagrangian.learner(SAC, leash=Leash(strength, 0.5))
    state = probes.block(learner)(learner.init(jax.random.key(0), probes.SPEC), batches, 1.0).state
    action = float(state.actor.net.mode(jnp.ones((1, 1)))[0, 0])
    assert action == pytest.approx((1 - strength) / (2 * (1 + strength)), abs=0.08)


def test_a_leash_of_no_strength_is_none(nets):
    batch = random_batch(B, O, A)
    settings = replace(SAC, hidden=(8, 8))
    spec = replace(probes.SPEC, observation_size=O, action_size=A)
    update = eqx.filter_jit(sac_lagrangian.update)
    begin = sac_lagrangian.from_offline(settings, KEY, spec, nets)
    states = [
        update(settings, begin, batch, jnp.float32(1.0), leash)[0]
        for leash in (None, Leash(0.0, 0.5))
    ]
    for ours, theirs in zip(*(jax.tree.leaves(s.actor.net) for s in states), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_layer_norm_of_critics():
    critic = shaken(Critic(O + A, (8, 8), layer_norm=True, key=KEY))
    batch = random_batch(B, O, A)
    inputs = np.concatenate([batch.observation, batch.action], -1)
    for member, ours in zip(critic.members, critic(batch.observation, batch.action), strict=True):
        x = inputs.astype(float)
        for layer in member.layers[:-1]:
            x = x @ np.asarray(layer.weight, float) + np.asarray(layer.bias)
            x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
            x = np.maximum(x, 0)
        x = x @ np.asarray(member.layers[-1].weight, float) + np.asarray(member.layers[-1].bias)
        close(ours, x[:, 0], 1e-4)
    far = critic(batch.observation, 1e3 * batch.action)
    assert np.abs(far).max() < 50  # however far an action lies: what RLPD wants of it


def test_its_strength_is_checked():
    for strength, said in ((-1.0, "-1"), (float("nan"), "nan")):
        with pytest.raises(HandrailError, match=f"the leash is {said}; it must be 0 or more"):
            Leash(strength, 0.5)
    with pytest.raises(HandrailError, match="the leash is inf; it must be 0 or more, and finite"):
        Leash(float("inf"), 0.5)
