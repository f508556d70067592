"""What the warm process imports leaves nothing behind that its forks would lose or miss."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support.command import ROOT
from tezzeret_cli.model.run import HostFacts
from tezzeret_cli.ops.environment import Environments
from tezzeret_cli.worker.task import BUILDER

ASKS_NOBODY = """
import importlib, json, os, sys
import torch

def asked(*args):
    raise RuntimeError("somebody asks for a GPU, which leaves a thread of NVML behind")

torch.cuda.is_available = torch.cuda.device_count = asked
importlib.import_module(sys.argv.pop(1))
# What torch itself asks only where it is built with CUDA.
torch.cuda._is_compiled, torch.version.cuda = lambda: True, "13.0"
"""

IMPORTS = """
for name in sys.argv[1:]:
    importlib.import_module(name)
"""

THREADS = """
print(json.dumps(len(os.listdir("/proc/self/task"))))
"""

DEVICES = """
from torch._inductor.codegen import common
common.init_backend_registration()
print(json.dumps([
    f"{type(common.get_device_op_overrides(device)).__name__} "
    f"{common.get_wrapper_codegen_for_device(device, cpp_wrapper=True).__name__}"
    for device in ("cpu", "cuda")
]))
"""


@pytest.fixture
def builder(tmp_path):
    """Run code in the environment of the warm process that compiles; its arguments are what that imports."""
    facts = HostFacts("2", "g++", "cpu", "avx2")
    template = Environments(os.environ, tmp_path, "run", facts, 1).templates()[BUILDER]
    # Where there is CUDA's compiler, torch looks whether there is a GPU, too.
    environment = {**template.env, "CUDA_HOME": "/usr/local", "PYTHONPATH": str(ROOT)}

    def run(code: str) -> object:
        done = subprocess.run(
            [sys.executable, "-c", code, *template.preload],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_nobody_is_asked_for_a_gpu_and_no_thread_is_left(builder):
    assert builder(ASKS_NOBODY + IMPORTS + THREADS) == 1


def test_code_for_every_device_is_made_as_without_importing_ahead(builder):
    ahead = builder("import importlib, json, sys" + IMPORTS + DEVICES)
    assert ahead == builder("import json" + DEVICES)
    assert ahead == ["CpuDeviceOpOverrides CppWrapperCpu", "CUDADeviceOpOverrides CppWrapperGpu"]
