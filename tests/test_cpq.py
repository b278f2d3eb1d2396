"""CPQ: each equation against NumPy, and tasks whose best action within a limit is known."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from plain import KEY, close, ensemble, gaussian, random_batch, shaken
from test_vae import encoded

from handrail import training
from handrail.errors import HandrailError
from handrail.learners import cpq, vae
from handrail.learners.cpq import CPQSettings
from handrail.networks import Actor, Critic
from handrail.types import Batch

B, M, A = 16, 5, 2
SETTINGS = CPQSettings(
    actor_rate=1e-3, critic_rate=2e-3, cost_critic_rate=3e-3, vae_rate=4e-3, alpha_rate=0.01,
    actions=M, quantile=0.6, recovery=0.7, tau=0.1, hidden=(8, 8),
)  # fmt: skip


SPEC = replace(probes.SPEC, observation_size=3, action_size=A, horizon=10)
COST_LIMIT = 0.5
UPDATE = jax.jit(cpq.update, static_argnums=(0, 1))  # compiled once for all limits
once = pytest.fixture(scope="module")


@once
def batch() -> Batch:
    return random_batch(B, 3, A)


@once
def state() -> cpq.CPQState:
    """One in which no two networks are alike, and no output is nearly zero."""
    state = cpq.init(SETTINGS, KEY, SPEC)
    nets = lambda s: (  # noqa: E731
        s.actor.net, s.critic.net, s.target, s.cost_critic.net, s.cost_target, s.vae.net,
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(9), 6)
    state = eqx.tree_at(nets, state, [shaken(n, k) for n, k in zip(nets(state), keys, strict=True)])
    return eqx.tree_at(lambda s: s.log_alpha.net, state, jnp.float32(0.5))


@once
def actor(state) -> Actor:
    return state.actor.net


@once
def critic(state) -> Critic:
    return state.critic.net


@once
def cost_critic(state) -> Critic:
    return state.cost_critic.net


def sampled(actor, observation, key, count=None):
    """Actions after the tanh, B x A, or B x M x A."""
    mean, std = gaussian(actor, observation)
    if count is None:
        return np.tanh(mean + std * np.asarray(jax.random.normal(key, mean.shape), float))
    noise = np.asarray(jax.random.normal(key, (len(mean), count, A)), float)
    return np.tanh(mean[:, None] + std[:, None] * noise)


def test_backups(batch):
    """What is past the limit is worth 0; an end cuts the bootstrap of reward, not that of cost."""
    rng = np.random.default_rng(1)
    q, qc = rng.normal(size=(2, B)).astype(np.float32)
    limit = qc[0]  # which itself keeps within
    y, yc = cpq.backups(SETTINGS, batch, q, qc, limit)
    expected = batch.reward + np.where(batch.terminated > 0, 0, 0.99 * np.where(qc <= limit, q, 0))
    close(y, expected)
    close(yc, batch.cost + 0.99 * qc)


def test_cost_critic_loss(batch, cost_critic):
    rng = np.random.default_rng(1)
    observation = rng.normal(size=(B * M, 3)).astype(np.float32)
    action = np.tanh(rng.normal(size=(B * M, A))).astype(np.float32)
    unlike = rng.random(B * M) < 0.3
    yc = rng.normal(size=B).astype(np.float32)
    data = ensemble(cost_critic, batch.observation, batch.action)[0]
    drawn = ensemble(cost_critic, observation, action)[0]
    excess = np.where(unlike, drawn - 1.2, 0).sum() / (B * M)
    given = batch, yc, (observation, action), unlike
    loss, found = cpq.cost_critic_loss(cost_critic, *given, jnp.float32(0.4), 1.2)
    close(found, excess)
    close(loss, ((data - yc) ** 2).mean() - 0.4 * excess)

    # A step makes what is unlike the data dearer; published code has no gradient here.
    given = batch, data.astype(np.float32), *given[2:]
    slope = jax.grad(lambda net: cpq.cost_critic_loss(net, *given, jnp.float32(0.4), 1.2)[0])
    step = jax.tree.map(lambda x, g: x - 0.01 * g, cost_critic, slope(cost_critic))
    rise = ensemble(step, observation, action)[0] - drawn
    assert rise[unlike].mean() > 0.003


def test_alpha_seeks_the_cost_that_is_asked_for():
    log_alpha, excess = jnp.float32(-0.3), jnp.float32(-0.8)
    value, slope = jax.value_and_grad(cpq.alpha_loss)(log_alpha, excess)
    close([value, slope], [np.exp(-0.3) * -0.8] * 2)  # too cheap: a step down makes alpha larger


def test_actor_loss(batch, actor, critic, cost_critic):
    action = sampled(actor, batch.observation, KEY)
    q = ensemble(critic, batch.observation, action).min(0)
    qc = ensemble(cost_critic, batch.observation, action)[0]
    limit = float(np.quantile(qc, 0.43))
    expected = -np.where(qc <= limit, q, -0.7 * qc).mean()
    loss, within = cpq.actor_loss(actor, critic, cost_critic, batch, limit, 0.7, KEY)
    close(loss, expected, 1e-4)
    close(within, (qc <= limit).mean())
    assert 0 < within < 1


def test_past_the_limit_only_recovery_leads_back(batch, actor, critic, cost_critic):
    """The published loss has no gradient where no action keeps within the limit."""

    def slope(recovery, limit):
        given = critic, cost_critic, batch, limit, recovery, KEY
        return np.asarray(
            training.pack(jax.grad(lambda net: cpq.actor_loss(net, *given)[0])(actor))
        )

    assert not slope(0.0, -1e6).any()
    fall = jax.grad(
        lambda net: cost_critic(batch.observation, net.sample(batch.observation, KEY)[0]).mean()
    )
    close(slope(2.0, -1e6), 2 * np.asarray(training.pack(fall(actor))), 1e-4)
    np.testing.assert_array_equal(slope(2.0, 1e6), slope(0.0, 1e6))


def test_update(batch, state):
    """Every loss, from the state it must be of; every step, of its own rate."""
    new, metrics = UPDATE(SETTINGS, SPEC, COST_LIMIT, state, batch)
    _, k1, k2, k3, k4 = jax.random.split(state.key, 5)
    limit = COST_LIMIT * sum(0.99**t for t in range(SPEC.horizon)) / SPEC.horizon
    close(metrics["value/qc_limit"], limit)

    here = batch.observation
    close(metrics["loss/vae"], vae.loss(state.vae.net, batch, 0.05, k1)[0])
    mean, std = encoded(state.vae.net, here, batch.action)
    kl = (np.log(1 / std) + (std**2 + mean**2) / 2 - 0.5).mean(-1)

    there = batch.next_observation
    next_action = sampled(state.actor.net, there, k2)
    q_next = ensemble(state.target, there, next_action).min(0)
    qc_next = ensemble(state.cost_target, there, next_action)[0]
    within = qc_next <= limit
    assert 0 < within.sum() < B
    y = batch.reward + 0.99 * (1 - batch.terminated) * within * q_next
    yc = batch.cost + 0.99 * qc_next
    close([metrics["value/q"], metrics["value/qc"]], [y.mean(), yc.mean()], 1e-4)
    online = ensemble(state.critic.net, here, batch.action)
    close(metrics["loss/q"], ((online - y) ** 2).sum(0).mean(), 1e-4)

    drawn = sampled(state.actor.net, here, k3, M).reshape(B * M, A)
    at = np.repeat(here, M, axis=0)
    mean, std = encoded(state.vae.net, at, drawn)
    drawn_kl = (np.log(1 / std) + (std**2 + mean**2) / 2 - 0.5).mean(-1)
    unlike = drawn_kl > np.quantile(kl, 0.6)
    assert 0.1 < unlike.mean() < 0.9
    close(metrics["cpq/unlike"], unlike.mean())
    excess = (unlike * (ensemble(state.cost_critic.net, at, drawn)[0] - 1.5 * limit)).mean()
    close(metrics["cpq/excess"], excess, 1e-4)
    td = ((ensemble(state.cost_critic.net, here, batch.action)[0] - yc) ** 2).mean()
    close(metrics["loss/qc"], td - np.exp(0.5) * excess, 1e-4)
    close(new.log_alpha.net, 0.5 - 0.01 * np.exp(0.5) * excess, 1e-4)

    # The policy is judged by the critics that have moved.
    loss, share = cpq.actor_loss(
        state.actor.net, new.critic.net, new.cost_critic.net, batch, limit, 0.7, k4
    )
    close([metrics["loss/actor"], metrics["cpq/within"]], [loss, share], 1e-4)

    for name, rate in (("actor", 1e-3), ("critic", 2e-3), ("cost_critic", 3e-3), ("vae", 4e-3)):
        moved, old = (np.asarray(training.pack(getattr(s, name).net)) for s in (new, state))
        assert np.abs(moved - old).max() == pytest.approx(rate, rel=2e-2)
    for follower, leader in (("target", "critic"), ("cost_target", "cost_critic")):
        old, moved, follows = (
            np.asarray(training.pack(net))
            for net in (getattr(state, follower), getattr(new, leader).net, getattr(new, follower))
        )
        close(follows, old + 0.1 * (moved - old))


@pytest.mark.parametrize(("start", "cost", "end"), [(4.99, -1e4, 5.0), (-4.99, 1e4, -5.0)])
def test_log_alpha_keeps_within_its_range(batch, state, start, cost, end):
    begun = eqx.tree_at(
        lambda s: (s.log_alpha.net, s.cost_critic.net.members[0].layers[-1].bias),
        state,
        (jnp.float32(start), jnp.float32([cost])),
    )
    new, _ = UPDATE(SETTINGS, SPEC, COST_LIMIT, begun, batch)
    assert new.log_alpha.net == end


# Probes: the real update on tasks whose values are known.

ONE_STEP = replace(probes.SPEC, horizon=1)
PROBE = CPQSettings(
    actor_rate=1e-3, critic_rate=3e-3, cost_critic_rate=3e-3, vae_rate=3e-3, actions=4,
    discount=0.0, tau=0.05, hidden=(32, 32),
)  # fmt: skip


@once
def train():
    """The state after 2000 updates on a data set within a limit; compiled once for them all."""
    begun = cpq.init(PROBE, KEY, ONE_STEP)

    @jax.jit
    def run(batches, limit):
        one = lambda state, batch: cpq.update(PROBE, ONE_STEP, limit, state, batch)  # noqa: E731
        return jax.lax.scan(one, begun, batches)[0]

    def trained(data, limit):
        rows = np.random.default_rng(0).integers(len(data.reward), size=(2000, 64))
        return run(Batch(*(x[rows] for x in data)), limit)

    return trained


def mode(state) -> float:
    return float(state.actor.net.mode(np.ones((1, 1), np.float32))[0, 0])


def cost(state, observation, action) -> float:
    at, action = np.full((1, 1), observation, np.float32), np.full((1, 1), action, np.float32)
    return float(state.cost_critic.net(at, action)[0, 0])


@pytest.mark.parametrize("limit", [0.04, 0.25])
def test_probe_the_best_action_within_a_limit(train, limit):
    """r = a, c = a^2, at most ``limit``: its root."""
    state = train(probes.trade_off(), limit)
    assert mode(state) == pytest.approx(limit**0.5, abs=0.04)


def test_probe_values_of_reward_and_cost():
    """Reward 2 and cost 1 a step, gamma 0.9: two steps to an end are worth 3.8 in reward, and a
    cost goes on past it. (At the smallest alpha: what it drives up, the backups carry on.)"""
    learner = cpq.learner(replace(PROBE, actions=1, discount=0.9), probes.SPEC, 100.0)
    begun = eqx.tree_at(
        lambda s: s.log_alpha.net, learner.init(KEY, probes.SPEC), jnp.float32(-5.0)
    )
    state = probes.train(learner, probes.episodes_that_end(), state=begun)
    at, action = np.float32([[1.0], [0.0], [-1.0]]), np.zeros((3, 1), np.float32)
    np.testing.assert_allclose(state.critic.net(at, action), [[3.8, 2.0, 20.0]] * 2, rtol=0.06)
    assert cost(state, -1.0, 0.0) == pytest.approx(10.0, rel=0.06)


def test_probe_actions_unlike_the_data(train):
    """The data's actions end at 0.2, and what they earn grows to there: beyond, the reward critic
    promises more at no cost, and the cost critic must say otherwise. With room in the limit the
    best of the data's actions is taken."""
    a = np.random.default_rng(0).uniform(-0.6, 0.2, 4096)
    data = probes.one_step(1.0, a, 1 + a)
    state = train(data, 0.5)
    assert 0.0 < mode(state) < 0.25
    one, beyond = np.ones((2, 1), np.float32), np.float32([[0.5], [1.0]])
    assert (np.asarray(state.critic.net(one, beyond)) > 1.2).all()
    assert (np.asarray(state.cost_critic.net(one, beyond)) > 0.5).all()


def test_probe_cheap_and_poor_or_rich_and_costly(train):
    """Two kinds of actions: around -0.5 at no cost, around 0.5 for reward 1 and cost 1."""
    rng = np.random.default_rng(0)
    rich = np.resize([0.0, 1.0], 4096)
    a = (rich - 0.5) + rng.uniform(-0.2, 0.2, 4096)
    data = probes.one_step(1.0, a, 0.2 + rich, rich)
    modes = [mode(train(data, limit)) for limit in (0.2, 5.0)]
    assert -0.75 < modes[0] < 0.15
    assert 0.2 < modes[1] < 0.75


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"actions": 0}, "actions is 0; it must be 1 or more"),
        ({"cost_critic_rate": -1e-3}, "cost_critic_rate is -0.001"),
        ({"vae_rate": float("nan")}, "vae_rate is nan"),
        ({"alpha_rate": 2.0}, "alpha_rate is 2; it must be 0 or more and 1 at most"),
        ({"beta": -1.0}, "beta is -1"),
        ({"quantile": 1.5}, "quantile is 1.5; it must be 0 or more and 1 at most"),
        ({"ood_margin": float("nan")}, "ood_margin is nan"),
        ({"recovery": -1.0}, "recovery is -1"),
        ({"batch": 0}, "batch is 0"),
        ({"hidden": (8, 0)}, "a layer has 1 unit or more"),
    ],
)
def test_a_setting_out_of_range_is_told(setting, line):
    with pytest.raises(HandrailError, match=line):
        CPQSettings(**setting)
