"""The part of the page that shows what others have published of its tasks, by other methods."""

from __future__ import annotations

from handrail.page.sources import Sources
from handrail.page.words import listed, paragraphs, table


def elsewhere(sources: Sources) -> str:
    known = sources.paper.tasks
    methods = dict.fromkeys(method for task in known.values() for method in task.methods)
    rows = [
        [task.label, *(task.methods[m].told if m in task.methods else "" for m in methods)]
        for task in known.values()
    ]
    return paragraphs(
        "## Published elsewhere",
        f"Return / cost on the same tasks by {listed(methods)}. " + sources.paper.caveat,
        table(["task", *methods], rows, "l" + "r" * len(methods)),
    )
