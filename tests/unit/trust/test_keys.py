"""The signing key and the trusted ones: made once, private, and retired by taking a file away."""

from __future__ import annotations

import stat
import subprocess
import threading

import pytest

from tests.support import signing
from tests.support.signing import KEY, STRANGER, write
from tezzeret_cli.errors import InputError, SettingsError, UntrustedBundleError, VerificationError
from tezzeret_cli.trust import TrustedKeys, ecdsa, trusted_keys
from tezzeret_cli.trust.keyfile import default_key, make_key, read_key
from tezzeret_cli.trust.signer import KeySigner, key_signer
from tezzeret_cli.trust.verify import verify_bundle


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_key_is_made_once_closed_to_others_and_trusted_here(tmp_path):
    path = make_key(tmp_path, None)
    assert (mode(path), mode(path.parent / "trusted-keys.d")) == (0o600, 0o700)
    assert b"BEGIN PRIVATE KEY" in path.read_bytes()
    before = path.read_bytes()
    assert make_key(tmp_path, None) == path
    assert path.read_bytes() == before
    (trusted,) = trusted_keys(tmp_path / "trusted-keys.d").keys
    assert trusted.hint == read_key(path, None).public.hint
    assert sorted(p.name[0] for p in tmp_path.rglob("*") if p.is_file()) != ["."]


def test_processes_that_make_a_key_at_once_end_with_one(tmp_path):
    threads = [threading.Thread(target=make_key, args=(tmp_path, None)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (trusted,) = trusted_keys(tmp_path / "trusted-keys.d").keys
    assert trusted.hint == read_key(default_key(tmp_path), None).public.hint


def test_a_passphrase_closes_the_key(tmp_path):
    path = make_key(tmp_path, b"open sesame")
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in path.read_bytes()
    assert read_key(path, b"open sesame").public.hint
    for wrong, match in ((None, "has a passphrase"), (b"sesame", "does not fit")):
        with pytest.raises(InputError, match=match):
            read_key(path, wrong)


def test_a_key_that_others_can_read_is_not_used(tmp_path):
    path = make_key(tmp_path, None)
    path.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        read_key(path, None)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="--key PATH"):
        make_key(tmp_path / "file", None)


@pytest.mark.parametrize(
    "command",
    [
        ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"),
        ("genpkey", "-algorithm", "ED25519"),
        ("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    ],
    ids=["P-384", "ed25519", "RSA"],
)
def test_keys_of_other_kinds_are_refused(tmp_path, command):
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    subprocess.run(["openssl", *command, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    private.chmod(0o600)
    with pytest.raises(InputError, match="P-256"):
        read_key(private, None)
    with pytest.raises(InputError, match="P-256"):
        TrustedKeys.from_files([public])


def test_openssl_makes_keys_that_work_and_agrees_on_the_hint(tmp_path):
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    kind = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    subprocess.run(["openssl", "genpkey", *kind, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    private.chmod(0o600)
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"], check=True, capture_output=True
    ).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der, capture_output=True).stdout
    hint = subprocess.run(["openssl", "base64", "-A"], input=digest, capture_output=True).stdout.decode()
    assert key_signer(private, None)._key.public.hint == hint
    assert TrustedKeys.from_files([public]).keys[0].hint == hint


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"\0\xff",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        KEY.public.pem * 2,
        KEY.pem(None),
    ],
    ids=["empty", "binary", "garbage", "two keys", "private key"],
)
def test_a_file_that_is_no_public_key_is_refused(tmp_path, pem):
    (tmp_path / "a.pem").write_bytes(pem)
    with pytest.raises(InputError, match=r"a\.pem"):
        trusted_keys(tmp_path)


def test_trusting_and_retiring_a_key_is_a_file_and_the_next_load_sees_it(tmp_path):
    folder = tmp_path / "trusted-keys.d"
    folder.mkdir()
    bundle = write(tmp_path / "bundle")
    (folder / "README").write_text("not a key")
    (folder / "stranger.pem").write_bytes(STRANGER.public.pem)
    with pytest.raises(UntrustedBundleError, match="not trusted"):
        verify_bundle(bundle, trusted_keys(folder))
    (folder / "publisher.pem").write_bytes(KEY.public.pem)
    assert verify_bundle(bundle, trusted_keys(folder)).signed_by.name == "publisher"
    assert trusted_keys(folder) is trusted_keys(folder)
    (folder / "publisher.pem").unlink()
    with pytest.raises(UntrustedBundleError, match="not trusted"):
        verify_bundle(bundle, trusted_keys(folder))


def test_without_a_folder_nobody_is_trusted(tmp_path):
    with pytest.raises(UntrustedBundleError, match="not trusted"):
        verify_bundle(write(tmp_path / "bundle"), trusted_keys(tmp_path / "none"))


def test_what_is_signed_says_how_the_bundle_was_made(tmp_path):
    import hashlib

    from tezzeret_cli.bundle.canonical import canonical
    from tezzeret_cli.trust.envelope import parse
    from tezzeret_cli.trust.statement import check_statement

    made = signing.manifest()
    data = canonical(made)
    signed = KeySigner(lambda: KEY).sign(made, data)
    statement = check_statement(parse(signed).payload, hashlib.sha256(data).hexdigest())
    build, run = statement.predicate.build_definition, statement.predicate.run_details
    assert build.external_parameters["blueprint"] == "BP001"
    assert build.external_parameters["strategy"] == "standard"
    assert len(build.external_parameters["descriptor"]["sha256"]) == 64
    assert [r.name for r in build.resolved_dependencies] == ["torch", "compiler", "tezzeret", "factory"]
    assert build.resolved_dependencies[0].uri == "pkg:pypi/torch@2.13.0"
    assert run.metadata.invocation_id == made.run
    assert run.metadata.started_on == "2026-01-01T00:00:00Z"
    assert run.metadata.finished_on > run.metadata.started_on


def test_a_key_signs_nothing_that_it_would_not_accept(tmp_path):
    signer = KeySigner(lambda: KEY)
    made = signing.manifest()
    assert signer.accepts(made, b"{}", signer.sign(made, b"{}"))
    assert not signer.accepts(made, b"{ }", signer.sign(made, b"{}"))
    assert not signer.accepts(made, b"{}", KeySigner(lambda: ecdsa.generate("other")).sign(made, b"{}"))
    assert not signer.accepts(made, b"{}", None)


def test_the_self_test_notices_a_library_that_believes_everything(monkeypatch):
    ecdsa.self_test()
    monkeypatch.setattr(ecdsa.PublicKey, "verifies", lambda *args: True)
    with pytest.raises(VerificationError):
        ecdsa.self_test()
