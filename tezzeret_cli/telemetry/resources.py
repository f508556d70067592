"""What the forge and its workers use at this moment."""

from __future__ import annotations

import contextlib
import os

from tezzeret_cli.host.gpu import read_gpus
from tezzeret_cli.model.telemetry import MetricPoint

_NAME = "tezzeret.resource"
_GPU = "/dev/nvidiactl"
"""Asking NVML costs more than all the rest; where this is missing there is nothing to ask."""


def sample() -> list[MetricPoint]:
    """Resident bytes of this process and all below it, and memory and utilization of each NVIDIA GPU. What
    cannot be found out is left out."""
    import psutil

    used = 0
    with contextlib.suppress(psutil.Error):
        here = psutil.Process()
        for process in (here, *here.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                used += process.memory_info().rss
    points = [MetricPoint(f"{_NAME}.memory_bytes", float(used), "bytes", {"device": "cpu"})]
    return points + (_gpus() if os.path.exists(_GPU) else [])


def _gpus() -> list[MetricPoint]:
    found = []
    for gpu in read_gpus() or ():
        about = {"device": f"cuda:{gpu.index}"}
        found.append(MetricPoint(f"{_NAME}.gpu_memory_bytes", float(gpu.used), "bytes", about))
        found.append(MetricPoint(f"{_NAME}.gpu_utilization_percent", gpu.busy_percent, "percent", about))
    return found
