"""Demonstrations by controllers written by hand, for tasks of GOLD's table that SAC has not learnt.

    python experiments/experts/scripted.py TASK --out FILE [--episodes 200] [--noise 0.1]

TASK is native/PointPush1-gold, native/CarPush1-gold or bullet/CarGather-gold. The controllers read
the simulator's state, which no policy sees; what their demonstrations teach is learnt from
observations. Actions are executed, and written, with Gaussian noise, so that ways back to the path
are shown. ``--search N`` is how the constants below were found: N trials, each of some constants
changed at random, kept where 8 episodes have more return less a tenth of the cost (on Gather: less
ten costs).
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from handrail import envs
from handrail.data import sources
from handrail.data.episodes import Episode, Episodes
from handrail.envs.cmdp import CMDP

Discs = list[tuple[np.ndarray, float]]
"""Centres and radii of what is in the way, m."""


def turned(angle: float) -> float:
    """Into (-pi, pi]."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def bent(at: np.ndarray, aim: np.ndarray, discs: Discs, margin: float, gain: float) -> np.ndarray:
    """The unit vector from ``at`` to ``aim``, bent around discs that are nearer than ``margin``."""
    ahead = aim - at
    ahead = ahead / max(np.linalg.norm(ahead), 1e-6)
    bend = ahead.copy()
    for centre, radius in discs:
        away = at - centre
        far = max(np.linalg.norm(away), 1e-6)
        if far - radius < margin and -away @ ahead > -radius:
            along = np.array([-away[1], away[0]]) / far
            along = along if along @ ahead > 0 else -along
            bend += gain * (margin - far + radius) / margin * (0.7 * away / far + along)
    return bend / max(np.linalg.norm(bend), 1e-6)


@dataclass(frozen=True)
class Pusher:
    """Point or Car: go round behind the box, then push it along a way clear of the discs."""

    back: float = 0.5
    """Where to stand behind the box before pushing it, m from its centre."""
    beside: float = 0.55
    """How far beside it to go round it, m."""
    width: float = 0.12
    """Pushing begins within this distance of the line through the box, m; it ends at 1.8 times."""
    lead: float = 0.3
    """What is aimed at while pushing: so far beyond the box's centre, m, ..."""
    centring: float = 1.5
    """... and so many times the distance from the line on its other side."""
    clear: float = 0.25
    """Room that the box keeps to hazards and pillars, m, ..."""
    margin: float = 0.3
    """... how much nearer its way begins to bend, m, ..."""
    bend: float = 1.0
    """... and how much."""
    own_margin: float = 0.3
    """The same of the agent's own way, and of how much it bends."""
    own_bend: float = 1.0
    approach: float = 1.5
    """Speed for each metre that is left to the place behind the box."""
    turn: float = 5.0
    """Turning for each radian off the course."""
    slow: float = 2.0
    """Power of the cosine of that angle that the speed is multiplied by."""
    reverse: float = 2.0
    """Beyond this angle, rad, the agent drives backwards."""
    mixed: float = 0.5
    """Car: part of the speed that turning takes away, ..."""
    twist: float = 0.6
    """... and the wheels' difference for it."""

    def action(self, env: CMDP, state: dict[str, Any]) -> np.ndarray:
        """Controls in the unit box; ``state`` is the episode's."""
        model, data = env.unwrapped.model, env.unwrapped.data
        bodies = {model.body(i).name: data.xpos[i, :2] for i in range(model.nbody)}
        agent, box, goal = bodies["agent"], bodies["push_box"], bodies["goal"]
        hazards: Discs = [(at, 0.3) for name, at in bodies.items() if name.startswith("hazard")]
        pillars: Discs = [(at, 0.2) for name, at in bodies.items() if name.startswith("pillar")]
        x, y = data.xmat[model.body("agent").id][[0, 3]]
        car = "left" in bodies  # its front is where its y axis comes from
        heading = np.arctan2(y, x) - (np.pi / 2 if car else 0)

        around = [(at, radius + self.clear) for at, radius in hazards + pillars]
        way = bent(box, goal, around, self.margin, self.bend)
        side_of = np.array([-way[1], way[0]])
        along, side = (agent - box) @ way, (agent - box) @ side_of
        width = self.width * (1.8 if state.get("pushing") else 1.0)
        pushing = state["pushing"] = bool(along < -0.15 and abs(side) < width)
        if pushing:
            course = box + way * self.lead - side_of * side * self.centring - agent
            speed = 1.0
        else:
            place = box - way * self.back
            if along > -0.6 * self.back:  # beside or before it
                place = box + side_of * (self.beside if side >= 0 else -self.beside)
                place = place - way * self.back * (0.3 if along > 0.1 else 0.8)
            around = hazards + [(at, radius + 0.1) for at, radius in pillars] + [(box, 0.25)]
            course = bent(agent, place, around, self.own_margin, self.own_bend)
            speed = min(1.0, self.approach * float(np.linalg.norm(place - agent)) + 0.15)
        off = turned(float(np.arctan2(course[1], course[0])) - heading)
        if not pushing and abs(off) > self.reverse:
            off, speed = turned(off + np.pi), -speed
        speed *= max(np.cos(off), 0.0) ** self.slow
        turn = float(np.clip(self.turn * off, -1, 1))
        if not car:
            return np.array([speed, turn])
        speed, turn = speed * (1 - abs(turn) * self.mixed), turn * self.twist
        return np.array([speed + turn, speed - turn])


@dataclass(frozen=True)
class Gatherer:
    """Bullet's car: to the nearest apple, around the bombs."""

    radius: float = 1.5
    """Of a bomb that is to be kept clear of, m (it goes off within 1 m)."""
    margin: float = 1.0
    """How much nearer the way begins to bend, m, ..."""
    bend: float = 3.0
    """... and how much."""
    dear: float = 2.0
    """An apple counts as so much farther for each metre that a bomb is nearer to it than 3 m, m."""
    sharp: float = 1.0
    """An apple counts as so much farther for each radian off the course, m."""
    turn: float = 2.5
    """Steering for each radian off the course."""
    speed: float = 0.4
    slow: float = 0.3
    """Part of the speed that a course at a right angle takes away."""
    reverse: float = 2.2
    """Beyond this angle, rad, the car backs."""

    def action(self, env: CMDP, state: dict[str, Any]) -> np.ndarray:
        scene = env.unwrapped
        here, heading = scene.agent.get_position()[:2], scene.agent.get_orientation()[2]
        apples, bombs = (
            [o.get_position()[:2] for o in scene.obstacles if o.is_visible and o.name == name]
            for name in ("Apple", "Bomb")
        )

        def off(course: np.ndarray) -> float:
            return turned(float(np.arctan2(course[1], course[0])) - heading)

        def price(apple: np.ndarray) -> float:
            near = sum(max(0.0, 3 - float(np.linalg.norm(apple - bomb))) for bomb in bombs)
            far = float(np.linalg.norm(apple - here))
            return far + self.dear * near + self.sharp * abs(off(apple - here))

        if not apples:
            return np.zeros(2)
        around = [(bomb, self.radius) for bomb in bombs]
        course = bent(here, min(apples, key=price), around, self.margin, self.bend)
        angle = off(course)
        speed = self.speed * (1 - self.slow * min(1.0, abs(angle)))
        if abs(angle) > self.reverse:
            return np.array([-speed, np.clip(-self.turn * turned(angle + np.pi), -1, 1)])
        return np.array([speed, np.clip(self.turn * angle, -1, 1)])


CONTROLLERS: dict[str, Pusher | Gatherer] = {
    "native/PointPush1-gold": Pusher(
        back=0.379,
        width=0.154,
        centring=0.938,
        approach=0.525,
        turn=2.801,
        clear=0.038,
        margin=0.722,
        bend=0.843,
        own_margin=0.387,
        own_bend=1.514,
        lead=2.229,
        beside=0.205,
        reverse=0.532,
        slow=1.951,
    ),
    "native/CarPush1-gold": Pusher(
        back=0.248,
        width=0.12,
        centring=2.623,
        approach=1.5,
        turn=2.523,
        clear=0.25,
        margin=0.36,
        bend=1.0,
        own_margin=0.381,
        own_bend=0.825,
        lead=0.205,
        beside=0.261,
        reverse=2.369,
        slow=2.032,
        mixed=1.169,
        twist=0.347,
    ),
    "bullet/CarGather-gold": Gatherer(
        radius=1.424, sharp=1.368, turn=4.543, speed=0.46, slow=0.231
    ),
}


def play(env: CMDP, controller: Pusher | Gatherer, seed: int, noise: float) -> Episode:
    """The episode of a seed; ``noise`` is a deviation in the unit box."""
    rng, state = np.random.default_rng(seed), {}
    observations, actions, rewards, costs = [env.reset(seed=seed)[0]], [], [], []
    terminated = truncated = False
    while not (terminated or truncated):
        action = controller.action(env, state) + noise * rng.standard_normal(2)
        actions.append(np.clip(action, -1, 1).astype(np.float32))
        observation, reward, terminated, truncated, info = env.step(actions[-1])
        observations.append(observation)
        rewards.append(reward)
        costs.append(info["cost"])
    return Episode(
        np.stack(observations),
        env.spec_.to_box(np.stack(actions)),
        np.asarray(rewards, np.float32),
        np.asarray(costs, np.float32),
        terminated,
        seed,
    )


def score(env: CMDP, controller: Pusher | Gatherer, noise: float) -> tuple[float, float, float]:
    """What the search compares, and the return and the cost that it is made of."""
    played = [play(env, controller, seed, noise) for seed in range(8)]
    return_, cost = np.mean([e.return_ for e in played]), np.mean([e.cost for e in played])
    dear = 0.1 if isinstance(controller, Pusher) else 10.0
    return float(return_ - dear * cost), float(return_), float(cost)


def search(env: CMDP, controller: Pusher | Gatherer, trials: int, noise: float) -> None:
    rng = np.random.default_rng(0)
    best = score(env, controller, noise)
    names = list(asdict(controller))
    for trial in range(trials):
        changed = rng.choice(names, rng.integers(1, 5), replace=False)
        factors = np.exp(0.4 * rng.standard_normal(len(changed)))
        new = {
            n: round(getattr(controller, n) * f, 3) for n, f in zip(changed, factors, strict=True)
        }
        other = replace(controller, **new)
        found = score(env, other, noise)
        if found > best:
            best, controller = found, other
            print(f"{trial}: {best[1]:.2f} at {best[2]:.2f}: {controller}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="demonstrations by controllers written by hand")
    parser.add_argument("task", choices=CONTROLLERS)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first episode")
    parser.add_argument("--noise", type=float, default=0.1)
    parser.add_argument("--search", type=int, default=0, help="trials, in place of demonstrations")
    asked = parser.parse_args()
    env, controller = envs.make(asked.task), CONTROLLERS[asked.task]
    if asked.search:
        search(env, controller, asked.search, asked.noise)
        return
    if asked.out is None or asked.out.exists():
        parser.error("--out names a file that does not exist yet")
    played = [
        play(env, controller, seed, asked.noise)
        for seed in range(asked.seed, asked.seed + asked.episodes)
    ]
    sources.write(Episodes(tuple(played), asked.task), asked.out)
    returns, costs = [e.return_ for e in played], [e.cost for e in played]
    print(
        f"{asked.out}: {len(played)} episodes, return {np.mean(returns):.2f} "
        f"({min(returns):.2f} to {max(returns):.2f}), cost {np.mean(costs):.2f} "
        f"({min(costs):.0f} to {max(costs):.0f})"
    )


if __name__ == "__main__":
    main()
