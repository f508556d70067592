"""What trust costs: a bundle and a store verified, beside plain sha256 of the same bytes; and signing. The
ratio in processor time is that of one process, whatever else the machine does.

``python -m bench.verify [ID]...`` takes the bundles of the store (``TEZZERET_STORE``), or those named; the
store of ``STORED`` bundles is copies of them. All are signed anew, by a key of its own.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.support import bundles, machine
from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.bundle.read import MANIFEST, SIGNATURE
from tezzeret_cli.bundle.version import parse
from tezzeret_cli.model.manifest import Manifest, Signing
from tezzeret_cli.ops.verify import verify_all
from tezzeret_cli.trust import TrustedKeys, ecdsa
from tezzeret_cli.trust.signer import KeySigner
from tezzeret_cli.trust.verify import Expected, read_origin, verify_bundle

STORED = 1000
REPEAT = 100
ROUNDS = 5


def main(args: list[str]) -> None:
    print(machine())
    key = ecdsa.generate("bench")
    signer, policy = KeySigner(lambda: key), TrustedKeys([key.public])
    with tempfile.TemporaryDirectory() as folder:
        chosen = [
            (_signed(path, manifest, signer, Path(folder) / manifest.blueprint_id), manifest)
            for path, manifest in bundles(args)
        ]
        print("bundle", "KiB", "manifest KiB", "sha256 ms", "signature ms", "verify ms", "sign ms", sep="\t")
        for path, manifest in chosen:
            _one(path, manifest, signer, policy)
        _store(chosen, signer, policy, Path(folder) / "store")


def _one(path: Path, manifest: Manifest, signer: KeySigner, policy: TrustedKeys) -> None:
    data = (path / MANIFEST).read_bytes()
    contents = [file.read_bytes() for file in path.rglob("*") if file.is_file()]
    hashing = _ms(lambda: [hashlib.sha256(content).digest() for content in contents])
    origin = _ms(lambda: read_origin(path, policy))
    whole = _ms(lambda: verify_bundle(path, policy))
    signing = _ms(lambda: signer.sign(manifest, data))
    size = sum(map(len, contents)) / 1024
    figures = "\t".join(f"{value:.2f}" for value in (hashing, origin, whole, signing))
    print(f"{manifest.blueprint_id}\t{size:.0f}\t{len(data) / 1024:.0f}\t{figures}", flush=True)


def _store(chosen: list[tuple[Path, Manifest]], signer: KeySigner, policy: TrustedKeys, store: Path) -> None:
    for number in range(STORED):
        path, manifest = chosen[number % len(chosen)]
        version = parse(manifest.version)
        assert version is not None
        name = str(msgspec.structs.replace(version, patch=number))
        copy = store / "bundles" / manifest.blueprint_id / name
        _signed(path, msgspec.structs.replace(manifest, version=name), signer, copy)
    places = sorted(path for blueprint in (store / "bundles").iterdir() for path in blueprint.iterdir())
    names = [file for place in places for file in place.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in names)

    def plain() -> None:
        for file in names:
            hashlib.sha256(file.read_bytes()).digest()

    def verified(workers: int) -> None:
        checks = verify_all(places, policy, Expected(), workers, lambda check: None)
        assert all(check.ok for check in checks)

    cores = len(os.sched_getaffinity(0))
    ways: dict[str, Callable[[], None]] = {
        "reading and sha256 alone": plain,
        "verify, 1 at once": lambda: verified(1),
        f"verify, {cores} at once": lambda: verified(cores),
    }
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            samples[name].append(_times(way))
    print(f"{STORED} bundles, {len(names)} files, {size >> 20} MiB; medians of {ROUNDS}")
    print("", "s", "ratio", "CPU s", "ratio", sep="\t")
    base = [0.0, 0.0]
    for name, found in samples.items():
        clock, own = (statistics.median(each[kind] for each in found) for kind in (0, 1))
        base = base if base[0] else [clock, own]
        print(f"{name}\t{clock:.2f}\t{clock / base[0]:.2f}\t{own:.2f}\t{own / base[1]:.2f}")


def _times(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of processor time."""
    began, used = time.perf_counter(), _used()
    call()
    return time.perf_counter() - began, _used() - used


def _used() -> float:
    """The processor time of this process and of those that it has waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def _signed(path: Path, manifest: Manifest, signer: KeySigner, copy: Path) -> Path:
    """A copy of a bundle with another manifest, signed."""
    shutil.copytree(path, copy)
    made = msgspec.structs.replace(manifest, signing=Signing.KEY, signature=SIGNATURE)
    data = canonical(made)
    (copy / MANIFEST).write_bytes(data)
    signature = signer.sign(made, data)
    assert signature is not None
    (copy / SIGNATURE).write_bytes(signature)
    return copy


def _ms(call: Callable[[], object]) -> float:
    """The median of milliseconds, warm."""
    samples = []
    for _ in range(REPEAT):
        started = time.perf_counter()
        call()
        samples.append((time.perf_counter() - started) * 1e3)
    return statistics.median(samples)


if __name__ == "__main__":
    main(sys.argv[1:])
