"""What the forge and its workers use at this moment."""

from __future__ import annotations

import contextlib
import os

from tezzeret_cli.model.telemetry import MetricPoint

_GPU = "/dev/nvidiactl"


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
    points = [MetricPoint("tezzeret.resource.memory_bytes", float(used), "bytes", {"device": "cpu"})]
    return points + (_gpus() if os.path.exists(_GPU) else [])


def _gpus() -> list[MetricPoint]:
    import pynvml

    found = []
    with contextlib.suppress(pynvml.NVMLError):
        pynvml.nvmlInit()
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            about = {"device": f"cuda:{index}"}
            memory = float(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            busy = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
            found.append(MetricPoint("tezzeret.resource.gpu_memory_bytes", memory, "bytes", about))
            found.append(MetricPoint("tezzeret.resource.gpu_utilization_percent", busy, "percent", about))
    return found
