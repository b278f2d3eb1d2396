"""A simulated task for controllers of the cost weight; also drawn by
experiments/marvel/step_responses.py."""

import numpy as np

from handrail.multipliers import Controller


def respond(
    control: Controller,
    *,
    unweighted: float,
    falls: float,
    lag: float,
    episodes: int = 500,
    deaf: int = 0,
    guide: float = 0.0,
    seed: int = 0,
    noise: float = 0.7,
    told: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """(weights, expected costs) of episodes played five at a time, as ``Online`` plays them.

    An episode's expected cost is ``unweighted`` at w = 0 and falls to 1/e of itself for every
    ``falls`` of w. The student follows w with a first-order ``lag`` of so many episodes, after five
    more (a block learns by the weight that was in force when it began). A cost is drawn from
    a gamma distribution of that mean and ``noise`` times it as deviation. In the first ``deaf``
    episodes a guide's cost gives way to the student's, linearly, as in the prefix curriculum;
    ``told``: which part of an episode is the student's, the controller knows.
    """
    rng = np.random.default_rng([seed, 7])
    state = control.init()
    followed = learning = coming = state["weight"]
    weights, costs = [], []
    for number in range(episodes):
        if number % 5 == 0:
            learning, coming = coming, state["weight"]
        followed += (learning - followed) / lag
        own, part = unweighted * np.exp(-followed / falls), min(1.0, number / deaf) if deaf else 1.0
        mean = part * own + (1 - part) * guide
        cost = mean * rng.gamma(noise**-2, noise**2) if noise else mean
        state = control.update(state, 0.0, cost, 400 * (number + 1), part if told else 1.0)
        weights.append(state["weight"])
        costs.append(mean)
    return np.array(weights), np.array(costs)
