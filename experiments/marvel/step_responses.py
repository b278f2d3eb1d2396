"""Draws docs/figures/step-responses.png: how the controllers of a multiplier answer.

    python experiments/marvel/step_responses.py [FILE]

The task is that of tests/plant.py: an episode's expected cost falls from 30 to 1/e of itself for
every 3 of the multiplier, which begins at 0; the student follows it with a lag of 25 episodes.
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from plant import respond  # noqa: E402

from handrail.pid import PID, PIDSettings, adaptive, controller  # noqa: E402
from handrail.style import BLUE, BROWN, GREEN, VERMILLION, draw_limit, save, styled  # noqa: E402

LIMIT, SEEDS, EPISODES = 10.0, 24, 300
TASK = {"unweighted": 30.0, "falls": 3.0, "lag": 25.0, "episodes": EPISODES}
FORMS = {
    "gradient": (controller("gradient", PIDSettings(), weight=0.0, cost_limit=LIMIT), BROWN),
    "PID": (PID(LIMIT), VERMILLION),
    "adaptive PID": (adaptive(PID(LIMIT)), BLUE),
    "adaptive PID that forgets nothing": (adaptive(PID(LIMIT), pull=0.0), GREEN),
}


def main(file: Path) -> None:
    with styled() as new:
        figure = new((7.6, 3.4))
        cost, weight = figure.subplots(1, 2)
        for name, (control, colour) in FORMS.items():
            runs = [respond(control, **TASK, seed=seed) for seed in range(SEEDS)]
            for axes, values in ((cost, [c for _, c in runs]), (weight, [w for w, _ in runs])):
                mean, spread = np.mean(values, axis=0), np.std(values, axis=0)
                episodes = np.arange(EPISODES)
                axes.plot(episodes, mean, color=colour, lw=1.8, label=name)
                axes.fill_between(
                    episodes, mean - spread, mean + spread, color=colour, alpha=0.12, lw=0
                )
        draw_limit(cost, LIMIT)
        cost.set(title="Cost", xlabel="episodes", ylabel="expected cost of an episode")
        weight.set(title="Multiplier", xlabel="episodes", ylabel="reward units for a unit of cost")
        figure.legend(handles=cost.get_lines()[: len(FORMS)], loc="outside upper center", ncols=4)
        save(figure, file)


if __name__ == "__main__":
    default = ROOT / "docs" / "figures" / "step-responses.png"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
