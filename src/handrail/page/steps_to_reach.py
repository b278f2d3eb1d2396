"""The part of the page that tells how many steps guidance saves."""

from __future__ import annotations

import numpy as np

from handrail.page import step_panels
from handrail.page.over_steps import acts, curve
from handrail.page.sources import Sources
from handrail.page.words import listed, number, paragraphs, table


def steps_to_reach(sources: Sources) -> str:
    scratched = sources.paper.scratch
    drawn = {method for _, method in sources.curves}
    seeded = [m for m in sources.methods if m in drawn and m not in scratched]
    still = [m for m in sources.methods if sources.runs_of(m) and not acts(sources, m)]
    rows = []
    for task in sources.tasks:
        known = {m: c for m in scratched if (c := curve(sources, task, m)) is not None}
        if not known:
            continue
        scratch = max(known, key=lambda m: known[m][1].mean(axis=0)[-1])
        steps, returns, costs = known[scratch]
        goal, cost = returns.mean(axis=0)[-1], costs.mean(axis=0)[-1]
        own = float(steps[np.argmax(returns.mean(axis=0) >= goal)])
        places, saved = sources.cost_places(task), ""
        to_beat = f"{scratch}: {number(goal, 1)} / {number(cost, places)}"
        row = [sources.paper.label(task), to_beat, f"{own:,.0f}"]
        at_once = [
            m
            for m in still
            if (task, m) in sources.results and sources.returns(task, m).mean() >= goal
        ]
        row.append(listed(at_once) if at_once else "none")
        for method in seeded:
            found = curve(sources, task, method)
            if found is None:
                row.append("no curve")
            elif (there := _reached(found, goal)) is None:
                row.append(f"not in {found[0][-1]:,.0f}")
            else:
                row.append(f"{there[0]:,.0f} ({number(there[1], places)})")
                saved = f"{own - there[0]:,.0f}" if method == sources.paper.own else saved
        rows.append([*row, saved])
    if not rows:
        return ""
    heads = [
        "task",
        "best from scratch: return / cost at its end",
        "there after",
        "with no step",
        *seeded,
    ]
    return paragraphs(
        "## Steps to reach the best method from scratch",
        "Environment steps at the first evaluation whose mean return over seeds is no less than "
        "what the better of IQL and CVPO from scratch has at its last one; in brackets the mean "
        "cost there. The others begin with demonstrations, whose steps, and updates on them, are "
        "not counted; of those that never act, the ones whose evaluation episodes earn as much.",
        table([*heads, f"{sources.paper.own} saves"], rows, "llrl" + "r" * (len(seeded) + 1)),
    )


def _reached(found: step_panels.Curve, goal: float) -> tuple[float, float] | None:
    """Steps and mean cost where the mean return is first at the goal."""
    steps, returns, costs = found
    there = np.flatnonzero(returns.mean(axis=0) >= goal)
    if not there.size:
        return None
    return float(steps[there[0]]), float(costs[:, there[0]].mean())
