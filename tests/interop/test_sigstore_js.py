"""What ``--sign key`` and ``--sign keyless`` write is believed by another implementation, and refused by it
after tampering."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import signing
from tests.support.signing import KEY, STRANGER
from tezzeret_cli.bundle.canonical import canonical
from tezzeret_cli.model.manifest import Signing
from tezzeret_cli.trust.signer import KeySigner

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    not (shutil.which("node") and shutil.which("npm")), reason="node and npm are not installed"
)


@pytest.fixture(scope="module")
def javascript(tmp_path_factory):
    """``javascript(signature, trust, *whom)``: the verdict of @sigstore/verify on a signature file, by a key,
    or by a trusted root and whom it must name."""
    folder = tmp_path_factory.mktemp("javascript")
    for name in ("package.json", "verify.js"):
        shutil.copy(HERE / name, folder)
    npm = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--cache", str(folder / "cache"))
    try:
        done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm's registry does not answer")
    if done.returncode:
        pytest.skip(f"npm cannot install @sigstore/verify: {done.stderr.strip().splitlines()[-1:]}")

    def verify(
        signature: bytes, trust: bytes = KEY.public.pem, *whom: str
    ) -> subprocess.CompletedProcess[str]:
        (folder / "bundle.sigstore.json").write_bytes(signature)
        (folder / "trust").write_bytes(trust)
        command = ("node", "verify.js", "bundle.sigstore.json", "trust", *whom)
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    return verify


@pytest.fixture
def signed():
    data = canonical(signing.manifest())
    return data, KeySigner(lambda: KEY).sign(signing.manifest(), data)


def test_what_a_key_signs_is_believed(javascript, signed):
    data, signature = signed
    done = javascript(signature)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["subject"] == [
        {"name": "manifest.json", "digest": {"sha256": hashlib.sha256(data).hexdigest()}}
    ]


def test_what_a_key_signs_is_refused_under_another_key(javascript, signed):
    done = javascript(signed[1], STRANGER.public.pem)
    assert done.returncode != 0
    assert "key not found" in done.stderr


def payload(signature):
    made = json.loads(base64.b64decode(signature["dsseEnvelope"]["payload"]))
    made["subject"][0]["digest"]["sha256"] = "0" * 64
    signature["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(made).encode()).decode()


def payload_type(signature):
    signature["dsseEnvelope"]["payloadType"] = "application/json"


def one_bit(signature):
    raw = bytearray(base64.b64decode(signature["dsseEnvelope"]["signatures"][0]["sig"]))
    raw[-1] ^= 1
    signature["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(raw).decode()


@pytest.mark.parametrize("tamper", [payload, payload_type, one_bit])
def test_it_is_refused_after_tampering(javascript, signed, tamper):
    signature = json.loads(signed[1])
    tamper(signature)
    done = javascript(json.dumps(signature).encode())
    assert done.returncode != 0
    assert "signature verification failed" in done.stderr


@pytest.fixture(params=[(1, False), (1, True), (2, True)], ids=["rekor-v1", "rekor-v1-tsa", "rekor-v2-tsa"])
def keyless(request, tmp_path):
    """What an identity signed as the second in the log, and the trusted root."""
    pytest.importorskip("sigstore", reason="sigstore is not installed")
    from tests.support.sigstore import Instance, token
    from tezzeret_cli.trust.keyless import keyless_signer

    instance = Instance(*request.param)
    try:
        config = tmp_path / "trust_config.json"
        config.write_text(json.dumps(instance.trust_config()))
        made = signing.manifest(signing=Signing.KEYLESS)
        signer = keyless_signer(config, token())
        _, signature = (signer.sign(made, canonical(made)) for _ in range(2))
    finally:
        instance.close()
    return json.loads(signature), json.dumps(instance.trusted_root()).encode()


WHOM = ("release@example.com", "https://issuer.example.com")


def test_what_an_identity_signs_is_believed(javascript, keyless):
    signature, root = keyless
    done = javascript(json.dumps(signature).encode(), root, *WHOM)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["subject"][0]["name"] == "manifest.json"


def test_what_an_identity_signs_is_refused_as_that_of_another_and_after_tampering(javascript, keyless):
    signature, root = keyless
    done = javascript(json.dumps(signature).encode(), root, "other@example.com", WHOM[1])
    assert done.returncode != 0
    assert "certificate identity error" in done.stderr
    signature["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"] = ["A" * 43 + "="]
    done = javascript(json.dumps(signature).encode(), root, *WHOM)
    assert done.returncode != 0
    assert "inclusion" in done.stderr
