"""Threads that share out rows: each row once a turn, awake or asleep, and threads end."""

import gc
import signal
import threading
import time

import numpy as np
import pytest

from handrail.envs.native import crew as crews
from handrail.envs.native.vector import NativeVectorEnv


def vector(number, threads):
    made = NativeVectorEnv("PointGoal1", number, threads=threads)
    made.reset(seed=0)
    return made


def sleep(own):
    """Until the other threads do, as nothing is asked of them."""
    deadline = time.monotonic() + 30
    while not all(own._crew._asleep[1:]):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def others():
    return {thread for thread in threading.enumerate() if thread.name.startswith("Thread-")}


@pytest.mark.parametrize(("rows", "threads"), [(1, 1), (5, 1), (5, 2), (7, 3), (2, 4)])
def test_each_row_is_stepped_once_a_turn(rows, threads):
    before, own = others(), vector(rows, threads)
    assert len(others() - before) == min(rows, threads) - 1
    for turn in range(1, 31):
        own.step(np.zeros((rows, 2)))
        np.testing.assert_array_equal(own._rows.rows["steps"], turn)
        np.testing.assert_array_equal(own._crew._done[:, 0], turn)
    own.close()


@pytest.mark.parametrize("looks", [1, 30, 1000])
def test_threads_that_slept_and_threads_that_looked_out_step_alike(looks, monkeypatch):
    monkeypatch.setattr(crews, "LOOKS", looks)
    alone, shared = vector(3, 1), vector(3, 3)
    rng = np.random.default_rng(0)
    for step in range(200):
        actions = rng.uniform(-1, 1, (3, 2))
        if step % 10 == 0:
            sleep(shared)
        for one, other in zip(alone.step(actions)[:4], shared.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, other)
    alone.close()
    shared.close()


def test_a_thread_that_is_awake_is_not_rung_for():
    rang, own = [], vector(2, 2)
    bell = own._crew._bells[0]

    class Rung:
        def put(self, word):
            rang.append(word)
            bell.put(word)

    own._crew._bells[0] = Rung()
    for _ in range(100):  # an interval is far below what a thread looks out for
        own._crew.step()
    assert len(rang) < 50
    own.close()


def test_a_step_that_is_interrupted_ends_first():
    own, interrupts = vector(32, 2), 0

    def interrupt(*_):
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        for delay in np.linspace(1e-4, 2e-3, 60):
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                own._crew.step()
                time.sleep(1)  # where the step was the shorter (pause misses one just before it)
            except KeyboardInterrupt:
                interrupts += 1
            assert (own._crew._done[:, 0] == own._crew._done[0, 0]).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert interrupts == 60
    own.step(np.zeros((32, 2)))  # and it goes on
    own.close()


def test_what_ends_a_thread_comes_back(monkeypatch):
    def broken(*_):
        raise ArithmeticError("no symbol")

    monkeypatch.setattr(crews.Rows, "follow", broken)
    own = vector(3, 3)
    with pytest.raises(ArithmeticError, match="no symbol"):
        own.step(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="closed"):
        own.step(np.zeros((3, 2)))


def test_a_closed_crew_says_so():
    own = vector(2, 2)
    own.close()
    with pytest.raises(ValueError, match="closed"):
        own.step(np.zeros((2, 2)))


@pytest.mark.parametrize("closed", [True, False])
def test_threads_end_with_their_environments(closed):
    before, own = others(), vector(3, 3)
    own.step(np.zeros((3, 2)))
    threads = others() - before
    assert len(threads) == 2
    if closed:
        own.close()
    else:
        del own
        gc.collect()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
