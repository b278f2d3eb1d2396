"""The part of the page that draws episodes of two students in the plane (GOLD, Fig. 3)."""

from __future__ import annotations

from handrail import envs
from handrail.figures import save, styled
from handrail.page.judged import judged
from handrail.page.sources import Sources
from handrail.page.words import listed, paragraphs
from handrail.policy_files import load_policy

STUDENTS = ("GOLD (BC-IQL)", "GOLD (DT-IQL)")
"""From left to right, as in the paper."""
FIRST = "native/CarButton1-gold"
"""The paper's task; where it has not been run, another."""
SEED = 0
"""Of training."""
EPISODES = (1000, 1001)
"""Seeds of the first two evaluation episodes."""


def trajectories(sources: Sources) -> str:
    found = judged(sources.runs) if sources.runs is not None else {}
    runs = {(task, method): run for (task, method, seed), run in found.items() if seed == SEED}
    tasks = [FIRST, *sources.tasks, *(task for task, _ in runs)]
    native = [task for task in tasks if task.startswith("native/")]
    task = next((t for t in native if all((t, s) in runs for s in STUDENTS)), None)
    if task is None:
        return ""
    env = envs.make(task)  # it says what is missing where MuJoCo is
    from handrail.envs.native.paths import draw, follow

    policies = [load_policy(runs[task, student])[0] for student in STUDENTS]
    shown = [[follow(policy, env, seed) for policy in policies] for seed in EPISODES]
    env.close()
    titles = [f"{student}, episode {seed}" for seed in EPISODES for student in STUDENTS]
    with styled():
        figure = draw([way for row in shown for way in row], titles, columns=len(STUDENTS))
        save(figure, sources.figure("trajectories"))
    told = [
        f"{student} (`{runs[task, student].name}`): "
        + listed(
            f"{row[i].told} in episode {seed}" for seed, row in zip(EPISODES, shown, strict=True)
        )
        for i, student in enumerate(STUDENTS)
    ]
    return paragraphs(
        "## Trajectories",
        sources.shown("trajectories", f"Two episodes of {listed(STUDENTS)}, seen from above"),
        f"{sources.paper.label(task)} (m), students of training seed {SEED}, their first two "
        "evaluation episodes. The path begins at the black dot and goes from light to dark, red "
        "where it costs; a star is a goal met or a button pressed. Objects stand where they did at "
        "the start; thin lines are the ways of those that move, green discs the first eight goals. "
        f"{'. '.join(told)}.",
    )
