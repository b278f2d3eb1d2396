"""The one exception that a user's mistake raises, and how its line names a command."""

from __future__ import annotations

import os
import shlex


class HandrailError(Exception):
    """A mistake that the user can mend: one line that names the fault and the remedy.

    The command line prints the line and exits with code 2; a library user catches it as any
    exception. Nothing already computed is lost when it is raised.
    """


class Busy(HandrailError):
    """Another process works in the directory."""


class Stopped(HandrailError):
    """Ctrl-C: the line says what was kept (a run: its checkpoint), and how to go on."""


def typed(path: str | os.PathLike[str]) -> str:
    """The path as it is typed in a command that a line suggests."""
    return shlex.quote(os.fspath(path))
