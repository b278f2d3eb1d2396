"""The papers whose tables there are pages of, and the page of a table that is none's. What differs
between the pages stands here."""

from __future__ import annotations

from handrail.data import dsrl
from handrail.page import paper
from handrail.page.ablations import ablations
from handrail.page.aims import aims
from handrail.page.correlations import correlations
from handrail.page.elsewhere import elsewhere
from handrail.page.guide_quality import guide_quality
from handrail.page.measured import Results
from handrail.page.other_start import other_start
from handrail.page.over_steps import curves, multipliers, training_cost
from handrail.page.over_tasks import over_tasks
from handrail.page.paper import Paper, Scale
from handrail.page.sections import (
    making,
    normalised,
    overview,
    planes,
    tasks_in_detail,
    times,
)
from handrail.page.steps_to_reach import steps_to_reach
from handrail.page.together import together
from handrail.page.trajectories import trajectories


def of(results: Results, name: str) -> Paper:
    """The paper that most of the table's cells are of, by task and method; where that is less than
    half of them, none: the table is a user's own.

    Args:
        name: heads the page of such a one.
    """

    def places(known: Paper) -> int:
        methods = {*known.methods, *known.beside, *known.variants}
        return sum(task in known.tasks and method in methods for task, method in results)

    most = max(PAPERS, key=places)
    return most if 2 * places(most) >= len(results) else _own(name)


def _own(name: str) -> Paper:
    return Paper(
        name="",
        title=f"Results: {name}",
        own="",
        scratch=(),
        methods=(),
        beside=(),
        variants=(),
        note="",
        published="",
        caveat="",
        beginning="a guide or an offline policy",
        scale=Scale(lambda task: None, told="", undefined="not in a paper"),
        sections=(
            overview, planes, curves, training_cost, multipliers, tasks_in_detail, times, making,
        ),
    )  # fmt: skip


def _gold_ends(task: str) -> tuple[float, float] | None:
    """None where GOLD is not ahead of CVPO: a score would not rise with the return."""
    known = paper.tasks("gold").get(task)
    if known is None:
        return None
    zero, one = known.methods["CVPO"], known.methods["GOLD (DT-IQL)"]
    return (zero.return_, one.return_) if one.return_ > zero.return_ else None


def _dsrl_ends(task: str) -> tuple[float, float] | None:
    known = dsrl.sets().get(task)
    return None if known is None else known.returns


GOLD = Paper(
    name="gold",
    title="GOLD, Table I",
    own="GOLD (DT-IQL)",
    scratch=("IQL", "CVPO"),
    methods=(
        "BC", "DT", "IQL", "IQL (demos)", "CVPO",
        "GOLD (BC-IQL)", "GOLD (DT-CVPO)", "GOLD (DT-IQL)",
    ),
    beside=("Handrail",),
    variants=(),
    note="Handrail is this project's own, of no paper. The limits are this project's too, the "
    "paper names none. A run of IQL, alone or in GOLD, ends in the student whose validation "
    "episodes had the most return less w times cost, one of CVPO or Handrail in the student that "
    "earned most within the limit. From scratch is with as many steps as the others have, far "
    "fewer than the paper's.",
    published="paper: return / cost",
    caveat="The paper's limits and episodes need not be ours.",
    beginning="a guide",
    scale=Scale(
        _gold_ends,
        told="0 is the paper's CVPO on the task and 1 its GOLD (DT-IQL)",
        undefined="not in the paper, GOLD (DT-IQL) not ahead of CVPO in it",
    ),
    sections=(
        overview, over_tasks, planes, curves, steps_to_reach, guide_quality, trajectories,
        tasks_in_detail, times, making,
    ),
)  # fmt: skip

MARVEL = Paper(
    name="marvel",
    title="Marvel",
    own="Marvel",
    scratch=("From Scratch",),
    methods=(
        "CPQ", "From Scratch", "Warm Start", "Re-learn Q", "WSRL", "JSRL", "PEX", "SO2", "Marvel",
    ),
    beside=("GOLD (DT-IQL)", "Handrail"),
    variants=(
        "From Scratch (PID)", "Warm Start (PID)", "Re-learn Q (PID)", "WSRL (PID)", "JSRL (PID)",
        "PEX (PID)", "SO2 (PID)", "Marvel (PID)", "Marvel (entropy)", "BEAR-Lag",
        "Warm Start (BEAR-Lag)", "JSRL (BEAR-Lag)", "PEX (BEAR-Lag)", "SO2 (BEAR-Lag)",
        "Marvel (BEAR-Lag)", "Handrail (BEAR-Lag)",
    ),
    note="Handrail is this project's own, of no paper. The limits are this project's too; the "
    "published code has 20 on every task. CPQ is the offline policy; Marvel and what it is "
    "compared with go on from it, but for From Scratch. GOLD (DT-IQL) learns from the same data "
    "sets. An adaptive PID moves the multiplier of each. What differs from these in a part stands "
    "under Ablations.",
    published="elsewhere: return",
    caveat="Elsewhere: what reviewers of the paper hold against it, a return that SAC-Lagrangian "
    "from scratch exceeds; limits and episodes there need not be ours, and the paper's own figures "
    "were not to be had.",
    beginning="an offline policy",
    scale=Scale(
        _dsrl_ends,
        told="0 is the least return of an episode of DSRL's data set and 1 the largest",
        undefined="no data set of DSRL's",
    ),
    sections=(
        overview, aims, together, other_start, normalised, over_tasks, planes, curves,
        training_cost, multipliers, ablations, correlations, tasks_in_detail, times, making,
    ),
)  # fmt: skip

LAYOUTS = Paper(
    name="layouts",
    title="GOLD on random layouts",
    own="GOLD (DT-IQL)",
    scratch=("IQL", "CVPO"),
    methods=("DT", "IQL", "CVPO", "GOLD (DT-IQL)"),
    beside=("Handrail",),
    variants=(),
    note="These are Safety-Gymnasium's own tasks, not the paper's: the layout is another in each "
    "episode, which has 1,000 steps. Handrail is this project's own, of no paper.",
    published="",
    caveat="As Safety-Gymnasium's and OmniSafe's benchmarks are said to have them (the two of SAC "
    "could not be traced to a table), after up to a hundred times as many steps as ours, without "
    "demonstrations.",
    beginning="a guide",
    scale=Scale(lambda task: None, told="", undefined="not in a paper of ours"),
    sections=(
        overview, elsewhere, planes, curves, steps_to_reach, tasks_in_detail, times, making,
    ),
)  # fmt: skip

PAPERS = (GOLD, MARVEL, LAYOUTS)
