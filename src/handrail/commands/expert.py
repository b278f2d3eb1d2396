"""``handrail expert TASK``"""

from __future__ import annotations

from handrail.commands.train import begin


def main(argv: list[str]) -> None:
    begin("expert", argv, "expert")
