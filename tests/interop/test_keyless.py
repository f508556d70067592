"""Keyless, by the real Sigstore client against instances on loopback."""

from __future__ import annotations

import base64
import datetime
import importlib.resources
import json

import pytest

pytest.importorskip("sigstore", reason="sigstore is not installed")

from rfc3161_client import TimestampRequestBuilder, decode_timestamp_response

import tezzeret_cli
from tests.support import signing
from tests.support.sigstore import IDENTITY, ISSUER, Instance, token
from tests.support.tlogs import note_id
from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.errors import InputError, SigningError, UntrustedBundleError
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.trust import TrustedIdentity, TrustedKeys
from tezzeret_cli.trust.keyless import keyless_signer
from tezzeret_cli.trust.verify import verify_bundle

OLD, PUBLIC, NEW = (1, False), (1, True), (2, True)
EVERY = pytest.mark.parametrize(
    "instance",
    [
        pytest.param(OLD, id="rekor-v1"),
        pytest.param(PUBLIC, id="rekor-v1-timestamps"),
        pytest.param(NEW, id="rekor-v2-timestamps"),
    ],
    indirect=True,
)
NEWEST = pytest.mark.parametrize("instance", [pytest.param(NEW, id="rekor-v2-timestamps")], indirect=True)


@pytest.fixture
def instance(request):
    """Rekor v1 alone, where a test does not ask for another one."""
    made = Instance(*getattr(request, "param", OLD))
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


@EVERY
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


@EVERY
def test_another_root_is_refused(config, tmp_path):
    bundle = write(tmp_path / "b", keyless_signer(config, token()))
    other = Instance(*NEW)
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


def entry(signed):
    return signed["verificationMaterial"]["tlogEntries"][0]


def no_time(signed):
    entry(signed).pop("inclusionPromise", None)
    signed["verificationMaterial"].pop("timestampVerificationData")


def no_log(signed):
    signed["verificationMaterial"]["tlogEntries"].clear()


def other_time(signed):
    entry(signed)["integratedTime"] = str(int(entry(signed).get("integratedTime", 0)) + 1)
    entry(signed).setdefault("inclusionPromise", {"signedEntryTimestamp": "AAAA"})


def other_root(signed):
    entry(signed)["inclusionProof"]["rootHash"] = "A" * 43 + "="


def other_path(signed):
    hashes = entry(signed)["inclusionProof"]["hashes"]
    hashes[0] = "A" * 43 + "="


def short_path(signed):
    entry(signed)["inclusionProof"]["hashes"].pop()


def other_leaf(signed):
    entry(signed)["inclusionProof"]["logIndex"] = "0"


def other_size(signed):
    proof = entry(signed)["inclusionProof"]
    proof["treeSize"] = str(int(proof["treeSize"]) * 2)


def other_body(signed):
    body = json.loads(base64.b64decode(entry(signed)["canonicalizedBody"]))
    body["kind"] = "intoto"
    entry(signed)["canonicalizedBody"] = base64.b64encode(json.dumps(body).encode()).decode()


def no_checkpoint(signed):
    entry(signed)["inclusionProof"].pop("checkpoint")


def checkpoint_of_nobody(signed):
    checkpoint = entry(signed)["inclusionProof"]["checkpoint"]
    note, _, line = checkpoint["envelope"].rpartition("\n\n")
    mark, name, text = line.split()
    raw = bytearray(base64.b64decode(text))
    raw[-1] ^= 1
    checkpoint["envelope"] = f"{note}\n\n{mark} {name} {base64.b64encode(raw).decode()}\n"


def checkpoint_of_more(signed):
    checkpoint = entry(signed)["inclusionProof"]["checkpoint"]
    name, size, rest = checkpoint["envelope"].split("\n", 2)
    checkpoint["envelope"] = f"{name}\n{int(size) + 1}\n{rest}"


def other_log(signed):
    entry(signed)["logId"]["keyId"] = "A" * 43 + "="


@EVERY
@pytest.mark.parametrize(
    ("forge", "why"),
    [
        (no_time, "inclusion promise or signed timestamp"),
        (no_log, "exactly one log entry"),
        (other_time, "invalid inclusion promise|Integrated time only supported"),
        (other_root, "invalid root hash"),
        (other_path, "invalid root hash"),
        (short_path, "proof has wrong size"),
        (other_leaf, "invalid root hash"),
        (other_size, "proof has wrong size"),
        (other_body, "invalid root hash"),
        (no_checkpoint, "with checkpoint"),
        (checkpoint_of_nobody, "checkpoint: invalid signature"),
        (checkpoint_of_more, "checkpoint: invalid signature"),
        (other_log, "checkpoint: Signature not found"),
    ],
)
def test_without_a_verified_time_and_place_in_the_log_it_is_refused(config, tmp_path, forge, why):
    signer = keyless_signer(config, token())
    write(tmp_path / "earlier", signer)
    bundle = write(tmp_path / "b", signer)
    trust = TrustedIdentity(IDENTITY, ISSUER, config)
    verify_bundle(bundle, trust)
    signed = signing.signature(bundle)
    forge(signed)
    signing.put_signature(bundle, signed)
    with pytest.raises(UntrustedBundleError, match=why):
        verify_bundle(bundle, trust)


@EVERY
def test_the_log_entry_of_another_signature_is_refused(config, tmp_path):
    signer = keyless_signer(config, token())
    bundle, other = write(tmp_path / "b", signer), write(tmp_path / "other", signer, "1.0.1")
    signed = signing.signature(bundle)
    signed["verificationMaterial"]["tlogEntries"] = [entry(signing.signature(other))]
    signing.put_signature(bundle, signed)
    with pytest.raises(UntrustedBundleError, match="log entry"):
        verify_bundle(bundle, TrustedIdentity(IDENTITY, ISSUER, config))


@pytest.fixture
def restamped(instance, config, tmp_path):
    """``restamped(make)``: a bundle of Rekor v2 whose timestamp is ``make(its own signature, stamp)``."""

    def change(make):
        bundle = write(tmp_path / "b", keyless_signer(config, token()))
        signed = signing.signature(bundle)
        (stamp,) = signed["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
        signature = base64.b64decode(signed["dsseEnvelope"]["signatures"][0]["sig"])
        made = make(signature, base64.b64decode(stamp["signedTimestamp"]))
        stamp["signedTimestamp"] = base64.b64encode(made).decode()
        signing.put_signature(bundle, signed)
        return bundle

    return change


def query(signature):
    return TimestampRequestBuilder().data(signature).build().as_bytes()


@NEWEST
def test_a_timestamp_that_another_authority_made_is_no_time(config, restamped):
    other = Instance(*NEW)
    try:
        bundle = restamped(lambda signature, _: other.authority.answer(query(signature)))
    finally:
        other.close()
    with pytest.raises(UntrustedBundleError, match="not enough sources of verified time"):
        verify_bundle(bundle, TrustedIdentity(IDENTITY, ISSUER, config))


@NEWEST
def test_a_timestamp_of_another_signature_is_no_time(instance, config, restamped):
    bundle = restamped(lambda *_: instance.authority.answer(query(b"another signature")))
    with pytest.raises(UntrustedBundleError, match="not enough sources of verified time"):
        verify_bundle(bundle, TrustedIdentity(IDENTITY, ISSUER, config))


@NEWEST
def test_a_timestamp_made_later_for_the_same_signature_is_as_good(instance, config, restamped):
    bundle = restamped(lambda signature, _: instance.authority.answer(query(signature)))
    verify_bundle(bundle, TrustedIdentity(IDENTITY, ISSUER, config))


@NEWEST
def test_a_timestamp_that_is_changed_says_no_other_time(config, restamped, full):
    """Nobody signs the versions and the name of the algorithm in a timestamp; whatever else is changed, it is
    refused."""
    stamps = []
    bundle = restamped(lambda _, stamp: stamps.append(stamp) or stamp)
    trust = TrustedIdentity(IDENTITY, ISSUER, config)
    verify_bundle(bundle, trust)
    said = decode_timestamp_response(stamps[0]).tst_info
    signed = signing.signature(bundle)
    (stamp,) = signed["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    refused = 0
    for at in range(0, len(stamps[0]), 1 if full else 29):
        changed = bytearray(stamps[0])
        changed[at] ^= 1
        stamp["signedTimestamp"] = base64.b64encode(changed).decode()
        signing.put_signature(bundle, signed)
        try:
            verify_bundle(bundle, trust)
        except UntrustedBundleError:
            refused += 1
        else:
            says = decode_timestamp_response(bytes(changed)).tst_info
            assert (says.gen_time, says.message_imprint.message) == (
                said.gen_time,
                said.message_imprint.message,
            )
    assert refused > 0.9 * (at + 1) / (1 if full else 29)


@NEWEST
def test_a_timestamp_of_an_authority_that_was_retired_before_is_no_time(instance, config, tmp_path):
    bundle = write(tmp_path / "b", keyless_signer(config, token()))
    instance.authority.until = "2021-01-01T00:00:00Z"
    (tmp_path / "later.json").write_text(json.dumps(instance.trusted_root()))
    with pytest.raises(UntrustedBundleError, match="not enough sources of verified time"):
        verify_bundle(bundle, TrustedIdentity(IDENTITY, ISSUER, tmp_path / "later.json"))


@NEWEST
def test_when_the_timestamp_authority_does_not_answer_nothing_is_signed(instance, config):
    signer = keyless_signer(config, token())
    instance.stamping = False
    with pytest.raises(SigningError, match="signed timestamp"):
        signer.sign(signing.manifest(), b"{}")


def test_where_nobody_gives_a_time_nothing_is_signed(tmp_path):
    instance = Instance(rekor=2, timestamps=False)
    try:
        config = tmp_path / "trust_config.json"
        config.write_text(json.dumps(instance.trust_config()))
        with pytest.raises(SigningError, match="signed timestamp"):
            keyless_signer(config, token()).sign(signing.manifest(), b"{}")
    finally:
        instance.close()


@EVERY
def test_a_certificate_that_did_not_hold_yet_when_it_signed_is_refused(instance, config):
    instance.clock_s = 3600
    with pytest.raises(SigningError, match="does not verify"):
        keyless_signer(config, token()).sign(signing.manifest(), b"{}")


@EVERY
def test_a_certificate_that_had_expired_when_it_signed_is_refused(instance, config, monkeypatch):
    """The signer's own clock goes as wrong as Fulcio's, so only the verified time can tell."""

    class Late(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) - datetime.timedelta(hours=1)

    instance.clock_s = -3600
    monkeypatch.setattr("sigstore.sign.datetime", Late)
    with pytest.raises(SigningError, match="does not verify"):
        keyless_signer(config, token()).sign(signing.manifest(), b"{}")


def test_the_stand_in_names_its_log_as_the_public_instance_names_its_own():
    """In the trusted root that the client comes with, Rekor v2 is the log with an Ed25519 key."""
    folder = importlib.resources.files("sigstore._store")
    (path,) = (each for each in folder.iterdir() if each.name.endswith("tuf-repo-cdn.sigstore.dev"))
    root = json.loads(path.joinpath("trusted_root.json").read_bytes())
    logs = [log for log in root["tlogs"] if log["publicKey"]["keyDetails"] == "PKIX_ED25519"]
    assert logs
    for log in logs:
        key = base64.b64decode(log["publicKey"]["rawBytes"])[-32:]
        name = log["baseUrl"].removeprefix("https://")
        assert base64.b64decode(log["logId"]["keyId"]) == note_id(name, key)


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


@EVERY
def test_verify_says_whose_identity_it_is_without_a_network(tezzeret, instance, config, store, tmp_path):
    path = store / "bundles" / "BP001" / f"1.0.0+{signing.LINEAGE}"
    write(path, keyless_signer(config, token()))
    instance.close()
    root = str(tmp_path / "trusted_root.json")
    whom = ("--cert-oidc-issuer", ISSUER, "--trusted-root", root, "--json")
    for identity, code in ((IDENTITY, 0), ("other@example.com", 4)):
        done = tezzeret.run("verify", str(path), "--cert-identity", identity, *whom)
        assert done.returncode == code, done.stderr
    (found,) = json.loads(done.stdout)["bundles"]
    assert "not believed" in found["problem"]
    signed = signing.signature(path)
    no_time(signed)
    signing.put_signature(path, signed)
    assert tezzeret.run("verify", str(path), "--cert-identity", IDENTITY, *whom).returncode == 4


@pytest.mark.parametrize("instance", [OLD, NEW], ids=["rekor-v1", "rekor-v2-timestamps"], indirect=True)
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
    bundle = tezzeret_cli.find(store, "BP001")
    tezzeret_cli.load(bundle, trust=TrustedIdentity(IDENTITY, ISSUER, config))
    with pytest.raises(UntrustedBundleError, match="not believed"):
        tezzeret_cli.load(bundle, trust=TrustedIdentity("other@example.com", ISSUER, config))
