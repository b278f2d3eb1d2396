"""Policy expansion (PEX; Zhang, Xu, Yu 2023, arXiv 2302.00935): the offline policy stays, a new one
is learnt beside it, and the critics decide at each step which of the two acts.

Here the value that decides is the Lagrangian's, Q - lambda Q_c, with the lambda of the last update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from handrail.data.windows import Normaliser
from handrail.learners import sac_lagrangian
from handrail.learners.sac_lagrangian import SACLagrangianSettings, SACLagrangianState
from handrail.networks import Actor, ActorCritics, Critic, standardised
from handrail.policies import MLPPolicy
from handrail.training import Learner
from handrail.types import Batch, Draws, Metrics, Step


class Acting(eqx.Module):
    """What acts: the new policy, and what chooses between it and the offline one."""

    actor: Actor
    critic: Critic
    cost_critic: Critic
    multiplier: Float[Array, ""]


class ExpansionState(eqx.Module):
    sac: SACLagrangianState
    multiplier: Float[Array, ""]


@dataclass(frozen=True, eq=False)
class HostCritic:
    """``networks.Critic`` on the host."""

    members: tuple[tuple[tuple[np.ndarray, np.ndarray], ...], ...]
    """Weight and bias of each layer of each member."""
    layer_norm: bool = False

    @classmethod
    def of(cls, critic: Any) -> HostCritic:
        return cls(
            tuple(
                tuple((np.asarray(layer.weight), np.asarray(layer.bias)) for layer in net.layers)
                for net in critic.members
            ),
            critic.layer_norm,
        )

    def __call__(self, inputs: Float[np.ndarray, "B I"]) -> Float[np.ndarray, "E B"]:
        values = []
        for layers in self.members:
            x = inputs
            for weight, bias in layers[:-1]:
                x = x @ weight + bias
                x = np.maximum(standardised(x) if self.layer_norm else x, 0)
            weight, bias = layers[-1]
            values.append((x @ weight + bias)[:, 0])
        return np.stack(values)

    def to_arrays(self) -> dict[str, np.ndarray]:
        return {
            f"{m}.{i}.{name}": array
            for m, layers in enumerate(self.members)
            for i, layer in enumerate(layers)
            for name, array in zip(("weight", "bias"), layer, strict=True)
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], sizes: list[int], layer_norm: bool
    ) -> HostCritic:
        """``sizes``: the number of layers of each member."""
        return cls(
            tuple(
                tuple((arrays[f"{m}.{i}.weight"], arrays[f"{m}.{i}.bias"]) for i in range(layers))
                for m, layers in enumerate(sizes)
            ),
            layer_norm,
        )


@dataclass(frozen=True, eq=False)
class ExpandedPolicy:
    """Which of two policies acts is drawn from the softmax of the values of their actions; the one
    of the larger value acts where the policy is deterministic. Both see the same draws."""

    offline: MLPPolicy
    new: MLPPolicy
    critic: HostCritic
    cost_critic: HostCritic
    multiplier: float
    temperature: float
    """Of the softmax, in reward units (PEX's inverse temperature: 1/temperature)."""
    normaliser: Normaliser
    deterministic: bool = False

    def behind(self, normaliser: Normaliser) -> ExpandedPolicy:
        return replace(self, normaliser=normaliser)

    def mode(self) -> ExpandedPolicy:
        return self._acting(self.offline.mode(), self.new.mode(), True)

    def sampled(self, spread: float = 1.0) -> ExpandedPolicy:
        return self._acting(self.offline.sampled(spread), self.new.sampled(spread), False)

    def _acting(self, offline: MLPPolicy, new: MLPPolicy, deterministic: bool) -> ExpandedPolicy:
        return replace(self, offline=offline, new=new, deterministic=deterministic)

    def initial(self, batch: int) -> None:
        return None

    def act(self, carry: None, step: Step, draws: Draws) -> tuple[np.ndarray, None]:
        seen = step._replace(observation=self.normaliser(step.observation))
        actions = [policy.act(None, seen, draws)[0] for policy in (self.offline, self.new)]
        first, second = (self._value(seen.observation, action) for action in actions)
        if self.deterministic:
            takes_new = second > first
        else:  # the softmax of two is a logistic function of their difference
            gap = np.clip((second - first) / self.temperature, -50, 50)
            takes_new = draws.uniform < 1 / (1 + np.exp(-gap))
        return np.where(takes_new[:, None], actions[1], actions[0]), None

    def _value(self, observation: np.ndarray, action: np.ndarray) -> Float[np.ndarray, " B"]:
        inputs = np.concatenate([observation, action], axis=-1)
        return self.critic(inputs).min(0) - self.multiplier * self.cost_critic(inputs).mean(0)

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        arrays = {"mean": self.normaliser.mean, "std": self.normaliser.std}
        card: dict[str, Any] = {"kind": "expansion"}
        for name in ("offline", "new"):
            own, card[name] = getattr(self, name).to_arrays()
            arrays |= {f"{name}.{key}": array for key, array in own.items()}
        for name in ("critic", "cost_critic"):
            critic: HostCritic = getattr(self, name)
            card[name] = [len(layers) for layers in critic.members]
            arrays |= {f"{name}.{key}": array for key, array in critic.to_arrays().items()}
        card |= {"multiplier": self.multiplier, "temperature": self.temperature}
        return arrays, card | {"layer_norm": self.critic.layer_norm}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], card: dict[str, Any]) -> ExpandedPolicy:
        """What ``to_arrays`` gave; it acts deterministically."""

        def part(name: str) -> dict[str, np.ndarray]:
            return {
                k.removeprefix(f"{name}."): a for k, a in arrays.items() if k.startswith(f"{name}.")
            }

        layer_norm = card.get("layer_norm", False)  # once there was none
        return cls(
            MLPPolicy.from_arrays(part("offline"), card["offline"]),
            MLPPolicy.from_arrays(part("new"), card["new"]),
            HostCritic.from_arrays(part("critic"), card["critic"], layer_norm),
            HostCritic.from_arrays(part("cost_critic"), card["cost_critic"], layer_norm),
            multiplier=float(card["multiplier"]),
            temperature=float(card["temperature"]),
            normaliser=Normaliser(arrays["mean"], arrays["std"]),
            deterministic=True,
        )


def learner(
    settings: SACLagrangianSettings, offline: ActorCritics, temperature: float, multiplier: float
) -> Learner:
    """A new policy learnt by SAC-Lagrangian on the critics that were learnt offline.

    ``multiplier`` is the one by which they choose until the first update brings another.
    """
    sac = sac_lagrangian.learner(settings, offline, actor=False)
    frozen = MLPPolicy.of(jax.tree.map(np.asarray, offline.actor))

    def update(
        state: ExpansionState, batch: Batch, multiplier: Float[Array, ""]
    ) -> tuple[ExpansionState, Metrics]:
        new, metrics = sac.update(state.sac, batch, multiplier)
        return ExpansionState(new, multiplier), metrics

    def policy(acting: Acting) -> ExpandedPolicy:
        new = MLPPolicy.of(acting.actor)
        return ExpandedPolicy(
            frozen,
            new,
            HostCritic.of(acting.critic),
            HostCritic.of(acting.cost_critic),
            float(acting.multiplier),
            temperature,
            Normaliser.none(len(new.weights[0])),
        )

    return Learner(
        "PEX",
        lambda key, spec: ExpansionState(sac.init(key, spec), jnp.float32(multiplier)),
        update,
        lambda state: Acting(
            state.sac.actor.net, state.sac.critic.net, state.sac.cost_critic.net, state.multiplier
        ),
        policy,
    )
