"""The one exception that a user's mistake raises."""


class HandrailError(Exception):
    """A mistake that the user can mend: one line that names the fault and the remedy.

    The command line prints the line and exits with code 2; a library user catches it as any
    exception. Nothing already computed is lost when it is raised.
    """


class Stopped(HandrailError):
    """Ctrl-C: the run has written a checkpoint; the line says where it stands."""
