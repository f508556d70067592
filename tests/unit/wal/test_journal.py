"""The journal on real files: what a user of it can rely on."""

from __future__ import annotations

import errno
import os

import pytest

from tests.support.logs import TXN, entry, recover
from tezzeret_cli.errors import (
    ExitCode,
    JournalChangedError,
    JournalDamagedError,
    JournalError,
    JournalLockedError,
    JournalTailError,
    JournalVersionError,
)
from tezzeret_cli.wal.disk import Disk
from tezzeret_cli.wal.frame import MAX_PAYLOAD, Entry, Flag, Type
from tezzeret_cli.wal.journal import Journal, is_live
from tezzeret_cli.wal.reader import Scan, read
from tezzeret_cli.wal.repair import Tail, inspect
from tezzeret_cli.wal.writer import Options


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def put(journal, *payloads):
    return list(journal.append([entry(payload) for payload in payloads]))


def payloads(folder):
    return [frame.payload for frame in read(folder)]


def segments(folder):
    return sorted(path.name for path in folder.glob("*.wal"))


def test_what_is_appended_is_there_after_reopening(folder):
    with Journal.open(folder) as journal:
        assert put(journal, b"one") == [2]
        assert put(journal, b"two", b"three") == [3, 4]
        assert journal.durable == 4
        assert put(journal) == []
    journal, found = recover(folder)
    assert found == [b"one", b"two", b"three"]
    assert journal.found.tail is Tail.CLEAN
    assert journal.found.ending.closed


def test_sequences_epochs_and_the_id_go_on_over_reopening_and_compaction(folder):
    with Journal.open(folder) as journal:
        first = journal.id
        put(journal, b"one")
        journal.compact([b"state"])
        put(journal, b"two")
    with Journal.open(folder) as journal:
        assert journal.id == first
        put(journal, b"three")
    frames = list(Scan(folder, Disk()))
    assert [frame.sequence for frame in frames] == list(range(frames[0].sequence, frames[-1].sequence + 1))
    assert frames[0].sequence > 2
    assert [frame.epoch for frame in frames] == sorted(frame.epoch for frame in frames)
    assert {frame.epoch for frame in frames} == {1, 2}


def test_a_compaction_leaves_the_snapshot_the_open_transactions_and_what_came_since(folder):
    with Journal.open(folder, Options(segment_bytes=1000)) as journal:
        for number in range(9):
            put(journal, b"%d" % number)
        assert len(segments(folder)) > 2
        journal.compact([b"a", b"b"], keep=[Entry(Type.BEGIN, TXN, b"begun")])
        assert len(segments(folder)) == 1
        put(journal, b"since")
    records = [(frame.type, frame.flags & Flag.SNAPSHOT, frame.payload) for frame in read(folder)]
    assert records == [(2, 1, b"a"), (2, 1, b"b"), (1, 0, b"begun"), (2, 0, b"since")]


def test_it_says_when_it_has_outgrown_its_options(folder):
    with Journal.open(folder, Options(compact_frames=5)) as journal:
        put(journal, b"one", b"two", b"three")
        assert not journal.should_compact
        put(journal, b"four")
        assert journal.should_compact
        journal.compact([b"state"])
        assert not journal.should_compact
    with Journal.open(tmp := folder.with_name("other"), Options(compact_bytes=1000)) as journal:
        put(journal, b"x" * 800)
        assert journal.should_compact
    assert Journal.open(tmp, Options(compact_bytes=1000)).should_compact


def test_one_process_at_a_time_and_a_live_run_is_told_from_a_dead_one(folder):
    with Journal.open(folder):
        assert is_live(folder)
        with pytest.raises(JournalLockedError) as caught:
            Journal.open(folder)
        assert caught.value.exit_code is ExitCode.STORE_LOCKED
    assert not is_live(folder)


def test_a_reader_follows_a_journal_that_is_being_written(folder):
    with Journal.open(folder, Options(segment_bytes=1500)) as journal:
        for number in range(10):
            put(journal, b"%d" % number)
            assert payloads(folder) == [b"%d" % n for n in range(number + 1)]
        newest = folder / segments(folder)[-1]
        with newest.open("ab") as file:
            file.write(b"half a fra")
        assert payloads(folder) == [b"%d" % n for n in range(10)]


def test_a_reader_is_told_when_a_compaction_took_what_it_was_about_to_read(folder):
    with Journal.open(folder, Options(segment_bytes=600)) as journal:
        put(journal, b"one", b"two")
        put(journal, b"three")
        reading = read(folder)
        assert next(reading).payload == b"one"
        journal.compact([b"state"])
        with pytest.raises(JournalChangedError):
            list(reading)
        assert payloads(folder) == [b"state"]


def test_a_reader_does_not_stop_quietly_at_damage_to_what_was_acknowledged(folder):
    with Journal.open(folder) as journal:
        for number in range(4):
            put(journal, b"%d" % number)
        path = folder / segments(folder)[0]
        data = bytearray(path.read_bytes())
        data[700] ^= 1
        path.write_bytes(data)
        with pytest.raises(JournalDamagedError, match="already durable") as caught:
            payloads(folder)
    assert caught.value.offset < 700


def test_a_torn_tail_is_cut_off_without_changing_its_file_and_a_copy_is_kept(folder):
    journal = Journal.open(folder)
    put(journal, b"one")
    journal._lock.release()
    path = folder / segments(folder)[0]
    whole = path.read_bytes()
    path.write_bytes(whole + b"half a fra")
    assert inspect(folder).tail is Tail.TORN
    journal, found = recover(folder)
    assert (found, journal.found.tail) == ([b"one"], Tail.TORN)
    assert journal.found.ending.offset == len(whole)
    assert path.read_bytes() == whole + b"half a fra"
    assert (folder / "quarantine" / f"{path.name}.{len(whole)}.broken").read_bytes() == b"half a fra"
    put(journal, b"two")
    assert payloads(folder) == [b"one", b"two"]


def test_a_payload_of_zeros_that_fails_its_hash_is_not_taken_for_a_torn_write(folder):
    journal = Journal.open(folder)
    put(journal, bytes(2000) + b"x")
    journal._lock.release()
    path = folder / segments(folder)[0]
    data = bytearray(path.read_bytes())
    data[-1000] = 1
    path.write_bytes(data)
    with pytest.raises(JournalTailError):
        Journal.open(folder)
    assert Journal.open(folder, accept_tail_loss=True).found.tail is Tail.AMBIGUOUS


def test_a_missing_segment_is_damage(folder):
    with Journal.open(folder, Options(segment_bytes=600)) as journal:
        for number in range(4):
            put(journal, b"%d" % number)
    (folder / segments(folder)[1]).unlink()
    with pytest.raises(JournalDamagedError, match="missing"):
        Journal.open(folder)
    with pytest.raises(JournalDamagedError, match="missing"):
        payloads(folder)


def test_a_segment_of_another_journal_is_damage(folder, tmp_path):
    for name in ("run", "other"):
        with Journal.open(tmp_path / name, Options(segment_bytes=600)) as journal:
            for number in range(4):
                put(journal, b"%d" % number)
    second = segments(folder)[1]
    (folder / second).write_bytes((tmp_path / "other" / second).read_bytes())
    with pytest.raises(JournalDamagedError):
        Journal.open(folder)


def test_what_a_newer_version_wrote_is_refused_and_what_may_be_skipped_is_skipped(folder):
    with Journal.open(folder) as journal:
        journal.append([Entry(0x8001, TXN, b"a hint"), entry(b"one")])
    assert payloads(folder) == [b"one"]
    with Journal.open(folder) as journal:
        journal.append([Entry(0x20, TXN, b"what is this"), entry(b"two")])
    before = segments(folder)
    with pytest.raises(JournalVersionError, match="newer"):
        Journal.open(folder)
    assert segments(folder) == before


@pytest.mark.parametrize(
    "bad",
    [
        Entry(Type.DATA, b"short"),
        Entry(Type.DATA, TXN, bytes(MAX_PAYLOAD + 1)),
        Entry(Type.SEGMENT, TXN),
        Entry(Type.SEAL, TXN),
    ],
    ids=["transaction", "payload", "segment", "seal"],
)
def test_an_entry_that_cannot_be_written_is_refused_and_harms_nothing(folder, bad):
    with Journal.open(folder) as journal:
        with pytest.raises(JournalError):
            journal.append([bad])
        put(journal, b"one")
    assert payloads(folder) == [b"one"]


def test_a_filesystem_without_synchronous_writes_gets_an_fsync_for_each(folder):
    class Plain(Disk):
        syncs = 0

        def open(self, path, flags):
            if flags & os.O_WRONLY and flags & os.O_DSYNC == os.O_DSYNC:
                raise OSError(errno.EINVAL, "Invalid argument")
            return super().open(path, flags)

        def fsync(self, descriptor):
            self.syncs += 1
            super().fsync(descriptor)

    disk = Plain()
    with Journal.open(folder, disk=disk) as journal:
        before = disk.syncs
        put(journal, b"one", b"two")
        assert disk.syncs == before + 1
    with pytest.raises(JournalError):
        Journal.open(folder, Options(sync="dsync"), disk=disk)


def test_an_interrupted_append_ends_the_journal(folder):
    class Interrupted(Disk):
        armed = False

        def write(self, descriptor, data):
            if self.armed:
                raise KeyboardInterrupt
            return super().write(descriptor, data)

    disk = Interrupted()
    journal = Journal.open(folder, disk=disk)
    put(journal, b"one")
    disk.armed = True
    with pytest.raises(KeyboardInterrupt):
        put(journal, b"two")
    disk.armed = False
    with pytest.raises(JournalError) as caught:
        put(journal, b"three")
    assert caught.value.exit_code is ExitCode.JOURNAL_FAILED
    journal.close()
    assert payloads(folder) == [b"one"]


def test_a_large_record_and_many_small_ones_are_read_in_chunks(folder):
    large = os.urandom(3 << 20)
    with Journal.open(folder) as journal:
        journal.append([entry(b"%d" % number) for number in range(6000)])
        put(journal, large)
        put(journal, b"last")
    found = payloads(folder)
    assert len(found) == 6002
    assert found[-2:] == [large, b"last"]


def test_a_folder_that_cannot_be_had_is_said_in_a_line(tmp_path):
    with pytest.raises(JournalError, match="No such file"):
        Journal.open(tmp_path / "missing" / "run")
    with pytest.raises(JournalError, match="No such file"):
        list(read(tmp_path / "missing"))


def test_drafts_of_a_dead_process_are_swept(folder):
    with Journal.open(folder) as journal:
        put(journal, b"one")
    (folder / "0000000002.tmp").write_bytes(b"half a segment")
    assert recover(folder)[1] == [b"one"]
    assert not list(folder.glob("*.tmp"))
