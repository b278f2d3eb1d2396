"""Numbers and Markdown as the page writes them."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence, Sized

import numpy as np

from handrail.stats import Statistic, bootstrap

ENOUGH = 3
"""Seeds that an interval is given from: two tell no more than their own two values."""


def with_interval(
    values: Sequence[float], places: int, strong: bool = False, statistic: Statistic = np.mean
) -> str:
    """Their mean (or another statistic), in bold where it is to be, and its 95% interval where
    there are ``ENOUGH`` values."""
    found = bold(number(float(statistic(np.asarray(values))), places), strong)
    if len(values) < ENOUGH:
        return found
    low, high = bootstrap(values, statistic)
    return f"{found} ({number(low, places)} to {number(high, places)})"


def too_few(cells: Iterable[Sized]) -> str:
    """How many seeds the poorest cell has, where that gives no interval; "" where it does."""
    fewest = min(len(cell) for cell in cells)
    return "" if fewest >= ENOUGH else "1 seed" if fewest == 1 else f"{fewest} seeds"


def bold(text: str, strong: bool = True) -> str:
    return f"**{text}**" if strong else text


def number(x: float, places: int, sign: str = "") -> str:
    """``sign``: + where a plus is to be written too."""
    return f"{round(float(x), places) + 0.0:{sign},.{places}f}"  # + 0.0: no minus before a zero


def told(x: float | None, places: int, sign: str = "") -> str:
    return "unknown" if x is None else number(x, places, sign)


def mean(values: Sequence[float | None]) -> float | None:
    """None where there is no value, or one of them is not known."""
    known = [x for x in values if x is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def listed(names: Iterable[str]) -> str:
    """One or more, as in a sentence."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def commits(of: Iterable[str]) -> str:
    """Each once, with how many runs are of it."""
    known = Counter(commit[:10] or "unknown" for commit in of)
    return ", ".join(f"{commit} ({count})" for commit, count in sorted(known.items()))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> str:
    """A Markdown table; ``align`` has an ``l`` or an ``r`` for each column. Labels are the user's:
    a bar in one ends no cell."""
    rules = [{"l": "---", "r": "---:"}[side] for side in align]
    lines = ([cell.replace("|", r"\|") for cell in row] for row in (heads, rules, *rows))
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def paragraphs(*texts: str) -> str:
    """Texts apart from each other; those that are prose are wrapped."""
    prose = [text[0] not in "#|!" for text in texts]
    wrapped = [_wrap(text) if it else text for text, it in zip(texts, prose, strict=True)]
    return "\n\n".join(wrapped)


def _wrap(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)
