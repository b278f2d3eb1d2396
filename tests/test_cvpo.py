"""CVPO: each equation against NumPy, the dual against SciPy, and a limit whose price is known."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from jaxtyping import Array
from plain import KEY, close, ensemble, gaussian, random_batch, shaken
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from handrail import training
from handrail.errors import HandrailError
from handrail.learners import cvpo, cvpo_dual
from handrail.learners.cvpo import CVPOSettings, CVPOState
from handrail.learners.cvpo_dual import Dual
from handrail.networks import Actor
from handrail.types import Batch

B, M, A = 6, 5, 2


@pytest.fixture
def batch() -> Batch:
    return random_batch(B, 3, A)


@pytest.mark.parametrize(("discount", "horizon"), [(0.99, 400), (0.9, 7), (0.0, 1), (1.0, 50)])
def test_the_limit_of_the_cost_critic(discount, horizon):
    """What a constant cost that adds up to the limit is worth when it is discounted."""
    per_step = 12.0 / horizon
    worth = sum(per_step * discount**t for t in range(horizon))
    assert training.discounted_limit(12.0, discount, horizon) == pytest.approx(worth)


def objective(eta, lam, q, qc, limit, epsilon):
    soft = logsumexp((q - lam * qc) / eta, axis=1) - np.log(q.shape[1])
    return eta * epsilon + lam * limit + eta * soft.mean()


def test_dual_and_weights():
    rng = np.random.default_rng(0)
    q, qc = rng.normal(size=(2, B, M))
    dual = Dual(jnp.float32(0.4), jnp.float32(1.3))
    q32, qc32 = jnp.float32(q), jnp.float32(qc)
    close(cvpo_dual.dual_objective(dual, q32, qc32, 0.2, 0.1), objective(0.4, 1.3, q, qc, 0.2, 0.1))
    close(cvpo_dual.weights(dual, q32, qc32), softmax((q - 1.3 * qc) / 0.4, axis=1))


SOLVE = jax.jit(cvpo_dual.solve_dual, static_argnums=(4, 5))


@pytest.mark.parametrize("seed", range(60))
def test_the_dual_is_solved_to_convergence(seed):
    """As low as SciPy's best of several starts: any scale, limits slack, tight and out of reach,
    the multiplier bounded and not."""
    rng = np.random.default_rng(seed)
    shape = [(1, 4), (7, 2), (60, 32)][seed % 3]
    size, size_c = 10 ** rng.uniform(-3, 3, 2)
    q = size * (rng.normal(size=shape) + 3 * rng.normal(size=(shape[0], 1)))
    qc = size_c * np.abs(rng.normal(size=shape)) - rng.choice([0, 0.9]) * q * size_c / size
    limit = qc.mean() + size_c * float(rng.choice([-5, -0.3, -0.05, 0, 1]))
    start = Dual(*(jnp.float32(x) for x in 10 ** rng.uniform(-4, 4, 2)))
    most = [1e5, size / size_c][seed % 2]
    dual, iterations = SOLVE(start, jnp.float32(q), jnp.float32(qc), limit, 0.1, most)
    assert iterations < 100
    assert dual.lam <= most * (1 + 1e-5)

    def g(x):
        return objective(*np.exp(x), q - q.mean(1, keepdims=True), qc, limit, 0.1)

    found = np.log([float(dual.eta), float(dual.lam)])
    bounds = [np.log(cvpo_dual.RANGE), np.log([cvpo_dual.RANGE[0], most])]
    starts = (found, [0, 0], np.log([size, 1e-3]), np.log([size + size_c, size / size_c]), [9, 9])
    best = min(float(minimize(g, s, method="L-BFGS-B", bounds=bounds).fun) for s in starts)
    assert g(found) <= best + 1e-4 * (abs(best) + 1e-3 * size)


def test_the_bounds_hold_at_the_solution():
    """Weights a KL of epsilon away from uniform, at a mean cost of just the limit."""
    rng = np.random.default_rng(1)
    q, qc = rng.normal(size=(2, 300, 32)).astype(np.float32)
    start = Dual(jnp.float32(0.1), jnp.float32(0.1))
    dual, _ = SOLVE(start, q, qc, -0.1, 0.1)
    p = np.asarray(cvpo_dual.weights(dual, q, qc), float)
    assert (p * np.log(p * 32)).sum(1).mean() == pytest.approx(0.1, rel=1e-3)
    assert (p * qc).sum(1).mean() == pytest.approx(-0.1, abs=1e-3)
    free, _ = SOLVE(start, q, qc, 1.0, 0.1)  # nothing to pay for
    assert free.lam == pytest.approx(cvpo_dual.RANGE[0])
    # Beyond reach: the cost alone counts.
    lost, _ = SOLVE(start, q, qc, -9.0, 0.1)
    close(
        cvpo_dual.weights(lost, q, qc), cvpo_dual.weights(Dual(lost.eta, lost.lam), 0 * q, qc), 1e-2
    )
    dear, _ = SOLVE(start, q, qc, -9.0, 0.1, 2.0)  # what it may cost is bounded
    assert dear.lam == pytest.approx(2.0)


def test_divergences():
    rng = np.random.default_rng(2)
    mean, old_mean = rng.normal(size=(2, B, A))
    std, old_std = np.exp(rng.normal(size=(2, B, A)))

    def kl(m0, s0, m1, s1):  # of diagonal Gaussians, N(m0, s0) to N(m1, s1)
        return (np.log(s1 / s0) + (s0**2 + (m0 - m1) ** 2) / (2 * s1**2) - 0.5).sum(1).mean()

    given = (jnp.float32(x) for x in (mean, std, old_mean, old_std))
    expected = kl(old_mean, old_std, mean, old_std), kl(old_mean, old_std, old_mean, std)
    close(cvpo.divergences(*given), expected)


def test_policy_loss(batch):
    actor = shaken(Actor(3, A, (8, 8), squashed=True, key=KEY))
    old = shaken(actor, jax.random.key(1))
    rng = np.random.default_rng(4)
    u, p = rng.normal(size=(B, M, A)), softmax(rng.normal(size=(B, M)), axis=1)
    mean, std = gaussian(actor, batch.observation)
    old_mean, old_std = gaussian(old, batch.observation)

    def log_density(mean, std):
        z = (u - mean[:, None]) / std[:, None]
        return (-0.5 * z**2 - np.log(std[:, None] * np.sqrt(2 * np.pi))).sum(-1)

    fit = (p * (log_density(mean, old_std) + log_density(old_mean, std))).sum(1).mean()
    kl = np.asarray(
        cvpo.divergences(*(jnp.float32(x) for x in (mean, std, old_mean, old_std))), float
    )
    expected = -fit - 0.03 * (0.001 - kl[0]) - 2.0 * (0.002 - kl[1])
    loss, found = cvpo.policy_loss(
        actor,
        batch.observation,
        old.distribution(batch.observation),
        cvpo.Improved.of(jnp.float32(u), jnp.float32(p)),
        jnp.array([0.03, 2.0]),
        (0.001, 0.002),
    )
    close(loss, expected, 1e-4)
    close(found, kl, 1e-4)


def test_the_backups(spec, batch):
    """Old policy; of reward the smaller of two targets, of cost their mean; an end cuts the
    bootstrap of reward, not that of cost."""
    settings = CVPOSettings(hidden=(8, 8), actions=M)
    state = cvpo.init(settings, KEY, spec)
    state = eqx.tree_at(
        lambda s: (s.target, s.cost_target, s.old),
        state,
        (shaken(state.target), shaken(state.cost_target), shaken(state.old)),
    )
    k1 = jax.random.split(state.key, 3)[1]
    mean, std = gaussian(state.old, batch.next_observation)
    action = np.tanh(mean + std * np.asarray(jax.random.normal(k1, mean.shape)))
    q = ensemble(state.target, batch.next_observation, action).min(0)
    qc = ensemble(state.cost_target, batch.next_observation, action).mean(0)
    assert batch.terminated.any()
    _, metrics = cvpo.update(settings, spec, 5.0, state, batch)
    y = batch.reward + 0.99 * (1 - batch.terminated) * q
    close(metrics["value/q"], y.mean(), 1e-4)
    close(metrics["value/qc"], (batch.cost + 0.99 * qc).mean(), 1e-4)
    online = ensemble(state.critic.net, batch.observation, batch.action)
    close(metrics["loss/q"], ((online - y) ** 2).sum(0).mean(), 1e-4)


def test_the_multipliers_of_the_divergences_hold_them(spec, batch):
    """A policy that has gone far is called back: alpha rises to its most, the KL falls."""
    settings = CVPOSettings(hidden=(8, 8), actions=M, m_steps=40, actor_rate=1e-3)
    state = cvpo.init(settings, KEY, spec)
    far = training.Trained.of(shaken(state.actor.net), state.actor.optimiser)
    state = eqx.tree_at(lambda s: s.actor, state, far)
    before = cvpo.divergences(
        *far.net.distribution(batch.observation), *state.old.distribution(batch.observation)
    )
    new, metrics = cvpo.update(settings, spec, 5.0, state, batch)
    close(new.multipliers, cvpo.MULTIPLIER_MOST)
    assert metrics["cvpo/kl_mean"] < 0.8 * before[0]
    assert metrics["cvpo/kl_std"] < 0.8 * before[1]


def test_a_slack_limit_tightens(spec, batch):
    settings = CVPOSettings(hidden=(8, 8), actions=M, slack=4.0, slack_updates=10)
    learner = cvpo.learner(settings, spec, 5.0)
    state, limits, update = learner.init(KEY, spec), [], eqx.filter_jit(learner.update)
    for _ in range(30):
        state, metrics = update(state, batch, jnp.float32(0.0))
        limits.append(float(metrics["value/qc_limit"]))
    n = np.arange(30)
    close(
        limits, training.discounted_limit(5 + 4 * 5 * np.exp(-5 * n / 10), 0.99, spec.horizon), 1e-4
    )


@pytest.mark.parametrize("limit", [0.04, 0.25])
def test_probe_the_price_of_a_limit(limit):
    """r = a, c = a^2, at most ``limit``: the best action is its root, and the multiplier, what a
    little more of it would earn, 1 / (2 root). Each batch finds it anew; in a few a policy this
    narrow meets the limit with all its actions, or with none, and it goes to a bound."""
    settings = CVPOSettings(
        actor_rate=3e-3, critic_rate=3e-3, discount=0.0, tau=0.05, hidden=(32, 32), slack=0
    )
    spec = replace(probes.SPEC, horizon=1)
    learner = cvpo.learner(settings, spec, limit)
    rng = np.random.default_rng(0)
    data = probes.trade_off()
    rows = rng.integers(len(data.reward), size=(3000, 64))
    batches = Batch(*(jnp.asarray(x[rows]) for x in data))

    def one(state: CVPOState, batch: Batch) -> tuple[CVPOState, Array]:
        state, metrics = learner.update(state, batch, jnp.float32(0.0))
        return state, metrics["cvpo/lambda"]

    state, lam = jax.lax.scan(one, learner.init(KEY, spec), batches)
    mode = float(state.old.mode(jnp.ones((1, 1)))[0, 0])
    assert mode == pytest.approx(limit**0.5, abs=0.04)
    price = 1 / (2 * limit**0.5)
    assert np.mean(np.abs(lam[-500:] / price - 1) < 0.25) > 0.6


def test_probe_the_mean_goes_no_faster_than_its_bound():
    """On the way to the limit's action; with multipliers of a likelihood that is M times smaller
    than the one they stand against, it went five times as fast and more."""
    settings = CVPOSettings(discount=0.0, hidden=(32, 32), slack=0)
    learner = cvpo.learner(settings, replace(probes.SPEC, horizon=1), 0.25)
    data = probes.trade_off()
    rows = np.random.default_rng(0).integers(len(data.reward), size=(500, 64))
    batches = Batch(*(jnp.asarray(x[rows]) for x in data))

    def one(state: CVPOState, batch: Batch) -> tuple[CVPOState, Array]:
        state, metrics = learner.update(state, batch, jnp.float32(0.0))
        return state, metrics["cvpo/kl_mean"]

    kl = jax.lax.scan(one, learner.init(KEY, probes.SPEC), batches)[1]
    assert kl[50:250].mean() < 20 * settings.epsilon_mean
    assert kl[250:500].mean() < settings.epsilon_mean


def test_probe_values_of_reward_and_cost():
    """Reward 2 and cost 1 a step, gamma 0.9: two steps to an end are worth 3.8 in reward, and a
    cost goes on past it."""
    settings = CVPOSettings(
        actor_rate=3e-3, critic_rate=3e-3, discount=0.9, tau=0.05, hidden=(32, 32), m_steps=1
    )
    learner = cvpo.learner(settings, probes.SPEC, 1.0)
    state = probes.train(learner, probes.episodes_that_end())
    at, action = np.float32([[1.0], [0.0], [-1.0]]), np.zeros((3, 1), np.float32)
    np.testing.assert_allclose(state.critic.net(at, action), [[3.8, 2.0, 20.0]] * 2, rtol=0.06)
    np.testing.assert_allclose(state.cost_critic.net(at[2:], action[2:]), [[10.0]] * 2, rtol=0.06)


def test_probe_a_random_cost_is_not_made_smaller():
    """A tenth of all steps costs, whatever is observed or done: the limit is compared with this
    value as it stands. The smaller of two critics would settle at 0.6 of it."""
    settings = CVPOSettings(
        actor_rate=3e-3, critic_rate=3e-3, discount=0.95, tau=0.05, hidden=(32, 32), m_steps=1
    )
    spec, rng, n = (
        replace(probes.SPEC, observation_size=6, horizon=100),
        np.random.default_rng(0),
        4000,
    )
    here, there = rng.normal(size=(2, n, 6)).astype(np.float32)
    action = rng.uniform(-1, 1, (n, 1)).astype(np.float32)
    nothing, cost = np.zeros(n, np.float32), (rng.random(n) < 0.1).astype(np.float32)
    data = Batch(here, action, nothing, cost, there, nothing)
    rows = rng.integers(n, size=(3000, 64))
    learner = cvpo.learner(settings, spec, 10.0)
    batches = Batch(*(x[rows] for x in data))
    state = training.block(learner)(learner.init(KEY, spec), batches, 0.0).state
    found = float(state.cost_target(here, action).mean())
    assert found == pytest.approx(cost.mean() / (1 - 0.95), rel=0.1)


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ({"actions": 0}, "actions is 0; it must be 1 or more"),
        ({"m_steps": 0}, "m_steps is 0"),
        ({"epsilon": 0.0}, "epsilon is 0; it must be above 0"),
        ({"epsilon_std": float("nan")}, "epsilon_std is nan"),
        ({"actor_rate": -1e-3}, "actor_rate is -0.001"),
        ({"largest_multiplier": 1e-6}, "largest_multiplier is 1e-06; it must be above 1e-06"),
        ({"largest_multiplier": 1e6}, r"largest_multiplier is 1e\+06; .* and 100000 at most"),
        ({"largest_multiplier": float("nan")}, "largest_multiplier is nan"),
        ({"slack": -1.0}, "slack is -1"),
        ({"slack_updates": 0}, "slack_updates is 0"),
    ],
)
def test_a_setting_out_of_range_is_told(setting, line):
    with pytest.raises(HandrailError, match=line):
        CVPOSettings(**setting)
