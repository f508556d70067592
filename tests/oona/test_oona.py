"""Telemetry over a real Redis, read with consumer groups as Oona's consumers do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import time

import pytest

from tests.support.forging import Simulator, built, forge, job, plan, proved
from tests.support.stores import DAY, put
from tests.unit.ops.test_stats import mixed
from tests.unit.telemetry.test_spool import lines
from tezzeret_cli.cli.observers import Fanout
from tezzeret_cli.leyline import leyline_pb2 as pb
from tezzeret_cli.model.events import BundlePrewarmed, GarbageCollected
from tezzeret_cli.model.health import BreakerRule
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.store.layout import open_store
from tezzeret_cli.telemetry import oona
from tezzeret_cli.telemetry.oona import Bus, BusError, Oona, Publisher
from tezzeret_cli.telemetry.spool import Spool
from tezzeret_cli.worker.task import OutOfMemory

redis = pytest.importorskip("redis", reason="the package redis is not installed")
SERVER = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(SERVER is None, reason="redis-server is not installed")

STREAMS = ("oona.telemetry", "oona.kernels.ready", "oona.emergency")
MESSAGES = {
    pb.BUS_MESSAGE_TYPE_TELEMETRY: pb.TelemetryPacket,
    pb.BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE: pb.KernelCatalogUpdate,
    pb.BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY: pb.KernelArtifactReady,
    pb.BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR: pb.KernelArtifactError,
}


class Server:
    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = folder
        self.process = None

    def start(self):
        command = [SERVER, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        self.process = subprocess.Popen([*command, "--appendonly", "yes"], stdout=subprocess.DEVNULL)
        for _ in range(200):
            with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
                client.ping()
                return
            time.sleep(0.05)
        raise AssertionError("redis-server did not start")

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def read(self, stream):
        """All messages of a stream, by a consumer group of its own: envelope, message, fields."""
        with redis.Redis.from_url(self.url) as client:
            group = f"group-{time.time_ns()}"
            client.xgroup_create(stream, group, id="0", mkstream=True)
            found = client.xreadgroup(group, "reader", {stream: ">"}, count=10_000)
            records = [fields for _, entries in found for _, fields in entries]
        result = []
        for fields in records:
            envelope = pb.BusEnvelope.FromString(fields[b"payload"])
            message = MESSAGES[envelope.message_type].FromString(envelope.payload)
            result.append((envelope, message, fields))
        return result


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    made = Server(folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def warned():
    return []


@pytest.fixture
def compiled(store, warned):
    def run(url, *names, **options):
        root = open_store(store).root
        bus = Bus(url, **options)
        observer = Fanout(Spool(root, 1 << 24, warned.append), Oona(root, bus, warned.append))
        jobs = [job(name) for name in names]
        return compile_blueprints(plan(store, jobs), forge(store, Simulator(mixed), observer))

    return run


def test_packets_catalogue_updates_and_emergencies(compiled, server, store, warned):
    report = compiled(server.url, "BP001", "BP002", "BP003")
    packets = [message for _, message, _ in server.read("oona.telemetry")]
    spooled = lines(store)
    assert [packet.packet_id for packet in packets] == [entry["id"] for entry in spooled]
    assert {packet.source_subsystem for packet in packets} == {"tezzeret"}
    names = {event.description for packet in packets for event in packet.events}
    assert {"tezzeret.compile_started", "tezzeret.compile_succeeded", "tezzeret.compile_failed"} <= names
    points = {(m.name, m.value) for packet in packets for m in packet.metrics}
    assert ("tezzeret.jobs.failed", 1.0) in points
    updates = server.read("oona.kernels.ready")
    assert [update.blueprint_id for _, update, _ in updates] == ["BP001", "BP002"]
    for (envelope, update, _), done in zip(updates, report.jobs, strict=False):
        assert envelope.message_type == pb.BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE
        manifest = store / update.artifact_ref
        assert update.artifact_ref == f"{done.bundle}/manifest.json"
        assert update.checksum == hashlib.sha256(manifest.read_bytes()).hexdigest()
        assert update.guard_digest == json.loads(manifest.read_text())["guard_digest"]
    (urgent,) = server.read("oona.emergency")
    assert urgent[1].level == pb.TELEMETRY_LEVEL_ERROR
    assert warned == []


def test_spans_and_health_of_a_run(compiled, server, store):
    report = compiled(server.url, "BP001", "BP003")
    packets = [message for _, message, _ in server.read("oona.telemetry")]
    spans = {span.span_id: span for packet in packets for span in packet.spans}
    (run,) = [span for span in spans.values() if span.name == "tezzeret.run"]
    assert run.attributes["run"] == report.run
    jobs = [span for span in spans.values() if span.parent_span_id == run.span_id]
    assert sorted((span.name, span.attributes["status"]) for span in jobs) == [
        ("tezzeret.job", "compiled"),
        ("tezzeret.job", "failed"),
    ]
    for span in jobs:
        began, ended = span.start_time.ToDatetime(), span.end_time.ToDatetime()
        assert run.start_time.ToDatetime() <= began <= ended <= run.end_time.ToDatetime()
    health = packets[-1].system_health
    assert (health.status, health.summary) == (pb.HEALTH_STATUS_HEALTHY, "2 of 2 jobs done")
    assert dict(health.indicators).items() >= {"compiled": "1", "failed": "1", "running": "0"}.items()


def test_a_job_without_a_bundle_is_an_error_of_its_kernel(compiled, server):
    report = compiled(server.url, "BP001", "BP002", "BP003")
    ((envelope, error, _),) = server.read("oona.kernels.errors")
    assert envelope.message_type == pb.BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR
    assert (error.request_id, error.blueprint_id) == ("", "BP003")
    assert error.reason == report.jobs[2].reason


def test_a_breaker_that_opens_is_told_in_a_run(server, store, warned):
    root = open_store(store).root
    observer = Fanout(Spool(root, 1 << 24, warned.append), Oona(root, Bus(server.url), warned.append))
    wanted = plan(store, [job("BP001"), job("BP002")], breakers=(BreakerRule("memory", 2, 30.0),), workers=1)

    def script(step, request):
        ending = {"build": OutOfMemory(2, 1), "prove": proved()}.get(step) or built(request)
        return ending, "compile"

    compile_blueprints(wanted, forge(store, Simulator(script), observer))
    packets = [message for _, message, _ in server.read("oona.telemetry")]
    (opened,) = [e for p in packets for e in p.events if e.description == "tezzeret.breaker_open"]
    assert (dict(opened.attributes), opened.level) == ({"breaker": "memory"}, pb.TELEMETRY_LEVEL_WARNING)
    assert packets[-1].system_health.status == pb.HEALTH_STATUS_UNHEALTHY


def test_messages_are_signed_where_there_is_a_secret(compiled, server):
    compiled(server.url, "BP001", secret=b"hush")
    for stream in ("oona.telemetry", "oona.kernels.ready"):
        for _, _, fields in server.read(stream):
            wanted = base64.b64encode(hmac.new(b"hush", fields[b"payload"], hashlib.sha256).digest())
            assert fields[b"signature"] == wanted
    compiled(server.url, "BP009")
    assert b"signature" not in server.read("oona.telemetry")[-1][2]


def test_with_redis_down_nothing_is_lost_and_it_goes_out_later_in_order(compiled, server, store, warned):
    server.stop()
    report = compiled(server.url, "BP001", "BP002")
    assert report.counts["compiled"] == 1
    (text,) = warned
    assert text.startswith(f"Oona at {server.url}: ")
    assert text.endswith("; telemetry waits in the spool")
    server.start()
    compiled(server.url, "BP003")
    spooled = [entry["id"] for entry in lines(store)]
    assert [packet.packet_id for _, packet, _ in server.read("oona.telemetry")] == spooled
    assert [update.blueprint_id for _, update, _ in server.read("oona.kernels.ready")] == ["BP001", "BP002"]


def test_what_was_sent_but_not_noted_is_sent_again_under_the_same_ids(compiled, server, store):
    compiled(server.url, "BP001")
    (cursor,) = (store / "telemetry").glob("oona-*.json")
    cursor.unlink()
    first = [envelope.attributes["id"] for stream in STREAMS for envelope, _, _ in server.read(stream)]
    Publisher(store, Bus(server.url)).flush(5.0)
    both = [envelope.attributes["id"] for stream in STREAMS for envelope, _, _ in server.read(stream)]
    assert len(both) == 2 * len(first)
    assert set(both) == set(first)
    assert Publisher(store, Bus(server.url)).flush(5.0) == 0


def test_a_restarted_server_is_found_again(compiled, server, warned):
    compiled(server.url, "BP001")
    server.stop()
    server.start()
    compiled(server.url, "BP004")
    assert len(server.read("oona.kernels.ready")) == 2
    assert warned == []


def test_a_server_that_hangs_does_not_slow_the_run(compiled, warned, monkeypatch):
    monkeypatch.setattr(oona, "TIMEOUT_S", 0.3)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        report = compiled(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", "BP001", interval_s=0.05)
        took = time.monotonic() - started
    assert report.counts["compiled"] == 1
    assert len(warned) == 1
    assert took < 10


@pytest.mark.parametrize("stream", ["oona.telemetry", "oona.kernels.ready", "oona.kernels.errors"])
def test_a_stream_of_another_type_is_told_and_nothing_is_sent_until_it_is_gone(
    tezzeret, server, store, stream
):
    put(open_store(store), "BP001", "1.0.0+a", published=time.time())
    with redis.Redis.from_url(server.url) as client:
        client.set(stream, "something else")
        for _ in range(2):
            done = tezzeret.run("verify", str(store), "--oona-url", server.url)
            assert done.returncode == 4
            (text,) = [line for line in done.stderr.splitlines() if "Oona" in line]
            said = f"{stream} is a string there, not a stream; telemetry waits in the spool"
            assert text == f"warning: Oona at {server.url}: {said}"
        assert {name.decode() for name in client.scan_iter()} == {stream}
        client.delete(stream)
    assert "Oona" not in tezzeret.run("verify", str(store), "--oona-url", server.url).stderr
    assert len(server.read("oona.telemetry")) == 3


def test_who_may_only_add_can_send(compiled, server, warned):
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", "forge", "on", ">hush", "~oona.*", "+xadd")
    compiled(server.url.replace("://", "://forge:hush@"), "BP001")
    assert (len(server.read("oona.kernels.ready")), warned) == (1, [])


def test_a_password_is_not_shown(compiled, warned):
    compiled("redis://me:hush@127.0.0.1:1/0", "BP001")
    assert "hush" not in warned[0]
    assert "redis://127.0.0.1:1/0" in warned[0]


def test_while_a_run_goes_on_it_is_sent_regularly(server, store, warned):
    root = open_store(store).root
    observer = Fanout(
        Spool(root, 1 << 24, print), Oona(root, Bus(server.url, interval_s=0.05), warned.append)
    )
    from tezzeret_cli.model.events import JobStarted

    observer.on_event(JobStarted(0, "BP001", "x", "fast"))
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not server.read("oona.telemetry"):
        time.sleep(0.05)
    assert len(server.read("oona.telemetry")) == 1


def test_a_torn_line_is_waited_for_and_then_passed_over(server, store):
    root = open_store(store).root
    spool = Spool(root, 1 << 24, print)
    spool.on_event(GarbageCollected({}, 0))
    (path,) = (store / "telemetry").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"schema":1,"id":"to')
    publisher = Publisher(store, Bus(server.url))
    assert (publisher.flush(5.0), publisher.flush(5.0)) == (1, 0)
    Spool(root, 1 << 24, print).on_event(GarbageCollected({}, 0))
    assert publisher.flush(5.0) == 1


@pytest.mark.parametrize(
    "line", [b'{"schema":1,"id":"to', b"\xff\x00", b"", b"[]", b'{"schema":1,"id":"x","time":"then",$}']
)
def test_a_broken_line_of_the_spool_stops_neither_the_command_nor_what_follows(tezzeret, server, store, line):
    """``$`` stands for the rest of a whole entry, so that only its time is wrong."""
    rest = b'"source":"tezzeret","host":"h","level":"info","run":null,"counts":{"cached":1},"health":'
    line = line.replace(b"$", rest + b'{"status":"healthy","summary":""}')
    put(open_store(store), "BP001", "1.0.0+a", published=time.time())
    sent = ("verify", str(store), "--oona-url", server.url)
    assert tezzeret.run(*sent).returncode == 4
    (path,) = (store / "telemetry").glob("*.jsonl")
    with path.open("ab") as file:
        file.write(line)
    done = tezzeret.run(*sent)
    assert (done.returncode, "Oona" in done.stderr, "telemetry" in done.stderr) == (4, False, False)
    assert len(server.read("oona.telemetry")) == 2
    assert path.read_bytes().count(b"\n") == (2 if not line else 3)
    for command in (("stats", "--store", str(store)), ("gc", "--store", str(store))):
        done = tezzeret.run(*command)
        assert (done.returncode, "error" in done.stderr) == (0, False)


def test_a_prewarmed_bundle_is_ready(server, store):
    opened = open_store(store)
    bundle = put(opened, "BP001", "1.0.0+a", published=time.time())
    Spool(store, 1 << 24, print).on_event(BundlePrewarmed(str(store), "BP001", "1.0.0+a", "fast", 1.5, 2.5))
    Publisher(store, Bus(server.url)).flush(5.0)
    ((envelope, ready, _),) = server.read("oona.kernels.ready")
    assert envelope.message_type == pb.BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY
    assert (ready.prewarm_p50_ms, ready.prewarm_p95_ms) == (1.5, 2.5)
    assert ready.checksum == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()


def test_an_unreachable_server_raises(store):
    Spool(open_store(store).root, 1 << 24, print).on_event(GarbageCollected({}, 0))
    with pytest.raises(BusError):
        Publisher(store, Bus("redis://127.0.0.1:1/0")).flush(5.0)


def test_the_command_sends_too(tezzeret, server, store):
    put(open_store(store), "BP001", "1.0.0+a", published=time.time() - 40 * DAY)
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "1d", "--oona-url", server.url)
    assert (done.returncode, "Oona" in done.stderr) == (0, False)
    ((_, packet, _),) = server.read("oona.telemetry")
    assert [event.description for event in packet.events] == ["tezzeret.gc_completed"]


@pytest.mark.parametrize("url", ["http://x", "127.0.0.1:6379", "redis://127.0.0.1:port"])
def test_a_url_that_can_never_work_is_refused(tezzeret, store, url):
    put(open_store(store), "BP001", "1.0.0+a", published=time.time() - 40 * DAY)
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "1d", env={"TEZZERET_OONA_URL": url})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tezzeret: error: oona_url")
    assert len(done.stderr.splitlines()) == 1
    assert len(list(store.glob("bundles/*/*"))) == 1


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"TEZZERET_OONA_URL": "http://x"}, "oona_url http://x: not a Redis URL"),
        (
            {"TEZZERET_OONA_URL": "redis://x", "TEZZERET_TELEMETRY": "0"},
            "oona_url: nothing is sent without a spool",
        ),
    ],
)
def test_verify_refuses_a_wrong_bus_before_it_looks(tezzeret, store, env, expected):
    opened = open_store(store)
    for number in range(2):  # without a bundle, and with one that fails
        done = tezzeret.run("verify", str(store), env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"tezzeret: error: {expected}")
        put(opened, "BP001", f"1.0.{number}+a", published=time.time())
