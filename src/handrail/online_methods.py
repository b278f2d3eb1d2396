"""The methods that learn online alone: IQL, CVPO, SAC-Lagrangian, the expert."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from tyro.conf import OmitArgPrefixes

from handrail import envs
from handrail.behaviour import Alone
from handrail.data import sources
from handrail.errors import HandrailError
from handrail.guidance import Guidance, GuidanceSettings
from handrail.judge import VALIDATION_SEED
from handrail.learners import cvpo, iql, sac, sac_lagrangian
from handrail.methods import InUnits, Method, Shaped
from handrail.multipliers import Controller, Ramp, Unshaped
from handrail.online import Online
from handrail.online_settings import OnlineSettings, require_share
from handrail.pid import MultiplierName, PIDSettings, controller
from handrail.policies import Student
from handrail.progress import Watcher
from handrail.rollout import play
from handrail.runs import Run
from handrail.types import Policy

AVERAGED = OnlineSettings(average=5000.0, caution=1.0)
"""Where a multiplier holds the limit: students jump about it, so a run ends in their average."""


@dataclass(frozen=True, kw_only=True)
class OnlineMethod(Method):
    """A method that acts in the simulator."""

    online: OmitArgPrefixes[OnlineSettings] = field(default_factory=OnlineSettings)

    def check(self) -> None:
        super().check()
        self.online.check()

    @property
    def env_steps(self) -> int:
        return self.online.steps

    def unread(self) -> set[str]:
        off = [name for name in ("average", "caution") if not getattr(self.online, name)]
        return super().unread() | {f"online.{name}" for name in off}


@dataclass(frozen=True, kw_only=True)
class Guided(OnlineMethod):
    """A method whose student another policy guides at first."""

    guidance: OmitArgPrefixes[GuidanceSettings] = field(default_factory=GuidanceSettings)

    def guided_by(self, guide: Policy) -> Guidance:
        """H1, where it is not set: the mean length of five episodes of the guide's (JSRL)."""
        horizon = self.guidance.horizon
        if horizon is None:
            seeds = range(VALIDATION_SEED, VALIDATION_SEED + 5)
            with envs.several(self.task, len(seeds)) as simulators:
                lengths = [len(episode) for episode in play(guide, simulators, seeds)]
            horizon = round(float(np.mean(lengths)))
        return Guidance.of(guide, self.guidance, horizon=horizon, steps=self.online.steps)


@dataclass(frozen=True, kw_only=True)
class WarmedUp(OnlineMethod):
    """A method that may begin with random actions."""

    warmup: int = 5000
    """Steps of held random actions before the student acts, >= 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.warmup < 0:
            raise HandrailError(f"warmup is {self.warmup}; it must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class ShapedOnline(Shaped, OnlineMethod):
    """A method that learns online from the shaped reward, by a weight that may be controlled."""

    multiplier: MultiplierName = "fixed"
    """``fixed``: w is the cost weight throughout. ``pid``: w begins there and follows the cost of
    training episodes towards the cost limit (Stooke et al. 2020); ``gradient``: by its integral
    alone; ``adaptive-pid``: with gains that adapt too (Marvel's aPID). With these three the run
    ends in the student that earned most within the limit."""
    pid: PIDSettings = field(default_factory=PIDSettings)
    """Of every multiplier but ``fixed``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.multiplier not in get_args(MultiplierName):
            raise HandrailError(
                f"multiplier must be fixed, gradient, pid or adaptive-pid, not {self.multiplier!r}"
            )
        self.controller(limit=self.cost_limit or 0.0)  # it refuses what contradicts it

    def unread(self) -> set[str]:
        return super().unread() | ({"pid"} if self.multiplier == "fixed" else set())

    def controller(self, *, limit: float, fade_in: float = 0.0) -> Controller:
        """Of w. ``limit``: of an episode's cost; ``fade_in``: steps until it is in full force."""
        weight = self.cost_weight
        return controller(
            self.multiplier, self.pid, weight=weight, cost_limit=limit, fade_in=fade_in
        )


@dataclass(frozen=True, kw_only=True)
class IQL(ShapedOnline, WarmedUp):
    """Implicit Q-learning from scratch, or with --demos seeded with demonstrations."""

    name = "iql"
    demos: Path | None = None
    """Demonstrations: updates on them come first, and a part of each batch is theirs."""
    pretrain: int = 2000
    """With --demos: updates before the first step."""
    demonstration_share: float = 0.5
    """With --demos: part of each batch that is theirs, 0 to below 1 (JSRL: 0.25; RLPD: 0.5)."""
    warmup: int = 5000
    """Without --demos: steps of held random actions before the student acts, >= 0."""
    iql: OmitArgPrefixes[iql.IQLSettings] = field(default_factory=iql.IQLSettings)

    @property
    def label(self) -> str:
        return "IQL (demos)" if self.demos else "IQL"

    def unread(self) -> set[str]:
        without = {"pretrain", "demonstration_share"}
        other = set() if self._settings().extraction in ("ddpg_bc", None) else {"iql.bc_weight"}
        return super().unread() | other | ({"warmup"} if self.demos else without)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self.demonstration_share, self.pretrain, self.online.batch)

    def check(self) -> None:
        super().check()
        if self.demos is not None:
            sources.read(self.demos).require(self.spec())

    def _settings(self) -> iql.IQLSettings:
        near = self.demos or self.iql.extraction
        return self.iql if near else replace(self.iql, extraction="sac")

    def train(self, run: Run, watcher: Watcher) -> Student:
        spec = self.spec()
        demonstrations = sources.read(self.demos).require(spec) if self.demos else None
        warmup = 0 if self.demos else self.warmup
        spread = demonstrations.spread(spec) if demonstrations else 1.0
        share = self.demonstration_share if demonstrations else 0.0
        online = Online(
            run,
            iql.learner(self._settings(), spread, share),
            self.online,
            make_env=lambda: envs.make(self.task),
            behaviour=Alone(warmup, spec.action_size),
            controller=self.controller(limit=self.limit()),
            seed=self.seed,
            demonstrations=demonstrations,
            demonstration_share=share,
            pretrain=self.pretrain if self.demos else 0,
            reward_unit=self.unit(demonstrations),
        )
        online.train(watcher)
        return online.best().mode()


_EPOCHS = OnlineSettings(
    steps=1_200_000,
    environments=20,
    block=8000,
    updates_per_step=40 / 300,
    batch=300,
    buffer=80_000,
    start=8000,
    evaluate_every=80_000,
)
"""CVPO's code on Button: epochs of 20 episodes of 400 steps, 40 reruns in batches of 300."""


@dataclass(frozen=True, kw_only=True)
class CVPO(InUnits, WarmedUp):
    """Constrained variational policy optimisation: it holds the cost limit itself.

    `--preset official` begins from the settings of CVPO's authors instead, `--preset gold` from
    those of GOLD's: 1,200,000 steps in epochs of 20 episodes. What is given beside it overrides it.
    """

    name = "cvpo"
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "official": {
            "cvpo": cvpo.CVPOSettings(
                actor_rate=2e-3,
                critic_rate=1e-3,
                actions=32,
                tau=0.005,
                largest_multiplier=1e5,
                slack=0.0,
            ),
            "online": _EPOCHS,
        },
        # Slower networks, and a limit of 30 that falls to 10.
        "gold": {
            "cvpo": cvpo.CVPOSettings(
                actor_rate=3e-4,
                actions=32,
                tau=0.005,
                largest_multiplier=1e5,
                slack_updates=213_000,
            ),
            "online": _EPOCHS,
        },
    }
    cvpo: OmitArgPrefixes[cvpo.CVPOSettings] = field(default_factory=cvpo.CVPOSettings)
    online: OmitArgPrefixes[OnlineSettings] = field(
        default_factory=lambda: OnlineSettings(updates_per_step=0.25)
    )

    def train(self, run: Run, watcher: Watcher) -> Student:
        spec, limit = self.spec(), self.limit()
        online = Online(
            run,
            cvpo.learner(self.cvpo, spec, limit),
            self.online,
            make_env=lambda: envs.make(self.task),
            behaviour=Alone(self.warmup, spec.action_size),
            controller=Unshaped(limit),
            seed=self.seed,
            reward_unit=self.unit(None),
        )
        online.train(watcher)
        return online.best().mode()


@dataclass(frozen=True, kw_only=True)
class SACLag(ShapedOnline, WarmedUp):
    """SAC-Lagrangian from scratch: a cost critic, and a multiplier that holds the limit."""

    name = "sac-lag"
    cost_weight: float = 0.0
    """The multiplier lambda >= 0 at first, or for good where it is fixed; of reward units for a
    unit of cost."""
    multiplier: MultiplierName = "pid"
    """What moves lambda: ``fixed`` nothing; ``pid`` what training episodes cost beyond the limit
    (Stooke et al. 2020), ``gradient`` the integral of that alone; ``adaptive-pid`` with gains that
    adapt too (Marvel's aPID)."""
    fade_in: int = 0
    """Steps of the run, the warm-up's among them, over which the control of lambda comes into full
    force: where a cost that is felt as soon as the student acts teaches to stand still."""
    sac: OmitArgPrefixes[sac_lagrangian.SACLagrangianSettings] = field(
        default_factory=sac_lagrangian.SACLagrangianSettings
    )
    online: OmitArgPrefixes[OnlineSettings] = field(default_factory=lambda: AVERAGED)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fade_in < 0:
            raise HandrailError(f"fade_in is {self.fade_in}; it must be 0 or more")
        self.sac.require_rows(self.online.batch)

    @property
    def label(self) -> str:
        return "SAC-Lag"

    def train(self, run: Run, watcher: Watcher) -> Student:
        online = Online(
            run,
            sac_lagrangian.learner(self.sac),
            self.online,
            make_env=lambda: envs.make(self.task),
            behaviour=Alone(self.warmup, self.spec().action_size),
            controller=self.controller(limit=self.limit(), fade_in=self.fade_in),
            seed=self.seed,
            reward_unit=self.unit(None),
        )
        online.train(watcher)
        return online.best().mode()


@dataclass(frozen=True, kw_only=True)
class Expert(InUnits, WarmedUp):
    """SAC on the shaped reward, the cost's weight ramped up once the task is learnt.

    The paper's source of demonstrations (GOLD Sec. IV-A.3).
    """

    name = "expert"
    reward_unit: float | None = 1.0
    """Rewards are divided by it before they are weighed against costs, > 0: rewards far below 1 a
    step drown in the critics' noise. None: the task's."""
    ramp: OmitArgPrefixes[Ramp] = field(default_factory=Ramp)
    sac: OmitArgPrefixes[sac.SACSettings] = field(default_factory=sac.SACSettings)
    online: OmitArgPrefixes[OnlineSettings] = field(
        default_factory=lambda: OnlineSettings(
            steps=500_000,
            evaluate_every=20_000,
            evaluate_episodes=5,
            keep_policies=True,
        )
    )

    def train(self, run: Run, watcher: Watcher) -> Student:
        online = Online(
            run,
            sac.learner(self.sac),
            self.online,
            make_env=lambda: envs.make(self.task),
            behaviour=Alone(self.warmup, self.spec().action_size),
            controller=self.ramp,
            seed=self.seed,
            reward_unit=self.unit(None),
        )
        online.train(watcher)
        if online.controlled["started"] is None:
            watcher.say(
                f"the cost was never weighed: no {self.ramp.window} training episodes in a row had "
                f"a mean return of {self.ramp.start_return:g}; state what an episode earns that "
                "has learnt the task as --start-return"
            )
        return online.best().mode()
