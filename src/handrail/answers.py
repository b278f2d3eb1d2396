"""Standard output for a command's answer alone, whatever simulators print."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

_OUT, _ERRORS = 1, 2
_kept: list[tuple[TextIO, int]] = []
"""Standard output, while nothing but the answer is to come there: as Python has it, and a copy of
its descriptor."""


@contextlib.contextmanager
def answer_alone() -> Iterator[None]:
    """Within it all that is printed goes to standard error, by C libraries and by processes that
    are begun too; but for what is printed within :func:`aloud`."""
    sys.stdout.flush()
    _kept.append((sys.stdout, os.dup(_OUT)))
    os.dup2(_ERRORS, _OUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _, out = _kept.pop()
        os.dup2(out, _OUT)
        os.close(out)


@contextlib.contextmanager
def aloud() -> Iterator[None]:
    """Within it standard output is what it was."""
    if not _kept:
        yield
        return
    stream, out = _kept[-1]
    os.dup2(out, _OUT)
    try:
        with contextlib.redirect_stdout(stream):
            yield
            stream.flush()
    finally:
        os.dup2(_ERRORS, _OUT)
