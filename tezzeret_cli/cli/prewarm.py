"""``tezzeret prewarm``: load, run and time bundles that are published."""

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
  tezzeret prewarm ./store
  tezzeret prewarm ./store/bundles/BP023/1.0.0+cpu-avx512-f3b438 --repeat 100
  tezzeret prewarm --store ./store --max-regression 20%
  tezzeret prewarm ./store --key publisher.pem
"""


def _devices() -> list[str]:
    return ["cpu", "cuda"]


def prewarm_command(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]...", help="Bundles, and stores with all their bundles."),
    ] = None,
    store: Store = None,
    state: State = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="cpu, cuda or cuda:N. [default: what each bundle is built for]",
            autocompletion=_devices,
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            help="Bundles at once; more disturb the times. [default: 1]",
            show_default=False,
        ),
    ] = 1,
    repeat: Annotated[
        int | None, typer.Option(metavar="N", help="Timed steps of each variant. [default: 20]")
    ] = None,
    max_regression: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE", help="Fail for a bundle that is slower than its record by more, such as 20%."
        ),
    ] = None,
    key: TrustKeys = None,
    cert_identity: CertIdentity = None,
    cert_oidc_issuer: CertIssuer = None,
    trusted_root: TrustedRoot = None,
    allow_factory: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Also run eager code of factories that match, to compare with; repeatable. "
            "[default: the built-in ones]",
        ),
    ] = None,
    oona_url: OonaUrl = None,
    output_format: OutputFormat = None,
    json_output: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Time bundles against eager, in fresh processes.

    They have no compiler. Timed are the first call and the steady steps, forward and backward, of every
    variant. The times are added to the store's samples, and each bundle is compared with its own earlier
    ones on the same kind of machine. Counts as a use for gc. Whom to believe is said as for verify. What
    one that was killed had measured is kept by the next command or by resume; the rest is not measured
    later.

    Exit codes: 0 all done, 1 a bundle failed or regressed, 2 bad input or a store that cannot be written,
    7 the journal could not be written, 130 or 143 interrupted.
    """
    from tezzeret_cli.cli.output import read_format
    from tezzeret_cli.cli.prewarm_run import Flags, run_prewarm
    from tezzeret_cli.cli.trusting import read_trust

    flags = Flags(
        paths=tuple(paths or ()),
        settings={"store": store, "state": state, "prewarm_repeat": repeat, "oona_url": oona_url},
        device=device,
        jobs=jobs,
        max_regression=max_regression,
        trust=read_trust(key or (), cert_identity, cert_oidc_issuer, trusted_root),
        allowed=tuple(allow_factory or ()),
        form=read_format(output_format, json=json_output),
        quiet=quiet,
        verbosity=verbose,
    )
    raise typer.Exit(run_prewarm(flags))
