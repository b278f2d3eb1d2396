"""Where stages are made: processes of this machine, or of a Ray cluster. Both launch the same."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from handrail.errors import HandrailError
from handrail.machine import usable_cores
from handrail.tables.plan import Stage


def launch(order: str, log: str, cwd: str, begun=lambda process: None) -> int:
    """Make the stage of an order in a process of its own; returns that process's exit code.

    The process hears of an end of this one, however it comes, by its standard input's closing.
    """
    command = [sys.executable, "-m", "handrail.tables.work", order]
    with open(log, "ab") as out:
        # A session of its own: a terminal's Ctrl-C is for the one that began it to pass on.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=out, cwd=cwd, start_new_session=True
        )
    begun(process)
    assert process.stdin is not None
    try:
        return process.wait()
    finally:
        process.stdin.close()
        process.wait()


class Workers(Protocol):
    def slots(self) -> int:
        """Stages that can be made at a time, now."""
        ...

    def begin(self, stage: Stage) -> Future[int]:
        """The exit code of its process, once that has ended."""
        ...

    def stop(self) -> None:
        """Ask every process to write a checkpoint and stop; their futures end."""
        ...


class Local:
    """Processes of this machine, each with its share of the cores."""

    def __init__(self, workers: int):
        if workers < 1:
            raise HandrailError(f"{workers} workers: ask for 1 or more")
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="worker")
        self._running: list[subprocess.Popen] = []
        self._stopping, self._lock = False, threading.Lock()
        # Two learners whose threads take turns on the same cores lose a third of their speed.
        cores = sorted(usable_cores()) if hasattr(os, "sched_setaffinity") else []
        self._cores: SimpleQueue[list[int]] = SimpleQueue()
        for i in range(workers):
            self._cores.put(cores[i::workers] or cores)

    def slots(self) -> int:
        return self._workers

    def begin(self, stage: Stage) -> Future[int]:
        return self._pool.submit(self._launch, stage)

    def _launch(self, stage: Stage) -> int:
        cores = self._cores.get()

        def begun(process: subprocess.Popen) -> None:
            if cores:
                os.sched_setaffinity(process.pid, cores)
            with self._lock:
                self._running.append(process)
                if self._stopping and process.stdin is not None:
                    process.stdin.close()

        try:
            return launch(str(stage.order), str(stage.log), os.getcwd(), begun)
        finally:
            self._cores.put(cores)

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            for process in self._running:
                if process.stdin is not None:
                    process.stdin.close()
            processes = tuple(self._running)
        try:
            self._pool.shutdown(cancel_futures=True)
        except KeyboardInterrupt:
            for process in processes:
                process.kill()
            raise


class Ray:
    """Tasks of a Ray cluster, a core each, whose machines share the directory of the table and have
    handrail installed. What a lost machine was at is taken up by another, from its checkpoint."""

    def __init__(self, address: str):
        try:
            import ray
        except ImportError as error:
            raise HandrailError("--ray needs Ray: pip install 'handrail[ray]'") from error
        try:
            if match := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
                # Ray itself would try for minutes.
                socket.create_connection((match[1], int(match[2])), timeout=10).close()
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, OverflowError, RuntimeError) as error:
            line = str(error).splitlines()[0]
            raise HandrailError(
                f"no Ray cluster at {address!r} ({line}); `ray start --head` begins one"
            ) from error
        self._ray = ray
        # Whatever the machine was at when it was lost, as often as it happens.
        self._launch = ray.remote(num_cpus=1, max_retries=-1)(launch)
        self._refs: list = []

    def slots(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def begin(self, stage: Stage) -> Future[int]:
        cwd = Path.cwd()
        reference = self._launch.remote(
            str((cwd / stage.order).resolve()), str((cwd / stage.log).resolve()), str(cwd)
        )
        self._refs.append(reference)
        return reference.future()

    def stop(self) -> None:
        for reference in self._refs:
            self._ray.cancel(reference)
        self._ray.wait(self._refs, num_returns=len(self._refs), timeout=120)
        self._ray.shutdown()
