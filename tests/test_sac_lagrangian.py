"""SAC-Lagrangian: its losses against plain NumPy, its hand-over, and a trade-off with a known
multiplier."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from plain import KEY, close, ensemble, random_batch, shaken

from handrail.errors import HandrailError
from handrail.learners import sac_lagrangian
from handrail.learners.sac_lagrangian import SACLagrangianSettings
from handrail.networks import ActorCritics
from handrail.types import Batch, Spec

O, A, B = 3, 2, 16  # noqa: E741
SPEC = Spec("probe/Sizes", O, A, (-1.0,) * A, (1.0,) * A, horizon=10, cost_limit=1.0)
SETTINGS = SACLagrangianSettings(hidden=(8, 8), initial_alpha=0.3)


@pytest.fixture
def batch() -> Batch:
    return random_batch(B, O, A)


@pytest.fixture
def state() -> sac_lagrangian.SACLagrangianState:
    nets = shaken(ActorCritics.new(O, A, (8, 8), key=KEY))
    return sac_lagrangian.from_offline(SETTINGS, KEY, SPEC, nets)


def test_actor_loss(state, batch):
    nets = state.actor.net, state.critic.net, state.cost_critic.net
    alpha, weight = jnp.float32(0.3), jnp.float32(1.7)
    loss, log_prob = sac_lagrangian.actor_loss(*nets, alpha, weight, batch, KEY)
    action, theirs = nets[0].sample(batch.observation, KEY)
    q = ensemble(nets[1], batch.observation, np.asarray(action)).min(0)
    qc = ensemble(nets[2], batch.observation, np.asarray(action))[0]
    close(log_prob, theirs)
    close(loss, (0.3 * np.asarray(theirs) - q + 1.7 * qc).mean(), 1e-4)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_critics_are_drawn_to_one_step_and_the_targets(state, batch, noise):
    settings = SACLagrangianSettings(hidden=(8, 8), initial_alpha=0.3, target_noise=noise)
    _, metrics = sac_lagrangian.critics_step(settings, state, batch, KEY)
    k1, k2 = jax.random.split(KEY)
    action, log_prob = state.actor.net.sample(batch.next_observation, k1)
    drawn = np.clip(np.asarray(jax.random.normal(k2, (B, A))), -3, 3)
    action = np.clip(np.asarray(action) + noise * drawn, -1, 1)
    q = ensemble(state.target, batch.next_observation, action).min(0)
    qc = ensemble(state.cost_target, batch.next_observation, action)[0]
    assert qc.min() < 0 < qc.max()  # no cost is below 0: so much of a target is an error
    qc = np.maximum(qc, 0)
    going = 0.99 * (1 - batch.terminated)
    y = batch.reward + going * (q - 0.3 * np.asarray(log_prob))
    yc = batch.cost + going * qc
    close(metrics["value/q"], y.mean(), 1e-4)
    close(metrics["value/qc"], yc.mean(), 1e-4)
    ours = ensemble(state.critic.net, batch.observation, batch.action)
    close(metrics["loss/q"], ((ours - y) ** 2).sum(0).mean(), 1e-4)
    ours = ensemble(state.cost_critic.net, batch.observation, batch.action)[0]
    close(metrics["loss/qc"], ((ours - yc) ** 2).mean(), 1e-4)


def test_targets_follow_and_alpha_adapts_only_where_it_is_told(state, batch):
    new, _ = sac_lagrangian.update(SETTINGS, state, batch, jnp.float32(1.0))
    for target, before, source in (
        (new.target, state.target, new.critic.net),
        (new.cost_target, state.cost_target, new.cost_critic.net),
    ):
        for t, b, s in zip(*map(jax.tree.leaves, (target, before, source)), strict=True):
            np.testing.assert_allclose(t, 0.995 * np.asarray(b) + 0.005 * np.asarray(s), atol=1e-6)
    assert float(new.log_alpha.net) != float(state.log_alpha.net)
    fixed = SACLagrangianSettings(hidden=(8, 8), initial_alpha=0.3, adapt_alpha=False)
    new, _ = sac_lagrangian.update(fixed, state, batch, jnp.float32(1.0))
    assert float(new.log_alpha.net) == float(state.log_alpha.net)


def test_several_steps_of_the_critics_each_on_its_part_of_the_batch(state, batch):
    settings = SACLagrangianSettings(hidden=(8, 8), initial_alpha=0.3, critic_steps=2)
    new, _ = sac_lagrangian.update(settings, state, batch, jnp.float32(1.0))
    _, _, *keys = jax.random.split(state.key, 4)
    by_hand = state
    for rows, key in zip((slice(0, B, 2), slice(1, B, 2)), keys, strict=True):
        part = Batch(*(x[rows] for x in batch))
        by_hand, _ = sac_lagrangian.critics_step(settings, by_hand, part, key)
    for ours, theirs in zip(
        jax.tree.leaves(new.critic.net), jax.tree.leaves(by_hand.critic.net), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    once = jax.tree.leaves(
        sac_lagrangian.update(SETTINGS, state, batch, jnp.float32(1.0))[0].critic
    )
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(new.critic), once, strict=True))


@pytest.mark.parametrize("weight", [0.6, 1.0, 2.0])
def test_probe_the_best_action_under_a_multiplier(weight):
    """r(a) = a, c(a) = a^2: the best action is 1 / (2 lambda)."""
    settings = SACLagrangianSettings(
        hidden=(32, 32), actor_rate=3e-3, critic_rate=3e-3, cost_critic_rate=3e-3,
        tau=0.05, initial_alpha=1e-3, adapt_alpha=False,
    )  # fmt: skip
    learner = sac_lagrangian.learner(settings)
    state = probes.train(learner, probes.trade_off(), cost_weight=weight)
    action = float(state.actor.net.mode(jnp.ones((1, 1)))[0, 0])
    assert action == pytest.approx(1 / (2 * weight), abs=0.08)


def test_probe_a_time_limit_does_not_cut_the_cost():
    """Reward 2 and cost 1 a step: where the time limit ends an episode the values go on."""
    settings = SACLagrangianSettings(
        hidden=(32, 32), actor_rate=3e-3, critic_rate=3e-3, cost_critic_rate=3e-3,
        tau=0.05, discount=0.5, initial_alpha=1e-6, adapt_alpha=False,
    )  # fmt: skip
    state = probes.train(sac_lagrangian.learner(settings), probes.episodes_that_end())
    seen = jnp.array([[1.0], [0.0], [-1.0]])
    values = [
        np.asarray(net(seen, jnp.zeros((3, 1))).mean(0))
        for net in (state.critic.net, state.cost_critic.net)
    ]
    for value, unit in zip(values, (2.0, 1.0), strict=True):
        np.testing.assert_allclose(value, unit * np.array([1.5, 1.0, 2.0]), atol=0.1 * unit)


@pytest.mark.parametrize(("actor", "critics"), [(True, True), (True, False), (False, True)])
def test_what_is_kept_from_offline(actor, critics):
    nets = shaken(ActorCritics.new(O, A, (8, 8), key=jax.random.key(1)))
    state = sac_lagrangian.from_offline(SETTINGS, KEY, SPEC, nets, actor=actor, critics=critics)
    for kept, ours, theirs in (
        (actor, state.actor.net, nets.actor),
        (critics, state.critic.net, nets.critic),
        (critics, state.target, nets.target),
        (critics, state.cost_critic.net, nets.cost_critic),
        (critics, state.cost_target, nets.cost_target),
    ):
        assert bool(eqx.tree_equal(ours, theirs)) == kept
    # Training it leaves what was handed over as it was: buffers are donated.
    learner = sac_lagrangian.learner(SETTINGS, nets, actor=actor, critics=critics)
    before = jax.tree.map(np.array, nets)
    probes.block(learner)(learner.init(KEY, SPEC), _rows(), 1.0)
    assert eqx.tree_equal(jax.tree.map(np.asarray, nets), before)


def _rows() -> Batch:
    f = np.float32
    return Batch(np.zeros((2, 4, O), f), np.zeros((2, 4, A), f), np.zeros((2, 4), f),
                 np.zeros((2, 4), f), np.zeros((2, 4, O), f), np.zeros((2, 4), f))  # fmt: skip


def test_other_sizes_are_refused_with_a_line():
    nets = ActorCritics.new(O, A, (8,), key=KEY)
    with pytest.raises(HandrailError, match=r"the actor learnt offline .* the same `hidden`"):
        sac_lagrangian.from_offline(SETTINGS, KEY, SPEC, nets)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"cost_critic_rate": -1.0}, "cost_critic_rate is -1"),
        ({"target_noise": float("nan")}, "target_noise is nan"),
        ({"critic_steps": 0}, "critic_steps is 0; it must be 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, line):
    with pytest.raises(HandrailError, match=line):
        SACLagrangianSettings(**wrong)
