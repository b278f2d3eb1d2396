"""The guide against an independent NumPy version of what is published.

The reference takes one window without padding, interleaves its tokens in the order of time, and
computes every token of every layer in float64; ours does none of the three.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.learners import decision_transformer as dt
from handrail.transformer import Dropout, read_gpt2
from handrail.transformer_policy import DTPolicy
from handrail.types import Draws, Spec, Step, Window

SPEC = Spec("test/Small", 3, 2, (-1.0, -1.0), (1.0, 1.0), horizon=10, cost_limit=5.0)
K = 4
SMALL = dt.DTSettings(context=K, embed=8, layers=2, heads=2, dropout=0.0, warmup=10, clip=10.0)
WIDTH, HEADS, LAYERS = 6, 3, 2  # of the test's GPT-2


# -- the reference -------------------------------------------------------------------------------


def norm(layer: Any, x: np.ndarray) -> np.ndarray:
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * layer.scale + layer.bias


def dense(layer: Any, x: np.ndarray) -> np.ndarray:
    return x @ layer.weight + layer.bias


def gelu_new(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attention(block: Any, x: np.ndarray, heads: int) -> np.ndarray:
    out = []
    q, k, v = np.split(dense(block.qkv, x), 3, axis=-1)
    parts = (np.split(z, heads, axis=-1) for z in (q, k, v))
    for q, k, v in zip(*parts, strict=True):
        score = q @ k.T / np.sqrt(q.shape[-1])
        score[np.triu_indices(len(x), 1)] = -np.inf
        weight = np.exp(score - score.max(-1, keepdims=True))
        out.append(weight / weight.sum(-1, keepdims=True) @ v)
    return dense(block.proj, np.concatenate(out, -1))


def reference(net: Any, window: Window, heads: int, activation: str) -> np.ndarray:
    """Actions at every step of one window without padding; arrays are K x ... ."""
    net = jax.tree.map(lambda x: np.asarray(x, np.float64), net)
    time = net.time[np.asarray(window.timestep)]
    tokens = np.stack(
        [
            dense(net.return_to_go, np.asarray(window.return_to_go)[:, None]) + time,
            dense(net.observation, np.asarray(window.observation)) + time,
            dense(net.action, np.asarray(window.action)) + time,
        ],
        axis=1,
    )
    x = norm(net.ln, tokens.reshape(-1, net.time.shape[1]))
    act = gelu_new if activation == "gelu_new" else lambda z: np.maximum(z, 0)
    for block in net.blocks:
        x = x + attention(block, norm(block.ln_1, x), heads)
        x = x + dense(block.out, act(dense(block.fc, norm(block.ln_2, x))))
    return np.tanh(dense(net.head, norm(net.ln_f, x)[1::3]))


def row(window: Window, b: int) -> Window:
    """Row b without its padding."""
    held = np.asarray(window.mask[b]) > 0
    return Window(*(np.asarray(x[b])[held] for x in window))


def reference_loss(net: Any, window: Window, heads: int, activation: str) -> float:
    errors = []
    for b in range(len(window.mask)):
        one = row(window, b)
        errors.append(((reference(net, one, heads, activation) - one.action) ** 2).mean(-1))
    return float(np.concatenate(errors).mean())


# -- what is tested ------------------------------------------------------------------------------


def windows(seed: int = 0, held: tuple[int, ...] = (K, 1, 2, K), *, k: int = K) -> Window:
    """A batch of windows with so many steps each."""
    rng = np.random.default_rng(seed)
    b = len(held)
    mask = (np.arange(k)[None] >= k - np.array(held)[:, None]).astype(np.float32)
    start = rng.integers(0, SPEC.horizon - k, (b, 1))
    step = np.clip(np.arange(k)[None] - (k - np.array(held)[:, None]), 0, None) + start
    return Window(
        (rng.normal(size=(b, k, 3)) * mask[..., None]).astype(np.float32),
        (rng.uniform(-1, 1, (b, k, 2)) * mask[..., None]).astype(np.float32),
        (rng.normal(size=(b, k)) * mask).astype(np.float32),
        (step * mask).astype(np.int32),
        mask,
    )


def gpt2_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """Names and shapes as in huggingface.co/openai-community/gpt2, smaller."""
    rng, d = np.random.default_rng(seed), WIDTH
    shapes: dict[str, tuple[int, ...]] = {"wte.weight": (11, d), "wpe.weight": (7, d)}
    for i in range(LAYERS):
        for name, shape in {
            "ln_1.weight": (d,), "ln_1.bias": (d,), "attn.bias": (1, 1, 7, 7),
            "attn.c_attn.weight": (d, 3 * d), "attn.c_attn.bias": (3 * d,),
            "attn.c_proj.weight": (d, d), "attn.c_proj.bias": (d,),
            "ln_2.weight": (d,), "ln_2.bias": (d,),
            "mlp.c_fc.weight": (d, 4 * d), "mlp.c_fc.bias": (4 * d,),
            "mlp.c_proj.weight": (4 * d, d), "mlp.c_proj.bias": (d,),
        }.items():  # fmt: skip
            shapes[f"h.{i}.{name}"] = shape
    shapes |= {"ln_f.weight": (d,), "ln_f.bias": (d,)}
    return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}


@pytest.fixture
def gpt2(tmp_path):
    """A directory as one downloads it."""
    save_file(gpt2_tensors(), tmp_path / "model.safetensors")
    config = {
        "model_type": "gpt2",
        "n_embd": WIDTH,
        "n_layer": LAYERS,
        "n_head": HEADS,
        "n_inner": None,
        "n_positions": 7,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


KEY = jax.random.key(0)


def some_net(settings: dt.DTSettings) -> dt.DecisionTransformer:
    """A network of this form, none of whose parameters is 0 or 1; nothing is compiled for it."""
    like = jax.eval_shape(lambda: dt.init(settings, KEY, SPEC)).guide.net
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda x: np.float32(0.4 * rng.normal(size=x.shape)), like)


@pytest.fixture(params=["fresh", "gpt2"])
def backbone(request, gpt2) -> tuple[dt.DecisionTransformer, int, str]:
    """A network, its heads, its activation."""
    weights = str(gpt2) if request.param == "gpt2" else None
    settings = replace(SMALL, backbone=request.param, weights=weights)
    net = some_net(settings)
    return (net, HEADS, "gelu_new") if weights else (net, 2, "relu")


@pytest.fixture
def net() -> dt.DecisionTransformer:
    return some_net(SMALL)


@jax.jit
def forward(net: dt.DecisionTransformer, window: Window) -> jax.Array:
    return net(window)


@jax.jit
def forward_last(net: dt.DecisionTransformer, window: Window) -> jax.Array:
    return net(window, last=True)


gradient = jax.jit(dt.loss_and_gradient, static_argnums=3)


def test_forward_is_the_published_one(backbone):
    net, heads, activation = backbone
    window = windows()
    every, last = forward(net, window), forward_last(net, window)
    for b in range(len(window.mask)):
        want = reference(net, row(window, b), heads, activation)
        np.testing.assert_allclose(every[b, K - len(want) :], want, atol=2e-5)
        np.testing.assert_allclose(last[b, 0], want[-1], atol=2e-5)


@pytest.mark.parametrize("backbone", ["fresh"], indirect=True)
def test_loss_and_gradient(backbone):
    net, heads, activation = backbone
    window = windows(held=(4, 1, 2, 3, 4, 2, 1, 1, 3) * 2)  # computed in two parts of nine
    value, slope = gradient(net, window, KEY, 0.0)
    assert value == pytest.approx(reference_loss(net, window, heads, activation), rel=1e-5)
    rng = np.random.default_rng(0)
    leaves, form = jax.tree.flatten(jax.tree.map(lambda x: np.asarray(x, np.float64), net))
    for i, have in enumerate(jax.tree.leaves(slope)):
        at = tuple(int(rng.integers(n)) for n in have.shape)

        def shifted(by: float, i: int = i, at: tuple[int, ...] = at) -> float:
            moved = [x.copy() for x in leaves]
            moved[i][at] += by
            return reference_loss(form.unflatten(moved), window, heads, activation)

        want = (shifted(1e-5) - shifted(-1e-5)) / 2e-5
        assert have[at] == pytest.approx(want, rel=1e-3, abs=1e-6), jax.tree.structure(slope)


def test_padding_changes_nothing(net):
    window = windows()
    padding = window.mask == 0
    noise = np.random.default_rng(1)
    other = Window(
        *(
            np.where(padding.reshape(*padding.shape, *[1] * (x.ndim - 2)), fill, x).astype(x.dtype)
            for x, fill in zip(window[:4], (noise.normal(), 7.0, -3.0, 5), strict=True)
        ),
        mask=window.mask,
    )
    have, want = forward(net, other), forward(net, window)
    np.testing.assert_array_equal(np.where(padding[..., None], 0, have - want), 0)
    one, two = (gradient(net, w, KEY, 0.0) for w in (window, other))
    assert one[0] == two[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one[1], two[1])


def test_the_future_is_not_seen(net):
    window = windows(held=(K,) * 4)
    base = np.asarray(forward(net, window))
    for t in range(K):
        later = [np.array(x) for x in window]
        later[0][:, t + 1 :] += 1
        later[1][:, t:] -= 1  # an action is not seen where it is asked for
        later[2][:, t + 1 :] += 1
        later[3][:, t + 1 :] = 0
        moved = np.asarray(forward(net, Window(*later)))
        np.testing.assert_array_equal(moved[:, : t + 1], base[:, : t + 1])
        if t + 1 < K:
            assert (moved[:, t + 1 :] != base[:, t + 1 :]).any()


@pytest.mark.parametrize(("o", "a", "horizon"), [(8, 2, 500), (60, 2, 400)])
def test_parameters_are_the_published_number(o, a, horizon):
    d = 128
    spec = Spec("test/Count", o, a, (-1.0,) * a, (1.0,) * a, horizon, 1.0)
    shapes = jax.eval_shape(lambda: dt.init(dt.DTSettings(), KEY, spec)).guide.net
    block = 4 * d + (d + 1) * 3 * d + (d + 1) * d + (d + 1) * 4 * d + (4 * d + 1) * d
    want = horizon * d + (o + 1) * d + 2 * d + (a + 1) * d + 2 * d + 3 * block + 2 * d
    want += (d + 1) * a
    assert sum(x.size for x in jax.tree.leaves(shapes)) == want
    assert 650_000 < want < 667_000  # the paper's 670k has heads for state and return besides


LEARN = replace(SMALL, layers=1, learning_rate=1e-2)
begin = eqx.filter_jit(lambda key: dt.init(LEARN, key, SPEC))
fit = dt.block(LEARN)
ONE = Window(*(x[None] for x in windows()))


def fitted(updates: int, key: jax.Array = KEY) -> tuple[dt.DecisionTransformer, float]:
    """The network after so many updates, and the loss that the last one began with."""
    state, metrics = begin(key), {"loss/guide": np.inf}
    for _ in range(updates):
        state, metrics = fit(state, ONE)
    return state.guide.net, float(metrics["loss/guide"])


def test_learns_a_small_set_by_heart_and_repeats_itself():
    assert fitted(400)[1] < 0.01
    a, b, c = (fitted(5, key)[0] for key in (KEY, KEY, jax.random.key(1)))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert (np.asarray(a.head.weight) != c.head.weight).any()


def test_the_learning_rate_warms_up():
    """Adam's first step is the learning rate itself: a tenth of it with a warm-up of 10."""
    before, (after, _) = begin(KEY).guide.net, fitted(1)
    moved = np.abs(np.asarray(after.head.weight - before.head.weight))
    np.testing.assert_allclose(moved, LEARN.learning_rate / 10, rtol=1e-2)


def test_at_the_start_the_state_counts_for_more_than_the_step_of_the_episode():
    """A large time table drowns the state and tells episodes apart (docs/decisions/0006)."""
    net = dt.init(dt.DTSettings(dropout=0), KEY, replace(SPEC, horizon=500)).guide.net
    window = windows()
    out = net(window)
    later = net(window._replace(timestep=window.timestep + 100))
    elsewhere = net(window._replace(observation=window.observation + 0.5))
    assert np.abs(later - out).mean() < 0.2 * np.abs(elsewhere - out).mean()


# -- dropout -------------------------------------------------------------------------------------


def test_dropout_masks_are_fair():
    ones = jnp.ones((64, 59, 59))
    drop = Dropout(0.1, KEY)
    first, second = (np.asarray(drop(ones)) for _ in range(2))
    other = np.asarray(Dropout(0.1, jax.random.key(1))(ones))
    np.testing.assert_array_equal(first, Dropout(0.1, KEY)(ones))
    n = ones.size
    for mask in (first, second, other):
        assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.9)}
        assert abs((mask == 0).mean() - 0.1) < 4 * np.sqrt(0.09 / n)
    for a, b in (
        (first, second),
        (first, other),
        (first[:, :, 1:], first[:, :, :-1]),
        (first[:, 1:], first[:, :-1]),
        (first[1:], first[:-1]),
    ):
        a, b = a.ravel(), b.ravel()
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_the_gradient_uses_the_masks_of_its_own_forward_pass():
    net = some_net(LEARN)
    value, slope = gradient(net, windows(), KEY, 0.3)
    assert value == gradient(net, windows(), KEY, 0.3)[0]
    assert value != gradient(net, windows(), jax.random.key(1), 0.3)[0]
    size = np.sqrt(sum((x**2).sum() for x in jax.tree.leaves(slope)))

    def along(by: float) -> jax.Array:
        moved = jax.tree.map(lambda n, g: n + by * g / size, net, slope)
        return gradient(moved, windows(), KEY, 0.3)[0]

    assert (along(1e-2) - along(-1e-2)) / 2e-2 == pytest.approx(size, rel=1e-2)


# -- acting --------------------------------------------------------------------------------------

NORMALISER = Normaliser(np.float32([1, -2, 0.5]), np.float32([2, 0.5, 3]))
DRAWS = Draws(np.zeros((2, 2), np.float32), np.zeros(2, np.float32))
TARGET, SCALE, WEIGHT = 30.0, 10.0, 0.5


@pytest.fixture
def policy() -> DTPolicy:
    return DTPolicy(some_net(SMALL), NORMALISER, K, TARGET, SCALE, WEIGHT)


def by_hand(policy: DTPolicy, episode: list[dict[str, Any]]) -> np.ndarray:
    """The action after ``episode``, what happened since the last reset, from its own record."""
    k = min(K, len(episode))
    shaped = [e["reward"] - WEIGHT * e["cost"] for e in episode[1:]]  # earned on arriving there
    asked = TARGET - np.concatenate([[0], np.cumsum(shaped)])
    actions = np.array([e["before"] for e in episode[1:]] + [np.zeros(2)])
    window = Window(
        np.array([(e["observation"] - NORMALISER.mean) / NORMALISER.std for e in episode])[-k:],
        actions[-k:],
        asked[-k:] / SCALE,
        np.minimum(np.arange(len(episode)), SPEC.horizon - 1)[-k:],
        np.ones(k),
    )
    return reference(policy.net, window, heads=2, activation="relu")[-1]


def test_context_is_what_was_executed_whoever_acted(policy):
    rng = np.random.default_rng(0)
    carry, episodes = policy.initial(2), [[], []]
    first, executed = np.ones(2, bool), np.zeros((2, 2), np.float32)
    ended = 0
    for _ in range(45):
        step = Step(
            rng.normal(size=(2, 3)).astype(np.float32),
            executed * ~first[:, None],
            (rng.normal(size=2) * ~first).astype(np.float32),
            (rng.integers(0, 2, 2) * ~first).astype(np.float32),
            first,
        )
        for b, episode in enumerate(episodes):
            if first[b]:
                episode.clear()
            episode.append(
                {
                    "observation": step.observation[b],
                    "before": step.action[b],
                    "reward": step.reward[b],
                    "cost": step.cost[b],
                }
            )
        action, carry = policy.act(carry, step, DRAWS)
        for b, episode in enumerate(episodes):
            np.testing.assert_allclose(action[b], by_hand(policy, episode), atol=2e-5)
        theirs = rng.uniform(-1, 1, (2, 2))  # a student's
        executed = np.where(rng.random((2, 1)) < 0.5, action, theirs).astype(np.float32)
        # Some episodes outlast the time table.
        first = (rng.random(2) < 0.1) | np.array([len(e) >= SPEC.horizon + 3 for e in episodes])
        ended += first.sum()
    assert ended >= 4


def test_carry_keeps_its_form_and_inputs_are_left_alone(policy):
    carry = policy.initial(2)
    observation = np.ones((2, 3), np.float32)
    zeros = np.zeros(2, np.float32)
    step = Step(observation, np.ones((2, 2), np.float32), zeros, zeros, np.ones(2, bool))
    before = jax.tree.map(np.copy, carry)
    _, after = policy.act(carry, step, DRAWS)
    jax.tree.map(np.testing.assert_array_equal, carry, before)
    for old, new in zip(carry, after, strict=True):
        assert isinstance(new, np.ndarray)
        assert (new.shape, new.dtype) == (old.shape, old.dtype)


def test_a_policy_outlives_the_training_it_came_from():
    state = begin(KEY)
    policy = DTPolicy.of(
        LEARN, state, NORMALISER, cost_weight=0.0, return_scale=10.0, target_return=1.0
    )
    before = np.array(policy.net.head.weight)
    fit(state, ONE)  # donates the state
    np.testing.assert_array_equal(policy.net.head.weight, before)


def test_arrays_and_card_are_the_whole_policy(policy, gpt2, tmp_path):
    net = some_net(replace(SMALL, backbone="gpt2", weights=str(gpt2)))
    other = DTPolicy(net, NORMALISER, K, 2.0, SCALE, 0.0)
    for one in (policy, other):
        arrays, card = one.to_arrays()
        save_file(arrays, tmp_path / "policy.safetensors")
        again = DTPolicy.from_arrays(
            load_file(tmp_path / "policy.safetensors"), json.loads(json.dumps(card))
        )
        zeros = np.zeros((2, 2), np.float32)
        step = Step(zeros[:, [0, 0, 0]], zeros, zeros[0], zeros[0], np.ones(2, bool))
        np.testing.assert_array_equal(
            one.act(one.initial(2), step, DRAWS)[0], again.act(again.initial(2), step, DRAWS)[0]
        )
        assert again.to_arrays()[1] == card


def test_another_policy_is_refused(policy):
    arrays, card = policy.to_arrays()
    with pytest.raises(HandrailError, match="of kind 'mlp'"):
        DTPolicy.from_arrays(arrays, {**card, "kind": "mlp"})
    with pytest.raises(HandrailError, match=r"net\.time"):
        DTPolicy.from_arrays(arrays, {**card, "horizon": 11})
    del arrays["std"]
    with pytest.raises(HandrailError, match="std is absent"):
        DTPolicy.from_arrays(arrays, card)


# -- settings and GPT-2's files ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": 0}, "context is 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"backbone": "gpt2"}, "needs weights"),
        ({"weights": "somewhere"}, "takes none"),
    ],
)
def test_contradictory_settings_are_refused(change, message):
    with pytest.raises(HandrailError, match=message):
        replace(SMALL, **change)


def test_heads_divide_the_width():
    with pytest.raises(HandrailError, match="3 heads do not divide"):
        dt.init(replace(SMALL, heads=3), KEY, SPEC)


def test_gpt2_weights_are_read_as_published(gpt2):
    tensors, (blocks, ln_f) = gpt2_tensors(), read_gpt2(gpt2)
    np.testing.assert_array_equal(blocks[1].qkv.weight, tensors["h.1.attn.c_attn.weight"])
    np.testing.assert_array_equal(blocks[0].out.bias, tensors["h.0.mlp.c_proj.bias"])
    np.testing.assert_array_equal(ln_f.scale, tensors["ln_f.weight"])
    # As saved by GPT2LMHeadModel; the file itself is as good as its directory.
    prefixed = {f"transformer.{name}": x for name, x in tensors.items()}
    save_file(prefixed, gpt2 / "model.safetensors")
    again, _ = read_gpt2(gpt2 / "model.safetensors")
    jax.tree.map(np.testing.assert_array_equal, blocks, again)


def test_wrong_gpt2_files_are_refused(gpt2):
    file, config = gpt2 / "model.safetensors", json.loads((gpt2 / "config.json").read_text())
    with pytest.raises(HandrailError, match="pickle"):
        read_gpt2(gpt2 / "pytorch_model.bin")

    tensors = gpt2_tensors()
    weight = tensors.pop("h.1.mlp.c_fc.weight")
    save_file(tensors, file)
    with pytest.raises(HandrailError, match=r"has no h\.1\.mlp\.c_fc\.weight"):
        read_gpt2(gpt2)
    save_file({**tensors, "h.1.mlp.c_fc.weight": weight.T.copy()}, file)
    with pytest.raises(HandrailError, match=r"h\.1\.mlp\.c_fc\.weight .* has shape \(24, 6\)"):
        read_gpt2(gpt2)
    file.write_bytes(b"no tensors")
    with pytest.raises(HandrailError, match="not a safetensors file"):
        read_gpt2(gpt2)
    file.unlink()
    with pytest.raises(HandrailError, match=r"model\.safetensors is missing"):
        read_gpt2(gpt2)

    for text, message in (
        (json.dumps({**config, "activation_function": "relu"}), "has gelu_new"),
        (json.dumps({**config, "n_head": 4}), "sizes that no GPT-2 has"),
        (json.dumps({"n_embd": 6}), "is not GPT-2's"),
        ("[]", "is not GPT-2's"),
        ("{", "is not GPT-2's"),
    ):
        (gpt2 / "config.json").write_text(text)
        with pytest.raises(HandrailError, match=message):
            read_gpt2(gpt2)
    (gpt2 / "config.json").unlink()
    with pytest.raises(HandrailError, match=r"config\.json is missing"):
        read_gpt2(gpt2)
