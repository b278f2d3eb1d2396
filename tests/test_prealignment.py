"""Value pre-alignment: its targets against plain NumPy, the values of a known policy, and what the
rank correlation says."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import probes
import pytest
from plain import KEY, close, ensemble, shaken

from handrail import prealignment
from handrail.data.episodes import Episode
from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.networks import ActorCritics
from handrail.prealignment import PrealignmentSettings, rank_correlations
from handrail.types import Batch, Spec

O, A, B = 3, 2, 16  # noqa: E741


@pytest.fixture
def batch() -> Batch:
    rng = np.random.default_rng(3)
    sizes = ((O,), (A,), (), (), (O,), ())
    rows = Batch(*(rng.normal(size=(B, *size)).astype(np.float32) for size in sizes))
    return rows._replace(terminated=(rows.terminated > 0).astype(np.float32))


@pytest.mark.parametrize(("alpha", "cost_alpha", "of_cost"), [
    (0.0, None, 0.0), (0.4, None, 0.2), (0.4, 0.1, 0.1),
])  # fmt: skip
def test_targets(batch, alpha, cost_alpha, of_cost):
    settings = PrealignmentSettings(alpha=alpha, cost_alpha=cost_alpha)
    nets = shaken(ActorCritics.new(O, A, (8, 8), key=KEY))
    state = prealignment.init(settings, nets, KEY)
    y, yc = prealignment.targets(settings, 0.9, state, batch, KEY)
    action, log_prob = (np.asarray(x) for x in nets.actor.sample(batch.next_observation, KEY))
    q = ensemble(nets.target, batch.next_observation, action).min(0)
    qc = ensemble(nets.cost_target, batch.next_observation, action)[0]
    going = 0.9 * (1 - batch.terminated)
    close(y, batch.reward + going * (q - alpha * log_prob), 1e-4)
    close(yc, batch.cost + going * (qc - of_cost * log_prob), 1e-4)


def test_probe_the_values_of_the_frozen_policy():
    """Cost (a - 0.5)^2, reward a, in two steps: the values of the second step are those of the
    policy's own action there, whatever the data's actions were."""
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (4096, 1)).astype(np.float32)
    first = rng.random(4096) < 0.5
    seen = np.where(first, 1.0, 0.0).astype(np.float32)[:, None]
    data = Batch(
        seen, a, np.where(first, 0.0, a[:, 0]).astype(np.float32),
        np.where(first, 0.0, (a[:, 0] - 0.5) ** 2).astype(np.float32),
        np.zeros_like(seen), (~first).astype(np.float32),
    )  # fmt: skip
    nets = ActorCritics.new(1, 1, (32, 32), key=KEY)
    # pi_0: a = tanh(1) always, nearly.
    trunk = jax.tree.map(jnp.zeros_like, nets.actor.trunk)
    trunk = eqx.tree_at(lambda t: t.layers[-1].bias, trunk, jnp.array([1.0, -5.0]))
    nets = eqx.tree_at(lambda n: n.actor.trunk, nets, trunk)
    settings = PrealignmentSettings(critic_rate=3e-3, cost_critic_rate=3e-3, tau=0.05)
    learner = prealignment.learner(settings, nets, 0.8)
    state = probes.train(learner, data, state=learner.init(KEY, probes.SPEC))
    aligned = prealignment.networks(state)
    step = jnp.ones((1, 1)), jnp.zeros((1, 1))
    acts = float(np.tanh(1.0))
    assert float(aligned.critic(*step).min()) == pytest.approx(0.8 * acts, abs=0.05)
    assert float(aligned.cost_critic(*step)[0, 0]) == pytest.approx(
        0.8 * (acts - 0.5) ** 2, abs=0.02
    )
    assert eqx.tree_equal(aligned.actor, nets.actor)


NORMAL = Normaliser.none(1)
SPEC = Spec("probe/Ranks", 1, 1, (-1.0,), (1.0,), horizon=4, cost_limit=1.0)


def _episode(rewards, costs) -> Episode:
    n = len(rewards)
    f = np.float32
    return Episode(
        np.arange(n + 1, dtype=f)[:, None], np.zeros((n, 1), f), f(rewards), f(costs), False
    )


def test_what_comes_after_a_step_is_cut_at_half_the_horizon():
    found = prealignment._windowed(np.array([1.0, 2.0, 4.0, 8.0]), 2, 0.5)
    np.testing.assert_allclose(found, [2.0, 4.0, 8.0, 8.0])


def test_rank_correlation():
    """A critic that grows with the observation ranks growing returns right, falling costs wrong."""
    played = [_episode([1, 2, 3, 4], [4, 3, 2, 1])]
    nets = ActorCritics.new(1, 1, (4,), key=KEY)

    def rising(net):
        net = jax.tree.map(jnp.zeros_like, net)
        ones = [jnp.ones_like(member.layers[0].weight[:1]) for member in net.members]
        firsts = [jnp.concatenate([one, jnp.zeros_like(one)]) for one in ones]
        net = eqx.tree_at(lambda n: [m.layers[0].weight for m in n.members], net, firsts)
        lasts = [jnp.ones_like(member.layers[1].weight) for member in net.members]
        return eqx.tree_at(lambda n: [m.layers[1].weight for m in n.members], net, lasts)

    nets = replace_critics(nets, rising(nets.critic), rising(nets.cost_critic))
    found = rank_correlations(nets, played, NORMAL, SPEC, 0.9)
    assert found == {"rank/q": pytest.approx(1.0), "rank/qc": pytest.approx(-1.0)}
    ended = [replace(played[0], rewards=np.float32([0, 1, 0, 0.6]), terminated=True)]
    # Cut by time: 0.9, 1, 0.54 after steps 0 to 2. Terminated: 0.6 after step 3 as well.
    cut = rank_correlations(nets, [replace(ended[0], terminated=False)], NORMAL, SPEC, 0.9)
    assert cut["rank/q"] == pytest.approx(-0.5)
    found = rank_correlations(nets, ended, NORMAL, SPEC, 0.9)
    assert found["rank/q"] == pytest.approx(-0.6)
    free = [replace(played[0], costs=np.zeros(4, np.float32))]
    assert rank_correlations(nets, free, NORMAL, SPEC, 0.9).keys() == {"rank/q"}


def replace_critics(nets: ActorCritics, critic, cost_critic) -> ActorCritics:
    return eqx.tree_at(lambda n: (n.critic, n.cost_critic), nets, (critic, cost_critic))


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"alpha": -0.1}, "alpha is -0.1; it must be 0 or more"),
        ({"cost_alpha": float("nan")}, "cost_alpha is nan"),
        ({"updates": 0}, "updates is 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, line):
    with pytest.raises(HandrailError, match=line):
        PrealignmentSettings(**wrong)
