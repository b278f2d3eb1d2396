"""GOLD: Guided Online Distillation (Li et al., ICRA 2024, arXiv 2309.09408), Algorithm 1, whole.

    1      a guide pi^g, a student pi, Q and its target, demonstrations D, a replay buffer B
    3-6    fit the guide to D                                          ``GOLD.fit_guide``
    8      for h in [H1, ..., Hm]                                      ``guidance.PrefixCurriculum``
    9        pi_{1:h} = pi^g, pi_{h+1:H} = pi                          ``guidance.guided``
    10       collect rollouts by it, append them to B                  ``online.Online._collect``
    11-14    sample (s, a, r, s') from B, update Q and pi by IQL       ``online.Online._learn``

docs/gold.md says where paper and published code differ, and what is done here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tyro.conf import OmitArgPrefixes

from handrail import envs
from handrail.errors import HandrailError
from handrail.learners import bc, cvpo, iql
from handrail.learners import decision_transformer as dt
from handrail.methods import BC, DT, FromDemonstrations
from handrail.multipliers import Unshaped
from handrail.online import Online
from handrail.online_methods import Guided, ShapedOnline
from handrail.online_settings import OnlineSettings, require_share
from handrail.policies import Student
from handrail.policy_files import load_guide, load_policy
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.types import Policy


@dataclass(frozen=True, kw_only=True)
class GOLD(Guided, ShapedOnline, FromDemonstrations):
    """Guided online distillation: a guide from demonstrations helps a small student online."""

    name = "gold"
    guide: str = "dt"
    """dt or bc, fitted to the demonstrations; or a trained guide: a run's or a policy's path."""
    backbone: Literal["iql", "cvpo"] = "iql"
    """What the student learns by: ``iql`` on the shaped reward; ``cvpo`` within the cost limit, and
    w is the guide's alone (the table takes half its updates: --updates-per-step 0.25)."""
    demonstration_share: float = 0.5
    """Part of each batch that is drawn from the demonstrations, 0 to below 1 (GOLD: 0; JSRL: 0.25;
    RLPD: 0.5)."""
    pretrain: int = 2000
    """Updates of the student on the demonstrations before the first step (GOLD: 0)."""
    online: OmitArgPrefixes[OnlineSettings] = field(
        default_factory=lambda: OnlineSettings(noise=0.3)
    )
    iql: iql.IQLSettings = field(default_factory=lambda: iql.IQLSettings(extraction="ddpg_bc"))
    cvpo: cvpo.CVPOSettings = field(default_factory=cvpo.CVPOSettings)
    bc: bc.BCSettings = field(default_factory=bc.BCSettings)
    dt: dt.DTSettings = field(default_factory=dt.DTSettings)

    @property
    def label(self) -> str:
        guide = self.guide
        if guide not in ("bc", "dt"):
            made = Path(guide) / "settings.toml"
            guide = Run.open(guide).settings["method"] if made.is_file() else "guide"
        guide = guide.upper() if guide in ("bc", "dt") else guide
        return f"GOLD ({guide}-{self.backbone.upper()})"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_share(self.demonstration_share, self.pretrain, self.online.batch)
        if self.backbone not in ("iql", "cvpo"):
            raise HandrailError(f"backbone must be iql or cvpo, not {self.backbone!r}")
        if self.backbone == "cvpo" and self.multiplier != "fixed":
            raise HandrailError(
                f"multiplier is {self.multiplier}, but backbone cvpo holds the cost limit itself; "
                "leave --multiplier out, or take --backbone iql"
            )

    def unread(self) -> set[str]:
        other = "cvpo" if self.backbone == "iql" else "iql"
        guides = {"bc", "dt"} - {self.guide}
        return super().unread() | {other} | guides

    def check(self) -> None:
        if self.guide in ("bc", "dt") or self.demonstration_share or self.pretrain:
            super().check()
        else:  # nothing is asked of demonstrations
            self.spec()
            self.online.check()
        if self.guide == "dt":
            self.dt.check()
        if self.guide not in ("bc", "dt"):
            if not Path(self.guide).is_dir():
                raise HandrailError(
                    f"the guide {self.guide!r} is neither dt nor bc, nor a run's or policy's path"
                )
            load_guide(Path(self.guide), self.task)

    def fit_guide(self, run: Run, watcher: Watcher) -> Policy:
        """Lines 2-6: a run of its own inside this one, or a guide that was trained before."""
        if self.guide not in ("bc", "dt"):
            return load_guide(Path(self.guide), self.task)
        path = run.path / "guide"
        if not (path / "summary.json").exists():
            self.demonstrations(run, watcher)  # played once, here, where the expert plays them
            common = {
                "task": self.task,
                "cost_limit": self.cost_limit,
                "seed": self.seed,
                "demos": self.demos or run.path / "demonstrations.hdf5",
            }
            method = (
                BC(**common, bc=self.bc)
                if self.guide == "bc"
                else DT(
                    **common,
                    dt=self.dt,
                    cost_weight=self.cost_weight,
                    reward_unit=self.reward_unit,
                )
            )
            with Run.begin(path, method.settings()) as fitting:
                method.complete(fitting, watcher)
        return load_policy(path)[0]

    def train(self, run: Run, watcher: Watcher) -> Student:
        guide = self.fit_guide(run, watcher)  # lines 2-6; frozen from here on
        seeded = self.demonstration_share or self.pretrain
        known = seeded or self.guide in ("bc", "dt")
        demonstrations = self.demonstrations(run, watcher) if known else None
        if self.backbone == "cvpo":
            learner = cvpo.learner(self.cvpo, self.spec(), self.limit())
        else:
            spread = demonstrations.spread(self.spec()) if demonstrations else 1.0
            learner = iql.learner(self.iql, spread, self.demonstration_share)
        online = Online(  # lines 7-15
            run,
            learner,
            self.online,
            make_env=lambda: envs.make(self.task),
            behaviour=self.guided_by(guide),
            controller=self.controller(limit=self.limit())
            if self.backbone == "iql"
            else Unshaped(self.limit()),
            seed=self.seed,
            demonstrations=demonstrations if seeded else None,
            demonstration_share=self.demonstration_share,
            pretrain=self.pretrain,
            reward_unit=self.unit(demonstrations),
        )
        online.train(watcher)
        return online.best().mode()
