"""Sessions beyond ``make test``. Heavy ones take a size or a release as their argument."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "venv"

CONSTRAINTS = ("-c", "constraints.txt")


def _install(session: nox.Session, *extras: str) -> None:
    session.install(*CONSTRAINTS, "setuptools")
    session.install(*CONSTRAINTS, "--no-build-isolation", "-e", f".[{','.join(extras)}]")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install(*CONSTRAINTS, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session, "test", "dev")
    session.run("mypy")


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The whole suite; further arguments go to pytest."""
    _install(session, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks side by side; arguments: blueprint ids, by default the whole catalogue."""
    _install(session, "test")
    session.run("python", "-m", "bench.load", *session.posargs)
    session.run("python", "-m", "bench.steps", *session.posargs)
    session.run("python", "-m", "bench.inference", *session.posargs)
    session.run("python", "-m", "bench.verify", *session.posargs)
    session.run("python", "-m", "bench.size", *session.posargs)
    session.run("python", "-m", "bench.throughput", *session.posargs)
    session.run("python", "-m", "bench.scaling", *session.posargs)
    session.run("python", "-m", "bench.containment")
    session.run("python", "-m", "bench.beside")
    session.run("python", "-m", "bench.startup")
    session.run("python", "-m", "bench.stats")
    session.run("python", "-m", "bench.telemetry")
    session.run("python", "-m", "bench.gc")
    session.run("python", "-m", "bench.journal")


@nox.session
def gpu(session: nox.Session) -> None:
    """On a machine with a GPU: ``nox -s gpu -- 2.13.0`` runs the tests for it, compiles
    the catalogue for it and measures that. Needs nvcc."""
    release = session.posargs[0] if session.posargs else "2.13.0"
    session.install(f"torch=={release}", "setuptools")
    session.install("--no-build-isolation", "-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/gpu")
    store = f"{session.create_tmp()}/store"
    compile_ = ("compile", "--store", store, "--device", "cuda", "--approvals", "fixtures/approvals.toml")
    session.run("tezzeret", *compile_, success_codes=[0, 3])
    session.run("python", "-m", "bench.load", env={"TEZZERET_STORE": store})
    session.run("python", "-m", "bench.steps", env={"TEZZERET_STORE": store})


@nox.session
def newest_torch(session: nox.Session) -> None:
    """Bundles across torch releases: ``nox -s newest_torch -- 2.15.0``. Installs several gigabytes."""
    release = session.posargs[0] if session.posargs else "2.15.0"
    session.install(f"torch=={release}", "setuptools")
    session.install("--no-build-isolation", "-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/bundle", "tests/compat")


@nox.session
def faults(session: nox.Session) -> None:
    """Crash, kill, disk and power faults: ``nox -s faults -- full`` is everything, by default a sample."""
    size = session.posargs[0] if session.posargs else "small"
    _install(session, "test")
    paths = ("tests/faults", "tests/property", "tests/cli/test_resume.py", "tests/cli/test_hostile.py")
    session.run("python", "-m", "pytest", f"--fault-size={size}", *paths)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Forged bundles against the verifier: ``nox -s fuzz -- full`` is 100,000, by default a sample."""
    size = session.posargs[0] if session.posargs else "small"
    _install(session, "test")
    session.run("python", "-m", "pytest", f"--fault-size={size}", "tests/property/test_forgeries.py")


@nox.session
def proto(session: nox.Session) -> None:
    """Generate leyline_pb2.py and the binary catalogue again."""
    session.install("grpcio-tools==1.72.2", "setuptools<80")
    folder = "tezzeret_cli/leyline"
    protoc = ("python", "-m", "grpc_tools.protoc", f"-I{folder}")
    session.run(*protoc, f"--python_out={folder}", f"--pyi_out={folder}", "leyline.proto")
    _install(session, "test")
    session.run("python", "tools/make_catalogue.py")


@nox.session
def manual(session: nox.Session) -> None:
    """Generate man pages, completions, reference pages and JSON Schemas from what defines them."""
    _install(session, "test")
    session.run("python", "tools/make_manual.py")
    session.run("python", "tools/make_schemas.py")


@nox.session
def charts(session: nox.Session) -> None:
    """Draw the charts in docs/charts again, of the figures in docs/charts/data."""
    _install(session, "test", "dev")
    session.run("python", "-m", "tools.make_charts")


@nox.session
def picture(session: nox.Session) -> None:
    """Take the README's picture again, of a real run over part of the catalogue."""
    _install(session, "test")
    session.run("python", "tools/make_picture.py")
