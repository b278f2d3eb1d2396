"""Pre-LN GPT-2 blocks over tokens whose order in memory is free: a mask says who sees whom.

Legend of shapes: ``B`` batch rows, ``T`` tokens, ``Q`` the tokens whose output is wanted, ``D``
width, ``H`` heads, ``N`` rows of a 2-D array (B·T). Layers multiply 2-D arrays only: on a CPU the
gradient of a 3-D product is several times dearer than that of the same product in 2-D.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt16

from handrail.errors import HandrailError

Activation = Literal["relu", "gelu_new"]
Draw = Callable[[Float[Array, "..."]], Float[Array, "..."]]
"""Dropout at one place: its input with some entries zeroed and the others scaled up."""


class Dense(eqx.Module):
    """x W + b, W of shape (inputs, outputs)."""

    weight: Float[Array, "I J"]
    bias: Float[Array, " J"]

    @classmethod
    def normal(cls, inputs: int, outputs: int, key: PRNGKeyArray) -> Dense:
        """GPT-2's start: N(0, 0.02²), bias zero."""
        return cls(0.02 * jax.random.normal(key, (inputs, outputs)), jnp.zeros(outputs))

    @classmethod
    def uniform(cls, inputs: int, outputs: int, key: PRNGKeyArray) -> Dense:
        """PyTorch's start of a linear layer: U(±1/√inputs), bias too."""
        k1, k2 = jax.random.split(key)
        bound = inputs**-0.5
        weight = jax.random.uniform(k1, (inputs, outputs), minval=-bound, maxval=bound)
        return cls(weight, jax.random.uniform(k2, (outputs,), minval=-bound, maxval=bound))

    def __call__(self, x: Float[Array, "N I"]) -> Float[Array, "N J"]:
        return x @ self.weight + self.bias[None]


class LayerNorm(eqx.Module):
    scale: Float[Array, " D"]
    bias: Float[Array, " D"]
    eps: float = eqx.field(static=True, default=1e-5)

    @classmethod
    def of(cls, width: int) -> LayerNorm:
        return cls(jnp.ones(width), jnp.zeros(width))

    def __call__(self, x: Float[Array, "N D"]) -> Float[Array, "N D"]:
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + self.eps)
        return x * self.scale[None] + self.bias[None]


class Block(eqx.Module):
    """x + attention(LN(x)), then x + MLP(LN(x))."""

    ln_1: LayerNorm
    qkv: Dense
    proj: Dense
    ln_2: LayerNorm
    fc: Dense
    out: Dense
    heads: int = eqx.field(static=True)
    activation: Activation = eqx.field(static=True)

    @classmethod
    def of(cls, width: int, heads: int, activation: Activation, key: PRNGKeyArray) -> Block:
        k = jax.random.split(key, 4)
        return cls(
            LayerNorm.of(width),
            Dense.normal(width, 3 * width, k[0]),
            Dense.normal(width, width, k[1]),
            LayerNorm.of(width),
            Dense.normal(width, 4 * width, k[2]),
            Dense.normal(4 * width, width, k[3]),
            heads,
            activation,
        )

    def __call__(
        self,
        x: Float[Array, "B T D"],
        sees: Bool[Array, "B T T"],
        drop: Draw,
        wanted: slice | None = None,
    ) -> Float[Array, "B Q D"]:
        """The output at the tokens ``wanted`` (all by default), which see ``sees[b, t]``."""
        b, t, d = x.shape
        wanted = wanted or slice(0, t)
        heads, size = self.heads, d // self.heads
        y = self.ln_1(x.reshape(-1, d))
        if wanted == slice(0, t):
            q, k, v = jnp.split(self.qkv(y), 3, axis=1)
        else:  # keys and values of all tokens, queries of the wanted ones
            part = Dense(self.qkv.weight[:, d:], self.qkv.bias[d:])
            k, v = jnp.split(part(y), 2, axis=1)
            part = Dense(self.qkv.weight[:, :d], self.qkv.bias[:d])
            q = part(y.reshape(b, t, d)[:, wanted].reshape(-1, d))
            x, sees = x[:, wanted], sees[:, wanted]
        q, k, v = (z.reshape(b, -1, heads, size) for z in (q * size**-0.5, k, v))
        score = jnp.einsum("bqhe,bthe->bhqt", q, k)
        score = jnp.where(sees[:, None], score, -1e9)  # finite: a row of padding sees nothing
        weight = drop(jax.nn.softmax(score, axis=-1))
        y = jnp.einsum("bhqt,bthe->bqhe", weight, v).reshape(-1, d)
        x = x.reshape(-1, d)
        x = x + drop(self.proj(y))
        activation = jax.nn.relu if self.activation == "relu" else jax.nn.gelu
        x = x + drop(self.out(activation(self.fc(self.ln_2(x)))))
        return x.reshape(b, -1, d)


class Dropout:
    """Dropout masks cut one after another from bits drawn at once.

    A draw for each place costs more than a layer on a CPU. 16 bits a mask keep the rate exact to
    1e-5, and the scale is that of the rate as kept.
    """

    def __init__(self, rate: float, size: int, key: PRNGKeyArray):
        self._bits: UInt16[Array, " size"] = jax.random.bits(key, (size,), jnp.uint16)
        self._below = round(rate * 2**16)
        self._used = 0

    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        bits = self._bits[self._used : self._used + x.size].reshape(x.shape)
        self._used += x.size
        return jnp.where(bits >= self._below, x / (1 - self._below / 2**16), 0)
