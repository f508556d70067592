"""GPUs as NVML sees them: how busy, how full, and with whose work."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable

import msgspec

from tezzeret_cli.model.job import Job


class Gpu(msgspec.Struct, frozen=True):
    """``capability`` as CUDA counts it; ``busy_percent`` of the last sample period; ``others`` are
    processes that are not the forge's."""

    index: int
    name: str
    capability: str
    busy_percent: float
    used: int
    total: int
    others: tuple[int, ...]


def capabilities(jobs: Iterable[Job]) -> tuple[str, ...]:
    """The compute capabilities of this machine's GPUs, if one of the jobs is for a GPU."""
    if not any(job.device.startswith("cuda") for job in jobs):
        return ()
    return tuple(gpu.capability for gpu in read_gpus() or ())


def read_gpus(own: Container[int] = ()) -> tuple[Gpu, ...] | None:
    """Every GPU of this machine; ``None`` where there is no NVML. ``own`` are processes of the forge."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        return tuple(_read(index, own) for index in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def _read(index: int, own: Container[int]) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    running = {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    return Gpu(
        index=index,
        name=str(pynvml.nvmlDeviceGetName(handle)),
        capability=".".join(map(str, pynvml.nvmlDeviceGetCudaComputeCapability(handle))),
        busy_percent=float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        used=int(memory.used),
        total=int(memory.total),
        others=tuple(sorted(pid for pid in running if pid not in own and pid != os.getpid())),
    )
