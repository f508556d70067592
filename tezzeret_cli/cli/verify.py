"""``tezzeret verify``: flags become a policy and expectations; what was found is shown."""

from __future__ import annotations

from typing import Annotated

import typer

from tezzeret_cli.cli.flags import (
    CertIdentity,
    CertIssuer,
    Json,
    OonaUrl,
    OutputFormat,
    Quiet,
    State,
    Store,
    TrustedRoot,
    TrustKeys,
    Verbose,
)

EXAMPLES = """\b
Examples:
  tezzeret verify ./store
  tezzeret verify ./store/bundles/BP023/1.0.0+cpu-avx2-f3b438 --key publisher.pem
  tezzeret verify ./store --cert-identity release@example.com \\
      --cert-oidc-issuer https://accounts.example.com --trusted-root trusted_root.json
"""


def verify_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Bundles and stores. Default: the store of the settings."),
    ] = None,
    store: Store = None,
    key: TrustKeys = None,
    cert_identity: CertIdentity = None,
    cert_oidc_issuer: CertIssuer = None,
    trusted_root: TrustedRoot = None,
    expect_id: Annotated[
        str | None, typer.Option(metavar="ID", help="Blueprint that each bundle must be of.")
    ] = None,
    expect_version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Version, with or without its lineage.")
    ] = None,
    expect_digest: Annotated[
        str | None, typer.Option(metavar="SHA256", help="sha256 of the manifest, in hex.")
    ] = None,
    load: Annotated[
        bool, typer.Option("--load", help="Also load each bundle in a fresh process, and compare with eager.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", metavar="N", help="Processes at once. [default: cores]")
    ] = None,
    state: State = None,
    oona_url: OonaUrl = None,
    output_format: OutputFormat = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Verify who signed bundles or whole stores, and every byte.

    Nothing of it needs a network. Whom to believe is yours to say: the keys in trusted-keys.d, those
    given by --key, or an identity with its issuer. What fails is put into the store's telemetry, too.

    Exit codes: 0 all verified; 2 bad usage; 4 a bundle is damaged, not trusted, or older than one that
    was published.
    """
    from tezzeret_cli.cli.output import read_format
    from tezzeret_cli.cli.trusting import read_trust
    from tezzeret_cli.cli.verify_run import Flags, run_verify

    flags = Flags(
        paths=tuple(paths or ()),
        settings={"store": store, "state": state, "jobs": jobs, "oona_url": oona_url},
        trust=read_trust(key or (), cert_identity, cert_oidc_issuer, trusted_root),
        expect_id=expect_id,
        expect_version=expect_version,
        expect_digest=expect_digest,
        load=load,
        form=read_format(output_format, json=json_output),
        quiet=quiet,
        verbosity=verbose,
    )
    raise typer.Exit(run_verify(flags))
