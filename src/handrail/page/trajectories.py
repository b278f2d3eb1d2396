"""The part of the page that draws episodes of two students in the plane (GOLD, Fig. 3)."""

from __future__ import annotations

from contextlib import closing

from handrail import envs
from handrail.evaluate import evaluate
from handrail.page.judged import judged
from handrail.page.sources import Sources
from handrail.page.words import listed, paragraphs
from handrail.policy_files import load_policy
from handrail.style import save, styled

STUDENTS = ("GOLD (BC-IQL)", "GOLD (DT-IQL)")
"""From left to right, as in the paper."""
FIRST = "native/CarButton1-gold"
"""The paper's task; where it has not been run, another."""
SEED = 0
"""Of training."""
FIRST_SEED = 1000
"""Of the evaluation episodes."""
SHOWN = 2
TOGETHER = 10
"""Episodes played: as many as an evaluation steps together, so that they are those judged."""


def trajectories(sources: Sources) -> str:
    found = judged(sources.runs) if sources.runs is not None else {}
    runs = {(task, method): run for (task, method, seed), run in found.items() if seed == SEED}
    tasks = [FIRST, *sources.tasks, *(task for task, _ in runs)]
    native = [task for task in tasks if task.startswith("native/")]
    task = next((t for t in native if all((t, s) in runs for s in STUDENTS)), None)
    if task is None:
        return ""
    envs.spec(task)  # it says what is missing where MuJoCo is
    from handrail.envs.native.paths import draw, follow

    ways = []
    for student in STUDENTS:
        policy, _ = load_policy(runs[task, student])
        _, played = evaluate(
            policy, lambda: envs.make(task), episodes=TOGETHER, seed=FIRST_SEED, method=student
        )
        with closing(envs.make(task)) as env:
            ways.append([follow(episode, env) for episode in played[:SHOWN]])
    titles = [f"{s}, episode {FIRST_SEED + i}" for i in range(SHOWN) for s in STUDENTS]
    with styled():
        beside = [way for row in zip(*ways, strict=True) for way in row]
        figure = draw(beside, titles, columns=len(STUDENTS))
        save(figure, sources.figure("trajectories"))
    told = [
        f"{student} (`{runs[task, student].name}`): "
        + listed(f"{way.told} in episode {FIRST_SEED + i}" for i, way in enumerate(those))
        for student, those in zip(STUDENTS, ways, strict=True)
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
