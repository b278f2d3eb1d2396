"""Threads that share out the rows of a vector environment, each its own."""

from __future__ import annotations

import threading
import weakref
from queue import SimpleQueue

import numpy as np

from handrail.envs.native import kernels
from handrail.envs.native.rows import Rows

LOOKS = 500
"""How often a thread looks for the next step before it sleeps: some 0.3 ms. After each look its
core is free for whatever else waits for one."""
_LINE = 8
"""int64 in a line of the cache: threads that write to the same line wait for each other."""


class Crew:
    """``threads`` threads, the caller's among them; close it, or let it go, and they end.

    A step of all rows takes a millisecond, and waking a thread 0.05, at either end of it. So a
    thread looks out for the next step for a while before it sleeps, without Python's lock, as
    OpenMP's threads do. Its share is always the same rows, which stay in the cache of its core.

    Args:
        rows: what is stepped.
        threads: 1 or more; no more than rows are used.
    """

    def __init__(self, rows: Rows, threads: int):
        many = len(rows.rows)
        number = min(many, threads)
        shares = [(i * many // number, (i + 1) * many // number) for i in range(number)]
        self._rows, self._share = rows, shares[0]
        self._done = np.zeros((number, _LINE), np.int64)  # the turn each thread has done; see
        self._turns = self._done.ctypes.data + self._done.strides[0] * np.arange(number)  # kernels
        self._asleep = [False] * number
        self._bells: list[SimpleQueue[bool]] = []
        self._failures: list[BaseException] = []
        for who, share in enumerate(shares[1:], 1):
            bell: SimpleQueue[bool] = SimpleQueue()
            self._bells.append(bell)
            of = (rows, share, self._done, self._turns, who, self._asleep, bell, self._failures)
            threading.Thread(target=_serve, args=of, daemon=True).start()
        self.close = weakref.finalize(self, _dismiss, self._bells)
        """Ends the threads; once closed, it stays so."""

    def step(self) -> None:
        """All rows, at once; back when all are done, Ctrl-C or not.

        Raises:
            ValueError: it is closed.
            BaseException: what ended one of the threads.
        """
        if not self.close.alive:
            raise ValueError("the environment is closed; make another")
        interrupted = None
        try:
            kernels.announce(self._turns)
            self._ring()
            self._rows.step(*self._share)
        finally:
            together = False
            while not together:
                try:  # Ctrl-C, at any moment: not before the others are out of the rows
                    self._ring()
                    together = kernels.gathered(self._turns, 100 * LOOKS)
                    if self._failures:  # whose turn is never done
                        self.close()
                        raise self._failures[0]
                except KeyboardInterrupt as interrupt:
                    interrupted = interrupt
        if interrupted:
            raise interrupted

    def _ring(self) -> None:
        for asleep, bell in zip(self._asleep[1:], self._bells, strict=True):
            if asleep:
                bell.put(True)


def _serve(
    rows: Rows,
    share: tuple[int, int],
    done: np.ndarray,
    turns: np.ndarray,
    who: int,
    asleep: list[bool],
    bell: SimpleQueue[bool],
    failures: list[BaseException],
) -> None:
    try:
        while True:
            rows.follow(*share, turns, who, LOOKS)
            asleep[who] = True  # before it looks once more: the leader rings after it has announced
            while done[0, 0] == done[who, 0]:
                if not bell.get():
                    return
            asleep[who] = False
    except BaseException as error:  # handed on to the leader
        failures.append(error)


def _dismiss(bells: list[SimpleQueue[bool]]) -> None:
    for bell in bells:
        bell.put(False)
