"""The loader opens what a trusted key signed, and only the bytes that it hashed."""

from __future__ import annotations

import shutil

import pytest
import torch

import tezzeret_cli
from tests.support.signing import STRANGER, sign
from tezzeret_cli.errors import UntrustedBundleError
from tezzeret_cli.trust import UNVERIFIED, Pinned, TrustedKeys


@pytest.fixture
def bundle(forged, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(forged.path("mlp"), copy)
    return copy


def test_by_default_the_trusted_keys_of_the_user_decide(bundle, tezzeret, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", tezzeret.environment["XDG_CONFIG_HOME"])
    tezzeret_cli.load(bundle)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    with pytest.raises(UntrustedBundleError, match=r"not in .*nobody/tezzeret/trusted-keys\.d"):
        tezzeret_cli.load(bundle)
    tezzeret_cli.load(bundle, trust=UNVERIFIED)


def test_a_bundle_signed_by_a_stranger_is_opened_on_request_only(bundle, forged):
    data = (bundle / "manifest.json").read_bytes()
    (bundle / "bundle.sigstore.json").write_bytes(sign(data, STRANGER))
    with pytest.raises(UntrustedBundleError, match="not trusted"):
        tezzeret_cli.load(bundle, trust=forged.trust)
    tezzeret_cli.load(bundle, trust=TrustedKeys([STRANGER.public]))


def test_a_bundle_without_signature_needs_an_explicit_word(bundle, forged):
    import hashlib

    (bundle / "bundle.sigstore.json").unlink()
    with pytest.raises(UntrustedBundleError, match="is missing"):
        tezzeret_cli.load(bundle, trust=forged.trust)
    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    with pytest.raises(UntrustedBundleError, match="expected"):
        tezzeret_cli.load(bundle, trust=Pinned("0" * 64))
    (bundle / "bundle.sigstore.json").write_bytes(b"{}")
    tezzeret_cli.load(bundle, trust=Pinned(digest))


def test_another_blueprints_bundle_is_not_loaded_from_this_ones_place(forged, tmp_path):
    source = forged.path("counter")
    place = tmp_path / "store" / "bundles" / "T_mlp" / source.name
    shutil.copytree(source, place)
    with pytest.raises(UntrustedBundleError, match="not what belongs here"):
        tezzeret_cli.load(place, trust=forged.trust)


def test_files_that_change_after_they_were_hashed_are_not_opened(bundle, forged):
    """``eval`` opens a library of its own with its first call; by then the files are gone."""
    module = tezzeret_cli.load(bundle, trust=forged.trust, on_guard_miss="raise")
    for path in bundle.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\x7fELF" + b"x" * 100)
    x = torch.randn(8, 16)
    for training in (True, False):
        module.train(training)
        assert module(x).shape[0] == 8
