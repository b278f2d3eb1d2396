"""Every loss against plain NumPy, every learner on tasks whose values are known."""

import itertools
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from plain import KEY, close, ensemble, gaussian, log_density, mlp, shaken

from handrail import training
from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.learners import bc, bear_lagrangian, cloning, cpq, iql, sac
from handrail.networks import Actor, Critic
from handrail.policies import MLPPolicy
from handrail.types import Batch, Draws, Spec, Step

O, A, B = 3, 2, 16  # noqa: E741


@pytest.fixture
def batch() -> Batch:
    rng = np.random.default_rng(3)
    sizes = ((O,), (A,), (), (), (O,), ())
    rows = Batch(*(rng.normal(size=(B, *size)).astype(np.float32) for size in sizes))
    return rows._replace(
        action=np.tanh(rows.action), terminated=(rows.terminated > 0).astype(np.float32)
    )


@pytest.fixture
def critic() -> Critic:
    return shaken(Critic(O + A, (8, 8), key=KEY))


@pytest.fixture
def value() -> Critic:
    return shaken(Critic(O, (8, 8), members=1, key=KEY))


@pytest.fixture(params=[True, False], ids=["squashed", "plain"])
def actor(request) -> Actor:
    return shaken(Actor(O, A, (8, 8), squashed=request.param, key=KEY))


def test_log_prob(actor, batch):
    mean, std = gaussian(actor, batch.observation)
    if actor.squashed:
        u = np.arctanh(batch.action.astype(float))
        expected = log_density(u, mean, std) - np.log(1 - batch.action.astype(float) ** 2).sum(-1)
    else:
        expected = log_density(batch.action, mean, std)
    close(actor.log_prob(batch.observation, batch.action), expected, 1e-4)


def test_sample_knows_its_own_log_prob(actor, batch):
    # Small actions: near the box's faces float32 cannot undo the tanh.
    actor = eqx.tree_at(lambda n: n.trunk, actor, jax.tree.map(lambda x: x / 4, actor.trunk))
    action, log_prob = actor.sample(batch.observation, KEY)
    inside = np.abs(np.asarray(action)).max(-1) < 0.99 if actor.squashed else np.full(B, True)
    assert inside.sum() > B // 3
    close(actor.log_prob(batch.observation, action)[inside], log_prob[inside], 1e-3)


@pytest.mark.parametrize("squashed", [True, False])
def test_density_integrates_to_one(squashed):
    actor = shaken(Actor(1, 1, (8,), squashed=squashed, key=KEY))
    a = np.linspace(-1, 1, 20001)[1:-1] if squashed else np.linspace(-12, 12, 20001)
    a = a.astype(np.float32)[:, None]
    density = np.exp(actor.log_prob(np.full_like(a, 0.4), a))
    assert np.trapezoid(density, a[:, 0]) == pytest.approx(1, abs=3e-3)


def test_mode_and_sample(actor, batch):
    mean, std = gaussian(actor, batch.observation)
    noise = np.asarray(jax.random.normal(KEY, (B, A)))
    squash = np.tanh if actor.squashed else lambda u: u
    close(actor.mode(batch.observation), squash(mean))
    close(actor.sample(batch.observation, KEY)[0], squash(mean + std * noise))


def test_sac_critic_loss(critic, batch):
    y = batch.reward
    expected = sum(((q - y) ** 2).mean() for q in ensemble(critic, batch.observation, batch.action))
    close(sac.critic_loss(critic, batch, y), expected)
    close(iql.critic_loss(critic, batch, y), expected)


def test_sac_actor_loss(critic, batch):
    actor = shaken(Actor(O, A, (8, 8), squashed=True, key=KEY))
    loss, log_prob = sac.actor_loss(actor, critic, jnp.float32(0.3), batch, KEY)
    mean, std = gaussian(actor, batch.observation)
    u = mean + std * np.asarray(jax.random.normal(KEY, (B, A)), float)
    expected = log_density(u, mean, std) + 2 * np.log(np.cosh(u)).sum(-1)
    q = ensemble(critic, batch.observation, np.tanh(u)).min(0)
    close(log_prob, expected, 1e-4)
    close(loss, (0.3 * expected - q).mean(), 1e-4)


def test_sac_alpha_loss_seeks_the_target_entropy(batch):
    log_prob = batch.reward
    slope = jax.grad(sac.alpha_loss)(jnp.float32(-1.0), log_prob, -2.0)
    close(sac.alpha_loss(-1.0, log_prob, -2.0), -np.exp(-1) * (log_prob - 2).mean())
    close(slope, -np.exp(-1) * (log_prob.mean() - 2))  # entropy above -A: alpha falls
    assert slope > 0


def test_sac_backup(spec, batch):
    """The first update's target, read from its metrics."""
    settings = sac.SACSettings(hidden=(8, 8))
    state = sac.init(settings, KEY, spec)
    actor, critic = state.actor.net, state.target
    mean, std = gaussian(actor, batch.next_observation)
    _, k1, _ = jax.random.split(state.key, 3)
    u = mean + std * np.asarray(jax.random.normal(k1, (B, A)), float)
    log_prob = log_density(u, mean, std) + 2 * np.log(np.cosh(u)).sum(-1)
    q = ensemble(critic, batch.next_observation, np.tanh(u)).min(0) - 0.2 * log_prob
    y = batch.reward + 0.99 * (1 - batch.terminated) * q
    _, metrics = sac.update(settings, state, batch)
    close(metrics["value/q"], y.mean(), 1e-4)


@pytest.mark.parametrize("tau", [0.5, 0.8])
def test_iql_value_loss(value, batch, tau):
    v = ensemble(value, batch.observation)[0]
    u = batch.reward - v
    loss, aux = iql.value_loss(value, batch, batch.reward, tau)
    close(aux, v)
    close(loss, (np.abs(tau - (u < 0)) * u**2).mean())


def test_iql_awr_loss(batch):
    actor = shaken(Actor(O, A, (8, 8), squashed=False, key=KEY))
    advantage = 2 * batch.reward  # some weights are clipped
    weight = np.minimum(np.exp(3.0 * advantage.astype(float)), 100)
    assert weight.max() == 100
    log_prob = log_density(batch.action, *gaussian(actor, batch.observation))
    close(
        iql.awr_loss(actor, batch, advantage, iql.IQLSettings()), -(weight * log_prob).mean(), 1e-4
    )


def test_iql_ddpg_bc_loss(critic, batch):
    actor = shaken(Actor(O, A, (8, 8), squashed=False, key=KEY))
    mean, std = gaussian(actor, batch.observation)
    q = ensemble(critic, batch.observation, mean).min(0)
    log_prob = log_density(batch.action, mean, std)
    leash = 0.5 * ((batch.action - mean) ** 2).sum(-1)
    for held, to in ((0, leash), (3, leash[-3:]), (len(leash), leash)):
        want = 0.7 * to.mean() - (q + log_prob).mean()
        close(iql.ddpg_bc_loss(actor, critic, batch, 0.7, held), want, 1e-4)


@pytest.mark.parametrize("extraction", ["awr", "ddpg_bc", "sac"])
def test_iql_update_in_the_published_order(spec, batch, extraction):
    """V moves by the target's Q; the advantage that weighs (AWR's) and the backup take the V that
    has moved. Where it weighs nothing no V is made again for it."""
    settings = iql.IQLSettings(extraction, hidden=(8, 8), learning_rate=0.01, tau=0.005)
    state = iql.init(settings, KEY, spec)
    state = eqx.tree_at(lambda s: s.target, state, shaken(state.target))
    new, metrics = iql.update(settings, state, batch, spread=0.5, share=0.5)
    q = ensemble(state.target, batch.observation, batch.action).min(0)
    v_new = ensemble(new.value.net, batch.observation)[0]
    u = q - ensemble(state.value.net, batch.observation)[0]
    close(metrics["loss/v"], (np.abs(0.8 - (u < 0)) * u**2).mean(), 1e-4)
    advantage = q - v_new if extraction == "awr" else u
    assert abs((v_new - q + u).mean()) > 1e-3  # which of the two it is can be told
    close(metrics["value/advantage"], advantage.mean(), 1e-4)

    y = batch.reward + 0.99 * (1 - batch.terminated) * ensemble(
        new.value.net, batch.next_observation
    )
    q_online = ensemble(state.critic.net, batch.observation, batch.action)
    close(metrics["loss/q"], ((q_online - y) ** 2).sum(0).mean(), 1e-4)

    # The target follows the critic that has moved; Adam's first step is its learning rate.
    old, moved, follows = (
        np.asarray(training.pack(net)) for net in (state.target, new.critic.net, new.target)
    )
    close(follows, old + 0.005 * (moved - old))
    step = np.abs(moved - np.asarray(training.pack(state.critic.net)))
    assert step.max() == pytest.approx(0.01, rel=1e-2)

    if extraction == "awr":
        close(
            metrics["loss/actor"],
            iql.awr_loss(state.actor.net, batch, (q - v_new).astype(np.float32), settings),
            1e-4,
        )
    elif extraction == "ddpg_bc":
        alpha = settings.bc_weight / 0.5
        held = len(batch.reward) // 2
        loss = iql.ddpg_bc_loss(state.actor.net, state.critic.net, batch, alpha, held)
        close(metrics["loss/actor"], loss, 1e-4)
    else:
        k1 = jax.random.split(state.key)[1]
        loss, log_prob = sac.actor_loss(
            state.actor.net, state.critic.net, jnp.float32(0.2), batch, k1
        )
        close(metrics["loss/actor"], loss, 1e-4)
        close(metrics["entropy"], -log_prob.mean(), 1e-4)


def test_an_annealed_rate_rises_falls_and_stays_at_zero():
    done = np.array([0, 4, 9, 50, 99, 100, 250])
    half_wave = 0.5 * (1 + np.cos(np.pi * np.minimum(done, 100) / 100))
    rate = training.annealed(0.3, 100, warmup=10)
    close(rate(jnp.asarray(done)), 0.3 * np.minimum((done + 1) / 10, half_wave), 1e-6)
    assert float(rate(100)) == float(rate(250)) == 0
    close(training.annealed(0.3, 100)(0), 0.3, 1e-6)


def test_bc_stops_where_its_rate_is_spent(spec, batch):
    learner = bc.learner(bc.BCSettings(hidden=(8,), updates=3))
    state = learner.init(jax.random.key(0), spec)
    weights = []
    for _ in range(5):
        state, _ = learner.update(state, batch, jnp.float32(0.0))
        weights.append(np.asarray(state.actor.net.trunk.layers[0].weight))
    steps = [np.abs(b - a).max() for a, b in itertools.pairwise(weights)]
    assert steps[0] > 2 * steps[1] > 0
    assert steps[2] == steps[3] == 0


def test_bc_loss_and_the_folded_normaliser(spec, batch):
    rng = np.random.default_rng(5)
    mean, std = rng.normal(size=O), rng.uniform(0.2, 3, size=O)
    learner = bc.learner(bc.BCSettings(hidden=(8, 8)), mean, std)
    state = learner.init(KEY, spec)
    net = eqx.tree_at(lambda n: n.trunk, state.actor.net, shaken(state.actor.net.trunk))
    state = eqx.tree_at(lambda s: s.actor.net, state, net)
    expected = np.tanh(mlp(net.trunk, (batch.observation - mean) / std))
    _, metrics = learner.update(state, batch, jnp.float32(0.0))
    close(metrics["loss/actor"], ((batch.action - expected) ** 2).mean(), 1e-4)

    acting = learner.actor(state)
    close(acting.mode(batch.observation), expected, 1e-4)
    zeros = np.zeros(B, np.float32)
    step = Step(batch.observation, np.zeros((B, A), np.float32), zeros, zeros, zeros > 1)
    draws = Draws(rng.normal(size=(B, A)).astype(np.float32), zeros)
    close(MLPPolicy.of(acting, deterministic=True).act(None, step, draws)[0], expected, 1e-4)
    # A policy that samples stays at the mean, up to the smallest spread.
    sampled, _ = MLPPolicy.of(acting).act(None, step, draws)
    assert np.abs(sampled - expected).max() < 5 * np.exp(-5)


def test_a_constant_feature_leaves_the_folded_policy_its_digits():
    """An accelerometer that reads 9.81 +- 1e-6 beside features of deviation 1."""
    rng = np.random.default_rng(6)
    observation = rng.normal(size=(500, O)).astype(np.float32)
    observation[:, 1] = 9.81 + 1e-6 * rng.normal(size=500)
    normaliser = Normaliser.of(observation)
    learner = bc.learner(bc.BCSettings(hidden=(8, 8)), normaliser.mean, normaliser.std)
    state = learner.init(KEY, Spec("toy/Box", O, A, (-1.0,) * A, (1.0,) * A, 10, 1.0))
    expected = np.tanh(mlp(state.actor.net.trunk, normaliser(observation)))
    close(learner.actor(state).mode(observation), expected, 1e-3)


def test_settings_are_checked():
    with pytest.raises(HandrailError, match="extraction"):
        iql.IQLSettings(extraction="ppo")  # pyright: ignore[reportArgumentType]
    with pytest.raises(HandrailError, match="expectile"):
        iql.IQLSettings(expectile=1.0)
    for make, line in (
        (
            lambda: iql.IQLSettings(bc_weight=-1),
            "bc_weight is -1; it must be 0 or more$",
        ),
        (lambda: iql.IQLSettings(tau=1.5), "tau is 1.5; it must be 0 or more and 1 at most$"),
        (lambda: sac.SACSettings(discount=float("nan")), "discount is nan"),
        (lambda: sac.SACSettings(hidden=(8, 0)), "a layer has 1 unit or more"),
        (lambda: bc.BCSettings(updates=0), "updates is 0; it must be 1 or more$"),
    ):
        with pytest.raises(HandrailError, match=line):
            make()


# Probes: the real update on tasks whose values are known.

IQL = iql.IQLSettings(discount=0.9, **probes.SMALL)
# Without an entropy term soft values are values.
SAC = sac.SACSettings(discount=0.9, initial_alpha=1e-8, **probes.SMALL)
LEARNERS = [
    iql.learner(replace(IQL, extraction="awr")),
    iql.learner(replace(IQL, extraction="ddpg_bc", bc_weight=0.01)),
    iql.learner(replace(IQL, extraction="sac")),
    sac.learner(SAC),
]
NAMES = ["iql-awr", "iql-ddpg_bc", "iql-sac", "sac"]
each_learner = pytest.mark.parametrize("learner", LEARNERS, ids=NAMES)


def q_values(state, observation, action=0.0):
    """Q of each critic at scalar observations, E x B."""
    observation, action = np.broadcast_arrays(np.atleast_1d(observation), action)
    return np.asarray(
        state.critic.net(np.float32(observation)[:, None], np.float32(action)[:, None])
    )


@each_learner
def test_probe_observed_cost(learner):
    """Q = r - w c where the episode ends at once and the observation is the cost."""
    rng = np.random.default_rng(0)
    cost = rng.integers(0, 2, 2000)
    data = probes.one_step(cost, rng.uniform(-1, 1, 2000), 1.0, cost)
    state = probes.train(learner, data, cost_weight=0.7)
    np.testing.assert_allclose(q_values(state, [0.0, 1.0]), [[1.0, 0.3]] * 2, atol=0.03)


@each_learner
def test_probe_discounting_and_time_limits(learner):
    """Reward 2 and cost 1 with weight 1, every step, and gamma 0.9.

    Two steps to the task's own end are worth 1 + gamma, then 1; a time limit is no end, and
    before it every step is worth 1 / (1 - gamma).
    """
    state = probes.train(learner, probes.episodes_that_end(), cost_weight=1.0)
    expected = [[1.9, 1.0, 10.0]] * 2
    np.testing.assert_allclose(q_values(state, [1.0, 0.0, -1.0]), expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("tau", [0.5, 0.8])
def test_probe_expectile(tau):
    """Two actions, rewards 0 and 1, taken equally often: V is tau itself."""
    action = np.resize([-1.0, 1.0], 1000)
    data = probes.one_step(1.0, action, (action + 1) / 2)
    state = probes.train(iql.learner(replace(IQL, expectile=tau)), data)
    v = float(state.value.net(np.ones((1, 1), np.float32))[0, 0])
    assert v == pytest.approx(tau, abs=0.03)
    assert v == pytest.approx(probes.expectile(np.array([0.0, 1.0]), tau), abs=0.03)


@each_learner
def test_probe_trade_off(learner):
    """r = a and c = a^2: the best action is 1 / (2 w), and moves with w on the same data."""
    data, state = probes.trade_off(), None
    for weight in (1.0, 2.0):
        state = probes.train(learner, data, cost_weight=weight, state=state)
        mode = float(learner.actor(state).mode(np.ones((1, 1), np.float32))[0, 0])
        # AWR averages the weighted data, and the box cuts them: it falls short of the best.
        assert mode == pytest.approx(1 / (2 * weight), abs=0.15 if learner is LEARNERS[0] else 0.06)


def test_probe_awr_mean():
    """AWR's mean is the weighted mean of the data's actions, clipped weights included."""
    data = probes.trade_off()
    state = probes.train(
        iql.learner(replace(IQL, extraction="awr", temperature=10)), data, cost_weight=1.0
    )
    q = data.reward - data.cost
    weight = np.minimum(np.exp(10 * (q - probes.expectile(q, 0.8))), 100)
    expected = (weight * data.action[:, 0]).sum() / weight.sum()
    mode = float(state.actor.net.mode(np.ones((1, 1), np.float32))[0, 0])
    assert mode == pytest.approx(expected, abs=0.05)
    assert mode == pytest.approx(0.5, abs=0.1)


def test_probe_ddpg_bc_mean():
    """Q's gradient against the pull of the data's actions, uniform in [-1, 1] around 0.

    The mode is where 1 - 2 w m = alpha m, whatever the spread, which is s^2 = 1/3 + m^2.
    """
    alpha = 0.8
    expected = 1 / (2 + alpha)
    settings = replace(IQL, extraction="ddpg_bc", bc_weight=alpha)
    state = probes.train(iql.learner(settings), probes.trade_off(), cost_weight=1.0)
    actor = state.actor.net
    assert float(actor.mode(np.ones((1, 1), np.float32))[0, 0]) == pytest.approx(expected, abs=0.04)
    assert float(jnp.exp(actor.log_std[0])) == pytest.approx((1 / 3 + expected**2) ** 0.5, abs=0.04)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_probe_ddpg_bc_is_held_by_demonstrations_alone(share):
    """What was done at random pulls at nothing where the last rows are demonstrations, of actions
    around -3/4: the mode is where 1 - 2 w m = alpha (m + 3/4)."""
    alpha, data, rng = 0.8, probes.trade_off(), np.random.default_rng(0)
    shown = np.flatnonzero(data.action[:, 0] < -0.5)
    theirs = training.demonstrated(share, 64)
    rows = np.concatenate(
        [
            rng.integers(len(data.reward), size=(2000, 64 - theirs)),
            rng.choice(shown, (2000, theirs)),
        ],
        axis=1,
    )
    settings = replace(IQL, extraction="ddpg_bc", bc_weight=alpha)
    learner = iql.learner(settings, share=share)
    state = learner.init(jax.random.key(0), probes.SPEC)
    batches = Batch(*(column[rows] for column in data))
    actor = probes.block(learner)(state, batches, 1.0).state.actor.net
    mode = float(actor.mode(np.ones((1, 1), np.float32))[0, 0])
    assert mode == pytest.approx((1 - 0.75 * alpha) / (2 + alpha), abs=0.04)


def test_probe_cloning():
    """BC finds the demonstrations' action through a normaliser."""
    s = np.random.default_rng(0).normal(5, 2, 2000)
    data = probes.one_step(s, np.sin(s), 0.0)
    settings = bc.BCSettings(hidden=(32, 32), learning_rate=3e-3)
    state = probes.train(bc.learner(settings, np.array([5.0]), np.array([2.0])), data)
    at = np.linspace(2, 8, 50, dtype=np.float32)[:, None]
    np.testing.assert_allclose(bc.actor(state).mode(at), np.sin(at), atol=0.1)


EVERY = [
    *LEARNERS,
    bc.learner(bc.BCSettings(hidden=(8, 8))),
    cpq.learner(cpq.CPQSettings(hidden=(8, 8)), probes.SPEC, 1.0),
    bear_lagrangian.learner(bear_lagrangian.BEARSettings(hidden=(8, 8)), probes.SPEC, 1.0),
    cloning.learner(cloning.CloningSettings(hidden=(8, 8))),
]
every_learner = pytest.mark.parametrize(
    "learner", EVERY, ids=[*NAMES, "bc", "cpq", "bear-lag", "clone"]
)


@every_learner
def test_same_seed_same_bits_and_halves_make_a_whole(learner):
    """2N updates are N and N, bit for bit."""
    data = probes.episodes_that_end()
    batches = Batch(*(x[:1600].reshape(20, 80, *x.shape[1:]) for x in data))
    first, second = Batch(*(x[:10] for x in batches)), Batch(*(x[10:] for x in batches))
    run = training.block(learner)

    def bits(state):
        return [
            np.asarray(
                jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
            )
            for x in jax.tree.leaves(state)
        ]

    def fresh():
        return learner.init(jax.random.key(1), probes.SPEC)

    whole = bits(run(fresh(), batches, 0.5).state)
    again = bits(run(fresh(), batches, 0.5).state)
    halves = bits(run(run(fresh(), first, 0.5).state, second, 0.5).state)
    for a, b, c in zip(whole, again, halves, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
