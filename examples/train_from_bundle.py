"""Train a blueprint from its bundle: ``train_from_bundle.py STORE [BLUEPRINT]``. Nothing is compiled here."""

from __future__ import annotations

import sys
import time

import torch


def main(store: str, blueprint_id: str = "BP023") -> None:
    import tezzeret_cli.runtime  # what is imported once is not part of loading

    started = time.perf_counter()
    block = tezzeret_cli.load(tezzeret_cli.find(store, blueprint_id))
    x = torch.randn(8, 12, 64)
    block(x).sum().backward()
    print(f"loaded {block.tezzeret.manifest.version}")
    print(f"first gradient after {(time.perf_counter() - started) * 1e3:.1f} ms")

    target = torch.randn(8, 12, 64)
    optimizer = torch.optim.Adam(block.parameters(), lr=1e-2)
    for step in range(101):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(block(x), target)
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            print(f"step {step:3d}  loss {loss.item():.4f}")
    print(f"guard misses: {block.tezzeret.guard_misses}")


if __name__ == "__main__":
    main(*sys.argv[1:])
