"""The scalars of a run for TensorBoard."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO


class Events:
    """Appends to a file of the run's own, which it begins with the first point.

    Not tensorboard's EventFileWriter: its thread prints a traceback when a disk is full, and after
    a kill the points of two minutes are missing.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        self._file: BinaryIO | None = None

    def add(self, step: int, values: Mapping[str, Any], begins: int) -> None:
        """Points at ``step``. A file that begins with them says that the run goes on at ``begins``:
        TensorBoard drops what earlier files have from there on, which a roll-back took back."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        # Protocol buffers make their classes as they are imported: nothing for a type checker.
        events: Any = event_pb2
        summaries: Any = summary_pb2
        batch = []
        if self._file is None:
            number = len(list(self._directory.glob("events.*")))
            name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}"
            self._file = (self._directory / f"{name}.{os.getpid()}.{number}").open(
                "xb", buffering=0
            )
            batch.append(events.Event(file_version="brain.Event:2"))
            # It drops them from the second START on.
            start = events.SessionLog(status=events.SessionLog.START)
            batch.append(events.Event(step=begins, session_log=start))
        scalars = [
            summaries.Summary.Value(tag=name, simple_value=float(value))
            for name, value in values.items()
        ]
        batch.append(events.Event(step=step, summary=summaries.Summary(value=scalars)))
        writer = RecordWriter(self._file)
        for event in batch:
            event.wall_time = time.time()
            writer.write(event.SerializeToString())

    def close(self) -> None:
        """Points that come later begin another file."""
        if self._file is not None:
            self._file.close()
            self._file = None
