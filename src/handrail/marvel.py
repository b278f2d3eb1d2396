"""Marvel (Chen, Wei, Deng, Lin: arXiv 2412.04426), whole: pre-train, pre-align, fine-tune.

    1  from a data set a policy pi_0 and its critics, by offline safe RL   ``FromOffline.pretrain``
    2  make both critics the values of pi_0 (VPA)                          ``PreAligned.prealign``
    3  fine-tune by SAC-Lagrangian, lambda by an adaptive PID              ``FromOffline.finetune``

Any offline learner goes with any online one (SAC-Lagrangian, CVPO): what passes between them is
``handover.Learnt``.
docs/marvel.md says where paper and published code differ, and what is done here.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace

import jax

from handrail import envs, figures, prealignment
from handrail.data.episodes import Episode
from handrail.data.replay import Replay
from handrail.errors import HandrailError
from handrail.fine_tuning import ByEither, FromOffline
from handrail.handover import Learnt
from handrail.judge import VALIDATION_SEED
from handrail.offline import fit, sampler
from handrail.offline_methods import HANDOVER
from handrail.policies import Student
from handrail.prealignment import PrealignmentSettings, PrealignmentState, rank_correlations
from handrail.progress import Watcher
from handrail.rollout import play
from handrail.runs import Run
from handrail.training import block
from handrail.types import Metrics


@dataclass(frozen=True, kw_only=True)
class PreAligned(FromOffline):
    """A method that makes both critics the values of the offline policy, before it goes online."""

    keeps_critics = False  # they are aligned first
    vpa: PrealignmentSettings = field(default_factory=PrealignmentSettings)
    correlation_episodes: int = 10
    """Episodes of the offline policy that the critics are compared with while they are pre-aligned;
    0: none. Nothing is learnt from them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.correlation_episodes < 0:
            raise HandrailError(
                f"correlation_episodes is {self.correlation_episodes}; it must be 0 or more"
            )

    @property
    def reads_data(self) -> bool:
        return True

    def prealign(self, run: Run, watcher: Watcher, learnt: Learnt) -> Learnt:
        """In a run of its own inside this one."""
        path = run.path / "prealigned"
        if not Learnt.saved(path / HANDOVER):
            data = self.demonstrations(run, watcher)
            replay = Replay.of(data, learnt.spec)
            learner = prealignment.learner(self.vpa, learnt.networks, self.discount)
            update, played = block(learner), self._played(learnt)

            def correlations(done: int, state: PrealignmentState) -> Metrics:
                if not played or (done == 0 and not learnt.critics):
                    return {}
                nets = prealignment.networks(state)
                return rank_correlations(
                    nets, played, learnt.normaliser, learnt.spec, self.discount
                )

            with Run.begin(path, {"method": "vpa", "task": self.task}) as aligning:
                state = fit(
                    aligning,
                    learner.init(jax.random.key(self.seed), learnt.spec),
                    lambda state, batches: update(state, batches, 0.0)[:2],
                    sampler(replay, learnt.normaliser, learnt.reward_unit),
                    what=learner.name,
                    updates=self.vpa.updates,
                    batch=self.vpa.batch,
                    seed=self.seed,
                    watcher=watcher,
                    measure=correlations,
                )
            aligned = replace(learnt, networks=prealignment.networks(state), critics=True)
            if played:
                figures.rank_correlations(path, path / "rank_correlations.png")
            aligned.save(path / HANDOVER)
        return Learnt.load(path / HANDOVER, self.task)

    def _played(self, learnt: Learnt) -> list[Episode]:
        """What pi_0 does, acting by samples: the critics are compared with it."""
        seeds = range(VALIDATION_SEED, VALIDATION_SEED + self.correlation_episodes)
        with closing(envs.make(self.task)) as env:
            return list(play(learnt.policy.sampled(), [env], seeds))


@dataclass(frozen=True, kw_only=True)
class Marvel(ByEither, PreAligned):
    """Offline safe RL, value pre-alignment, fine-tuning with an adaptive multiplier."""

    name = "marvel"
    shown = "Marvel"

    def train(self, run: Run, watcher: Watcher) -> Student:
        learnt = self.pretrain(run, watcher)  # 1
        aligned = self.prealign(run, watcher, learnt)  # 2
        return self.finetune(run, watcher, aligned, self.learner(aligned.networks))  # 3
