"""The decision transformer as it acts: GOLD's frozen guide.

It may watch while another policy acts: its context is made of what was executed, and the return
that is still asked for falls by what was earned, whoever acted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int32

from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.learners.decision_transformer import DecisionTransformer, DTSettings, DTState
from handrail.transformer import LayerNorm, fresh
from handrail.types import Draws, Step, Window


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
    """A policy that carries the context of each environment's episode."""

    net: DecisionTransformer
    normaliser: Normaliser
    context: int
    """K, steps."""
    target_return: float
    return_scale: float
    """What returns are divided by, > 0."""
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
        return_scale: float,
        target_return: float,
    ) -> DTPolicy:
        """A copy of the trained network as it is now, asked for ``target_return``; all three in the
        environment's units."""
        return cls(
            jax.tree.map(jnp.copy, state.guide.net),
            normaliser,
            settings.context,
            target_return,
            return_scale,
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
