"""Controllers of the cost weight w that hold a cost limit by feedback: PID, and gains that adapt.

The user states the limit of an episode's cost; w grows while finished training episodes cost more,
shrinks while they cost less. Both are ``multipliers.Controller``; ``adaptive(PID(...))`` wraps the
other. docs/decisions/0008 says which cost is held, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from handrail.errors import HandrailError
from handrail.multipliers import Controller, Fixed, State, within_limit

MultiplierName = Literal["fixed", "gradient", "pid", "adaptive-pid"]


@dataclass(frozen=True)
class PIDSettings:
    """Gains of the PID controller: w for each unit of an error that is counted in cost limits."""

    kp: float = 0.5
    """Of the smoothed error: a cost of twice the limit adds this much to w. (Chosen, as the other
    gains, on simulated tasks: tests/test_pid.py, docs/decisions/0008.)"""
    ki: float = 0.05
    """Of each episode's error: an episode of twice the limit adds this to w for good."""
    kd: float = 0.5
    """Of what the smoothed error has grown in ``delay`` episodes; its fall counts nothing."""
    smoothing: float = 0.9
    """Part of the smoothed error that an episode leaves, 0 to 1 (Marvel's code: 0.9)."""
    delay: int = 10
    """Episodes that the growth of the smoothed error is taken over (Marvel's code: 10)."""
    largest: float = 10.0
    """Of the integral: w of a cost that stays above the limit, apart from kp's and kd's parts."""
    aim: float = 1.0
    """Part of the limit, above 0 to 1, that training episodes are brought to: less than 1 leaves
    room for a student that costs more without noise than with it."""
    most: float = 3.0
    """Largest error of one episode, in limits: 3 is a cost of four times the limit. An accident
    of a hundred times the limit is one bad episode, not a hundred."""

    def __post_init__(self) -> None:
        for name in ("kp", "ki", "kd", "largest"):
            if not 0 <= getattr(self, name) < float("inf"):  # nor NaN
                raise HandrailError(f"pid.{name} is {getattr(self, name):g}; it must be 0 or more")
        if not 0 <= self.smoothing < 1:
            raise HandrailError(f"pid.smoothing is {self.smoothing:g}; it must lie in [0, 1)")
        if self.delay < 1:
            raise HandrailError(f"pid.delay is {self.delay}; it must be 1 or more")
        if not 0 < self.aim <= 1:  # nor NaN
            raise HandrailError(f"pid.aim is {self.aim:g}; it must be above 0, and 1 at most")
        if not self.most > 0:
            raise HandrailError(f"pid.most is {self.most:g}; it must be above 0")


@dataclass(frozen=True)
class PID:
    """Responsive safety by PID Lagrangian methods (Stooke et al. 2020, arXiv 2007.03964, Alg. 2).

    With the error e = p (cost - d) / max(d, 1), at most p ``most``, after each episode; d is the
    limit, or the part of it that is the ``aim``, and p the part of the episode's steps that the
    student acted in, as a guide's cost says little of w: one that a guide plays alone counts as one
    at the limit.

        I <- min(max(0, I + a Ki e), largest)        integral; it begins at ``weight``
        E <- smoothing E + (1 - smoothing) e         smoothed error; it begins at 0
        D = max(0, E - E of ``delay`` episodes ago)  the growth of the cost alone; until there are
                                                     so many, since the first
        w = max(0, I + a (Kp E + Kd D))

    The paper multiplies by Ki what is integrated; here what is added, so that I is in the unit of w
    and a gain that adapts moves no w at once. Smoothing and delay are those of published code.
    a rises from 0 to 1 over the first ``fade_in`` steps of the run (0: it is 1 at once).

    The error is counted in limits so that one set of gains serves all of them: where a weight makes
    the cost fall by some part of itself, the cost near a limit of 20 falls by four times as much
    for the same change of w as near a limit of 5. An episode's horizon would not do that. Limits
    below 1, 0 among them, are counted in units of cost; with 0 the error is never negative, so w
    never falls by its integral.

    Raises:
        HandrailError: a limit or a weight below 0, no finite limit, or a weight beyond ``largest``.
    """

    cost_limit: float
    """Of an episode's undiscounted cost, 0 or more."""
    weight: float = 0.0
    """w at first."""
    fade_in: float = 0.0
    """Environment steps since the run began; see a."""
    settings: PIDSettings = field(default_factory=PIDSettings)

    def __post_init__(self) -> None:
        if not 0 <= self.cost_limit < float("inf"):  # nor NaN
            raise HandrailError(
                f"the cost limit is {self.cost_limit:g}; state one of 0 or more, and finite"
            )
        if not 0 <= self.weight <= self.settings.largest:
            raise HandrailError(
                f"the cost weight at first is {self.weight:g}, pid.largest is "
                f"{self.settings.largest:g}; lower the one or raise the other"
            )

    @property
    def target(self) -> float:
        """d, in units of an episode's cost."""
        return self.settings.aim * self.cost_limit

    def score(self, return_: float, cost: float) -> tuple[float, ...]:
        return within_limit(return_, cost, self.cost_limit)

    def init(self) -> State:
        return {"weight": self.weight, "integral": self.weight, "errors": []}

    def update(
        self, state: State, episode_return: float, episode_cost: float, steps: int, part: float
    ) -> State:
        s = self.settings
        error = part * min((episode_cost - self.target) / max(self.target, 1.0), s.most)
        share = min(1.0, steps / self.fade_in) if self.fade_in else 1.0
        integral = min(max(0.0, state["integral"] + share * s.ki * error), s.largest)
        errors = state["errors"]
        last, before = (errors[-1], errors[0]) if errors else (0.0, 0.0)
        smooth = s.smoothing * last + (1 - s.smoothing) * error
        growth = max(0.0, smooth - before)
        return {
            "weight": max(0.0, integral + share * (s.kp * smooth + s.kd * growth)),
            "integral": integral,
            "errors": [*errors, smooth][-s.delay :],
        }


@dataclass(frozen=True)
class adaptive:
    """A PID whose gains adapt (Marvel's aPID, arXiv 2412.04426).

    In each of these C is the mean, S the deviation of the smoothed costs of the last ``delay``
    episodes, d as above, K0 a gain at first, eta the ``rate``; all clip K to [K0/reach, reach K0]:

        Marvel's code:  Kp, Ki <- K (1 + eta (C - d) / C),         Kd <- Kd (1 + eta S / C)
        reviews of it:  Kp alone, by a tanh of its argument
        here:           Kp, Ki <- K (K0/K)^pull (1 + eta (C - d) / max(C, d)),
                        Kd <- Kd (K0/Kd)^pull (1 + eta S / max(C, d))

    The code's Kd can only grow, and its Kp and Ki end at whichever bound the cost was last far from
    the limit on: at a cost of 0 they fall to K0/10 at once, so a weight that is too large stays so.
    (C - d) / max(C, d) is the same near the limit and lies in [-1, 1]. The pull makes log(K/K0) an
    average of the last 1/pull episodes, which forgets: at the limit every gain goes back to K0, and
    with pull = rate Kp and Ki stay within e times K0. That is less than the code's ten times, on
    purpose: gains that rise while nothing answers wind up as an integral does.
    """

    pid: PID
    rate: float = 0.05
    """eta, an episode (Marvel's code: 0.05)."""
    pull: float = 0.05
    """Part of the way back to K0, in log K, an episode (Marvel's code: 0)."""
    reach: float = 10.0
    """(Marvel's code: 10.)"""

    def score(self, return_: float, cost: float) -> tuple[float, ...]:
        return self.pid.score(return_, cost)

    def init(self) -> State:
        return {**self.pid.init(), "factors": [1.0, 1.0, 1.0]}  # K/K0 of Kp, Ki, Kd

    def update(
        self, state: State, episode_return: float, episode_cost: float, steps: int, part: float
    ) -> State:
        s, (p, i, d) = self.pid.settings, state["factors"]
        pid = replace(self.pid, settings=replace(s, kp=p * s.kp, ki=i * s.ki, kd=d * s.kd))
        new = pid.update(state, episode_return, episode_cost, steps, part)
        errors = new["errors"]
        mean = sum(errors) / len(errors)
        deviation = (sum((e - mean) ** 2 for e in errors) / len(errors)) ** 0.5
        # max(C, d), in the unit of errors; both 0 where the limit is 0 and is kept.
        over = self.pid.target / max(self.pid.target, 1.0) + max(mean, 0.0) or 1.0
        factors = [
            min(max(k ** (1 - self.pull) * (1 + self.rate * x / over), 1 / self.reach), self.reach)
            for k, x in zip((p, i, d), (mean, mean, deviation), strict=True)
        ]
        return {**new, "factors": factors}


def controller(
    name: MultiplierName,
    settings: PIDSettings,
    *,
    weight: float,
    cost_limit: float,
    fade_in: float = 0.0,
) -> Controller:
    """The controller that ``--multiplier`` names; ``weight`` is w for good, or at first."""
    if name == "fixed":
        return Fixed(weight)
    if name == "gradient":  # ascent on w itself: the integral alone (Stooke et al. 2020, Sec. 4)
        settings = replace(settings, kp=0.0, kd=0.0)
    pid = PID(cost_limit, weight, fade_in, settings)
    return adaptive(pid) if name == "adaptive-pid" else pid
