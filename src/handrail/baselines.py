"""What Marvel is compared with, beside SAC-Lagrangian from scratch.

Each goes on online from a policy that was learnt offline; they differ in what they keep of it and
in who acts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tyro.conf import OmitArgPrefixes

from handrail import expansion
from handrail.behaviour import Alone
from handrail.errors import HandrailError
from handrail.fine_tuning import ByEither, KeepsData
from handrail.learners.cvpo import CVPOSettings
from handrail.learners.sac_lagrangian import SACLagrangianSettings
from handrail.online_methods import AVERAGED, Guided
from handrail.online_settings import OnlineSettings
from handrail.policies import Student
from handrail.progress import Watcher
from handrail.runs import Run


@dataclass(frozen=True, kw_only=True)
class WarmStart(ByEither):
    """Fine-tune what was learnt offline as it is: policy and critics."""

    name = "warm-start"
    shown = "Warm Start"

    @property
    def waits(self) -> int:
        """Steps until there is something that answers to the multiplier."""
        return 0

    def train(self, run: Run, watcher: Watcher) -> Student:
        learnt = self.pretrain(run, watcher)
        learner = self.learner(learnt.networks, critics=self.keeps_critics)
        alone = Alone(0, self.spec().action_size, waits=self.waits)
        return self.finetune(run, watcher, learnt, learner, alone)


@dataclass(frozen=True, kw_only=True)
class Relearn(WarmStart):
    """Fine-tune the offline policy with critics that are learnt anew, online."""

    name = "relearn"
    shown = "Re-learn Q"
    keeps_critics = False


@dataclass(frozen=True, kw_only=True)
class WSRL(WarmStart):
    """Warm-start RL: Warm Start after some steps in which the offline policy acts.

    Nothing is learnt until replay holds ``start`` steps of it; no offline data is kept (Zhou et al.
    2024, arXiv 2412.07762).
    """

    name = "wsrl"
    shown = "WSRL"
    online: OmitArgPrefixes[OnlineSettings] = field(
        default_factory=lambda: replace(AVERAGED, start=5000)
    )

    @property
    def waits(self) -> int:
        return self.online.start


@dataclass(frozen=True, kw_only=True)
class SO2(KeepsData):
    """SO2: Warm Start with noise on the targets' actions and more steps of the critics.

    Zhang et al. 2024, arXiv 2312.07685. Each step of the critics has a batch of its own.
    """

    name = "so2"
    shown = "SO2"
    demonstration_share: float = 0.9
    """Part of each online batch that is drawn from the data set, 0 (none) to below 1 (SO2: 0.9)."""
    sac: OmitArgPrefixes[SACLagrangianSettings] = field(
        default_factory=lambda: SACLagrangianSettings(
            initial_alpha=0.01, target_noise=0.1, critic_steps=4
        )
    )

    def train(self, run: Run, watcher: Watcher) -> Student:
        learnt = self.pretrain(run, watcher)
        learner, share = self.learner(learnt.networks), self.demonstration_share
        return self.finetune(run, watcher, learnt, learner, demonstration_share=share)

    def loop(self) -> OnlineSettings:
        return replace(self.online, batch=self.online.batch * self.sac.critic_steps)


@dataclass(frozen=True, kw_only=True)
class JSRL(Guided, ByEither, KeepsData):
    """Jump-start RL: the offline policy acts first in an episode, ever more briefly.

    The student begins untrained (Uchendu et al. 2023, arXiv 2204.02372).
    """

    name = "jsrl"
    shown = "JSRL"
    keeps = keeps_critics = False
    demonstration_share: float = 0.25
    """Part of each online batch that is drawn from the data set, 0 (none) to below 1
    (JSRL: 0.25)."""
    # Its student can do nothing yet, unlike theirs who go on from what was learnt: it begins as
    # one from scratch does.
    cost_weight: float = 0.0
    """The multiplier lambda >= 0 at first, or for good where it is fixed; of reward units for a
    unit of cost."""
    sac: OmitArgPrefixes[SACLagrangianSettings] = field(default_factory=SACLagrangianSettings)
    cvpo: CVPOSettings = field(default_factory=CVPOSettings)

    def train(self, run: Run, watcher: Watcher) -> Student:
        learnt = self.pretrain(run, watcher)
        return self.finetune(
            run,
            watcher,
            learnt,
            self.learner(None),
            self.guided_by(learnt.policy),
            demonstration_share=self.demonstration_share,
        )


@dataclass(frozen=True, kw_only=True)
class PEX(KeepsData):
    """Policy expansion: a new policy beside the offline one, the critics choose who acts.

    With --noise 0 both act by their modes; which of them does stays a draw. Zhang, Xu, Yu 2023,
    arXiv 2302.00935; ``handrail.expansion``.
    """

    name = "pex"
    shown = "PEX"
    temperature: float = 0.3
    """Of the choice, > 0, in reward units (PEX's inverse temperature: 3)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < float("inf"):  # nor NaN
            raise HandrailError(f"the temperature is {self.temperature:g}; it must be above 0")

    def train(self, run: Run, watcher: Watcher) -> Student:
        learnt = self.pretrain(run, watcher)
        learner = expansion.learner(self.sac, learnt.networks, self.temperature, self.cost_weight)
        share = self.demonstration_share
        return self.finetune(run, watcher, learnt, learner, demonstration_share=share)
