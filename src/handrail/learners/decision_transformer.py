"""The decision transformer (Chen et al. 2021, arXiv 2106.01345), GOLD's guide (Sec. III-B).

Each step of a window is three tokens: return-to-go, state, action. The action is read from the
state token, which sees everything up to itself. In memory the tokens stand by kind (states,
returns, actions), not in the order of time: order is the attention mask's affair, and so the
states' rows, all that the loss needs of the last layer, are one slice. The action of the newest
step is seen by no state and is left out: T = 3 K - 1 tokens.

``handrail.transformer_policy`` is how it acts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from handrail.errors import HandrailError
from handrail.training import Trained, annealed, check_ranges
from handrail.transformer import (
    Block,
    Dense,
    Draw,
    Dropout,
    LayerNorm,
    fresh,
    gpt2_files,
    read_gpt2,
)
from handrail.types import Metrics, Spec, Window

TIME_SCALE = 0.02
"""Deviation of the time table at the start, GPT-2's. The official code's 1 drowns the state, which
enters with 0.6, and tells the episodes of a small set apart (docs/decisions/0006)."""


@dataclass(frozen=True)
class DTSettings:
    """Settings of the guide; sizes by default are those of GOLD's published code, the training is
    shorter and at a higher rate (docs/gold.md)."""

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
    dropout: float = 0.0
    """Probability, after the embedding, on attention weights, and on each branch's output (GOLD's
    code: 0.1, with 100,000 updates)."""
    tanh: bool = True
    """Whether the head ends in a tanh; without, actions are clipped where they are executed."""
    batch: int = 32
    """Windows of one update (GOLD's code: 64)."""
    updates: int = 2000
    """Gradient updates in all (GOLD's code: 100,000)."""
    learning_rate: float = 1e-3
    """AdamW's, per update, at its highest: a cosine brings it to 0 by the last update (GOLD's code:
    1e-4 throughout)."""
    weight_decay: float = 1e-4
    """AdamW's, times the learning rate, per update."""
    warmup: int = 100
    """Updates over which the learning rate rises linearly."""
    clip: float = 0.25
    """Largest global norm of a gradient (Decision Transformer's code)."""
    target_return: float | None = None
    """Shaped return, in reward units, that the guide is asked for at the start of an episode. None:
    what the best tenth of the demonstrations reaches (GOLD's code: 50 on Safety Gym's tasks)."""
    return_scale: float = 10.0
    """What returns, in reward units, are divided by before the network sees them."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("clip", "return_scale"):
            if not getattr(self, name) > 0:  # nor NaN
                raise HandrailError(f"{name} is {getattr(self, name)}; it must be above 0")
        if math.isinf(self.return_scale):
            raise HandrailError("return_scale is inf; it must be finite")
        if self.target_return is not None and not math.isfinite(self.target_return):
            raise HandrailError(f"target_return is {self.target_return}; it must be finite")
        if not 0 <= self.dropout < 1:
            raise HandrailError(f"dropout is {self.dropout}; it must lie in [0, 1)")
        if self.backbone == "fresh" and self.embed % self.heads:
            raise HandrailError(f"{self.heads} heads do not divide an embed of {self.embed}")
        if (self.backbone == "gpt2") != (self.weights is not None):
            raise HandrailError(
                "backbone gpt2 needs weights, the directory of model.safetensors and config.json; "
                "backbone fresh takes none"
            )

    def check(self) -> None:
        """Raise a HandrailError where GPT-2's files are not there."""
        if self.weights is not None:
            gpt2_files(self.weights)


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
        """Embeddings and head around these blocks, started as the official code does, but for the
        time table, which starts small."""
        width = ln_f.scale.size
        k = jax.random.split(key, 5)
        return cls(
            TIME_SCALE * jax.random.normal(k[0], (horizon, width)),
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

    rate = annealed(settings.learning_rate, settings.updates, settings.warmup)
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
