"""Handrail: GOLD and Marvel joined (docs/handrail.md).

    1  from demonstrations D a policy pi_0, by cloning                     ``Handrail.pretrain``
    2  new critics, with layer normalisation, become its values            ``Handrail.prealign``
    3  for h in [H1, ..., 0]: pi_0 acts for h steps, then the student      ``guidance.guided``
    4    half of each batch from D; the critics as in SAC-Lagrangian       ``online.Online``
    5    the student as well, on a leash to D                              ``leash.Leash.loss``
    6    lambda by an adaptive PID, of the student's part of an episode    ``pid.adaptive``
    7  the best average of the student's parameters                       ``judge.Judge``

3 is GOLD's (Algorithm 1), 2 and 6 are Marvel's, half a batch of D and layer normalisation are
RLPD's; the leash keeps a student from forgetting pi_0 while its critics are still wrong, and an
average goes through the middle of what the latest parameters do to a cost that begins at a line.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
from tyro.conf import OmitArgPrefixes

from handrail.handover import Learnt
from handrail.learners import sac_lagrangian
from handrail.learners.leash import Leash
from handrail.marvel import PreAligned
from handrail.networks import ActorCritics
from handrail.online_methods import AVERAGED, Guided
from handrail.online_settings import OnlineSettings, require_share
from handrail.pid import PIDSettings
from handrail.policies import Student
from handrail.policy_files import load_guide
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.types import Policy


@dataclass(frozen=True, kw_only=True)
class Handrail(Guided, PreAligned):
    """GOLD and Marvel joined: a guide, aligned critics, a leash, an adaptive multiplier."""

    name = "handrail"
    shown = "Handrail"
    demos: Path | None = None
    """Demonstrations, or a data set: DSRL HDF5, Minari, or a run's episodes. None: the shipped
    expert plays; with --offline cpq or bear-lag the task's shipped policies do, as in `handrail
    dataset`."""
    episodes: int = 200
    """Episodes that are played where none are given."""
    offline: str = "clone"
    """clone (for demonstrations), cpq or bear-lag (for data of many returns and costs), fitted to
    them; or the directory of such a run. The policy is kept, the critics are not."""
    guide: Path | None = None
    """A run's or policy's path: it acts first in an episode. None: the policy learnt offline."""
    demonstration_share: float = 0.5
    """Part of each batch that is drawn from the demonstrations, above 0 and below 1 (RLPD: 0.5)."""
    leash: float = 0.9
    """Strength >= 0 of what keeps the student near demonstrated actions, in reward units for a
    squared distance of the demonstrations' own spread (``Episodes.spread``)."""
    # What is held is the cost of training, with noise; the average that it ends in, without, costs
    # more where the cost begins at a line (docs/decisions/0008).
    pid: PIDSettings = field(default_factory=lambda: PIDSettings(aim=0.8))
    online: OmitArgPrefixes[OnlineSettings] = field(
        default_factory=lambda: replace(AVERAGED, noise=0.3)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        Leash(self.leash, self.demonstration_share)  # it refuses what is out of range
        require_share(self.demonstration_share, 0, self.online.batch)

    def check(self) -> None:
        super().check()
        if self.guide is not None:
            load_guide(self.guide, self.task)

    def prealign(self, run: Run, watcher: Watcher, learnt: Learnt) -> Learnt:
        """New critics become the values of the policy; those learnt offline are left behind."""
        nets, spec = learnt.networks, learnt.spec
        new = ActorCritics.new(
            spec.observation_size,
            spec.action_size,
            learnt.hidden,
            layer_norm=True,
            key=jax.random.key(self.seed),
        )
        new = replace(new, actor=nets.actor)
        return super().prealign(run, watcher, replace(learnt, networks=new, critics=False))

    def train(self, run: Run, watcher: Watcher) -> Student:
        learnt = self.pretrain(run, watcher)  # 1
        aligned = self.prealign(run, watcher, learnt)  # 2
        guide: Policy = learnt.policy if self.guide is None else load_guide(self.guide, self.task)
        demonstrations = self.demonstrations(run, watcher)
        leash = Leash(self.leash, self.demonstration_share, demonstrations.spread(self.spec()))
        return self.finetune(  # 3-7
            run,
            watcher,
            aligned,
            sac_lagrangian.learner(self.sac, aligned.networks, leash=leash),
            self.guided_by(guide),
            demonstration_share=self.demonstration_share,
        )
