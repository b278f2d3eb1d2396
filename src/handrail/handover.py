"""What an offline run leaves for an online one: its networks, and what they were learnt behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax

from handrail.data.windows import Normaliser
from handrail.errors import HandrailError
from handrail.networks import ActorCritics
from handrail.policies import MLPPolicy
from handrail.storage import arrays_of, publish, recall, restore
from handrail.types import Spec

_INDEX = "networks.json"


@dataclass(frozen=True)
class Learnt:
    """Networks of normalised observations and of rewards in units."""

    networks: ActorCritics
    normaliser: Normaliser
    reward_unit: float
    spec: Spec
    critics: bool = True
    """Whether the critics were trained."""

    @classmethod
    def of(
        cls,
        state: Any,
        normaliser: Normaliser,
        reward_unit: float,
        spec: Spec,
        *,
        critics: bool = True,
    ) -> Learnt:
        """Of the state of an offline learner."""
        nets = ActorCritics(
            actor=state.actor.net,
            critic=state.critic.net,
            target=state.target,
            cost_critic=state.cost_critic.net,
            cost_target=state.cost_target,
        )
        return cls(nets, normaliser, reward_unit, spec, critics)

    @property
    def policy(self) -> MLPPolicy:
        """Of raw observations, acting by the mode."""
        return MLPPolicy.of(self.networks.actor).behind(self.normaliser).mode()

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of the hidden layers."""
        return tuple(layer.bias.size for layer in self.networks.actor.trunk.layers[:-1])

    def save(self, path: Path) -> None:
        """Into a directory of its own."""
        normaliser = {"mean": self.normaliser.mean, "std": self.normaliser.std}
        record = {"reward_unit": self.reward_unit, "hidden": list(self.hidden)}
        record |= {"layer_norm": self.networks.layer_norm, "critics": self.critics}
        record |= {"spec": asdict(self.spec)}
        state = {"networks": self.networks, "normaliser": normaliser}
        publish(path, _INDEX, "networks", arrays_of(state), record)

    @staticmethod
    def saved(path: Path) -> bool:
        """Whether ``save`` has come to its end there."""
        return (path / _INDEX).is_file()

    @classmethod
    def load(cls, path: Path, task: str) -> Learnt:
        """What ``save`` wrote.

        Raises:
            HandrailError: there is nothing, it is damaged, or of another task.
        """
        if not cls.saved(path):
            raise HandrailError(
                f"{path} holds no networks that were learnt offline; train them to the end with "
                "`handrail train cpq`, `bear-lag` or `clone`"
            )
        arrays, record = recall(path, _INDEX)
        try:
            spec = Spec.of(record["spec"])
            hidden, unit = tuple(record["hidden"]), float(record["reward_unit"])
            # Once there was no layer normalisation, and no policy without critics.
            layer_norm, critics = record.get("layer_norm", False), record.get("critics", True)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HandrailError(f"{path / _INDEX} is damaged ({error!r}); restore it") from error
        if spec.task != task:
            raise HandrailError(f"{path} was learnt on {spec.task}, not on {task}")
        empty = Normaliser.none(spec.observation_size)
        like = {
            "networks": ActorCritics.new(
                spec.observation_size,
                spec.action_size,
                hidden,
                layer_norm=layer_norm,
                key=jax.random.key(0),
            ),
            "normaliser": {"mean": empty.mean, "std": empty.std},
        }
        state = restore(like, arrays, path)
        return cls(state["networks"], Normaliser(**state["normaliser"]), unit, spec, critics)
