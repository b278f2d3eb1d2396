"""``handrail expert TASK``"""

from __future__ import annotations

from handrail.commands._cli import parse
from handrail.jobs import METHODS, start


def main(argv: list[str]) -> None:
    start(parse(METHODS["expert"], argv, "expert"))
