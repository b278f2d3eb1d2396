"""The methods of ``handrail train`` that leave networks for an online method to go on from: CPQ and
BEAR-Lag, which learn a limit from data alone, and cloning, which only imitates."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

import jax
import numpy as np
from tyro.conf import OmitArgPrefixes

from handrail import datasets
from handrail.data.episodes import Episodes
from handrail.data.replay import Replay
from handrail.data.windows import Normaliser
from handrail.handover import Learnt
from handrail.learners import bear_lagrangian, cloning, cpq
from handrail.methods import FromDemonstrations, InUnits
from handrail.offline import fit, sampler
from handrail.policies import MLPPolicy
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.training import Learner, block

HANDOVER = "networks"
"""Of a run: what an online method may go on from."""


@dataclass(frozen=True, kw_only=True)
class FromDataSet(FromDemonstrations, InUnits):
    """A method that learns from a data set; one of many returns and costs, if none is given."""

    demos: Path | None = None
    """The data set: DSRL HDF5, Minari, or a run's episodes. None: the task's shipped policies play
    one, as `handrail dataset` does."""
    episodes: int = 500
    """Episodes that they play where no data set is given."""

    def players(self) -> list[Path]:
        return datasets.shipped(self.task)

    def play(self, players: list[Path], watcher: Watcher) -> Episodes:
        watcher.say(f"no --demos: {len(players)} shipped policies play {self.episodes} episodes")
        return datasets.play(self.task, self.episodes, players, watcher=watcher)


class Learning(NamedTuple):
    """What ``Offline`` asks of a method."""

    settings: cpq.CPQSettings | bear_lagrangian.BEARSettings | cloning.CloningSettings
    learner: Learner


@dataclass(frozen=True, kw_only=True)
class Offline(FromDemonstrations, InUnits):
    """A method whose networks an online method may go on from."""

    critics: ClassVar[bool] = True
    """Whether it learns critics as well as a policy."""

    @abstractmethod
    def learning(self) -> Learning: ...

    def warn(self, data: Episodes, watcher: Watcher) -> None:
        """Say what in the data is not as the method supposes."""

    def train(self, run: Run, watcher: Watcher) -> MLPPolicy:
        data, spec = self.demonstrations(run, watcher), self.spec()
        replay = Replay.of(data, spec)
        normaliser, unit = Normaliser.of(replay.observations), self.unit(data)
        self.warn(data, watcher)
        settings, learner = self.learning()
        update = block(learner)
        state = fit(
            run,
            learner.init(jax.random.key(self.seed), spec),
            lambda state, batches: update(state, batches, 0.0)[:2],
            sampler(replay, normaliser, unit),
            what=learner.name,
            updates=settings.updates,
            batch=settings.batch,
            seed=self.seed,
            watcher=watcher,
        )
        learnt = Learnt.of(state, normaliser, unit, spec, critics=self.critics)
        learnt.save(run.path / HANDOVER)
        return learnt.policy


@dataclass(frozen=True, kw_only=True)
class CPQ(FromDataSet, Offline):
    """Constraints penalised Q-learning from a data set: Marvel's first stage."""

    name = "cpq"
    cpq: OmitArgPrefixes[cpq.CPQSettings] = field(default_factory=cpq.CPQSettings)

    def learning(self) -> Learning:
        return Learning(self.cpq, cpq.learner(self.cpq, self.spec(), self.limit()))

    def warn(self, data: Episodes, watcher: Watcher) -> None:
        below = float((np.concatenate([episode.rewards for episode in data]) < 0).mean())
        if below:
            watcher.say(
                f"{below:.0%} of the rewards are below 0, where CPQ puts what its limit forbids; "
                "bear-lag supposes nothing of rewards"
            )


@dataclass(frozen=True, kw_only=True)
class BEARLag(FromDataSet, Offline):
    """BEAR with a Lagrangian of the cost, from a data set."""

    name = "bear-lag"
    bear: OmitArgPrefixes[bear_lagrangian.BEARSettings] = field(
        default_factory=bear_lagrangian.BEARSettings
    )

    @property
    def label(self) -> str:
        return "BEAR-Lag"

    def learning(self) -> Learning:
        return Learning(self.bear, bear_lagrangian.learner(self.bear, self.spec(), self.limit()))


@dataclass(frozen=True, kw_only=True)
class Clone(Offline):
    """Cloning by maximum likelihood: a policy that an online method may go on from."""

    name = "clone"
    critics = False
    clone: OmitArgPrefixes[cloning.CloningSettings] = field(default_factory=cloning.CloningSettings)

    def learning(self) -> Learning:
        return Learning(self.clone, cloning.learner(self.clone))
