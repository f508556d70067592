"""Publication: versions by the contract rule, durable before visible, nothing replaced, no half bundle."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.manifests import draft, stage
from tezzeret_cli.bundle.read import read_files, read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.bundle.version import Version, parse
from tezzeret_cli.errors import StoreError
from tezzeret_cli.model.job import Factory
from tezzeret_cli.model.manifest import Reason, TensorSlot, Toolchain
from tezzeret_cli.store import publish as publishing
from tezzeret_cli.store.catalogue import Catalogue, is_intact
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.store.publish import rename_no_replace
from tezzeret_cli.store.staging import Staging, sweep
from tezzeret_cli.trust.signer import Unsigned


def publish(opened, folder, manifest):
    return publishing.publish(opened, folder, manifest, lambda made, sha256: None, Unsigned())


@pytest.fixture
def opened(store):
    return open_store(store)


@pytest.fixture
def put(opened):
    def run(**changes):
        folder = stage(opened.tmp / f"s{len(list(opened.tmp.iterdir()))}-{os.urandom(4).hex()}")
        return publish(opened, folder, draft(**changes))

    return run


def test_a_published_bundle_is_whole_and_listed(opened, put):
    manifest = put()
    (item,) = published(opened.root)
    assert (item.blueprint_id, str(item.version)) == ("BP001", manifest.version)
    assert read_manifest(item.path)[0] == manifest
    assert read_files(item.path, manifest) == {"data": b"tensors"}
    assert is_intact(item.path, manifest)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "1.0.1"),
        ({"toolchain": Toolchain("0.1.0", "2.14.0", "g++ 13", "3.12")}, "1.0.1"),
        ({"compile_strategy": "aggressive"}, "1.1.0"),
        ({"factory": Factory("m:f", "another digest")}, "1.1.0"),
        ({"slots": (TensorSlot("weight", True, True),)}, "2.0.0"),
        ({"eager_fallback": True, "reason": Reason("timeout", "", False)}, "2.0.0"),
    ],
    ids=["same", "toolchain", "strategy", "builder", "contract", "fallback"],
)
def test_the_next_version_says_what_changed(put, changes, expected):
    assert put().version == "1.0.0+cpu-avx2-abc123"
    assert put(**changes).version == f"{expected}+cpu-avx2-abc123"


def test_versions_count_within_a_lineage(put):
    assert put().version.startswith("1.0.0")
    assert put(lineage="cpu-avx512-abc123").version == "1.0.0+cpu-avx512-abc123"


def test_the_tenth_patch_comes_after_the_ninth(opened, put):
    for _ in range(11):
        put()
    newest = Catalogue(opened.root, {"BP001"}).newest("BP001", "cpu-avx2-abc123")
    assert newest.version.startswith("1.0.10")


@pytest.mark.parametrize("text", ["1.0", "01.0.0+x", "1.0.0", "1.0.0+", "1.0.0+a/b", "v1.0.0+x", "1.0.0+x\n"])
def test_what_is_not_a_version_is_none(text):
    assert parse(text) is None


def test_a_version_spells_itself():
    assert parse(str(Version(1, 2, 3, "cpu-avx2-0"))) == Version(1, 2, 3, "cpu-avx2-0")


def test_a_rename_replaces_nothing_not_even_an_empty_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(FileExistsError):
        rename_no_replace(tmp_path / "a", tmp_path / "b")


def test_something_in_the_way_of_a_version_is_left_alone(opened, put):
    squatter = opened.bundle("BP001", "1.0.0+cpu-avx2-abc123")
    squatter.mkdir(parents=True)
    assert put().version == "1.0.1+cpu-avx2-abc123"
    assert list(squatter.iterdir()) == []


def test_two_publishers_at_once_get_two_versions(opened):
    def run(number):
        return publish(opened, stage(opened.tmp / f"p{number}"), draft()).version

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(run, range(24)))
    assert len(set(versions)) == 24
    assert len(list(published(opened.root))) == 24


STEPS = ("write_manifest", "sync_tree", "sync_folder", "rename_no_replace")


@pytest.mark.parametrize("step", STEPS)
def test_a_publisher_killed_at_any_step_leaves_nothing_or_the_whole(opened, step):
    folder = stage(opened.tmp / "s")
    pid = os.fork()
    if pid == 0:
        setattr(publishing, step, lambda *args: os._exit(9))
        publish(opened, folder, draft())
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    for item in published(opened.root):
        manifest, _ = read_manifest(item.path)
        read_files(item.path, manifest)
    if step != "rename_no_replace":
        publish(opened, stage(opened.tmp / "again"), draft())


@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_fails_at_any_step_is_a_clear_error(opened, step, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(publishing, step, full)
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        publish(opened, stage(opened.tmp / "s"), draft())
    assert list(published(opened.root)) == []


def test_what_was_made_for_a_job_is_found_by_its_key(opened, put):
    put(job_key="k1")
    newest = put(job_key="k1")
    put(job_key="k3")
    catalogue = Catalogue(opened.root, {"BP001"})
    assert catalogue.made_for("BP001", "k1")[1] == newest
    assert catalogue.made_for("BP001", "k2") is None


@pytest.mark.parametrize("change", ["nothing", "size", "gone", "added", "folder", "link", "signature"])
def test_a_bundle_is_intact_with_exactly_its_files_in_their_sizes(opened, put, change):
    manifest = put()
    path = opened.bundle("BP001", manifest.version)
    match change:
        case "size":
            (path / "data").write_bytes(b"short")
        case "gone":
            (path / "data").unlink()
        case "added":
            (path / "lib").mkdir(exist_ok=True)
            (path / "lib" / "more.so").write_bytes(b"")
        case "folder":
            (path / "data").unlink()
            (path / "data").mkdir()
        case "link":
            (path / "elsewhere").symlink_to(path.parent)
        case "signature":
            (path / "bundle.sigstore.json").write_bytes(b"{}")
    assert is_intact(path, manifest) == (change == "nothing")


@pytest.mark.parametrize(("deterministic", "done"), [(True, True), (False, False)])
def test_a_fallback_is_done_only_when_trying_again_is_no_use(opened, put, deterministic, done):
    put(eager_fallback=True, reason=Reason("x", "y", deterministic))
    assert (Catalogue(opened.root, {"BP001"}).made_for("BP001", "key") is not None) == done


def test_what_lies_about_in_a_store_never_stops_a_reader(opened, put, tmp_path):
    put()
    bundles = opened.root / "bundles"
    (bundles / "file").write_text("")
    (bundles / "BP001" / "not-a-version").mkdir()
    (bundles / "BP001" / "9.9.9+empty").mkdir()
    (bundles / "BP001" / "8.8.8+damaged").mkdir()
    (bundles / "BP001" / "8.8.8+damaged" / "manifest.json").write_text("{")
    (bundles / "BP001" / "7.7.7+link").symlink_to(tmp_path)
    catalogue = Catalogue(opened.root, {"BP001"})
    assert catalogue.made_for("BP001", "key") is not None
    assert len(catalogue.damaged) == 1


def swept(opened, *, keep=(), ours=("dead",)):
    return sweep(opened, keep=set(keep), ended=lambda run: run in ours)


def test_dead_runs_are_swept_and_live_ones_are_not(opened):
    live, dead = Staging(opened, "live"), Staging(opened, "dead")
    dead.folder("half a bundle")
    dead._lock.release()
    assert swept(opened, ours=("dead", "live")) == ["run-dead"]
    assert live.path.exists()
    assert not dead.path.exists()
    live.close()
    assert not live.path.exists()


def test_what_can_be_resumed_is_not_swept_nor_what_another_host_left_lately(opened):
    Staging(opened, "dead")._lock.release()
    assert swept(opened, keep=("dead",)) == []
    assert swept(opened, ours=()) == []
    os.utime(opened.tmp / "run-dead", (0, 0))
    assert swept(opened, ours=()) == ["run-dead"]


def test_the_record_of_a_bundle_is_made_when_it_is_whole_and_before_it_is_seen(opened):
    seen = []

    def about_to(manifest, sha256):
        data = (folder / "manifest.json").read_bytes()
        seen.append((manifest.version, hashlib.sha256(data).hexdigest() == sha256))
        assert list(published(opened.root)) == []

    folder = stage(opened.tmp / "s")
    manifest = publishing.publish(opened, folder, draft(), about_to, Unsigned())
    assert seen == [(manifest.version, True)]
