"""BEAR-Lag: each equation against NumPy, and tasks whose best action is known."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from plain import KEY, close, ensemble, random_batch, shaken
from test_cpq import cost, sampled

from handrail import training
from handrail.errors import HandrailError
from handrail.learners import bear_lagrangian as bear
from handrail.learners import vae
from handrail.learners.bear_lagrangian import BEARSettings, Control
from handrail.types import Batch

B, M, A = 8, 5, 2
SPEC = replace(probes.SPEC, observation_size=3, action_size=A, horizon=10)
SETTINGS = BEARSettings(
    actor_rate=1e-3, critic_rate=2e-3, cost_critic_rate=3e-3, vae_rate=4e-3, alpha_rate=0.01,
    actions=M, sigma=0.8, tau=0.1, hidden=(8, 8),
)  # fmt: skip
once = pytest.fixture(scope="module")


@once
def batch() -> Batch:
    return random_batch(B, 3, A)


@once
def state() -> bear.BEARState:
    """One in which no two networks are alike, and no output is nearly zero."""
    state = bear.init(SETTINGS, KEY, SPEC)
    nets = lambda s: (  # noqa: E731
        s.actor.net, s.old, s.critic.net, s.target, s.cost_critic.net, s.cost_target, s.vae.net,
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(9), 7)
    state = eqx.tree_at(nets, state, [shaken(n, k) for n, k in zip(nets(state), keys, strict=True)])
    control = Control(*(jnp.float32(x) for x in (0.9, 2.0, -0.4)))
    return eqx.tree_at(lambda s: (s.log_alpha.net, s.control), state, (jnp.float32(0.5), control))


def mmd(x, y, kernel, sigma):
    """By a double loop over two samples of one state."""

    def k(a, b):
        size = ((a - b) ** 2).sum() if kernel == "gaussian" else np.abs(a - b).sum()
        return np.exp(-size / (2 * sigma))

    def mean(xs, ys):
        return np.mean([[k(a, b) for a in xs] for b in ys])

    return np.sqrt(mean(x, x) + mean(y, y) - 2 * mean(x, y) + 1e-6)


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
@pytest.mark.parametrize("sigma", [0.5, 50.0])
def test_discrepancy(kernel, sigma):
    x, y = np.tanh(np.random.default_rng(0).normal(size=(2, B, M, A)))
    y = 0.3 * y - 0.2
    expected = [mmd(*states, kernel, sigma) for states in zip(x, y, strict=True)]
    close(bear.discrepancy(jnp.float32(x), jnp.float32(y), kernel, sigma), expected, 1e-4)


def test_equal_samples_are_no_distance_apart():
    x = jnp.float32(np.random.default_rng(0).normal(size=(B, M, A)))
    found = lambda y: bear.discrepancy(x, y, "gaussian", 50.0).sum()  # noqa: E731
    close(found(x), B * 1e-3)
    assert not np.isnan(jax.grad(found)(x)).any()


@pytest.mark.parametrize("apart", [0.1, 0.354])
def test_the_published_width_compares_means(apart):
    """A kernel as wide as this is 1 - |.|^2 / 2 sigma: a discrepancy of 0.05 is 0.354 of action."""
    x = jnp.float32(np.random.default_rng(0).choice([-0.5, 0.5], size=(1, 2000, 1)))
    y = jnp.full((1, 2000, 1), x.mean() + apart)
    close(bear.discrepancy(x, y, "gaussian", 50.0), [(apart**2 / 50 + 1e-6) ** 0.5], 0.05)


def test_backups(batch, state):
    """Of reward the best of the old policy's actions, of cost any; an end cuts the bootstrap of
    reward, not that of cost."""
    y, yc = bear.backups(SETTINGS, state, batch, KEY)
    there = batch.next_observation
    actions = sampled(state.old, there, KEY, M)
    q = np.array([ensemble(state.target, there, actions[:, j]) for j in range(M)])  # M x 2 x B
    assert (q.argmax(0) > 0).any()
    q_next = (0.75 * q.min(1) + 0.25 * q.max(1)).max(0)
    close(y, batch.reward + 0.99 * (1 - batch.terminated) * q_next, 1e-4)
    close(yc, batch.cost + 0.99 * ensemble(state.cost_target, there, actions[:, 0])[0], 1e-4)


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_actor_loss(batch, state, kernel):
    here = batch.observation
    settings = replace(SETTINGS, kernel=kernel)
    like = np.tanh(np.random.default_rng(1).normal(size=(B, M, A))).astype(np.float32)
    nets = state.actor.net, state.critic.net, state.cost_critic.net
    given = like, jnp.float32(1.7), jnp.float32(0.6), 2.5, KEY
    loss, (apart, error) = bear.actor_loss(settings, *nets, batch, *given)
    actions = sampled(state.actor.net, here, KEY, M)
    q = ensemble(state.critic.net, here, actions[:, 0]).min(0)
    excess = ensemble(state.cost_critic.net, here, actions[:, 0])[0] - 2.5
    expected = np.mean([mmd(*states, kernel, 0.8) for states in zip(like, actions, strict=True)])
    close([apart, error], [expected, excess.mean()], 1e-4)
    close(loss, (-q + 0.6 * excess).mean() + 1.7 * (expected - 0.05), 1e-4)


def test_alpha_seeks_the_discrepancy_that_is_asked_for():
    slope = jax.grad(bear.alpha_loss)(jnp.float32(-0.3), jnp.float32(0.3), 0.05)
    close(slope, -np.exp(-0.3) * 0.25)  # too far from the data: a step down makes alpha larger


def test_the_multiplier_by_hand():
    """Kp 0.1, Ki 0.003, Kd 0.001; the integral begins at 1."""
    control = Control(*(jnp.float32(x) for x in (0.0, 1.0, 0.0)))
    expected = (
        (2.0, 0.2 + 0.003 * 3 + 0.001 * 2),
        (1.0, 0.1 + 0.003 * 4),  # a fall of the error counts nothing
        (-3.0, 0.003 * 1),  # nor does a cost below the limit, but in the integral
        (-3.0, 0.001 * 0),  # which does not fall below 0
        (-2.0, 0.001 * 1),
    )
    for error, multiplier in expected:
        control = bear.controlled(SETTINGS, control, jnp.float32(error))
        close(control.multiplier, multiplier)
        assert control.error == error


def test_update(batch, state):
    """Every loss, from the state it must be of; every step, of its own rate."""
    new, metrics = jax.jit(bear.update, static_argnums=(0, 1))(SETTINGS, SPEC, 0.5, state, batch)
    _, k1, k2, k3, k4 = jax.random.split(state.key, 5)
    limit = 0.5 * sum(0.99**t for t in range(SPEC.horizon)) / SPEC.horizon
    close(metrics["value/qc_limit"], limit)
    here = batch.observation
    close(metrics["loss/vae"], vae.loss(state.vae.net, batch, 0.05, k1)[0], 1e-4)

    y, yc = bear.backups(SETTINGS, state, batch, k2)
    close([metrics["value/q"], metrics["value/qc"]], [y.mean(), yc.mean()], 1e-4)
    online = ensemble(state.critic.net, here, batch.action)
    close(metrics["loss/q"], ((online - np.asarray(y)) ** 2).sum(0).mean(), 1e-4)
    online = ensemble(state.cost_critic.net, here, batch.action)[0]
    close(metrics["loss/qc"], ((online - np.asarray(yc)) ** 2).mean(), 1e-4)

    # The policy is judged by the critics and the auto-encoder that have moved, at the multipliers
    # that were found before.
    like = vae.sample(new.vae.net, here, M, k3)
    nets = state.actor.net, new.critic.net, new.cost_critic.net
    given = like, jnp.exp(0.5), jnp.float32(0.9), limit, k4
    loss, (apart, error) = bear.actor_loss(SETTINGS, *nets, batch, *given)
    names = "loss/actor", "bear/mmd", "bear/error", "bear/alpha", "bear/lambda"
    close([metrics[n] for n in names], [loss, apart, error, np.exp(0.5), 0.9], 1e-4)
    assert apart > 0.05
    close(new.log_alpha.net, 0.5 + 0.01, 1e-4)
    close(new.control, bear.controlled(SETTINGS, state.control, error), 1e-3)

    for name, rate in (("actor", 1e-3), ("critic", 2e-3), ("cost_critic", 3e-3), ("vae", 4e-3)):
        moved, old = (np.asarray(training.pack(getattr(s, name).net)) for s in (new, state))
        assert np.abs(moved - old).max() == pytest.approx(rate, rel=2e-2)
    followers = ("old", "actor"), ("target", "critic"), ("cost_target", "cost_critic")
    for follower, leader in followers:
        old, moved, follows = (
            np.asarray(training.pack(net))
            for net in (getattr(state, follower), getattr(new, leader).net, getattr(new, follower))
        )
        close(follows, old + 0.1 * (moved - old))


# Probes: the real update on tasks whose values are known.

ONE_STEP = replace(probes.SPEC, horizon=1)
PROBE = BEARSettings(
    actor_rate=1e-3, critic_rate=3e-3, cost_critic_rate=3e-3, vae_rate=3e-3, alpha_rate=3e-3,
    ki=0.03, discount=0.0, tau=0.05, hidden=(32, 32),
)  # fmt: skip


@once
def train():
    """The state after 4000 updates on a data set within a limit, and the mean of the mode over the
    last 1000, for control swings it about the limit; compiled once for them all."""
    begun = bear.init(PROBE, KEY, ONE_STEP)

    @jax.jit
    def run(batches, limit):
        def one(state, batch):
            state, _ = bear.update(PROBE, ONE_STEP, limit, state, batch)
            return state, state.actor.net.mode(jnp.ones((1, 1)))[0, 0]

        state, modes = jax.lax.scan(one, begun, batches)
        return state, modes[-1000:].mean()

    def trained(data, limit):
        rows = np.random.default_rng(0).integers(len(data.reward), size=(4000, 64))
        return run(Batch(*(x[rows] for x in data)), limit)

    return trained


@pytest.mark.parametrize("limit", [0.04, 0.09])
def test_probe_the_price_of_a_limit(train, limit):
    """r = a, c = a^2, at most ``limit``: the best action is its root, and the multiplier, what a
    little more of it would earn, 1 / (2 root)."""
    state, held = train(probes.trade_off(), limit)
    assert held == pytest.approx(limit**0.5, abs=0.04)
    assert float(state.control.multiplier) == pytest.approx(1 / (2 * limit**0.5), rel=0.3)


@pytest.mark.parametrize("centre", [-0.3, -0.6])
def test_probe_the_leash(train, centre):
    """More is earned the farther up, and the limit is slack: as far as the discrepancy allows,
    0.05 sqrt(sigma) from the mean of the data's actions, whatever the reward critic promises."""
    a = np.random.default_rng(0).uniform(centre - 0.3, centre + 0.3, 4096)
    state, held = train(probes.one_step(1.0, a, a), 1.0)
    assert held == pytest.approx(centre + 0.354, abs=0.06)
    assert state.control.multiplier < 1e-5


def test_probe_values_of_reward_and_cost():
    """Reward 2 and cost 1 a step, gamma 0.9: two steps to an end are worth 3.8 in reward, and a
    cost goes on past it."""
    learner = bear.learner(replace(PROBE, actions=2, discount=0.9), probes.SPEC, 1.0)
    state = probes.train(learner, probes.episodes_that_end())
    at, action = np.float32([[1.0], [0.0], [-1.0]]), np.zeros((3, 1), np.float32)
    np.testing.assert_allclose(state.critic.net(at, action), [[3.8, 2.0, 20.0]] * 2, rtol=0.06)
    assert cost(state, -1.0, 0.0) == pytest.approx(10.0, rel=0.06)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"kernel": "cubic"}, "kernel must be gaussian or laplacian, not 'cubic'"),
        ({"sigma": 0.0}, "sigma is 0; it must be above 0"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"pessimism": 1.5}, "pessimism is 1.5; it must be 0 or more and 1 at most"),
        ({"target_mmd": -0.1}, "target_mmd is -0.1"),
        ({"kp": float("nan")}, "kp is nan"),
        ({"ki": -1.0}, "ki is -1"),
        ({"kd": -1.0}, "kd is -1"),
        ({"actions": 0}, "actions is 0"),
    ],
)
def test_a_setting_out_of_range_is_told(setting, line):
    with pytest.raises(HandrailError, match=line):
        BEARSettings(**setting)
