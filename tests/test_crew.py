"""Threads that share out rows: each row once, failures come back, threads end."""

import gc
import threading
import time

import numpy as np
import pytest

from handrail.envs.native.crew import Crew
from handrail.envs.native.vector import NativeVectorEnv


@pytest.mark.parametrize(("rows", "threads"), [(1, 1), (5, 1), (5, 2), (7, 3), (2, 4)])
def test_each_row_is_done_once_by_a_thread_of_its_own(rows, threads):
    crew, done = Crew(rows, threads), np.zeros(rows, int)
    who = np.zeros(rows, int)
    meeting = threading.Barrier(min(rows, threads), timeout=30)  # none without the others

    def work(first, last):
        meeting.wait()
        done[first:last] += 1
        who[first:last] = threading.get_ident()

    crew.do(work)
    before = who.copy()
    crew.do(work)
    assert (done == 2).all()
    assert len(set(who)) == min(rows, threads)
    np.testing.assert_array_equal(who, before)  # the same rows to the same thread
    assert np.bincount(np.unique(who, return_inverse=True)[1]).min() >= rows // threads
    crew.close()


@pytest.mark.parametrize("share", [0, 1, 2])
def test_a_failure_comes_back_when_all_are_done(share):
    crew, done = Crew(3, 3), []

    def work(first, last):
        if first == share:
            raise ArithmeticError(f"row {first}")
        time.sleep(0.05)
        done.append(first)

    with pytest.raises(ArithmeticError, match=f"row {share}"):
        crew.do(work)
    assert sorted(done) == [row for row in range(3) if row != share]
    crew.do(lambda first, last: done.append(first))  # and it goes on
    assert len(done) == 5
    crew.close()
    with pytest.raises(ValueError, match="closed"):
        crew.do(work)


@pytest.mark.parametrize("closed", [True, False])
def test_threads_end_with_their_environments(closed):
    before = set(threading.enumerate())
    vector = NativeVectorEnv("PointGoal1", 3, threads=3)
    vector.reset(seed=0)
    vector.step(np.zeros((3, 2)))
    own = set(threading.enumerate()) - before
    assert len(own) == 2
    if closed:
        vector.close()
    else:
        del vector
        gc.collect()
    for thread in own:
        thread.join(timeout=30)
        assert not thread.is_alive()
