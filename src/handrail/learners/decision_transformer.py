"""The decision transformer (Chen et al. 2021, arXiv 2106.01345), GOLD's guide (Sec. III-B)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from handrail.training import Trained
from handrail.transformer import Block, Dense, Draw, Dropout, LayerNorm
from handrail.types import Metrics, Spec, Window


@dataclass(frozen=True)
class DTSettings:
    """Settings of the guide; the defaults are those of GOLD's authors (docs/gold.md)."""

    context: int = 20
    """K, in environment steps (GOLD Sec. IV)."""
    embed: int = 128
    layers: int = 3
    heads: int = 1
    dropout: float = 0.1
    tanh: bool = True
    batch: int = 64
    """Windows an update."""
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    warmup: int = 100
    """Updates over which the learning rate rises linearly to its value."""
    clip: float = 0.25
    """Largest global norm of a gradient."""
    target_return: float = 50.0
    return_scale: float = 10.0


class DecisionTransformer(eqx.Module):
    time: Float[Array, "T D"]
    state: Dense
    returns: Dense
    action: Dense
    ln: LayerNorm
    blocks: tuple[Block, ...]
    ln_f: LayerNorm
    head: Dense
    tanh: bool = eqx.field(static=True)

    @classmethod
    def of(cls, settings: DTSettings, spec: Spec, key: PRNGKeyArray) -> DecisionTransformer:
        d, o, a = settings.embed, spec.observation_size, spec.action_size
        k = jax.random.split(key, 5 + settings.layers)
        return cls(
            jax.random.normal(k[0], (spec.horizon, d)),
            Dense.uniform(o, d, k[1]),
            Dense.uniform(1, d, k[2]),
            Dense.uniform(a, d, k[3]),
            LayerNorm.of(d),
            tuple(Block.of(d, settings.heads, "relu", key) for key in k[5:]),
            LayerNorm.of(d),
            Dense.uniform(d, a, k[4]),
            settings.tanh,
        )

    def __call__(self, window: Window, drop: Draw = lambda x: x, *, last: bool = False):
        b, k, _ = window.observation.shape
        d = self.time.shape[1]
        rows = lambda x: x.reshape(b * k, -1)
        time = self.time[window.timestep].reshape(b * k, d)
        tokens = [
            self.state(rows(window.observation)) + time,
            self.returns(rows(window.return_to_go)) + time,
            self.action(rows(window.action)) + time,
        ]
        x = jnp.concatenate([t.reshape(b, k, d) for t in tokens], axis=1)[:, :-1]
        x = drop(self.ln(x.reshape(-1, d))).reshape(b, -1, d)
        order = np.concatenate([3 * np.arange(k) + 1, 3 * np.arange(k), 3 * np.arange(k - 1) + 2])
        valid = jnp.concatenate([window.mask, window.mask, window.mask[:, :-1]], axis=1) > 0
        sees = (order[:, None] >= order[None])[None] & valid[:, None]
        for block in self.blocks[:-1]:
            x = block(x, sees, drop)
        x = self.blocks[-1](x, sees, drop, slice(k - 1, k) if last else slice(0, k))
        action = self.head(self.ln_f(x.reshape(-1, d))).reshape(b, -1, self.head.bias.size)
        return jnp.tanh(action) if self.tanh else action


class DTState(eqx.Module):
    guide: Trained
    key: PRNGKeyArray


def init(settings: DTSettings, key: PRNGKeyArray, spec: Spec) -> DTState:
    key, k1 = jax.random.split(key)
    rate = lambda count: settings.learning_rate * jnp.minimum(1, (count + 1) / settings.warmup)
    optimiser = optax.chain(
        optax.clip_by_global_norm(settings.clip),
        optax.adamw(rate, weight_decay=settings.weight_decay),
    )
    return DTState(Trained.of(DecisionTransformer.of(settings, spec, k1), optimiser), key)


def dropout_size(net, b, k):
    t, d, h = 3 * k - 1, net.time.shape[1], net.blocks[0].heads
    full = b * (h * t * t + 2 * t * d)
    return b * t * d + (len(net.blocks) - 1) * full + b * (h * k * t + 2 * k * d)


def loss(net, window, key, rate=0.1):
    drop = lambda x: x
    if rate:
        drop = Dropout(rate, dropout_size(net, *window.mask.shape), key)
    action = net(window, drop)
    error = ((action - window.action) ** 2).mean(-1)
    return (error * window.mask).sum() / window.mask.sum()


def update(settings: DTSettings, state: DTState, window: Window) -> tuple[DTState, Metrics]:
    key, k1 = jax.random.split(state.key)
    guide, value = state.guide.descend(lambda net: loss(net, window, k1, settings.dropout))
    return DTState(guide, key), {"loss/guide": value}
