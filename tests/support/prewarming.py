"""Prewarms whose workers are simulated."""

from __future__ import annotations

import time

import msgspec

from tezzeret_cli.model.prewarm import PrewarmRequest, PrewarmResult, Sample, VariantTimes
from tezzeret_cli.worker.task import Cancelled, Returned, TaskEnded

EARLIER = Sample(1.0, "host", "2.13", 2, "cpu", 1.0, (VariantTimes("v0", 1.0, (1.0,), 1.0, 1.0),))


class Stopwatch:
    """A ``Runner`` whose workers time bundles without running them; BP003 cannot be loaded."""

    def __init__(self) -> None:
        self._events: list[object] = []

    def start(self, task):
        request = msgspec.msgpack.decode(task.payload, type=PrewarmRequest)
        result = PrewarmResult(msgspec.structs.replace(EARLIER, when=time.time()))
        if "BP003" in request.bundle:
            result = PrewarmResult(problem="it cannot be loaded")
        self._events.append(TaskEnded(task.id, Returned(msgspec.msgpack.encode(result)), 0.1, 1))

    def wait(self, timeout_s):
        events, self._events = self._events, []
        return events

    def cancel(self):
        self._events = [msgspec.structs.replace(event, ending=Cancelled()) for event in self._events]

    def close(self):
        pass
