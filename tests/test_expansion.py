"""Policy expansion: who acts, on the host as in the networks, and on disk."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain import KEY, shaken

from handrail import expansion
from handrail.data.windows import Normaliser
from handrail.expansion import ExpandedPolicy, HostCritic
from handrail.learners.sac_lagrangian import SACLagrangianSettings
from handrail.networks import ActorCritics
from handrail.policies import MLPPolicy
from handrail.policy_files import load_policy, save_policy
from handrail.types import Batch, Draws, Spec, Step

O, A, B = 3, 2, 4000  # noqa: E741
SPEC = Spec("probe/Sizes", O, A, (-1.0,) * A, (1.0,) * A, horizon=10, cost_limit=1.0)
NORMALISER = Normaliser(np.float32([0.5, -1.0, 0.0]), np.float32([2.0, 1.0, 0.5]))


def _nets(seed: int) -> ActorCritics:
    return shaken(ActorCritics.new(O, A, (8, 8), key=jax.random.key(seed)), jax.random.key(seed))


@pytest.fixture
def policy() -> ExpandedPolicy:
    old, new = _nets(1), _nets(2)
    return ExpandedPolicy(
        MLPPolicy.of(old.actor), MLPPolicy.of(new.actor), HostCritic.of(old.critic),
        HostCritic.of(old.cost_critic), 0.7, 0.5, Normaliser.none(O),
    ).behind(NORMALISER)  # fmt: skip


@pytest.fixture
def seen() -> tuple[Step, Draws]:
    rng = np.random.default_rng(0)
    f = np.float32
    nothing = np.zeros(B, f)
    step = Step(rng.normal(size=(B, O)).astype(f), np.zeros((B, A), f), nothing, nothing,
                np.ones(B, bool))  # fmt: skip
    draws = Draws(rng.normal(size=(B, A)).astype(f), rng.random(B).astype(f))
    return step, draws


def _values(step, draws, deterministic):
    """Actions and Lagrangian values of both policies by the networks themselves."""
    observation = jnp.asarray(NORMALISER(step.observation))
    old, new = _nets(1), _nets(2)
    actions, values = [], []
    for nets in (old, new):
        mean, std = nets.actor.distribution(observation)
        action = jnp.tanh(mean if deterministic else mean + std * draws.normal)
        q = old.critic(observation, action).min(0) - 0.7 * old.cost_critic(observation, action)[0]
        actions.append(np.asarray(action))
        values.append(np.asarray(q))
    return actions, values


def test_the_larger_value_acts_where_the_policy_is_deterministic(policy, seen):
    (a, b), (first, second) = _values(*seen, True)
    acted, _ = policy.mode().act(None, *seen)
    sure = np.abs(second - first) > 1e-4
    np.testing.assert_allclose(
        acted[sure], np.where((second > first)[:, None], b, a)[sure], atol=1e-5
    )
    assert 0.05 < (second > first).mean() < 0.95  # both act


def test_samples_choose_by_the_softmax_of_the_values(policy, seen):
    (a, b), (first, second) = _values(*seen, False)
    acted, _ = policy.sampled().act(None, *seen)
    chosen = np.abs(acted - b).max(1) < np.abs(acted - a).max(1)
    p = np.exp(second / 0.5) / (np.exp(first / 0.5) + np.exp(second / 0.5))
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        rows = (p >= low) & (p < high)
        assert chosen[rows].mean() == pytest.approx(p[rows].mean(), abs=0.08)
    np.testing.assert_allclose(acted, np.where(chosen[:, None], b, a), atol=1e-5)


def test_on_disk_it_is_the_same_policy(policy, seen, tmp_path):
    save_policy(policy, tmp_path / "policy", SPEC)
    loaded, spec = load_policy(tmp_path / "policy")
    assert spec == SPEC
    np.testing.assert_array_equal(loaded.act(None, *seen)[0], policy.mode().act(None, *seen)[0])


def test_the_offline_policy_stays_and_the_multiplier_is_the_last_or_the_first(seen):
    offline = _nets(3)
    learner = expansion.learner(SACLagrangianSettings(hidden=(8, 8)), offline, 0.5, 1.5)
    state = learner.init(KEY, SPEC)
    rng = np.random.default_rng(1)
    rows = Batch(*(rng.normal(size=(16, *s)).astype(np.float32)
                   for s in ((O,), (A,), (), (), (O,), ())))  # fmt: skip
    first = learner.policy(jax.tree.map(np.asarray, learner.actor(state)))
    state, _ = learner.update(state, rows, jnp.float32(2.5))
    acting = learner.policy(jax.tree.map(np.asarray, learner.actor(state)))
    assert isinstance(acting, ExpandedPolicy)
    assert isinstance(first, ExpandedPolicy)
    assert (first.multiplier, acting.multiplier) == (1.5, 2.5)
    for ours, theirs in zip(
        acting.offline.weights, MLPPolicy.of(offline.actor).weights, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert any((a != b).any() for a, b in zip(acting.new.weights, first.new.weights, strict=True))
    # The critics that choose began as those learnt offline.
    np.testing.assert_array_equal(
        first.critic.members[0][0][0], offline.critic.members[0].layers[0].weight
    )


@pytest.mark.parametrize("layer_norm", [False, True])
def test_critics_on_the_host_are_the_critics(layer_norm):
    nets = shaken(ActorCritics.new(O, A, (8, 8), layer_norm=layer_norm, key=jax.random.key(1)))
    inputs = np.random.default_rng(0).normal(size=(B, O + A)).astype(np.float32)
    host = HostCritic.of(nets.critic)
    again = HostCritic.from_arrays(host.to_arrays(), [3, 3], layer_norm)
    theirs = nets.critic(inputs[:, :O], inputs[:, O:])
    for critic in (host, again):
        np.testing.assert_allclose(critic(inputs), theirs, atol=2e-5)
