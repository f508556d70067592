"""What a signature says: an in-toto Statement v1 about ``manifest.json``, with SLSA provenance v1."""

from __future__ import annotations

import datetime
import hashlib
from typing import Any
from urllib.parse import quote

import msgspec
import rfc8785

import tezzeret_cli
from tezzeret_cli.bundle.read import MANIFEST
from tezzeret_cli.bundle.strict import decode_strict, nearly_canonical
from tezzeret_cli.errors import UntrustedBundleError
from tezzeret_cli.model.manifest import Manifest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:tezzeret:compile:v1"
BUILDER_ID = "urn:tezzeret:builder:v1"


class Subject(msgspec.Struct, frozen=True):
    name: str
    digest: dict[str, str]


class Resource(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """in-toto's ResourceDescriptor; ``content`` is base64."""

    name: str | None = None
    uri: str | None = None
    digest: dict[str, str] | None = None
    content: str | None = None
    download_location: str | None = None
    media_type: str | None = None
    annotations: dict[str, Any] | None = None


class BuildDefinition(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    build_type: str
    external_parameters: dict[str, Any]
    internal_parameters: dict[str, Any] = {}
    resolved_dependencies: list[Resource] = []


class Builder(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    id: str
    version: dict[str, str] = {}
    builder_dependencies: list[Resource] = []


class BuildMetadata(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Times in RFC 3339."""

    invocation_id: str | None = None
    started_on: str | None = None
    finished_on: str | None = None


class RunDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    builder: Builder
    metadata: BuildMetadata = BuildMetadata()
    byproducts: list[Resource] = []


class Provenance(msgspec.Struct, frozen=True, rename="camel"):
    """SLSA provenance v1."""

    build_definition: BuildDefinition
    run_details: RunDetails


class Statement(msgspec.Struct, frozen=True, rename="camel"):
    type: str = msgspec.field(name="_type")
    subject: list[Subject]
    predicate_type: str
    predicate: Provenance


_DECODER = msgspec.json.Decoder(Statement)


def encode_statement(manifest: Manifest, sha256: str, finished: datetime.datetime) -> bytes:
    """The statement, in canonical JSON, that ``manifest.json`` with this ``sha256`` (hex) was made as it
    says. The build began ``compile_ms`` before the manifest was drawn up; ``finished`` is when it is
    signed."""
    toolchain = manifest.toolchain
    created = datetime.datetime.fromisoformat(manifest.created)
    descriptor = hashlib.sha256(rfc8785.dumps(msgspec.to_builtins(manifest.descriptor))).hexdigest()
    statement = Statement(
        type=STATEMENT_TYPE,
        subject=[Subject(MANIFEST, {"sha256": sha256})],
        predicate_type=PREDICATE_TYPE,
        predicate=Provenance(
            BuildDefinition(
                build_type=BUILD_TYPE,
                external_parameters={
                    "blueprint": manifest.blueprint_id,
                    "descriptor": {"sha256": descriptor},
                    "parameters": manifest.parameters,
                    "strategy": manifest.compile_strategy,
                    "device": manifest.target.device,
                    "isa": manifest.target.isa,
                },
                internal_parameters={"factory": manifest.factory.path, "jobKey": manifest.job_key},
                resolved_dependencies=[
                    Resource(name="torch", uri=f"pkg:pypi/torch@{quote(toolchain.torch)}"),
                    Resource(name="compiler", uri=f"pkg:generic/{quote(toolchain.compiler, safe='')}"),
                    Resource(name="tezzeret", uri=f"pkg:pypi/tezzeret-cli@{quote(toolchain.tool)}"),
                    Resource(name="factory", digest={"sha256": manifest.factory.digest}),
                ],
            ),
            RunDetails(
                Builder(BUILDER_ID, {"tezzeret": tezzeret_cli.__version__, "python": toolchain.python}),
                BuildMetadata(
                    invocation_id=manifest.run,
                    started_on=_time(created - datetime.timedelta(milliseconds=manifest.compile_ms)),
                    finished_on=_time(finished),
                ),
            ),
        ),
    )
    return rfc8785.dumps(msgspec.to_builtins(statement))


def check_statement(payload: bytes, sha256: str) -> Statement:
    """The verified ``payload`` as a statement. Raises ``UntrustedBundleError`` unless its one subject is the
    manifest with this ``sha256`` (hex), and its predicate is provenance of Tezzeret's."""
    where = "what is signed is no statement"
    statement = decode_strict(payload, _DECODER, where, UntrustedBundleError, nearly_canonical)
    if statement.type != STATEMENT_TYPE:
        raise UntrustedBundleError(f"a statement of type {statement.type[:100]!r}, not {STATEMENT_TYPE}")
    if statement.predicate_type != PREDICATE_TYPE:
        raise UntrustedBundleError(
            f"a predicate of type {statement.predicate_type[:100]!r}, not {PREDICATE_TYPE}"
        )
    if statement.predicate.build_definition.build_type != BUILD_TYPE:
        raise UntrustedBundleError("the provenance is of something else than a compiled bundle")
    if len(statement.subject) != 1:
        raise UntrustedBundleError(f"a statement about {len(statement.subject)} things, not about one")
    subject = statement.subject[0]
    if subject.name != MANIFEST or subject.digest != {"sha256": sha256}:
        raise UntrustedBundleError("it is the signature of another manifest")
    return statement


def _time(when: datetime.datetime) -> str:
    return when.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
