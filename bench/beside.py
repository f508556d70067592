"""What a training loop on the same machine loses while the forge compiles beside it in conservative mode.

``python -m bench.beside [SECONDS] [ID]...`` trains a small network in turns alone and beside ``tezzeret
compile --conservative`` of the blueprints (by default some of the catalogue), each turn that many seconds.
"""

from __future__ import annotations

import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.support import apart, machine

TURNS = 3
SOME = ("BP023", "BP024", "BP027", "BP029", "BP037", "BP022", "BP025", "BP017")


def main(args: list[str]) -> None:
    seconds = float(args[0]) if args else 15.0
    wanted = args[1:] or list(SOME)
    print(machine())
    print(f"training steps per second, turns of {seconds:g} s")
    step = training_step()
    for _ in range(20):
        step()
    alone: list[float] = []
    beside: list[float] = []
    for turn in range(TURNS):
        alone.append(rate(step, seconds))
        with tempfile.TemporaryDirectory() as folder:
            forge = _start(folder, wanted)
            try:
                time.sleep(8)  # until it compiles
                beside.append(rate(step, seconds))
                if forge.poll() is not None:
                    raise RuntimeError(f"the forge ended before the turn did, with {forge.returncode}")
            finally:
                forge.send_signal(signal.SIGINT)
                forge.wait()
        print(f"turn {turn + 1}\talone {alone[-1]:.1f}\tbeside {beside[-1]:.1f}", flush=True)
    lost = 1 - statistics.median(beside) / statistics.median(alone)
    print(f"medians\talone {statistics.median(alone):.1f}\tbeside {statistics.median(beside):.1f}")
    print(f"lost\t{lost:.1%}")


def training_step() -> Callable[[], None]:
    """A step of a small convolutional network, on as many threads as torch takes by itself."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def rate(step: Callable[[], None], seconds: float) -> float:
    """Steps per second."""
    count = 0
    started = time.perf_counter()
    while (now := time.perf_counter()) - started < seconds:
        step()
        count += 1
    return count / (now - started)


def _start(folder: str, wanted: list[str]) -> subprocess.Popen[bytes]:
    selected = [part for name in wanted for part in ("--select", name)]
    command = [sys.executable, "-m", "tezzeret_cli", "compile", "--store", f"{folder}/store", "--quiet"]
    return subprocess.Popen(
        [*command, "--conservative", "--sign", "none", *selected],
        env=apart(Path(folder)),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
