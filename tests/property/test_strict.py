"""The quick look at JSON accepts nothing that the close look refuses, and reads it in the same way."""

from __future__ import annotations

import base64
import json
import random

import msgspec
import pytest

from tests.property.mutations import mutated
from tests.support import signing
from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.bundle.strict import decode_strict, nearly_canonical
from tezzeret_cli.errors import UntrustedBundleError
from tezzeret_cli.model.manifest import Manifest, Timing
from tezzeret_cli.trust.statement import Statement

MANIFEST = msgspec.json.Decoder(Manifest)
STATEMENT = msgspec.json.Decoder(Statement)
NUMBERS = signing.manifest(
    parameters={"width": 64.0, "rate": 0.5},
    compile_ms=1234.0,
    prewarm_samples=(1.0, 2.5),
    timing=Timing(1.0, 2.5, 0.0, 3.0, 4.25),
)
TEXTS = signing.manifest(
    parameters={"of 2.0, not 2": 1e21, "tiny": 1e-9},
    notes=("of 2.0, not 2", '"}.0]"', "é\u2028\U0001f600"),
    tags=("1.0,", "x.0}"),
)

EDITS = (
    (b"64", b"64.0"),
    (b"0.5", b"0.50"),
    (b".0,", b","),
    (b",", b".0,"),
    (b"}", b".0}"),
    (b"]", b".0]"),
    (b'{"', b'{ "'),
    (b'{"', b'{"format":1,"'),
    (b',"', b',"notes":[],"'),
    (b',"', b',"new":1,"'),
)


def verdict(data, decoder, write):
    try:
        return decode_strict(data, decoder, "x", UntrustedBundleError, write)
    except UntrustedBundleError as error:
        return type(error)


def edited(rng, data):
    """``data`` after one edit at a place of its own, or some random change."""
    if rng.randrange(3) == 0:
        return mutated(rng, {"manifest.json": data}).get("manifest.json", b"")
    old, new = rng.choice(EDITS)
    places = [at for at in range(len(data)) if data.startswith(old, at)]
    if not places:
        return data
    at = rng.choice(places)
    return data[:at] + new + data[at + len(old) :]


@pytest.mark.parametrize("decoder", [MANIFEST, STATEMENT], ids=["manifest", "statement"])
def test_both_looks_agree(full, decoder):
    originals = [canonical(made) for made in (NUMBERS, TEXTS)]
    if decoder is STATEMENT:
        signed = [signing.sign(b"", made=made) for made in (NUMBERS, TEXTS)]
        originals = [base64.b64decode(json.loads(each)["dsseEnvelope"]["payload"]) for each in signed]
    quick = accepted = 0
    for seed in range(100_000 if full else 5_000):
        rng = random.Random(seed)
        data = edited(rng, rng.choice(originals))
        found = verdict(data, decoder, nearly_canonical)
        assert found == verdict(data, decoder, lambda value: b""), f"seed {seed}"
        if found is not UntrustedBundleError:
            accepted += 1
            quick += nearly_canonical(found) == data
    assert 0 < quick < accepted


def test_what_is_written_here_is_looked_at_quickly():
    assert nearly_canonical(NUMBERS) == canonical(NUMBERS)
    assert nearly_canonical(TEXTS) != canonical(TEXTS)
