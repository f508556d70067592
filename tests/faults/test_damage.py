"""Every truncation and every flipped bit of a log: named, never accepted, and nothing before it is lost."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.support.disks import File, PowerCut, SimulatedDisk
from tests.support.logs import History, recover
from tests.support.workload import FOLDER
from tezzeret_cli.errors import JournalDamagedError, JournalTailError
from tezzeret_cli.wal import frame as frames
from tezzeret_cli.wal import reader, repair
from tezzeret_cli.wal.frame import Fault, decode_header
from tezzeret_cli.wal.reader import RECORDS, Scan
from tezzeret_cli.wal.repair import Tail, inspect, judge
from tezzeret_cli.wal.writer import Options

OPTIONS = Options(segment_bytes=44_000)
DETECTED = {Tail.TORN, Tail.AMBIGUOUS, Tail.CORRUPT}


class Log:
    """200 acknowledged records in groups of one to five over three segments; the process then died."""

    def __init__(self) -> None:
        self.disk, self.history = SimulatedDisk(), History()
        rng = random.Random(3)
        journal, _ = recover(FOLDER, self.disk, OPTIONS)
        last = 0
        while len(self.history.known) < 200:
            last = min(rng.randint(1, 5), 200 - len(self.history.known))
            self.history.append(journal, last, size=rng.choice((24, 40, 90, 700)))
        self.last_group = last
        folder = self.disk.root.view["runs"].view["run"].view
        self.files: dict[str, File] = {name: folder[name] for name in sorted(folder)}
        self.newest = max(self.files)
        self.ends = self._ends()

    def survey(self) -> tuple[Tail, list[bytes]]:
        """What a reader would believe, and the verdict on the rest."""
        scan = Scan(FOLDER, self.disk)
        found = [frame.payload for frame in scan if frame.type in RECORDS]
        return judge(self.disk, scan.ending).tail, found

    def before(self, file: str, offset: int) -> int:
        """How many records end at or before an offset."""
        return sum((name, end) <= (file, offset) for name, end in self.ends)

    def _ends(self) -> list[tuple[str, int]]:
        scan = Scan(FOLDER, self.disk)
        return [(f"{f.segment:010d}.wal", f.next_offset) for f in scan if f.type in RECORDS]


@pytest.fixture(scope="module")
def log():
    log = Log()
    assert len(log.files) == 3
    assert log.survey() == (Tail.CLEAN, log.history.known)
    return log


def damage(file: File, at: int) -> None:
    """Flip a bit on the device."""
    file.view[at] ^= 1
    file.durable = bytes(file.view)


def flips(log: Log, full: bool) -> list[tuple[str, int]]:
    every = [(name, bit) for name, file in log.files.items() for bit in range(8 * len(file.view))]
    rng = random.Random(5)
    return every if full else rng.sample(every, 3000)


def flipped(log: Log, name: str, bit: int) -> tuple[Tail, list[bytes]]:
    view = log.files[name].view
    view[bit // 8] ^= 1 << bit % 8
    try:
        return log.survey()
    finally:
        view[bit // 8] ^= 1 << bit % 8


def undetected(log: Log, cases: list[tuple[str, int]]) -> tuple[list[object], Counter]:
    """The flips after which something is believed that should not be, or good records are not."""
    wrong: list[object] = []
    tails: Counter = Counter()
    acknowledged = 200 - log.last_group
    for name, bit in cases:
        tail, found = flipped(log, name, bit)
        good = log.before(name, bit // 8)
        tails[tail] += 1
        whole = found == log.history.known[: len(found)]
        at_the_end = good >= acknowledged and len(found) == good
        if tail not in DETECTED or not whole or not (tail is Tail.CORRUPT or at_the_end):
            wrong.append((name, bit, tail, len(found), good))
    return wrong, tails


def test_no_flipped_bit_goes_unnoticed(log, full, tally):
    wrong, tails = undetected(log, flips(log, full))
    tally("flipped bits", tails.total())
    assert wrong == []
    assert tails[Tail.CORRUPT] > 2500


def test_a_bit_flipped_in_the_last_group_is_ambiguous(log, full):
    start = 8 * log.ends[-log.last_group - 1][1]
    bits = range(start, 8 * len(log.files[log.newest].view), 1 if full else 29)
    wrong, tails = undetected(log, [(log.newest, bit) for bit in bits])
    assert wrong == []
    assert set(tails) == {Tail.AMBIGUOUS}


def test_a_truncation_is_a_torn_tail_at_the_end_and_corruption_anywhere_else(log, full, tally):
    opening = decode_header(bytes(log.files[log.newest].view), 0, 0).next_offset
    ends = {opening, *(end for name, end in log.ends if name == log.newest)}
    for name, file in log.files.items():
        whole = bytes(file.view)
        lengths = range(0, len(whole), 1 if full else 61)
        tally("truncations", len(lengths))
        for length in lengths:
            del file.view[length:]
            tail, found = log.survey()
            file.view[:] = whole
            if name != log.newest or length < opening:
                assert tail is Tail.CORRUPT
                assert found == log.history.known[: len(found)]
            else:
                assert tail is (Tail.CLEAN if length in ends else Tail.TORN)
                assert found == log.history.known[: log.before(name, length)]


def test_a_lost_sector_in_the_last_group_loses_what_is_not_acknowledged_only(log):
    acknowledged = 200 - log.last_group
    start, view = log.ends[-log.last_group - 1][1], log.files[log.newest].view
    whole = bytes(view)
    for sector in range(start // 512, len(whole) // 512 + 1):
        first, last = max(start, sector * 512), min(len(whole), sector * 512 + 512)
        view[first:last] = bytes(last - first)
        tail, found = log.survey()
        view[:] = whole
        assert tail is Tail.TORN
        assert found == log.history.known[: len(found)]
        assert len(found) >= acknowledged


def test_a_lost_sector_of_what_was_acknowledged_is_corruption(log):
    edge = log.ends[-log.last_group - 1][1]
    for name, file in log.files.items():
        whole = bytes(file.view)
        for sector in range(len(whole) // 512):
            if name == log.newest and sector * 512 + 512 > edge - 2000:
                break
            file.view[sector * 512 : sector * 512 + 512] = bytes(512)
            tail, found = log.survey()
            file.view[:] = whole
            assert tail is Tail.CORRUPT
            assert found == log.history.known[: len(found)]


def test_a_torn_group_loses_none_of_what_was_acknowledged_and_gives_nothing_wrong(full, tally):
    rng = random.Random(11)
    tails: Counter = Counter()
    for _ in range(24_000 if full else 400):
        disk, history = SimulatedDisk(), History()
        journal, _ = recover(FOLDER, disk, OPTIONS)
        history.append(journal, rng.randint(1, 3))
        disk.cut = disk.count
        with pytest.raises(PowerCut):
            history.append(journal, rng.randint(2, 12), size=rng.choice((24, 90, 700, 1500)))
        image = disk.image(rng, rng.choice((0.2, 0.5, 0.8, 0.95)))
        torn = SimulatedDisk(image)
        tails[inspect(FOLDER, torn).tail] += 1
        assert history.agrees(recover(FOLDER, torn, OPTIONS)[1])
    tally("torn groups", tails.total())
    assert set(tails) == {Tail.CLEAN, Tail.TORN}
    assert tails[Tail.TORN] > 200


def test_corruption_is_refused_with_place_and_last_good_record_and_the_log_is_left_alone(log):
    disk = SimulatedDisk(log.disk.image(None, 1))
    folder = disk.root.view["runs"].view["run"].view
    second = folder["0000000002.wal"]
    damage(second, 5000)
    before = {name: bytes(file.view) for name, file in folder.items()}
    with pytest.raises(JournalDamagedError) as caught:
        recover(FOLDER, disk, OPTIONS)
    error = caught.value
    assert (error.path.name, error.exit_code) == ("0000000002.wal", 6)
    disk.reboot()
    with pytest.raises(JournalDamagedError):
        recover(FOLDER, disk, OPTIONS, accept_tail_loss=True)
    assert error.offset <= 5000 < error.offset + 1000
    assert str(error.last_good) in str(error)
    kept = folder.pop("quarantine").view
    assert {name: bytes(file.view) for name, file in folder.items()} == before
    assert bytes(kept[f"0000000002.wal.{error.offset}.corrupt"].view) == bytes(second.view)


def test_an_ambiguous_tail_is_given_up_only_on_request(log):
    disk = SimulatedDisk(log.disk.image(None, 1))
    folder = disk.root.view["runs"].view["run"].view
    file = folder[log.newest]
    damage(file, len(file.view) - 20)
    whole = bytes(file.view)
    with pytest.raises(JournalTailError) as caught:
        recover(FOLDER, disk, OPTIONS)
    assert set(folder) == set(log.files)
    disk.reboot()
    journal, found = recover(FOLDER, disk, OPTIONS, accept_tail_loss=True)
    assert found == log.history.known[:199]
    assert bytes(file.view) == whole
    broken = folder["quarantine"].view[f"{log.newest}.{caught.value.offset}.broken"]
    assert bytes(broken.view) == whole[caught.value.offset :]
    journal.close()
    disk.reboot()
    assert recover(FOLDER, disk, OPTIONS)[1] == log.history.known[:199]


def _any_payload(data, at, frame):
    frame.payload = data[at + 256 : at + 256 + frame.size]


@pytest.mark.parametrize(
    ("where", "what", "planted"),
    [
        (reader, "read_payload", _any_payload),
        (repair, "later_proof", lambda *_: None),
        (frames, "xxh3_64_intdigest", None),
    ],
    ids=["payload-hash", "durable-sequence", "header-checksum"],
)
def test_a_check_left_out_is_noticed(log, monkeypatch, where, what, planted):
    if planted is None:
        planted = lambda head: int.from_bytes(head[:0], "little")  # noqa: E731
        monkeypatch.setattr(frames, "_WHOLE", _Unsummed(frames._WHOLE))
    monkeypatch.setattr(where, what, planted)
    if where is reader:
        monkeypatch.setattr(reader, "continues", lambda *_: True)
    wrong, _ = undetected(log, flips(log, False)[:600])
    assert wrong


class _Unsummed:
    """Reads headers as if their checksum were right."""

    def __init__(self, real) -> None:
        self.real = real

    def unpack_from(self, data, at):
        return (*self.real.unpack_from(data, at)[:-1], 0)


def test_every_fault_has_words():
    assert all(fault.value for fault in Fault)
