"""Which run of a table's directory is which cell's."""

from __future__ import annotations

import re
from pathlib import Path

from handrail.storage import read_json

_NAME = re.compile(r".+-(?P<seed>\d+)-[0-9a-f]{8}")  # METHOD-SEED-DIGEST


def judged(table: Path) -> dict[tuple[str, str, int], Path]:
    """The runs that have been judged, by task, method and training seed; of several (settings
    change) the one that was judged last.

    Args:
        table: the directory that a table was made in.
    """
    found = {}
    files = table.glob("*/*/evaluation.json")
    for file in sorted(files, key=lambda file: (file.stat().st_mtime_ns, file)):
        if name := _NAME.fullmatch(file.parent.name):
            report = read_json(file)
            found[report["task"], report["method"], int(name["seed"])] = file.parent
    return found
