"""Lines of the spool → Leyline messages, each for its stream. Pure but for reading manifests."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.read import MANIFEST, read_manifest
from tezzeret_cli.errors import BundleError
from tezzeret_cli.leyline import leyline_pb2 as pb
from tezzeret_cli.model.manifest import Manifest
from tezzeret_cli.model.telemetry import Entry, HealthStatus, Level, MetricPoint, Span, TelemetryEvent

_LEVELS = {
    Level.INFO: pb.TELEMETRY_LEVEL_INFO,
    Level.WARNING: pb.TELEMETRY_LEVEL_WARNING,
    Level.ERROR: pb.TELEMETRY_LEVEL_ERROR,
    Level.CRITICAL: pb.TELEMETRY_LEVEL_CRITICAL,
}
_HEALTH = {
    HealthStatus.HEALTHY: pb.HEALTH_STATUS_HEALTHY,
    HealthStatus.DEGRADED: pb.HEALTH_STATUS_DEGRADED,
    HealthStatus.UNHEALTHY: pb.HEALTH_STATUS_UNHEALTHY,
}
_ERRORS = ("tezzeret.compile_failed", "tezzeret.verify_failed")
_URGENT = (Level.ERROR, Level.CRITICAL)


class Streams(msgspec.Struct, frozen=True):
    """The names of the streams."""

    telemetry: str = "oona.telemetry"
    ready: str = "oona.kernels.ready"
    emergency: str = "oona.emergency"
    errors: str = "oona.kernels.errors"


class Message(msgspec.Struct, frozen=True):
    """A serialized ``BusEnvelope`` for a stream."""

    stream: str
    payload: bytes


def messages(entry: Entry, root: Path, streams: Streams) -> Iterator[Message]:
    """What goes out for one line: its packet (to the emergency stream too, from level error on), the updates
    of the catalogue that it tells of, and the errors of kernels that are not to be had. The attribute ``id``
    of each envelope is the same whenever the line is sent again. A bundle that is gone meanwhile has no
    update."""
    if entry.metrics or entry.events or entry.spans or entry.health:
        packet = _packet(entry).SerializeToString()
        yield _message(streams.telemetry, pb.BUS_MESSAGE_TYPE_TELEMETRY, packet, entry.id)
        if entry.level in _URGENT:
            yield _message(streams.emergency, pb.BUS_MESSAGE_TYPE_TELEMETRY, packet, entry.id)
    names = {event.description: event for event in entry.events}
    for name in ("tezzeret.compile_succeeded", "tezzeret.compile_failed"):
        bundle = names[name].attributes.get("bundle") if name in names else None
        if bundle and (update := _update(root, bundle)) is not None:
            kind = pb.BUS_MESSAGE_TYPE_KERNEL_CATALOG_UPDATE
            yield _message(streams.ready, kind, update.SerializeToString(), f"{entry.id}.catalog")
    warmed = names.get("tezzeret.prewarm_completed")
    if warmed is not None and len(names) == 1 and (ready := _ready(root, warmed, entry)) is not None:
        kind = pb.BUS_MESSAGE_TYPE_KERNEL_PREFETCH_READY
        yield _message(streams.ready, kind, ready.SerializeToString(), f"{entry.id}.ready")
    for number, event in enumerate(entry.events):
        if event.level in _URGENT and event.description in _ERRORS:
            about = event.attributes
            error = pb.KernelArtifactError(
                blueprint_id=about.get("blueprint_id", ""), reason=about.get("reason", "")
            )
            kind = pb.BUS_MESSAGE_TYPE_KERNEL_PREFETCH_ERROR
            yield _message(streams.errors, kind, error.SerializeToString(), f"{entry.id}.{number}.error")


def signature(secret: bytes, payload: bytes) -> bytes:
    """base64 of HMAC-SHA256 over the serialized envelope."""
    return base64.b64encode(hmac.new(secret, payload, hashlib.sha256).digest())


def _message(stream: str, kind: pb.BusMessageType, payload: bytes, identity: str) -> Message:
    envelope = pb.BusEnvelope(message_type=kind, payload=payload, attributes={"id": identity})
    return Message(stream, envelope.SerializeToString(deterministic=True))


def _packet(entry: Entry) -> pb.TelemetryPacket:
    packet = pb.TelemetryPacket(
        packet_id=entry.id,
        source_subsystem=entry.source,
        level=_LEVELS[entry.level],
        metrics=[_metric(point) for point in entry.metrics],
        events=[_event(entry, number, event) for number, event in enumerate(entry.events)],
        spans=[_span(span) for span in entry.spans],
    )
    packet.timestamp.FromDatetime(datetime.datetime.fromisoformat(entry.time))
    if entry.health is not None:
        packet.system_health.CopyFrom(
            pb.SystemHealth(
                status=_HEALTH[entry.health.status],
                summary=entry.health.summary,
                indicators=entry.health.indicators,
            )
        )
    return packet


def _span(span: Span) -> pb.TraceSpan:
    made = pb.TraceSpan(
        span_id=span.id, parent_span_id=span.parent, name=span.name, attributes=span.attributes
    )
    made.start_time.FromDatetime(datetime.datetime.fromisoformat(span.start))
    made.end_time.FromDatetime(datetime.datetime.fromisoformat(span.end))
    return made


def _metric(point: MetricPoint) -> pb.MetricPoint:
    return pb.MetricPoint(name=point.name, value=point.value, unit=point.unit, attributes=point.attributes)


def _event(entry: Entry, number: int, event: TelemetryEvent) -> pb.TelemetryEvent:
    return pb.TelemetryEvent(
        event_id=f"{entry.id}.{number}",
        description=event.description,
        level=_LEVELS[event.level],
        attributes=event.attributes,
    )


def _update(root: Path, bundle: str) -> pb.KernelCatalogUpdate | None:
    found = _manifest(root, bundle)
    if found is None:
        return None
    manifest, checksum = found
    return pb.KernelCatalogUpdate(
        blueprint_id=manifest.blueprint_id,
        artifact_ref=f"{bundle}/{MANIFEST}",
        checksum=checksum,
        guard_digest=manifest.guard_digest,
        compile_ms=manifest.compile_ms,
        prewarm_ms=manifest.prewarm_ms,
    )


def _ready(root: Path, event: TelemetryEvent, entry: Entry) -> pb.KernelArtifactReady | None:
    bundle = f"bundles/{event.attributes.get('blueprint_id')}/{event.attributes.get('version')}"
    found = _manifest(root, bundle)
    if found is None:
        return None
    manifest, checksum = found
    times = {point.name: point.value for point in entry.metrics}
    return pb.KernelArtifactReady(
        blueprint_id=manifest.blueprint_id,
        artifact_ref=f"{bundle}/{MANIFEST}",
        checksum=checksum,
        guard_digest=manifest.guard_digest,
        prewarm_p50_ms=times.get("tezzeret.prewarm.p50_ms", 0.0),
        prewarm_p95_ms=times.get("tezzeret.prewarm.p95_ms", 0.0),
    )


def _manifest(root: Path, bundle: str) -> tuple[Manifest, str] | None:
    try:
        manifest, data = read_manifest(root / bundle)
    except BundleError:
        return None
    return manifest, hashlib.sha256(data).hexdigest()
