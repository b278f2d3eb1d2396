"""Threads that share out the rows of a vector environment, each its own."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[int, int], None]
"""Of rows: the first of them, and the one after the last."""


class Crew:
    """``threads`` threads, the caller's among them; close it, or let it go, and they end.

    A step of all rows takes a millisecond, so what waking a thread costs is seen: hence one message
    to each and one back, over the plainest queue, and a share that is always the same rows, which
    then stay in the cache of its core. (Smaller parts for whoever is free, and an executor's
    futures, took 7 to 9% longer on two cores.)

    Args:
        rows: 1 or more, shared out evenly.
        threads: 1 or more.
    """

    def __init__(self, rows: int, threads: int):
        number = min(rows, threads)
        self._shares = [(i * rows // number, (i + 1) * rows // number) for i in range(number)]
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        self._told: list[SimpleQueue[Work | None]] = []
        for share in self._shares[1:]:
            told: SimpleQueue[Work | None] = SimpleQueue()
            self._told.append(told)
            threading.Thread(target=_serve, args=(told, share, self._done), daemon=True).start()
        self.close = weakref.finalize(self, _dismiss, self._told)
        """Ends the threads; once closed, it stays so."""

    def do(self, work: Work) -> None:
        """``work(first, last)`` of each share, at once; back when all are done.

        Raises:
            BaseException: what ``work`` raised, where it did.
        """
        if not self.close.alive:
            raise ValueError("the environment is closed; make another")
        for told in self._told:
            told.put(work)
        failures = [_failure(work, self._shares[0])]
        left = len(self._told)
        while left:
            try:
                failures.append(self._done.get())
                left -= 1
            except KeyboardInterrupt as interrupt:  # not before the others are out of the rows
                failures.append(interrupt)
        for failure in failures:
            if failure is not None:
                raise failure


def _serve(
    told: SimpleQueue[Work | None],
    share: tuple[int, int],
    done: SimpleQueue[BaseException | None],
) -> None:
    while (work := told.get()) is not None:
        failure = _failure(work, share)
        del work  # or the environment that it is of would live as long as this thread waits
        done.put(failure)
        del failure


def _failure(work: Work, share: tuple[int, int]) -> BaseException | None:
    try:
        work(*share)
    except BaseException as error:  # handed on to who asked for the work
        return error
    return None


def _dismiss(told: list[SimpleQueue[Work | None]]) -> None:
    for queue in told:
        queue.put(None)
