"""Flags that several subcommands share."""

from __future__ import annotations

from typing import Annotated

import typer

Store = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Where bundles are published. [env: TEZZERET_STORE]"),
]
State = Annotated[
    str | None,
    typer.Option(
        metavar="DIR", help="Journals of runs, on a local disk. [default: $XDG_STATE_HOME/tezzeret]"
    ),
]
Cache = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Compiled headers and scratch. [default: $XDG_CACHE_HOME/tezzeret]"),
]
OonaUrl = Annotated[
    str | None,
    typer.Option("--oona-url", metavar="URL", help="Send telemetry to this Redis, too. [default: nowhere]"),
]
IdentityToken = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN", help="OIDC token for keyless signing. [default: what the environment offers]"
    ),
]
TrustKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        metavar="FILE",
        help="Public key to trust, instead of those in trusted-keys.d; repeatable.",
    ),
]
CertIdentity = Annotated[
    str | None, typer.Option(metavar="NAME", help="Identity that must have signed: an address or URI.")
]
CertIssuer = Annotated[
    str | None,
    typer.Option("--cert-oidc-issuer", metavar="URL", help="Issuer that must have vouched for the identity."),
]
TrustedRoot = Annotated[
    str | None, typer.Option(metavar="FILE", help="Trusted root (JSON) of the Sigstore instance.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON report on stdout.")]


def _formats() -> list[str]:
    from tezzeret_cli.cli.output import Format

    return list(Format)


OutputFormat = Annotated[
    str | None,
    typer.Option(
        "--output-format",
        metavar="FORMAT",
        help="text, json, github (annotations and a step summary), or junit (XML). [default: text]",
        autocompletion=_formats,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]
Verbose = Annotated[
    int,
    typer.Option("--verbose", "-v", count=True, help="Say more; -vv also tracebacks.", show_default=False),
]
