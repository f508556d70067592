"""Keyless, by the real Sigstore client against an instance on loopback."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("sigstore", reason="sigstore is not installed")

from tests.support import signing
from tests.support.sigstore import IDENTITY, ISSUER, Instance, token
from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.errors import InputError, SigningError, UntrustedBundleError
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.trust import TrustedIdentity, TrustedKeys
from tezzeret_cli.trust.keyless import keyless_signer
from tezzeret_cli.trust.verify import verify_bundle


@pytest.fixture
def instance():
    made = Instance()
    yield made
    made.close()


@pytest.fixture
def config(instance, tmp_path):
    path = tmp_path / "trust_config.json"
    path.write_text(json.dumps(instance.trust_config()))
    (tmp_path / "trusted_root.json").write_text(json.dumps(instance.trusted_root()))
    return path


def write(folder, signer, version="1.0.0"):
    """A bundle signed by ``signer``."""
    made = signing.manifest(signing=Signing.KEYLESS, version=f"{version}+{signing.LINEAGE}")
    bundle = signing.write(folder, made)
    (bundle / "bundle.sigstore.json").write_bytes(signer.sign(made, canonical(made)))
    return bundle


def test_what_an_identity_signs_is_believed_offline(instance, config, tmp_path):
    signer = keyless_signer(config, token())
    bundles = [write(tmp_path / f"b{n}", signer, f"1.0.{n}") for n in range(5)]
    assert instance.certificates == 1
    instance.close()
    for root in (config, tmp_path / "trusted_root.json"):
        trust = TrustedIdentity(IDENTITY, ISSUER, root)
        for bundle in bundles:
            found = verify_bundle(bundle, trust).signed_by
            assert str(found) == f"signed by identity {IDENTITY} of issuer {ISSUER}"


@pytest.mark.parametrize(
    ("identity", "issuer"), [("other@example.com", ISSUER), (IDENTITY, "https://other.example.com")]
)
def test_another_identity_or_issuer_is_refused(config, tmp_path, identity, issuer):
    bundle = write(tmp_path / "b", keyless_signer(config, token()))
    with pytest.raises(UntrustedBundleError, match="not believed"):
        verify_bundle(bundle, TrustedIdentity(identity, issuer, config))


def test_an_identity_or_issuer_cannot_be_left_empty(config):
    for identity, issuer in (("", ISSUER), (IDENTITY, "")):
        with pytest.raises(InputError):
            TrustedIdentity(identity, issuer, config)


def test_another_root_is_refused(config, tmp_path):
    bundle = write(tmp_path / "b", keyless_signer(config, token()))
    other = Instance()
    other.close()
    (tmp_path / "other.json").write_text(json.dumps(other.trusted_root()))
    with pytest.raises(UntrustedBundleError, match="not believed"):
        verify_bundle(bundle, TrustedIdentity(IDENTITY, ISSUER, tmp_path / "other.json"))


def test_a_key_is_not_enough_where_an_identity_is_wanted_nor_the_other_way_round(config, tmp_path):
    with pytest.raises(UntrustedBundleError, match="signed by a key"):
        verify_bundle(signing.write(tmp_path / "k"), TrustedIdentity(IDENTITY, ISSUER, config))
    with pytest.raises(UntrustedBundleError, match="a certificate"):
        verify_bundle(
            write(tmp_path / "b", keyless_signer(config, token())), TrustedKeys([signing.KEY.public])
        )


def no_time(signed):
    signed["verificationMaterial"]["tlogEntries"][0].pop("inclusionPromise")


def no_log(signed):
    signed["verificationMaterial"]["tlogEntries"].clear()


def other_time(signed):
    entry = signed["verificationMaterial"]["tlogEntries"][0]
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)


def other_root(signed):
    proof = signed["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    proof["rootHash"] = "A" * 43 + "="


@pytest.mark.parametrize("forge", [no_time, no_log, other_time, other_root])
def test_without_a_verified_time_and_place_in_the_log_it_is_refused(config, tmp_path, forge):
    bundle = write(tmp_path / "b", keyless_signer(config, token()))
    signed = signing.signature(bundle)
    forge(signed)
    signing.put_signature(bundle, signed)
    with pytest.raises(UntrustedBundleError, match="not believed"):
        verify_bundle(bundle, TrustedIdentity(IDENTITY, ISSUER, config))


def test_a_certificate_that_had_expired_when_it_signed_is_refused(instance, config):
    signer = keyless_signer(config, token())
    instance.clock_s = 3600
    with pytest.raises(SigningError, match="does not verify"):
        signer.sign(signing.manifest(), b"{}")


def test_without_an_identity_or_with_a_stale_one_nothing_is_signed(config, monkeypatch):
    for name in ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS", "GITLAB_CI", "CI"):
        monkeypatch.delenv(name, raising=False)
    for raw in ("nonsense", token(lasts_s=-60)):
        with pytest.raises(InputError, match="identity token"):
            keyless_signer(config, raw)


def test_when_the_services_are_gone_it_is_an_error_and_no_key_is_used(instance, config):
    signer = keyless_signer(config, token())
    instance.close()
    with pytest.raises(SigningError, match="keyless signing failed"):
        signer.sign(signing.manifest(), b"{}")


def test_the_command_signs_by_the_identity_of_the_job_and_verify_names_it(tezzeret, instance, config, store):
    github = {
        "GITHUB_ACTIONS": "true",
        "CI": "true",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
        "ACTIONS_ID_TOKEN_REQUEST_URL": f"{instance.url}/token?api-version=2.0",
    }
    args = ("--select", "BP001", "--sign", "keyless", "--trust-config", str(config), "--json")
    done = tezzeret.run("compile", "--store", str(store), *args, env=github, timeout=300)
    assert done.returncode == 0, done.stderr
    instance.close()
    whom = ("--cert-oidc-issuer", ISSUER, "--trusted-root", str(config), "--json")
    for identity, code in ((IDENTITY, 0), ("other@example.com", 4)):
        done = tezzeret.run("verify", str(store), "--cert-identity", identity, *whom)
        assert done.returncode == code, done.stderr
    assert tezzeret.run("verify", str(store)).returncode == 4
