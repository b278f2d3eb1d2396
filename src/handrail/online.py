"""The loop that every online method shares: simulator and learner side by side.

Block b of simulator steps acts with the parameters that block b - 1 of updates left, while block b
of updates runs on its own thread over the replay as it was when block b began. Nobody waits for the
other within a block, and no result depends on timing. Replay grows by whole episodes, so it is a
view of the episode log, and a resumed run rebuilds it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import jax
import numpy as np

from handrail.behaviour import Behaviour, Ended
from handrail.data.episodes import Episode, Episodes
from handrail.data.replay import Replay
from handrail.data.windows import Normaliser
from handrail.envs.cmdp import CMDP
from handrail.errors import HandrailError, Stopped
from handrail.judge import Judge
from handrail.multipliers import Controller, State
from handrail.online_settings import OnlineSettings, require_share
from handrail.policies import Student
from handrail.policy_files import save_policy
from handrail.progress import Watcher
from handrail.rollout import Rollout, episode_seed
from handrail.runs import Run
from handrail.storage import require_kinds
from handrail.training import Learner, block, demonstrated, pack, unpack
from handrail.types import Batch, Metrics

_PROGRESS = {
    **dict.fromkeys(("step", "pretrained", "episodes", "recent"), int),
    "cumulative_cost": (int, float),
    "normalised": bool,
    **dict.fromkeys(("learning", "weights", "behaviour"), dict),
}
"""What a checkpoint says beside the arrays."""


class Online:
    """One online run of a learner; ``train`` brings it to its end, from wherever it stands."""

    def __init__(
        self,
        run: Run,
        learner: Learner,
        settings: OnlineSettings,
        *,
        make_env: Callable[[], CMDP],
        behaviour: Behaviour,
        controller: Controller,
        seed: int,
        demonstrations: Episodes | None = None,
        demonstration_share: float = 0.0,
        pretrain: int = 0,
        reward_unit: float = 1.0,
        normaliser: Normaliser | None = None,
    ):
        """Make the run's environments, networks and replay.

        Args:
            run: where everything is written.
            make_env: called once for each environment.
            behaviour: who acts.
            controller: of the cost weight w.
            seed: of everything random.
            demonstrations: of the task; drawn from where ``demonstration_share`` or ``pretrain``
                ask for it.
            demonstration_share: part of each batch that is drawn from them, 0 to below 1 (JSRL:
                0.25).
            pretrain: updates on them alone before the first step.
            reward_unit: what rewards are divided by before anything is learnt from them.
            normaliser: of observations, where the learner begins with networks that were learnt
                behind it; None: as the settings say.

        Raises:
            HandrailError: a share or ``pretrain`` without demonstrations, or out of range.
        """
        require_share(demonstration_share, pretrain, settings.batch)
        if demonstrations is None and (demonstration_share or pretrain):
            raise HandrailError("demonstration_share and pretrain need demonstrations: --demos")
        self.run, self.learner, self.settings = run, learner, settings
        self.behaviour, self.controller, self.seed = behaviour, controller, seed
        self._unit = np.float32(reward_unit)
        judged = min(5, settings.evaluate_episodes)
        with ExitStack() as opened:
            simulators = [
                opened.enter_context(closing(make_env()))
                for _ in range(judged + settings.environments)
            ]
            self.spec = simulators[0].spec_
            acting, judging = simulators[judged:], simulators[:judged]
            self._rollout = Rollout(
                acting,
                lambda number: episode_seed(seed, number),
                -(-settings.steps // settings.environments),
            )
            self._replay = Replay(
                min(settings.buffer, settings.steps + self.spec.horizon), self.spec
            )
            self._share, self._pretrain, self._pretrained = demonstration_share, pretrain, 0
            self._demonstrations = (
                Replay.of(demonstrations.require(self.spec), self.spec)
                if demonstrations
                else Replay(1, self.spec)
            )
            self._update = block(learner)
            self.state = learner.init(jax.random.key(seed), self.spec)
            self._actor = np.asarray(pack(learner.actor(self.state)))
            self._judge = Judge(settings, controller, judging, self._actor, unit=float(self._unit))
            self._normaliser = normaliser or Normaliser.none(self.spec.observation_size)
            self._normalised = normaliser is not None or not settings.normalise
            self._rollout.carry = behaviour.policy(self.student(), 0).initial(settings.environments)
            self._weights = controller.init()
            self.steps, self.episodes, self.cumulative_cost = 0, 0, 0.0
            # Since the last row of metrics:
            self._recent: list[Episode] = []
            self._learning: dict[str, list[float]] = {}
            self.latest: Metrics = {}
            self._simulators = opened.pop_all()

    @property
    def controlled(self) -> State:
        """The controller's state, w among it."""
        return self._weights

    def student(self) -> Student:
        """The student with the parameters of the last finished block of updates."""
        return self._policy(self._actor).sampled(self.settings.noise)

    def best(self) -> Student:
        """The student of the best evaluation: what a run ends in."""
        return self._policy(self._judge.best_actor)

    def _policy(self, actor: np.ndarray) -> Student:
        acting = unpack(actor, self.learner.actor(self.state))
        return self.learner.policy(acting).behind(self._normaliser)

    # ---- one block -----------------------------------------------------------------------------

    def _batches(self) -> Batch:
        s = self.settings
        rng = np.random.default_rng([self.seed, self.steps])
        updates, theirs = round(s.block * s.updates_per_step), demonstrated(self._share, s.batch)
        ours = self._replay.sample(rng, (updates, s.batch - theirs))
        if theirs:
            pairs = zip(ours, self._demonstrations.sample(rng, (updates, theirs)), strict=True)
            ours = Batch(*(np.concatenate(pair, axis=1) for pair in pairs))
        return self._normal(ours)

    def _normal(self, batch: Batch) -> Batch:
        """The batch with normalised observations, the first one decides on the normaliser, and with
        the reward in its unit."""
        if not self._normalised:
            source = self._demonstrations if len(self._demonstrations) else self._replay
            self._normaliser = Normaliser.of(source.observations)
            self._normalised = True
            self._judge.begin(self._actor)  # it judged a policy without the normaliser
        return batch.learnt(self._normaliser, self._unit)

    def _offline(self, watcher: Watcher) -> None:
        """``pretrain`` updates on the demonstrations, before the first step."""
        watcher.begin("pre-training", self._pretrain, "updates", self._pretrained)
        while (done := self._pretrained) < self._pretrain:
            n = min(100, self._pretrain - done)
            rng = np.random.default_rng([self.seed, self._pretrain, done])
            batches = self._normal(self._demonstrations.sample(rng, (n, self.settings.batch)))
            result = self._learn(batches, self._weights["weight"])
            self.state, self._actor = result.state, np.asarray(result.actor)
            self._pretrained += n
            self._judge.begin(self._actor)
            watcher.advance(self._pretrained, {})
            if watcher.stopping:
                self._save()
                raise Stopped(f"pre-training stopped at update {self._pretrained:,}")

    def _learn(self, batches: Batch, weight: float):
        return jax.block_until_ready(self._update(self.state, batches, weight))

    def _collect(self) -> None:
        policy = self.behaviour.policy(self.student(), self.steps)
        for _ in range(self.settings.block // self.settings.environments):
            ended = self._rollout.advance(policy)
            self.steps += self.settings.environments
            if ended:
                carry = self._rollout.carry
                parts = [self.behaviour.part(carry, over.row) for over in ended]
                seen = [self._finish(over.episode, p) for over, p in zip(ended, parts, strict=True)]
                self.behaviour.observe(seen, self.steps)

    def _finish(self, episode: Episode, part: float) -> Ended:
        self.run.add_episode(self.episodes, episode)
        self._replay.add_episode(episode)
        self._recent.append(episode)
        self.episodes += 1
        self.cumulative_cost += episode.cost
        # Stages of a curriculum are compared with each other: by one weight, the first.
        weight = self.controller.init()["weight"]
        shaped = episode.return_ / float(self._unit) - weight * episode.cost
        self._weights = self.controller.update(
            self._weights, episode.return_, episode.cost, self.steps, part
        )
        begun = self.steps - len(episode) * self.settings.environments
        return Ended(begun - begun % self.settings.block, shaped)

    # ---- the run -------------------------------------------------------------------------------

    def train(self, watcher: Watcher) -> None:
        """From the run's last checkpoint, if it has one, to ``settings.steps``; the simulators are
        closed then, whatever happens.

        Raises:
            Stopped: the watcher asked for it; a checkpoint was written.
        """
        with self._simulators:
            self._train(watcher)
        s, whole = self.settings, len(self._replay)
        if whole < s.start:
            watcher.say(
                f"nothing was learnt online: {whole:,} of {s.steps:,} steps are of episodes that "
                f"ended, and learning begins with {s.start:,}; take more steps, fewer "
                "environments, or a lower start"
            )

    def _train(self, watcher: Watcher) -> None:
        s = self.settings
        self._restore()
        if self._pretrained < self._pretrain:
            self._offline(watcher)
        watcher.begin(self.learner.name, s.steps, "steps", self.steps)
        with ThreadPoolExecutor(1, thread_name_prefix="learner") as worker:
            while self.steps < s.steps:
                future = None
                if len(self._replay) >= s.start:
                    future = worker.submit(self._learn, self._batches(), self._weights["weight"])
                self._collect()
                if future is not None:
                    result = future.result()
                    self.state, self._actor = result.state, np.asarray(result.actor)
                    self._judge.follow(self._actor, s.block)
                    for name, value in result.metrics.items():
                        self._learning.setdefault(name, []).append(float(value))
                due = self.steps % s.evaluate_every == 0 or self.steps >= s.steps
                if due:
                    self._log()
                stopping = watcher.stopping  # read once: Ctrl-C may come between save and raise
                if due or stopping:
                    self._save()
                watcher.advance(self.steps, self.latest)
                if stopping and self.steps < s.steps:
                    raise Stopped(f"stopped at step {self.steps:,} of {s.steps:,}")

    def _log(self) -> None:
        row = self._judge.evaluate(self._policy)
        if self._recent:
            row["train/return"] = np.mean([e.return_ for e in self._recent])
            row["train/cost"] = np.mean([e.cost for e in self._recent])
            row["train/length"] = np.mean([len(e) for e in self._recent])
        row |= {
            "train/cumulative_cost": self.cumulative_cost,
            "train/episodes": self.episodes,
            "cost_weight": self._weights["weight"],
            **self.behaviour.metrics(self.steps, self._rollout.carry),
            **{name: np.mean(values) for name, values in self._learning.items()},
        }
        self.run.log(self.steps, row, timings={"time/seconds": self.run.seconds})
        self.latest, self._recent, self._learning = row, [], {}
        if self.settings.keep_policies:
            save_policy(
                self._policy(self._judge.actor),
                self.run.path / "policy" / f"step-{self.steps}",
                self.spec,
            )

    # ---- the checkpoint ------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "learner": self.state,
            "actor": self._actor,
            "normaliser": (self._normaliser.mean, self._normaliser.std),
            "rollout": self._rollout.state(),
            **self._judge.state(),
        }

    def _save(self) -> None:
        progress = {
            "step": self.steps,
            "pretrained": self._pretrained,
            "episodes": self.episodes,
            "cumulative_cost": self.cumulative_cost,
            "recent": len(self._recent),
            "learning": self._learning,
            "best": self._judge.best,
            "normalised": self._normalised,
            "reward_unit": float(self._unit),
            "weights": self._weights,
            "behaviour": self.behaviour.state,
        }
        self.run.save(progress, self._state())

    def _restore(self) -> None:
        """Go back to the run's last checkpoint; to the beginning, where there is none."""
        loaded = self.run.load(self._state())
        if loaded is None:
            return
        progress, state = loaded
        require_kinds(self.run.path / "checkpoint" / "latest.json", progress, _PROGRESS)
        unit = progress.get("reward_unit", 1.0)  # rewards were once learnt as they were
        if unit != float(self._unit):
            raise HandrailError(
                f"{self.run.path} was begun with a reward unit of {unit:g}, now it is "
                f"{self._unit:g}; set reward_unit in its settings.toml to the first"
            )
        if (
            progress["behaviour"].get("schedule", {}).keys()
            != self.behaviour.state.get("schedule", {}).keys()
        ):
            raise HandrailError(
                f"{self.run.path} is a run of another version, whose guidance kept another state; "
                "use the version that began it, or train anew"
            )
        self._pretrained = progress["pretrained"]
        self.steps, self.episodes = progress["step"], progress["episodes"]
        self.cumulative_cost = progress["cumulative_cost"]
        self._weights, self.behaviour.state = progress["weights"], progress["behaviour"]
        self.state, self._actor = state["learner"], state["actor"]
        self._judge.restore(state, progress["best"], self._actor)
        self._normaliser = Normaliser(*state["normaliser"])
        self._normalised = progress["normalised"]
        self._learning = progress["learning"]
        for number, episode in enumerate(self.run.episodes(self.episodes)):
            self._replay.add_episode(episode)
            if number >= self.episodes - progress["recent"]:
                self._recent.append(episode)
        self._rollout.restore(state["rollout"])
