"""A bundle counts as done when it is whole, signed as asked, by whom is trusted; else it is said why not."""

from __future__ import annotations

import msgspec
import pytest

from tests.support import signing
from tests.support.forging import job
from tests.support.signing import KEY, LINEAGE, STRANGER, sign, write
from tezzeret_cli.errors import InputError
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.ops.cached import look_up
from tezzeret_cli.store.catalogue import Catalogue
from tezzeret_cli.trust import TrustedKeys
from tezzeret_cli.trust.signer import KeySigner, Unsigned

OLD, NEW = f"1.0.0+{LINEAGE}", f"1.0.1+{LINEAGE}"
JOB = job("BP001")
SIGNER = KeySigner(lambda: KEY)


def put(store, version=OLD, **changes):
    return write(store / "bundles" / "BP001" / version, version=version, job_key=JOB.key, **changes)


def problem(store, how=Signing.KEY, doubts=SIGNER.doubts):
    found = look_up(Catalogue(store, {"BP001"}), JOB, how, doubts)
    return "nothing is there" if found is None else found.problem


def sign_by(bundle, key):
    (bundle / "bundle.sigstore.json").write_bytes(sign((bundle / "manifest.json").read_bytes(), key))


def test_what_the_key_of_the_run_signed_counts(store):
    assert problem(store) == "nothing is there"
    put(store)
    assert problem(store) is None


def test_what_another_trusted_key_signed_counts_and_the_own_key_is_not_read(store):
    sign_by(put(store), STRANGER)

    def locked():
        raise AssertionError("read for nothing")

    assert problem(store, doubts=KeySigner(locked, lambda: TrustedKeys([STRANGER.public])).doubts) is None


def test_what_a_stranger_signed_does_not_count(store):
    sign_by(put(store), STRANGER)
    assert "a key that is not trusted" in problem(store)


def test_where_the_own_key_cannot_be_read_nothing_is_believed_for_it(store):
    put(store)

    def locked():
        raise InputError("the key has a passphrase")

    assert "a key that is not trusted" in problem(store, doubts=KeySigner(locked).doubts)


def test_the_signature_of_another_manifest_does_not_count(store):
    bundle, other = put(store), put(store, NEW)
    (other / "bundle.sigstore.json").write_bytes((bundle / "bundle.sigstore.json").read_bytes())
    assert problem(store) == "it is the signature of another manifest"


@pytest.mark.parametrize("damage", ["signature", "file"])
def test_what_is_not_whole_does_not_count(store, damage):
    bundle = put(store)
    name = "bundle.sigstore.json" if damage == "signature" else "tensors.safetensors"
    (bundle / name).unlink()
    assert "a file is missing" in problem(store)


def test_an_older_bundle_in_order_does_not_make_up_for_the_newest(store):
    put(store)
    sign_by(put(store, NEW), STRANGER)
    assert "a key that is not trusted" in problem(store)


def test_how_it_is_signed_must_be_as_asked_unless_nothing_is_asked(store):
    put(store, signing=Signing.NONE, signature=None)
    assert problem(store) == "it is not signed as asked for (key)"
    assert problem(store, Signing.NONE, Unsigned().doubts) is None


def test_a_signature_is_not_looked_at_where_none_is_asked_for(store):
    sign_by(put(store), STRANGER)
    assert problem(store, Signing.NONE, Unsigned().doubts) is None


def test_the_manifest_that_is_believed_is_the_one_that_was_found(store):
    """A manifest that changes between the two looks is read again, and no longer that of its signature."""
    bundle = put(store)
    catalogue = Catalogue(store, {"BP001"})
    other = msgspec.structs.replace(signing.manifest(version=OLD, job_key=JOB.key), notes=("changed",))
    (bundle / "manifest.json").write_bytes(signing.canonical(other))
    assert (
        look_up(catalogue, JOB, Signing.KEY, SIGNER.doubts).problem
        == "it is the signature of another manifest"
    )
