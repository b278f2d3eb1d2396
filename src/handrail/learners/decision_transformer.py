"""The decision transformer (Chen et al. 2021, arXiv 2106.01345), GOLD's guide (Sec. III-B).

Each step of a window is three tokens: return-to-go, state, action. The action is read from the
state token, which sees everything up to itself. In memory the tokens stand by kind (states,
returns, actions), not in the order of time: order is the attention mask's affair, and so the
states' rows, all that the loss needs of the last layer, are one slice. The action of the newest
step is seen by no state and is left out: T = 3 K - 1 tokens.

``DTPolicy`` is the frozen guide as it acts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Float32, Int32, PRNGKeyArray

from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.training import Trained
from handrail.transformer import Block, Dense, Draw, Dropout, LayerNorm, fresh, read_gpt2
from handrail.types import Draws, Metrics, Spec, Step, Window


@dataclass(frozen=True)
class DTSettings:
    """Settings of the guide; the defaults are those of GOLD's published code, where the paper is
    silent or differs (docs/gold.md)."""

    context: int = 20
    """K, environment steps that the guide sees (GOLD Sec. IV)."""
    backbone: Literal["fresh", "gpt2"] = "fresh"
    """Random initialisation, or published GPT-2 weights, which are trained further."""
    weights: str | None = None
    """For ``gpt2``: directory of model.safetensors and config.json."""
    embed: int = 128
    """Width of a token; like ``layers`` and ``heads`` of ``fresh``, GPT-2 brings its own."""
    layers: int = 3
    heads: int = 1
    dropout: float = 0.1
    """Probability, after the embedding, on attention weights, and on each branch's output."""
    tanh: bool = True
    """Whether the head ends in a tanh; without, actions are clipped where they are executed."""
    batch: int = 64
    """Windows of one update."""
    updates: int = 2000
    """Gradient updates in all (GOLD's code: 100,000)."""
    learning_rate: float = 1e-4
    """AdamW's, per update."""
    weight_decay: float = 1e-4
    """AdamW's, times the learning rate, per update."""
    warmup: int = 100
    """Updates over which the learning rate rises linearly."""
    clip: float = 0.25
    """Largest global norm of a gradient (Decision Transformer's code)."""
    target_return: float | None = None
    """Shaped return that the guide is asked for at the start of an episode. None: what the best
    tenth of the demonstrations reaches (GOLD's code: 50 on Safety Gym's tasks)."""
    return_scale: float = 10.0
    """What returns are divided by before the network sees them."""

    def __post_init__(self) -> None:
        for name in (
            "context",
            "embed",
            "layers",
            "heads",
            "batch",
            "updates",
            "clip",
            "return_scale",
        ):
            if getattr(self, name) <= 0:
                raise HandrailError(f"{name} is {getattr(self, name)}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise HandrailError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        if (self.backbone == "gpt2") != (self.weights is not None):
            raise HandrailError(
                "backbone gpt2 needs weights, the directory of model.safetensors and config.json; "
                "backbone fresh takes none"
            )


class DecisionTransformer(eqx.Module):
    """Actions of every step of a window, or of its last."""

    time: Float[Array, "horizon D"]
    """Learnt embedding of the step within the episode, on each of its tokens."""
    observation: Dense
    return_to_go: Dense
    action: Dense
    ln: LayerNorm
    blocks: tuple[Block, ...]
    ln_f: LayerNorm
    head: Dense
    tanh: bool = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        observation_size: int,
        action_size: int,
        horizon: int,
        blocks: tuple[Block, ...],
        ln_f: LayerNorm,
        *,
        tanh: bool,
        key: PRNGKeyArray,
    ) -> DecisionTransformer:
        """Embeddings and head around these blocks, started as the official code does."""
        width = ln_f.scale.size
        k = jax.random.split(key, 5)
        return cls(
            jax.random.normal(k[0], (horizon, width)),
            Dense.uniform(observation_size, width, k[1]),
            Dense.uniform(1, width, k[2]),
            Dense.uniform(action_size, width, k[3]),
            LayerNorm.of(width),
            blocks,
            ln_f,
            Dense.uniform(width, action_size, k[4]),
            tanh,
        )

    def __call__(
        self, window: Window, drop: Draw | None = None, *, last: bool = False
    ) -> Float[Array, "B Q A"]:
        """Actions in the unit box at all K steps, or at the last one (Q = 1).

        ``window.action`` at the last step is not read: it is what is asked for.
        """
        observation, action, return_to_go, timestep, mask = map(jnp.asarray, window)
        b, k = mask.shape
        d = self.time.shape[1]
        drop = drop or (lambda x: x)
        time = self.time[timestep.reshape(b * k)]
        tokens = (
            self.observation(observation.reshape(b * k, -1)) + time,
            self.return_to_go(return_to_go.reshape(b * k, 1)) + time,
            self.action(action.reshape(b * k, -1)) + time,
        )
        x = jnp.concatenate([t.reshape(b, k, d) for t in tokens], axis=1)[:, :-1]
        x = drop(self.ln(x.reshape(-1, d))).reshape(b, -1, d)
        sees = _sees(mask)
        for block in self.blocks[:-1]:
            x = block(x, sees, drop)
        x = self.blocks[-1](x, sees, drop, slice(k - 1, k) if last else slice(0, k))
        output = self.head(self.ln_f(x.reshape(-1, d))).reshape(b, x.shape[1], -1)
        return jnp.tanh(output) if self.tanh else output


def _sees(mask: Float[Array, "B K"]) -> Bool[Array, "B T T"]:
    """Which token sees which, (B, T, T): those not after it in time, and no padding."""
    step = np.arange(mask.shape[1])
    order = np.concatenate([3 * step + 1, 3 * step, 3 * step + 2])[:-1]
    valid = jnp.concatenate([mask, mask, mask], axis=1)[:, :-1] > 0
    return jnp.asarray(order[:, None] >= order[None])[None] & valid[:, None]


# -- training ------------------------------------------------------------------------------------


class DTState(eqx.Module):
    guide: Trained
    key: PRNGKeyArray


def init(settings: DTSettings, key: PRNGKeyArray, spec: Spec) -> DTState:
    """The guide before its first update; reads GPT-2's weights where the settings name them.

    Raises:
        HandrailError: those weights cannot be read.
    """
    key, k1, k2 = jax.random.split(key, 3)
    if settings.weights is None:
        blocks = fresh(settings.layers, settings.embed, settings.heads, "relu", key=k1)
        ln_f = LayerNorm.of(settings.embed)
    else:
        blocks, ln_f = read_gpt2(settings.weights)
    o, a = spec.observation_size, spec.action_size
    net = DecisionTransformer.of(o, a, spec.horizon, blocks, ln_f, tanh=settings.tanh, key=k2)

    def rate(count: ArrayLike) -> Array:
        return settings.learning_rate * jnp.minimum(
            1.0, (jnp.asarray(count) + 1) / max(settings.warmup, 1)
        )

    # As one vector: leaf by leaf, the optimiser takes longer to compile than the gradient.
    optimiser = optax.flatten(
        optax.chain(
            optax.clip_by_global_norm(settings.clip),
            optax.adamw(rate, weight_decay=settings.weight_decay),
        )
    )
    return DTState(Trained.of(net, optimiser), key)


def loss(
    net: DecisionTransformer,
    window: Window,
    key: PRNGKeyArray,
    dropout: float = 0.0,
    steps: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """E[(a - pi(R, s, a))^2] over the steps of the windows, and the action's axes. Eq. 2.

    ``steps`` is their number where the window is a part of the batch only.
    """
    drop = Dropout(dropout, key) if dropout else None
    error = ((net(window, drop) - window.action) ** 2).mean(-1)
    return (window.mask * error).sum() / (window.mask.sum() if steps is None else steps)


def loss_and_gradient(
    net: DecisionTransformer, window: Window, key: PRNGKeyArray, dropout: float = 0.0
) -> tuple[Float[Array, ""], DecisionTransformer]:
    """``loss`` and its gradient, some windows at a time: a part's activations stay in the cache,
    which makes an update of 64 windows a fifth faster than at once."""
    b = len(window.mask)
    part = next((n for n in range(16, 7, -1) if b % n == 0), b)
    steps = window.mask.sum()

    def add(total: Any, this: tuple[Window, PRNGKeyArray]) -> tuple[Any, None]:
        value = jax.value_and_grad(loss)(net, *this, dropout, steps)
        return jax.tree.map(jnp.add, total, value), None

    zero = jax.tree.map(jnp.zeros_like, (steps, net))
    parts = Window(*(x.reshape(-1, part, *x.shape[1:]) for x in window))
    return jax.lax.scan(add, zero, (parts, jax.random.split(key, b // part)))[0]


def update(settings: DTSettings, state: DTState, window: Window) -> tuple[DTState, Metrics]:
    key, k1 = jax.random.split(state.key)
    value, gradient = loss_and_gradient(state.guide.net, window, k1, settings.dropout)
    return DTState(state.guide.step(gradient), key), {"loss/guide": value}


def block(settings: DTSettings) -> Callable[[DTState, Window], tuple[DTState, Metrics]]:
    """N updates in one compiled scan over N windows (every array is N x B x K ...); the state is
    donated, the metrics are means."""

    def run(state: DTState, windows: Window) -> tuple[DTState, Metrics]:
        state, metrics = jax.lax.scan(lambda s, w: update(settings, s, w), state, windows)
        return state, {name: values.mean() for name, values in metrics.items()}

    return jax.jit(run, donate_argnums=0)


# -- acting --------------------------------------------------------------------------------------


class Context(NamedTuple):
    """What the guide remembers of each environment's episode: a window, its newest step last."""

    observation: Float32[np.ndarray, "B K O"]
    action: Float32[np.ndarray, "B K A"]
    return_to_go: Float32[np.ndarray, "B K"]
    timestep: Int32[np.ndarray, "B K"]
    steps: Int32[np.ndarray, " B"]
    """Observations seen in this episode."""


@jax.jit
def _last_action(net: DecisionTransformer, window: Window) -> Float[Array, "B A"]:
    return net(window, last=True)[:, 0]


@dataclass(frozen=True, eq=False)
class DTPolicy:
    """The frozen guide. It may watch while another policy acts: its context is made of what was
    executed, and the return that is still asked for falls by what was earned, whoever acted."""

    net: DecisionTransformer
    normaliser: Normaliser
    context: int
    """K, steps."""
    target_return: float
    return_scale: float
    cost_weight: float
    """w of the shaped reward r - w c, as in the windows that the guide was trained on."""

    @classmethod
    def of(
        cls,
        settings: DTSettings,
        state: DTState,
        normaliser: Normaliser,
        *,
        cost_weight: float,
        target_return: float,
    ) -> DTPolicy:
        """A copy of the trained network as it is now, asked for ``target_return``."""
        return cls(
            jax.tree.map(jnp.copy, state.guide.net),
            normaliser,
            settings.context,
            target_return,
            settings.return_scale,
            cost_weight,
        )

    def initial(self, batch: int) -> Context:
        b, k = batch, self.context
        o, a = len(self.normaliser.mean), self.net.head.bias.size
        return Context(
            np.zeros((b, k, o), np.float32),
            np.zeros((b, k, a), np.float32),
            np.zeros((b, k), np.float32),
            np.zeros((b, k), np.int32),
            np.zeros(b, np.int32),
        )

    def act(
        self, carry: Context, step: Step, draws: Draws
    ) -> tuple[Float32[np.ndarray, "B A"], Context]:
        carry = self.observe(carry, step)
        action = np.asarray(_last_action(self.net, self.window(carry)))
        return np.clip(action, -1, 1), carry

    def observe(self, carry: Context, step: Step) -> Context:
        """The context with one more step in it; nothing of an earlier episode is left."""
        k = self.context
        kept = ~step.first
        old = Context(*(x * kept.reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype) for x in carry))
        earned = (step.reward - self.cost_weight * step.cost) / self.return_scale
        target = np.float32(self.target_return / self.return_scale)
        # An episode longer than the time table stays at the table's end.
        timestep = np.minimum(old.steps, len(self.net.time) - 1)
        actions = np.concatenate([old.action[:, 1:], np.zeros_like(old.action[:, :1])], axis=1)
        if k > 1:
            actions[:, -2] = np.where(step.first[:, None], 0, step.action)

        def appended(rows: np.ndarray, newest: np.ndarray) -> np.ndarray:
            return np.concatenate([rows[:, 1:], newest[:, None].astype(rows.dtype)], axis=1)

        return Context(
            appended(old.observation, self.normaliser(step.observation)),
            actions,
            appended(
                old.return_to_go, np.where(step.first, target, old.return_to_go[:, -1] - earned)
            ),
            appended(old.timestep, timestep),
            old.steps + 1,
        )

    def window(self, carry: Context) -> Window:
        """The context as the network takes it, as in training: padded on the left with zeros."""
        held = np.minimum(carry.steps, self.context)
        mask = np.arange(self.context)[None] >= self.context - held[:, None]
        return Window(*carry[:4], mask=mask.astype(np.float32))

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Arrays by name, and a card of JSON values that says what they are."""
        net, first = self.net, self.net.blocks[0]
        arrays = {f"net{name}": np.asarray(leaf) for name, leaf in _named(net).items()}
        arrays |= {"mean": self.normaliser.mean, "std": self.normaliser.std}
        card = {
            "kind": "decision-transformer",
            "observation_size": len(self.normaliser.mean),
            "action_size": net.head.bias.size,
            "horizon": len(net.time),
            "embed": net.time.shape[1],
            "layers": len(net.blocks),
            "heads": first.heads,
            "activation": first.activation,
            "eps": first.ln_1.eps,
            "tanh": net.tanh,
            "context": self.context,
            "target_return": self.target_return,
            "return_scale": self.return_scale,
            "cost_weight": self.cost_weight,
        }
        return arrays, card

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> DTPolicy:
        """What ``to_arrays`` gave.

        Raises:
            HandrailError: the policy is of another kind, or an array is absent or of another
                shape than the card says.
        """
        if card.get("kind") != "decision-transformer":
            raise HandrailError(
                f"this is a policy of kind {card.get('kind')!r}, not a decision transformer"
            )
        like = jax.eval_shape(lambda: _skeleton(card))
        wanted = {f"net{name}": leaf.shape for name, leaf in _named(like).items()}
        o = card["observation_size"]
        for name, shape in {**wanted, "mean": (o,), "std": (o,)}.items():
            have = arrays[name].shape if name in arrays else None
            if have != shape:
                raise HandrailError(
                    f"the policy's array {name} is {have or 'absent'}, its card makes it {shape}"
                )
        # Copies: arrays as read lie in memory that JAX must not take for its own.
        leaves = [jnp.array(arrays[name], copy=True) for name in wanted]
        return cls(
            jax.tree.unflatten(jax.tree.structure(like), leaves),
            Normaliser(arrays["mean"], arrays["std"]),
            *(card[k] for k in ("context", "target_return", "return_scale", "cost_weight")),
        )


def _named(net: DecisionTransformer) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(net)[0]
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _skeleton(card: dict[str, Any]) -> DecisionTransformer:
    key = jax.random.key(0)
    layers, width, heads, activation, eps = (
        card[k] for k in ("layers", "embed", "heads", "activation", "eps")
    )
    return DecisionTransformer.of(
        card["observation_size"],
        card["action_size"],
        card["horizon"],
        fresh(layers, width, heads, activation, eps, key=key),
        LayerNorm.of(width, eps),
        tanh=card["tanh"],
        key=key,
    )
