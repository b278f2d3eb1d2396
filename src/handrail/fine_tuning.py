"""From an offline policy to an online one: what all such methods share.

Each learns offline first (``FromOffline.pretrain``), then goes on online by SAC-Lagrangian, or by
CVPO where that can be. ``handrail.marvel`` is one of them, ``handrail.baselines`` are those that it
is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tyro.conf import OmitArgPrefixes

from handrail import envs
from handrail.behaviour import Alone, Behaviour
from handrail.data.episodes import Episodes
from handrail.errors import HandrailError
from handrail.handover import Learnt
from handrail.learners import bear_lagrangian, cloning, cpq, cvpo, sac_lagrangian
from handrail.learners.cvpo import CVPOSettings
from handrail.learners.sac_lagrangian import SACLagrangianSettings
from handrail.methods import FromDemonstrations
from handrail.multipliers import Controller, Unshaped
from handrail.networks import ActorCritics
from handrail.offline_methods import CPQ, HANDOVER, BEARLag, Clone, FromDataSet
from handrail.online import Online
from handrail.online_methods import AVERAGED, ShapedOnline
from handrail.online_settings import OnlineSettings, require_share
from handrail.pid import MultiplierName
from handrail.policies import Student
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.training import Learner

LEARNERS = {method.name: method for method in (CPQ, BEARLag, Clone)}


@dataclass(frozen=True, kw_only=True)
class FromOffline(ShapedOnline, FromDataSet):
    """A method that learns a policy offline, then goes on from it online."""

    shown: ClassVar[str]
    """In tables and figures."""
    keeps: ClassVar[bool] = True
    """Whether networks that were learnt offline are trained further."""
    keeps_critics: ClassVar[bool] = True
    """Whether the critics that were learnt offline are among them, as they are."""

    offline: str = "cpq"
    """cpq, bear-lag, or, where critics are not kept, clone, fitted to the data set; or the
    directory of such a run."""
    cost_weight: float = 1.0
    """The multiplier lambda >= 0 at first, or for good where it is fixed; of reward units for a
    unit of cost."""
    multiplier: MultiplierName = "adaptive-pid"
    """What moves lambda: ``fixed`` nothing; ``pid`` what training episodes cost beyond the limit
    (Stooke et al. 2020), ``gradient`` the integral of that alone; ``adaptive-pid`` with gains that
    adapt too (Marvel's aPID)."""
    cpq: cpq.CPQSettings = field(default_factory=cpq.CPQSettings)
    bear: bear_lagrangian.BEARSettings = field(default_factory=bear_lagrangian.BEARSettings)
    clone: cloning.CloningSettings = field(default_factory=cloning.CloningSettings)
    sac: OmitArgPrefixes[SACLagrangianSettings] = field(
        default_factory=lambda: SACLagrangianSettings(initial_alpha=0.01)
    )
    online: OmitArgPrefixes[OnlineSettings] = field(default_factory=lambda: AVERAGED)

    @property
    def label(self) -> str:
        return self.shown

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.online.normalise:
            raise HandrailError(
                "what is learnt offline sees normalised observations; leave --no-normalise out"
            )

    def players(self) -> list[Path]:
        """A spread of policies, or the expert where they are to be cloned."""
        return FromDemonstrations.players(self) if self._clones else super().players()

    def play(self, players: list[Path], watcher: Watcher) -> Episodes:
        if self._clones:
            return FromDemonstrations.play(self, players, watcher)
        return super().play(players, watcher)

    @property
    def _clones(self) -> bool:
        return self.offline == Clone.name

    @property
    def reads_data(self) -> bool:
        """Whether the data set is read after the offline stage too."""
        return False

    def loop(self) -> OnlineSettings:
        """Of the online stage."""
        return self.online

    def unread(self) -> set[str]:
        names = super().unread() | (set(_SETTINGS.values()) - {_SETTINGS.get(self.offline)})
        if self.offline not in LEARNERS:
            names |= {"reward_unit"} if self.reads_data else {"reward_unit", "demos", "episodes"}
        return names

    def check(self) -> None:
        if self.offline in LEARNERS or self.reads_data:
            super().check()
        else:
            self.spec()
            self.online.check()
        if self.offline not in LEARNERS:
            self._learnt(Path(self.offline))
        option, asked = self.hidden()
        if self.keeps and (hidden := self._hidden()) != asked:
            theirs, ours = (" ".join(map(str, units)) for units in (hidden, asked))
            raise HandrailError(
                f"what is learnt offline has hidden layers of {theirs}, the online learner of "
                f"{ours}; give {option} {theirs}"
            )
        if self.keeps_critics and not self._has_critics():
            raise HandrailError(
                f"{self.name} goes on from critics, and a clone has none; take cpq or bear-lag, or "
                "one of marvel, handrail, relearn and jsrl"
            )
        self.sac.require_rows(self.loop().batch)

    def _has_critics(self) -> bool:
        if self.offline in LEARNERS:
            return LEARNERS[self.offline].critics
        return self._learnt(Path(self.offline)).critics

    def _hidden(self) -> tuple[int, ...]:
        if self.offline in LEARNERS:
            return getattr(self, _SETTINGS[self.offline]).hidden
        return self._learnt(Path(self.offline)).hidden

    def _learnt(self, path: Path) -> Learnt:
        if not path.is_dir():
            raise HandrailError(
                f"offline is {self.offline!r}: none of {', '.join(LEARNERS)}, nor a run's directory"
            )
        return Learnt.load(path / HANDOVER, self.task)

    def pretrain(self, run: Run, watcher: Watcher) -> Learnt:
        """Learn offline, in a run of its own inside this one; or take what was learnt before."""
        if self.offline not in LEARNERS:
            return self._learnt(Path(self.offline))
        path = run.path / "offline"
        if not (path / "summary.json").exists():
            self.demonstrations(run, watcher)  # played once, here, where shipped policies play
            name = _SETTINGS[self.offline]
            method = LEARNERS[self.offline](
                task=self.task,
                cost_limit=self.cost_limit,
                seed=self.seed,
                demos=self.demos or run.path / "demonstrations.hdf5",
                reward_unit=self.reward_unit,
                **{name: getattr(self, name)},
            )
            with Run.begin(path, method.settings()) as fitting:
                method.complete(fitting, watcher)
        return self._learnt(path)

    def learner(
        self, offline: ActorCritics | None, *, actor: bool = True, critics: bool = True
    ) -> Learner:
        """The online learner, from scratch or from what of these networks it is to keep."""
        return sac_lagrangian.learner(self.sac, offline, actor=actor, critics=critics)

    def hidden(self) -> tuple[str, tuple[int, ...]]:
        """Of the online learner: the option that sets its hidden layers, and their units."""
        return "--hidden", self.sac.hidden

    @property
    def discount(self) -> float:
        """Of the online learner."""
        return self.sac.discount

    def holds(self) -> Controller:
        """What holds the cost limit, beside the learner."""
        return self.controller(limit=self.limit())

    def finetune(
        self,
        run: Run,
        watcher: Watcher,
        learnt: Learnt,
        learner: Learner,
        behaviour: Behaviour | None = None,
        demonstration_share: float = 0.0,
    ) -> Student:
        """Online, from fresh replay; by default the student acts alone, from the first step.

        Args:
            demonstration_share: part of each batch that is drawn from the data set.
        """
        online = Online(
            run,
            learner,
            self.loop(),
            make_env=lambda: envs.make(self.task),
            behaviour=behaviour or Alone(0, self.spec().action_size),
            controller=self.holds(),
            seed=self.seed,
            demonstrations=self.demonstrations(run, watcher) if demonstration_share else None,
            demonstration_share=demonstration_share,
            reward_unit=learnt.reward_unit,
            normaliser=learnt.normaliser,
        )
        online.train(watcher)
        return online.best().mode()


_SETTINGS = {"cpq": "cpq", "bear-lag": "bear", "clone": "clone"}


@dataclass(frozen=True, kw_only=True)
class KeepsData(FromOffline):
    """A method whose online batches are drawn from the data set too."""

    demonstration_share: float = 0.5
    """Part of each online batch that is drawn from the data set, 0 (none) to below 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self.demonstration_share, 0, self.online.batch)

    @property
    def reads_data(self) -> bool:
        return self.demonstration_share > 0


@dataclass(frozen=True, kw_only=True)
class ByEither(FromOffline):
    """A method that goes on online by SAC-Lagrangian or by CVPO."""

    backbone: str = "sac-lag"
    """What learns online: sac-lag (Marvel's), or cvpo, which holds the cost limit itself."""
    # A limit in force from the first step teaches to stand still only who can do nothing yet.
    cvpo: CVPOSettings = field(default_factory=lambda: CVPOSettings(slack=0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.backbone not in ("sac-lag", "cvpo"):
            raise HandrailError(f"backbone must be sac-lag or cvpo, not {self.backbone!r}")

    @property
    def label(self) -> str:
        return f"{self.shown} (CVPO)" if self._cvpo else self.shown

    @property
    def _cvpo(self) -> bool:
        return self.backbone == "cvpo"

    def unread(self) -> set[str]:
        # That it is SAC-Lagrangian all other settings tell: runs of former commits are known again.
        other = {"sac", "multiplier", "pid", "cost_weight"} if self._cvpo else {"cvpo", "backbone"}
        return super().unread() | other

    def learner(
        self, offline: ActorCritics | None, *, actor: bool = True, critics: bool = True
    ) -> Learner:
        if not self._cvpo:
            return super().learner(offline, actor=actor, critics=critics)
        spec, limit = self.spec(), self.limit()
        return cvpo.learner(self.cvpo, spec, limit, offline, actor=actor, critics=critics)

    def hidden(self) -> tuple[str, tuple[int, ...]]:
        return ("--cvpo.hidden", self.cvpo.hidden) if self._cvpo else super().hidden()

    @property
    def discount(self) -> float:
        return self.cvpo.discount if self._cvpo else super().discount

    def holds(self) -> Controller:
        return Unshaped(self.limit()) if self._cvpo else super().holds()
