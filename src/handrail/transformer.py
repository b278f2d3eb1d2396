"""Pre-LN GPT-2 blocks over tokens whose order in memory is free: a mask says who sees whom.

Legend of shapes: ``B`` batch rows, ``T`` tokens, ``Q`` the tokens whose output is wanted, ``D``
width, ``H`` heads, ``N`` rows of a 2-D array (B·T). Layers multiply 2-D arrays only: on a CPU the
gradient of a 3-D product is several times dearer than that of the same product in 2-D.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray, UInt32

from handrail.errors import HandrailError
from handrail.products import product

Activation = Literal["relu", "gelu_new"]
Draw = Callable[[Float[Array, "*shape"]], Float[Array, "*shape"]]
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
        return product(x, self.weight) + self.bias[None]


class LayerNorm(eqx.Module):
    scale: Float[Array, " D"]
    bias: Float[Array, " D"]
    eps: float = eqx.field(static=True)

    @classmethod
    def of(cls, width: int, eps: float = 1e-5) -> LayerNorm:
        return cls(jnp.ones(width), jnp.zeros(width), eps)

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
    def of(
        cls, width: int, heads: int, activation: Activation, eps: float, key: PRNGKeyArray
    ) -> Block:
        k = jax.random.split(key, 4)
        return cls(
            LayerNorm.of(width, eps),
            Dense.normal(width, 3 * width, k[0]),
            Dense.normal(width, width, k[1]),
            LayerNorm.of(width, eps),
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

        def split(z: Float[Array, "N D"]) -> Float[Array, "BH T E"]:
            """Heads beside batch rows: products of one batch axis, not two, which cost 5 % more."""
            return z.reshape(b, -1, heads, size).swapaxes(1, 2).reshape(b * heads, -1, size)

        y = self.ln_1(x.reshape(-1, d))
        if wanted == slice(0, t):
            q, k, v = jnp.split(self.qkv(y), 3, axis=1)
        else:  # keys and values of all tokens, queries of the wanted ones
            part = Dense(self.qkv.weight[:, d:], self.qkv.bias[d:])
            k, v = jnp.split(part(y), 2, axis=1)
            part = Dense(self.qkv.weight[:, :d], self.qkv.bias[:d])
            q = part(y.reshape(b, t, d)[:, wanted].reshape(-1, d))
            x, sees = x[:, wanted], sees[:, wanted]
        q, k, v = (split(z) for z in (q * size**-0.5, k, v))
        score = jnp.einsum("bqe,bte->bqt", q, k).reshape(b, heads, -1, t)
        score = jnp.where(sees[:, None], score, -1e9)  # finite: a row of padding sees nothing
        weight = drop(jax.nn.softmax(score, axis=-1)).reshape(b * heads, -1, t)
        y = jnp.einsum("bqt,bte->bqe", weight, v).reshape(b, heads, -1, size)
        y = y.swapaxes(1, 2).reshape(-1, d)
        x = x.reshape(-1, d)
        x = x + drop(self.proj(y))
        activation = jax.nn.relu if self.activation == "relu" else jax.nn.gelu
        x = x + drop(self.out(activation(self.fc(self.ln_2(x)))))
        return x.reshape(b, -1, d)


def fresh(
    layers: int,
    width: int,
    heads: int,
    activation: Activation,
    eps: float = 1e-5,
    *,
    key: PRNGKeyArray,
) -> tuple[Block, ...]:
    """Blocks from random initialisation.

    Raises:
        HandrailError: the heads do not divide the width.
    """
    if width % heads:
        raise HandrailError(f"{heads} heads do not divide a width of {width}")
    keys = jax.random.split(key, layers)
    return tuple(Block.of(width, heads, activation, eps, k) for k in keys)


class Dropout:
    """Dropout at one place after another; each call has its own part of one sequence of bits.

    A mask is a hash of a counter and of one draw from the key, so it is computed where it is used
    and, in the gradient, once more: nothing is stored. A step asks for 3 million masks; drawn with
    threefry they take as long as the forward pass, and its compilation minutes. The hash is
    Wellons' lowbias32 (github.com/skeeto/hash-prospector) with the key's words at both stages.
    """

    def __init__(self, rate: float, key: PRNGKeyArray):
        self._seed: UInt32[Array, "2"] = jax.random.bits(key, (2,), jnp.uint32)
        self._rate = rate
        self._used = 0

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        h = jax.lax.iota(jnp.uint32, x.size) + (self._seed[0] + jnp.uint32(self._used))
        self._used += x.size
        h = (h ^ (h >> 16)) * jnp.uint32(0x7FEB352D) ^ self._seed[1]
        h = (h ^ (h >> 15)) * jnp.uint32(0x846CA68B)
        kept = h >= jnp.uint32(round(self._rate * 2**32))  # the upper bits decide, the best mixed
        return jnp.where(kept.reshape(x.shape), x * (1 / (1 - self._rate)), 0)


def gpt2_files(path: str | Path) -> tuple[Path, dict[str, Any]]:
    """GPT-2's weights file, unread, and its sizes.

    Args:
        path: as of :func:`read_gpt2`.

    Raises:
        HandrailError: a file is absent, or the sizes are no GPT-2's.
    """
    path = Path(path)
    if path.suffix in {".bin", ".pt", ".pth"}:
        raise HandrailError(
            f"{path} is a pickle, which can run code as it is read; give the directory of "
            "model.safetensors and config.json"
        )
    directory = path.parent if path.suffix == ".safetensors" else path
    file = path if path.suffix == ".safetensors" else directory / "model.safetensors"
    config = _read_config(directory / "config.json")
    if not file.is_file():
        raise HandrailError(
            f"{file} is missing; GPT-2's weights are model.safetensors and config.json of "
            "huggingface.co/openai-community/gpt2"
        )
    return file, config


def read_gpt2(path: str | Path) -> tuple[tuple[Block, ...], LayerNorm]:
    """The blocks and the final norm of GPT-2 as Hugging Face publishes it.

    Args:
        path: a directory with ``model.safetensors`` and ``config.json`` (of ``gpt2``,
            ``gpt2-medium``, ...). Token and position embeddings are left aside: the decision
            transformer has its own.

    Raises:
        HandrailError: a file is absent, is no such file, or lacks a weight of the right shape.
    """
    file, config = gpt2_files(path)
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(file)
    except (SafetensorError, OSError) as error:
        raise HandrailError(f"{file} is not a safetensors file: {error}") from error
    arrays = {name.removeprefix("transformer."): array for name, array in arrays.items()}

    def take(name: str, *shape: int) -> Float[Array, "*shape"]:
        if name not in arrays:
            raise HandrailError(f"{file} has no {name}; it is not GPT-2's")
        if arrays[name].shape != shape:
            raise HandrailError(
                f"{name} in {file} has shape {arrays[name].shape}, config.json makes it {shape}"
            )
        return jnp.array(arrays[name], jnp.float32)

    d, heads, layers, eps = (config[k] for k in ("n_embd", "n_head", "n_layer", "eps"))

    def norm(name: str) -> LayerNorm:
        return LayerNorm(take(f"{name}.weight", d), take(f"{name}.bias", d), eps)

    def dense(name: str, inputs: int, outputs: int) -> Dense:  # Conv1D: (inputs, outputs)
        return Dense(take(f"{name}.weight", inputs, outputs), take(f"{name}.bias", outputs))

    def block(name: str) -> Block:
        return Block(
            norm(f"{name}.ln_1"),
            dense(f"{name}.attn.c_attn", d, 3 * d),
            dense(f"{name}.attn.c_proj", d, d),
            norm(f"{name}.ln_2"),
            dense(f"{name}.mlp.c_fc", d, 4 * d),
            dense(f"{name}.mlp.c_proj", 4 * d, d),
            heads,
            "gelu_new",
        )

    return tuple(block(f"h.{i}") for i in range(layers)), norm("ln_f")


def _read_config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise HandrailError(f"{file} is missing; it stands beside GPT-2's model.safetensors")
    try:
        config = json.loads(file.read_text("utf-8"))
        values: dict[str, Any] = {k: int(config[k]) for k in ("n_embd", "n_head", "n_layer")}
        values["eps"] = float(config.get("layer_norm_epsilon", 1e-5))
        activation = config.get("activation_function", "gelu_new")
        inner = config.get("n_inner") or 4 * values["n_embd"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HandrailError(f"{file} is not GPT-2's config.json: {error!r}") from error
    if activation != "gelu_new" or inner != 4 * values["n_embd"]:
        raise HandrailError(
            f"{file} has activation_function {activation} and n_inner {inner}; GPT-2 has gelu_new "
            f"and {4 * values['n_embd']}"
        )
    if min(values["n_embd"], values["n_head"], values["n_layer"]) < 1 or (
        values["n_embd"] % values["n_head"]
    ):
        raise HandrailError(f"{file} has sizes that no GPT-2 has: {values}")
    return values
