"""Everything that a verifier must refuse, each with a bundle that is otherwise in order."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket

import pytest
import zstandard

from tests.support import signing
from tests.support.signing import CONTENT, KEY, LINEAGE, STRANGER, entry, manifest, write
from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.errors import DamagedBundleError, ExitCode, UntrustedBundleError, VerificationError
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.trust import Pinned, TrustedKeys
from tezzeret_cli.trust.verify import Expected, verify_bundle

TRUST = TrustedKeys([KEY.public])
DATA = "tensors.safetensors"


@pytest.fixture
def bundle(tmp_path):
    return write(tmp_path / "bundle")


def refused(bundle, match=None, kind=VerificationError, trust=TRUST, expected=None):
    with pytest.raises(kind, match=match) as caught:
        verify_bundle(bundle, trust, expected)
    assert caught.value.exit_code is ExitCode.VERIFICATION_FAILED


def test_a_bundle_in_order_is_accepted_and_says_who_signed_it(bundle):
    found = verify_bundle(bundle, TRUST)
    assert found.manifest == manifest()
    assert found.files[DATA] == CONTENT[DATA]
    assert str(found.signed_by) == f"signed by a key you trust: mine ({KEY.public.hint})"


# Files


@pytest.mark.parametrize("name", ["manifest.json", "bundle.sigstore.json", "guards.txt", *CONTENT])
def test_a_flipped_bit_a_lost_end_and_an_added_byte_are_refused_in_every_file(bundle, name):
    path = bundle / name
    original = path.read_bytes()
    for at in range(0, len(original), max(1, len(original) // 40)):
        for bit in (0, 5):
            changed = bytearray(original)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            refused(bundle)
    for data in (original[:-2], original[: len(original) // 2], b"", original + b"\0", original + b"{}"):
        path.write_bytes(data)
        refused(bundle)
    path.write_bytes(original)
    verify_bundle(bundle, TRUST)


def test_two_files_in_each_others_place_are_refused(bundle):
    one, other = (bundle / name for name in CONTENT)
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    refused(bundle, kind=DamagedBundleError)


@pytest.mark.parametrize("name", ["manifest.json", "bundle.sigstore.json", "guards.txt", *CONTENT])
def test_a_missing_or_renamed_file_is_refused(bundle, name):
    (bundle / name).rename(bundle / f"{name}x")
    refused(bundle)
    (bundle / f"{name}x").unlink()
    refused(bundle)


@pytest.mark.parametrize(
    "name", ["extra", "lib/extra.so", ".git", ".gitignore", "lib/.gitkeep", "Manifest.json"]
)
def test_an_added_file_is_refused(bundle, name):
    (bundle / name).write_bytes(b"")
    refused(bundle, "does not list", DamagedBundleError)


@pytest.mark.parametrize("name", ["empty", ".git", "lib/empty", ".git/hooks"])
def test_an_added_folder_is_refused_even_when_it_is_empty(bundle, name):
    (bundle / name).mkdir(parents=True)
    refused(bundle, "does not list", DamagedBundleError)


@pytest.mark.parametrize("name", ["manifest.json", "bundle.sigstore.json", DATA, "lib"])
def test_a_symbolic_link_is_refused_even_to_the_very_thing(bundle, tmp_path, name):
    (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    refused(bundle, kind=DamagedBundleError)


@pytest.mark.parametrize("name", ["manifest.json", "bundle.sigstore.json", DATA])
def test_a_file_with_a_second_name_is_refused(bundle, tmp_path, name):
    os.link(bundle / name, tmp_path / "second")
    refused(bundle, "second name", DamagedBundleError)


@pytest.mark.parametrize("name", ["manifest.json", "bundle.sigstore.json", DATA])
def test_a_fifo_a_socket_and_a_folder_are_refused_without_waiting(bundle, name):
    (bundle / name).unlink()
    os.mkfifo(bundle / name)
    refused(bundle, kind=DamagedBundleError)
    (bundle / name).unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.getcwd()
        os.chdir(bundle)
        try:
            listening.bind(name)
        finally:
            os.chdir(here)
        refused(bundle, kind=DamagedBundleError)
    (bundle / name).unlink()
    (bundle / name).mkdir()
    refused(bundle, kind=DamagedBundleError)


@pytest.mark.skipif(os.geteuid() != 0, reason="making a device node needs root")
@pytest.mark.parametrize("name", ["manifest.json", "bundle.sigstore.json", DATA])
def test_a_device_is_refused(bundle, name):
    (bundle / name).unlink()
    try:
        os.mknod(bundle / name, 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("making a device node is not allowed here")
    refused(bundle, kind=DamagedBundleError)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/etc/passwd",
            "../x",
            "lib/../x",
            "./x",
            "lib/./x",
            "lib//x",
            "lib/",
            "",
            ".",
            "..",
            "lib\\x",
            "C:x",
        ),
        *("x\0y", "x\ny", ".git", "lib/.git", "tensors.SAFETENSORS", "LIB/v0.forward.so", "Manifest.json"),
        *(
            "bundle.sigstore.json",
            "manifest.json",
            "tensors.safetensors/x",
            "ümlaut",
            "x" * 300,
            "a/" * 20 + "b",
        ),
        "Lib/other.so",
    ],
)
def test_a_path_that_is_unsafe_or_differs_only_by_case_is_refused(tmp_path, path):
    made = manifest()
    bundle = write(tmp_path / "b", manifest(files=(*made.files, entry(path, b""))))
    refused(bundle, "unsafe|two files|as one", DamagedBundleError)


@pytest.mark.parametrize(
    "sizes", [{"size": 1 << 40}, {"stored_size": 1 << 40}, {"size": -1}, {"stored_size": -7}]
)
def test_an_impossible_size_is_refused(tmp_path, sizes):
    import msgspec

    first, *rest = manifest().files
    refused(
        write(tmp_path / "b", files=(msgspec.structs.replace(first, **sizes), *rest)), kind=DamagedBundleError
    )


# Compressed files


def packed(tmp_path, stored, size):
    """A bundle, signed and all, whose guards.txt is ``stored`` and claims ``size`` bytes."""
    _, *rest = manifest().files
    bundle = write(tmp_path / "b", files=(entry("guards.txt", stored, size), *rest))
    (bundle / "guards.txt").write_bytes(stored)
    return bundle


def test_a_frame_that_is_cut_off_is_refused(tmp_path):
    frame = zstandard.ZstdCompressor().compress(signing.TEXT)
    refused(packed(tmp_path, frame[:-1], len(signing.TEXT)), "zstd", DamagedBundleError)


@pytest.mark.parametrize(
    "tail", [b"x", b"\x50\x2a\x4d\x18\0\0\0\0", zstandard.ZstdCompressor().compress(b"y")]
)
def test_data_behind_a_frame_is_refused(tmp_path, tail):
    frame = zstandard.ZstdCompressor().compress(signing.TEXT)
    refused(packed(tmp_path, frame + tail, len(signing.TEXT)), "zstd", DamagedBundleError)


def test_data_behind_an_empty_frame_is_refused(tmp_path):
    frame = zstandard.ZstdCompressor().compress(b"")
    refused(packed(tmp_path, frame + b"hidden", 0), "zstd", DamagedBundleError)


def test_a_frame_that_declares_a_gigabyte_is_refused_before_it_is_inflated(tmp_path):
    compressor = zstandard.ZstdCompressor(level=19).compressobj(size=1 << 30)
    block = bytes(1 << 20)
    frame = b"".join(compressor.compress(block) for _ in range(1024)) + compressor.flush()
    assert len(frame) < 100_000
    refused(packed(tmp_path, frame, 1 << 30), "more than", DamagedBundleError)


def test_a_frame_of_another_size_than_listed_is_refused(tmp_path):
    frame = zstandard.ZstdCompressor().compress(signing.TEXT)
    refused(packed(tmp_path, frame, len(signing.TEXT) + 1), "another size", DamagedBundleError)


# Other bundles


def test_the_signature_of_another_bundle_is_refused(bundle, tmp_path):
    other = write(tmp_path / "other", run="20260101T000000Z-ffffffff")
    shutil.copy(other / "bundle.sigstore.json", bundle)
    refused(bundle, "of another manifest", UntrustedBundleError)


def test_the_payload_of_another_bundle_is_refused(bundle, tmp_path):
    other = write(tmp_path / "other", run="20260101T000000Z-ffffffff")
    mixed = signing.signature(bundle)
    mixed["dsseEnvelope"]["payload"] = signing.signature(other)["dsseEnvelope"]["payload"]
    signing.put_signature(bundle, mixed)
    refused(bundle, "signature is not", UntrustedBundleError)


def test_the_bundle_of_another_blueprint_in_ones_place_is_refused(tmp_path):
    place = tmp_path / "store" / "bundles" / "BP002" / manifest().version
    refused(write(place), "not what belongs here", UntrustedBundleError)


def test_an_older_version_in_a_newer_ones_place_is_refused(tmp_path):
    place = tmp_path / "store" / "bundles" / "BP001" / f"2.0.0+{LINEAGE}"
    refused(write(place), "not what belongs here", UntrustedBundleError)
    here = tmp_path / "store" / "bundles" / "BP001" / manifest().version
    shutil.copytree(place, here)
    verify_bundle(here, TRUST)


@pytest.mark.parametrize(
    ("expected", "match"),
    [
        (Expected(blueprint_id="BP002"), "expected is 'BP002'"),
        (Expected(version="2.0.0"), "expected is '2.0.0'"),
        (Expected(sha256="00" * 32), "expected is '0000"),
    ],
)
def test_another_bundle_than_expected_is_refused(bundle, expected, match):
    refused(bundle, match, UntrustedBundleError, expected=expected)


def test_what_is_expected_is_accepted(bundle):
    import hashlib

    sha256 = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    for version in ("1.0.0", manifest().version):
        verify_bundle(bundle, TRUST, Expected("BP001", version, sha256.upper()))
    verify_bundle(bundle, Pinned(sha256))
    refused(bundle, trust=Pinned("00" * 32), kind=UntrustedBundleError)


@pytest.mark.parametrize(
    "changes",
    [
        {"guard_digest": "00" * 32},
        {"version": "1.0.0+cpu-avx2-000000"},
        {"version": "latest"},
        {"lineage": "cpu-avx512-000000", "version": "1.0.0+cpu-avx512-000000"},
        {"parameters": {"width": 3.0}},
        {"blueprint_id": "BP002"},
        {"signature": "other.json"},
    ],
    ids=str,
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, changes):
    refused(write(tmp_path / "b", **changes))


# Signatures


def test_another_key_is_refused(bundle):
    (bundle / "bundle.sigstore.json").write_bytes(
        signing.sign((bundle / "manifest.json").read_bytes(), STRANGER)
    )
    refused(bundle, "not trusted", UntrustedBundleError)
    refused(bundle, "not trusted", UntrustedBundleError, trust=TrustedKeys([]))


def test_another_keys_signature_under_a_trusted_hint_is_refused(bundle):
    forged = json.loads(signing.sign((bundle / "manifest.json").read_bytes(), STRANGER))
    forged["verificationMaterial"]["publicKey"]["hint"] = KEY.public.hint
    signing.put_signature(bundle, forged)
    refused(bundle, "signature is not", UntrustedBundleError)


def material(change):
    return lambda signed: change(signed["verificationMaterial"])


def envelope(change):
    return lambda signed: change(signed["dsseEnvelope"])


def repad(text):
    return text.rstrip("=") if text.endswith("=") else f"{text}===="


CERTIFICATE = {"rawBytes": base64.b64encode(b"certificate").decode()}
FORGERIES = {
    "hint of nobody": material(lambda m: m["publicKey"].update(hint="AAAA")),
    "empty hint": material(lambda m: m["publicKey"].update(hint="")),
    "no hint": material(lambda m: m["publicKey"].pop("hint")),
    "hint null": material(lambda m: m["publicKey"].update(hint=None)),
    "no material": lambda signed: signed.pop("verificationMaterial"),
    "empty material": material(lambda m: m.clear()),
    "certificate and key": material(lambda m: m.update(certificate=CERTIFICATE)),
    "certificate for a key": material(lambda m: (m.pop("publicKey"), m.update(certificate=CERTIFICATE))),
    "key and a certificate of null": material(lambda m: m.update(certificate=None)),
    "certificate chain": material(lambda m: m.update(x509CertificateChain={"certificates": [CERTIFICATE]})),
    "log entry beside a key": material(
        lambda m: m.update(
            tlogEntries=[
                {
                    "logIndex": "1",
                    "logId": {"keyId": "AA=="},
                    "kindVersion": {"kind": "dsse", "version": "0.0.1"},
                    "canonicalizedBody": "AA==",
                    "inclusionProof": {},
                }
            ]
        )
    ),
    "message signature": lambda signed: (
        signed.update(messageSignature={"signature": signed["dsseEnvelope"]["signatures"][0]["sig"]}),
        signed.pop("dsseEnvelope"),
    ),
    "message signature too": lambda signed: signed.update(messageSignature={"signature": "AA=="}),
    "no envelope": lambda signed: signed.pop("dsseEnvelope"),
    "media type": lambda signed: signed.update(
        mediaType="application/vnd.dev.sigstore.bundle+json;version=0.1"
    ),
    "payload type": envelope(lambda e: e.update(payloadType="application/json")),
    "no signature": envelope(lambda e: e["signatures"].clear()),
    "two signatures": envelope(lambda e: e["signatures"].append(e["signatures"][0])),
    "empty signature": envelope(lambda e: e["signatures"][0].update(sig="")),
    "empty payload": envelope(lambda e: e.update(payload="")),
    "base64 with a line end": envelope(lambda e: e.update(payload=e["payload"] + "\n")),
    "base64 with other padding": envelope(
        lambda e: e["signatures"][0].update(sig=repad(e["signatures"][0]["sig"]))
    ),
    "url-safe base64": envelope(
        lambda e: e["signatures"][0].update(sig="-_" + e["signatures"][0]["sig"][2:])
    ),
    "not base64": envelope(lambda e: e.update(payload="****")),
    "unknown field": lambda signed: signed.update(extra=1),
    "unknown field of the envelope": envelope(lambda e: e.update(extra=1)),
    "unknown field of a signature": envelope(lambda e: e["signatures"][0].update(extra=1)),
    "unknown field of the key": material(lambda m: m["publicKey"].update(extra=1)),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forged_signature_file_is_refused(bundle, forge):
    signed = signing.signature(bundle)
    forge(signed)
    signing.put_signature(bundle, signed)
    refused(bundle, kind=UntrustedBundleError)


def test_base64_with_stray_bits_is_refused(bundle):
    signed = signing.signature(bundle)
    payload = signed["dsseEnvelope"]["payload"]
    while not payload.endswith("="):
        made = signing.statement(bundle)
        made["predicate"]["runDetails"]["metadata"]["invocationId"] += "x"
        signing.put_statement(bundle, json.dumps(made).encode())
        signed = signing.signature(bundle)
        payload = signed["dsseEnvelope"]["payload"]
    verify_bundle(bundle, TRUST)
    at = len(payload.rstrip("=")) - 1
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = payload[:at] + alphabet[alphabet.index(payload[at]) + 1] + payload[at + 1 :]
    assert base64.b64decode(other) == base64.b64decode(payload)
    signed["dsseEnvelope"]["payload"] = other
    signing.put_signature(bundle, signed)
    refused(bundle, "canonical", UntrustedBundleError)


# Statements that a trusted key did sign


def subject(change):
    return lambda made: change(made["subject"])


STATEMENTS = {
    "statement type": lambda made: made.update(_type="https://in-toto.io/Statement/v0.1"),
    "predicate type": lambda made: made.update(predicateType="https://slsa.dev/provenance/v0.2"),
    "no predicate": lambda made: made.pop("predicate"),
    "other build type": lambda made: made["predicate"]["buildDefinition"].update(buildType="urn:x"),
    "no subject": subject(lambda s: s.clear()),
    "two subjects": subject(lambda s: s.append(s[0])),
    "other name": subject(lambda s: s[0].update(name="lib/v0.forward.so")),
    "other digest": subject(lambda s: s[0].update(digest={"sha256": "00" * 32})),
    "digest in capitals": subject(lambda s: s[0]["digest"].update(sha256=s[0]["digest"]["sha256"].upper())),
    "weaker digest": subject(lambda s: s[0].update(digest={"sha1": "00" * 20})),
    "second digest": subject(lambda s: s[0]["digest"].update(sha512="00")),
    "unknown field": lambda made: made.update(extra=1),
    "unknown field of the subject": subject(lambda s: s[0].update(extra=1)),
    "unknown field of the predicate": lambda made: made["predicate"].update(extra=1),
}


@pytest.mark.parametrize("forge", STATEMENTS.values(), ids=STATEMENTS)
def test_a_statement_about_something_else_is_refused(bundle, forge):
    made = signing.statement(bundle)
    forge(made)
    signing.put_statement(bundle, json.dumps(made).encode())
    refused(bundle, kind=UntrustedBundleError)


# JSON


def bad_json(good: bytes) -> dict[str, bytes]:
    key = good[2 : good.index(b'"', 2)]
    return {
        "duplicate key": b'{"' + key + b'":1,' + good[1:],
        "duplicate key, same value": good[:-1] + b"," + good[1:],
        "NaN": good[:-1] + b',"nan":NaN}',
        "infinity": good[:-1] + b',"inf":-Infinity}',
        "huge number": good[:-1] + b',"big":1e999}',
        "deep nesting": good[:-1] + b',"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "deep objects": good[:-1] + b',"deep":' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}",
        "unknown field": good[:-1] + b',"extra":1}',
        "trailing bytes": good + b"x",
        "trailing object": good + b"{}",
        "trailing NUL": good + b"\0",
        "byte order mark": b"\xef\xbb\xbf" + good,
        "not UTF-8": good.replace(b'":', b'\xff":', 1),
        "UTF-16": good.decode().encode("utf-16"),
        "lone surrogate": good[:-1] + b',"x":"\\ud800"}',
        "list": b"[" + good + b"]",
        "null": b"null",
        "nothing": b"",
        "cut off": good[:-1],
    }


KINDS = list(bad_json(b'{"a":1}'))


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_manifest_that_can_be_read_in_two_ways_is_refused(tmp_path, kind):
    made = manifest()
    refused(write(tmp_path / "b", made, bad_json(canonical(made))[kind]), kind=DamagedBundleError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_file_that_can_be_read_in_two_ways_is_refused(bundle, kind):
    path = bundle / "bundle.sigstore.json"
    path.write_bytes(bad_json(path.read_bytes().strip())[kind])
    refused(bundle, kind=UntrustedBundleError)


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_statement_that_can_be_read_in_two_ways_is_refused(bundle, kind):
    good = json.dumps(signing.statement(bundle), separators=(",", ":")).encode()
    signing.put_statement(bundle, bad_json(good)[kind] or b" ")
    refused(bundle, kind=UntrustedBundleError)


@pytest.mark.parametrize("path", [("slots",), ("files", 0), ("descriptor",), ("target",), ("toolchain",)])
def test_an_unknown_field_deep_in_a_signed_manifest_is_refused(tmp_path, path):
    made = json.loads(canonical(manifest()))
    at = made
    for part in path:
        at = at[part]
    if isinstance(at, list):
        at.append({"extra": 1})
    else:
        at["extra"] = 1
    refused(write(tmp_path / "b", data=json.dumps(made).encode()), kind=DamagedBundleError)


# Unsigned


def test_a_bundle_that_was_left_unsigned_says_so(tmp_path):
    refused(write(tmp_path / "b", signature=None, signing=Signing.NONE), "--sign none", UntrustedBundleError)


def test_a_bundle_from_before_there_were_signatures_is_refused(tmp_path):
    refused(write(tmp_path / "b", signature=None, signing=None), "not signed", UntrustedBundleError)


def test_a_signature_cannot_be_taken_away(bundle):
    (bundle / "bundle.sigstore.json").unlink()
    refused(bundle, "missing", UntrustedBundleError)


def test_a_huge_signature_file_is_not_read(bundle):
    with (bundle / "bundle.sigstore.json").open("r+b") as file:
        file.truncate(1 << 40)
    refused(bundle, "larger", DamagedBundleError)


def test_a_path_that_is_no_path_is_refused(tmp_path):
    for path in (tmp_path / "nothing", tmp_path / "a\0b", tmp_path / ("x" * 5000)):
        refused(path, kind=DamagedBundleError)
