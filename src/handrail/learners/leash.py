"""A leash: what keeps a policy near demonstrated actions while its critics do not know better.

    beta E_D[|mode(s) - a|^2] / spread of a in D

A policy that learns from values alone forgets what it was taught before they are right. Behaviour
cloning beside the policy's own loss keeps it (TD3+BC: Fujimoto, Gu 2021, arXiv 2106.06860), here on
demonstrations alone (as in Nair et al. 2018, arXiv 1709.10089, Eq. 5): what it does where nobody
showed anything is its own. As values grow, so does the length of the leash.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Array, Float

from handrail.errors import HandrailError
from handrail.networks import Actor
from handrail.training import demonstrated
from handrail.types import Batch


@dataclass(frozen=True)
class Leash:
    """Of the last ``share`` of each batch, which are demonstrations (``online.Online``).

    Raises:
        HandrailError: a strength below 0 or not finite, or a share that is not within (0, 1).
    """

    strength: float
    """beta >= 0, in reward units."""
    share: float
    spread: float = 1.0
    """What squared distances are counted in (``Episodes.spread`` of the demonstrations)."""

    def __post_init__(self) -> None:
        if not 0 <= self.strength < float("inf"):  # nor NaN
            raise HandrailError(f"the leash is {self.strength:g}; it must be 0 or more, and finite")
        if not 0 < self.share < 1:
            raise HandrailError(
                f"demonstration_share is {self.share:g}; a leash asks for one within (0, 1)"
            )

    def loss(self, actor: Actor, batch: Batch) -> Float[Array, ""]:
        """The term above, summed over the action's axes."""
        first = len(batch.reward) - demonstrated(self.share, len(batch.reward))
        mode = actor.mode(batch.observation[first:])
        return self.strength / self.spread * ((mode - batch.action[first:]) ** 2).sum(-1).mean()
