"""The methods of ``handrail train``: what they have in common, and those that only imitate.

Each class is one method: a frozen dataclass of settings whose ``train`` takes a run to its end,
from wherever it stands, and returns the policy. What learns online alone is in
``handrail.online_methods``, the papers' methods and what they are compared with are in
``handrail.gold``, ``handrail.marvel``, ``handrail.baselines``, ``handrail.combined``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import jax
import numpy as np
from tyro.conf import OmitArgPrefixes, Positional, arg

from handrail import envs
from handrail.data import sources
from handrail.data.episodes import Episodes
from handrail.data.replay import Replay
from handrail.data.windows import Normaliser, Windows
from handrail.demonstrations import expert_path, roll
from handrail.errors import HandrailError
from handrail.evaluate import evaluate
from handrail.judge import REPORT_SEED
from handrail.learners import bc
from handrail.learners import decision_transformer as dt
from handrail.offline import fit
from handrail.policies import MLPPolicy, Storable
from handrail.policy_files import save_policy
from handrail.progress import Watcher
from handrail.runs import Run
from handrail.training import block
from handrail.transformer_policy import DTPolicy
from handrail.types import Spec

JUDGED = 20
"""Validation episodes at the end of a run, that had no part in choosing its policy."""


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """What every method is told."""

    name: ClassVar[str]
    """On the command line, and in settings.toml."""
    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {}
    """Other defaults, by the name that ``--preset`` gives them."""

    task: Annotated[Positional[str], arg(metavar="TASK")]
    """suite/Name; `handrail tasks` lists them."""
    cost_limit: float | None = None
    """Limit of an episode's undiscounted cost; evaluations are judged by it. What holds it is
    a multiplier (none does where that is fixed), CVPO, CPQ or BEAR-Lag. None: the task's."""
    seed: int = 0
    """Of everything random: 0 to 99 for training."""
    out: Path | None = None
    """The run's directory; None: runs/METHOD-TASK-SEED."""

    def __post_init__(self) -> None:
        if self.cost_limit is not None and not 0 <= self.cost_limit < float("inf"):  # nor NaN
            raise HandrailError(
                f"the cost limit is {self.cost_limit:g}; it must be 0 or more, and finite"
            )
        if not 0 <= self.seed < 2**63:
            raise HandrailError(f"the seed is {self.seed}; it must be 0 or more, and below 2^63")

    @property
    def label(self) -> str:
        """In tables and figures."""
        return self.name.upper()

    @abstractmethod
    def train(self, run: Run, watcher: Watcher) -> Storable:
        """Take the run to its end and return the policy, acting deterministically."""

    def complete(self, run: Run, watcher: Watcher) -> dict[str, Any]:
        """Train, keep the policy, judge it on validation seeds, write the summary; returns the
        report of that evaluation."""
        policy = self.train(run, watcher)
        save_policy(policy, run.path / "policy", self.spec())
        report, _ = evaluate(
            policy,
            lambda: envs.make(self.task),
            episodes=JUDGED,
            seed=REPORT_SEED,
            cost_limit=self.cost_limit,
            method=self.label,
            watcher=watcher,
        )
        summary = {"task": self.task, "method": self.label, "seed": self.seed}
        summary |= {"env_steps": self.env_steps, "wall_seconds": round(run.seconds, 1)}
        run.finish({**summary, "validation": report})
        return report

    @property
    def env_steps(self) -> int:
        """Steps of the simulator in training; evaluations do not count."""
        return 0

    def settings(self) -> dict[str, Any]:
        """What settings.toml holds: all that a resumed run needs."""
        settings = {"method": self.name, **asdict(self)}
        del settings["out"]
        return settings

    def unread(self) -> set[str]:
        """Settings that change nothing, the others being what they are (``group.name``)."""
        return set()

    def check(self) -> None:
        """Raise a HandrailError where a setting contradicts another or names what is not there."""
        self.spec()

    def spec(self) -> Spec:
        return envs.spec(self.task)

    def limit(self) -> float:
        """The cost limit that is in force."""
        return self.spec().cost_limit if self.cost_limit is None else self.cost_limit


@dataclass(frozen=True, kw_only=True)
class FromDemonstrations(Method):
    """A method that learns from demonstrations."""

    demos: Path | None = None
    """Demonstrations: DSRL HDF5, Minari, or a run's episodes. None: the shipped expert plays."""
    episodes: int = 200
    """Episodes that the shipped expert plays where no demonstrations are given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.episodes < 1:
            raise HandrailError(f"{self.episodes} episodes: ask for 1 or more")

    def unread(self) -> set[str]:
        return super().unread() | ({"episodes"} if self.demos else set())

    def check(self) -> None:
        super().check()
        if self.demos is None:
            self.players()
        else:
            sources.read(self.demos).require(self.spec())

    def players(self) -> list[Path]:
        """The shipped policies that play where no demonstrations are given.

        Raises:
            HandrailError: none are shipped for the task.
        """
        return [expert_path(self.task)]

    def demonstrations(self, run: Run, watcher: Watcher) -> Episodes:
        """The demonstrations; where shipped policies play, they are kept in the run."""
        path = self.demos or run.path / "demonstrations.hdf5"
        if self.demos is None and not path.exists():
            sources.write(self.play(self.players(), watcher), path)
        return sources.read(path).require(self.spec())

    def play(self, players: list[Path], watcher: Watcher) -> Episodes:
        watcher.say(f"no --demos: the shipped expert plays {self.episodes} episodes")
        return roll(self.task, self.episodes, policy=players[0], watcher=watcher)


@dataclass(frozen=True, kw_only=True)
class BC(FromDemonstrations):
    """Behaviour cloning by a 2x256 network."""

    name = "bc"
    bc: OmitArgPrefixes[bc.BCSettings] = field(default_factory=bc.BCSettings)

    def train(self, run: Run, watcher: Watcher) -> MLPPolicy:
        demonstrations, spec = self.demonstrations(run, watcher), self.spec()
        replay = Replay.of(demonstrations, spec)
        normaliser = Normaliser.of(replay.observations)
        learner = bc.learner(self.bc, normaliser.mean, normaliser.std)
        update = block(learner)
        state = fit(
            run,
            learner.init(jax.random.key(self.seed), spec),
            lambda state, batches: update(state, batches, 0.0)[:2],
            replay.sample,
            what="BC",
            updates=self.bc.updates,
            batch=self.bc.batch,
            seed=self.seed,
            watcher=watcher,
        )
        return MLPPolicy.of(learner.actor(state)).mode()


@dataclass(frozen=True, kw_only=True)
class InUnits(Method):
    """A method that learns from rewards in the task's unit."""

    reward_unit: float | None = None
    """About what a step of a good policy earns, > 0. None: the task's; where it has none, the mean
    size of the demonstrations' rewards a step; else 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reward_unit is not None and not 0 < self.reward_unit < np.inf:
            raise HandrailError(f"the reward unit is {self.reward_unit:g}; it must be above 0")

    def unit(self, demonstrations: Episodes | None) -> float:
        """The reward unit that is in force."""
        with closing(envs.make(self.task)) as env:
            known = self.reward_unit or env.task.reward_unit
        if known is None and demonstrations is not None:
            known = float(np.mean(np.abs(np.concatenate([e.rewards for e in demonstrations]))))
        return known or 1.0


@dataclass(frozen=True, kw_only=True)
class Shaped(InUnits):
    """A method that learns from the shaped reward."""

    cost_weight: float = 3.0
    """w >= 0 of the shaped reward r - w c, r in reward units."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.cost_weight < float("inf"):  # nor NaN
            raise HandrailError(
                f"the cost weight is {self.cost_weight:g}; it must be 0 or more, and finite"
            )


@dataclass(frozen=True, kw_only=True)
class DT(Shaped, FromDemonstrations):
    """The decision transformer: GOLD's guide. Its returns-to-go are of the shaped reward."""

    name = "dt"
    dt: OmitArgPrefixes[dt.DTSettings] = field(default_factory=dt.DTSettings)

    def check(self) -> None:
        super().check()
        self.dt.check()

    def train(self, run: Run, watcher: Watcher) -> Storable:
        demonstrations, spec = self.demonstrations(run, watcher), self.spec()
        # The windows and the guide see raw rewards: what is in reward units is brought to theirs.
        unit = self.unit(demonstrations)
        weight, scale = self.cost_weight * unit, self.dt.return_scale * unit
        windows = Windows(
            demonstrations, spec, self.dt.context, return_scale=scale, cost_weight=weight
        )
        state = fit(
            run,
            dt.init(self.dt, jax.random.key(self.seed), spec),
            dt.block(self.dt),
            windows.sample,
            what="decision transformer",
            updates=self.dt.updates,
            batch=self.dt.batch,
            seed=self.seed,
            watcher=watcher,
        )
        shaped = [e.return_ - weight * e.cost for e in demonstrations]
        target = self.dt.target_return
        return DTPolicy.of(
            self.dt,
            state,
            windows.normaliser,
            cost_weight=weight,
            return_scale=scale,
            target_return=float(np.quantile(shaped, 0.9)) if target is None else target * unit,
        )
