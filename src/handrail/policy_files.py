"""Policies on disk: a directory of safetensors and a JSON card, of any kind that can act."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from handrail.errors import HandrailError
from handrail.policies import MLPPolicy
from handrail.storage import read_policy, write_policy
from handrail.types import Policy, Spec


class Storable(Policy, Protocol):
    """A policy that can be written."""

    def to_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]: ...


def save_policy(policy: Storable, path: Path, spec: Spec) -> None:
    """Write the policy's directory, ready to load; one that is there is replaced at once."""
    arrays, card = policy.to_arrays()
    write_policy(path, arrays, {**card, "spec": asdict(spec)})


def load_policy(path: Path) -> tuple[Storable, Spec]:
    """A policy, acting deterministically, and the sizes of its task.

    Args:
        path: the policy's directory, or that of a run that has one.

    Raises:
        HandrailError: there is none (yet), it is damaged, or of another version or unknown kind.
    """
    if (path / "settings.toml").is_file():
        if not (path / "policy" / "card.json").is_file():
            raise HandrailError(
                f"{path} has no policy yet; finish it with `handrail resume {path}`"
            )
        path = path / "policy"
    arrays, card = read_policy(path)
    kind = card.get("kind")
    try:
        if kind == "mlp":
            policy: Storable = MLPPolicy.from_arrays(arrays, card)
        elif kind == "decision-transformer":
            from handrail.learners.decision_transformer import DTPolicy

            policy = DTPolicy.from_arrays(arrays, card)
        else:
            raise HandrailError(f"{path} holds a policy of unknown kind {kind!r}")
        return policy, Spec.of(card["spec"])
    except KeyError as missing:
        raise HandrailError(f"{path} is damaged: {missing} is missing; restore it") from missing
