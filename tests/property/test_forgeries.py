"""No mutated bundle is accepted that means something else, and only the verifier's error comes."""

from __future__ import annotations

import base64
import json
import random
import resource
import shutil
import time

import pytest

from tests.property.mutations import mutated
from tests.support.signing import KEY, write
from tezzeret_cli.errors import VerificationError
from tezzeret_cli.trust import TrustedKeys
from tezzeret_cli.trust.verify import verify_bundle

SMALL, FULL = 3_000, 100_000
LONGEST_S = 5.0
MEMORY_BYTES = 256 << 20


@pytest.fixture
def count(request):
    return FULL if request.config.getoption("--fault-size") == "full" else SMALL


def read(bundle):
    return {p.relative_to(bundle).as_posix(): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}


def meaning(files):
    """What a bundle says: its files, and what of the signature is signed or looked up."""
    signature = json.loads(files["bundle.sigstore.json"])
    envelope = signature["dsseEnvelope"]
    rest = {name: data for name, data in files.items() if name != "bundle.sigstore.json"}
    return (
        rest,
        base64.b64decode(envelope["payload"]),
        envelope["payloadType"],
        signature["verificationMaterial"],
    )


def test_no_forgery_is_accepted(tmp_path, count):
    trust = TrustedKeys([KEY.public])
    original = read(write(tmp_path / "original"))
    bundle = tmp_path / "mutated"
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    accepted = 0
    for seed in range(count):
        files = mutated(random.Random(seed), original)
        shutil.rmtree(bundle, ignore_errors=True)
        for name, data in files.items():
            path = bundle / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        started = time.monotonic()
        try:
            verify_bundle(bundle, trust)
        except VerificationError:
            continue
        finally:
            assert time.monotonic() - started < LONGEST_S, f"seed {seed} took too long"
        assert meaning(files) == meaning(original), f"seed {seed} was accepted"
        accepted += 1
    assert 0 < accepted < count / 4, "mutations that change nothing are few, but there are some"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - peak_before
    assert grown < MEMORY_BYTES
