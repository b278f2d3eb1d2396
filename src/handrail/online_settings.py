"""Settings of the loop that every online method shares, and what contradicts itself in them."""

from __future__ import annotations

from dataclasses import dataclass

from handrail.errors import HandrailError
from handrail.judge import JudgeSettings
from handrail.training import demonstrated


@dataclass(frozen=True)
class OnlineSettings(JudgeSettings):
    """Settings of the loop, in environment steps unless said otherwise."""

    steps: int = 100_000
    """Length of the run."""
    environments: int = 5
    """Simulators stepped in lock-step: a guide that is costly to call acts on all at once."""
    block: int = 500
    """Steps between two changes of the acting parameters; a multiple of ``environments``."""
    updates_per_step: float = 0.5
    """Gradient updates for each step (GOLD's code: 1)."""
    batch: int = 128
    """Transitions in an update's batch (GOLD's code: 256)."""
    noise: float = 1.0
    """Training actions are sampled with this part of the student's own standard deviation; 0: the
    mode acts."""
    buffer: int = 1_000_000
    """Transitions that replay holds."""
    start: int = 2_500
    """Steps in replay before the first update."""
    normalise: bool = True
    """Learn on observations of mean 0 and deviation 1, by the demonstrations, or by replay at the
    first update; fixed from then on, and folded into the policy."""
    evaluate_every: int = 10_000
    """Steps between evaluations of the student, rows of metrics and checkpoints."""
    keep_policies: bool = False
    """Keep the policy of every evaluation, as policy/step-N."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in (
            *("steps", "environments", "block", "batch", "buffer", "start"),
            "evaluate_every",
        ):
            if getattr(self, name) < 1:
                raise HandrailError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.noise < float("inf"):  # nor NaN
            raise HandrailError(f"noise is {self.noise:g}; it must be 0 or more, and finite")
        if self.block % self.environments:
            raise HandrailError(
                f"block ({self.block}) is no multiple of environments ({self.environments})"
            )
        if not 0 < self.updates_per_step < float("inf"):  # nor NaN
            raise HandrailError(
                f"updates_per_step is {self.updates_per_step:g}; it must be above 0, and finite"
            )
        if round(self.block * self.updates_per_step) < 1:
            raise HandrailError("block x updates_per_step gives no update; raise one of them")
        for name in ("steps", "evaluate_every"):
            if getattr(self, name) % self.block:
                raise HandrailError(
                    f"{name} ({getattr(self, name)}) is no multiple of block ({self.block})"
                )

    def check(self) -> None:
        """Raise a HandrailError where nothing would be learnt."""
        if self.start > self.buffer or self.start >= self.steps:
            raise HandrailError(
                f"nothing would be learnt: start is {self.start}, buffer {self.buffer}, steps "
                f"{self.steps}; lower start, or raise what it does not reach"
            )


def require_share(demonstration_share: float, pretrain: int, batch: int) -> None:
    """Raise a HandrailError where there can be no such part of a batch, or no such pre-training."""
    if not 0 <= demonstration_share < 1:
        raise HandrailError(
            f"demonstration_share is {demonstration_share:g}; it must lie in [0, 1)"
        )
    if demonstration_share and not 0 < demonstrated(demonstration_share, batch) < batch:
        raise HandrailError(
            f"demonstration_share is {demonstration_share:g}: of a batch of {batch} that is none, "
            "or all; raise the one or the other, or lower the share"
        )
    if pretrain < 0:
        raise HandrailError(f"pretrain is {pretrain}; it must be 0 or more")
