"""The key of a job: a hash of everything that decides what its bundle contains. Torch-free."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tezzeret_cli import isa
from tezzeret_cli.errors import InputError
from tezzeret_cli.model.job import Job
from tezzeret_cli.model.manifest import FORMAT
from tezzeret_cli.model.run import HostFacts

COMPILER_WAIT_S = 60.0
PIPELINE = 10
"""Counts changes of the pipeline that change what it makes; part of every key."""
NO_COMPILER = "none"
"""In a key, where there is no compiler."""


def host_facts(
    environment: Mapping[str, str], isa_name: str | None = None, gpus: Sequence[str] = ()
) -> HostFacts:
    """Read them: the torch distribution's version, the C++ compiler's, the processor's best level.

    ``isa_name`` asks for a lower level, so that more machines can run the bundles; ``gpus`` are the compute
    capabilities of the GPUs that jobs are for. Raises ``InputError``
    when torch is not installed, or this processor does not run that level.
    """
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise InputError("torch is not installed", advice="install it beside tezzeret") from None
    here = [level.name for level in isa.levels_here(isa.cpu_flags())]
    if isa_name is not None and isa_name not in here:
        known = ", ".join(here) or "none"
        raise InputError(f"--isa {isa_name}: this processor does not run it", advice=f"it runs {known}")
    name = isa_name or (here[0] if here else "default")
    return HostFacts(
        torch=torch,
        compiler=_compiler(environment.get("CXX")),
        target=f"{platform.system().lower()} {platform.machine()} {name}",
        isa=name,
        gpus=" ".join(gpus),
    )


def _compiler(named: str | None) -> str:
    """The compiler's kind, version and target; ``NO_COMPILER`` where nobody named one and there is no g++.
    Raises ``InputError`` when the one that was named does not say these."""
    command = named or "g++"
    if shutil.which(command) is None:
        if named:
            raise InputError(f"CXX={named}: no such program", advice="name a C++ compiler by its path")
        return NO_COMPILER
    said = _ask(command, "-dumpfullversion", "-dumpmachine")
    if isinstance(said, str):  # clang knows no such option
        version, target = _ask(command, "-dumpversion"), _ask(command, "-dumpmachine")
        if isinstance(version, str) or isinstance(target, str):
            raise InputError(
                f"{command} does not work as a C++ compiler: it does not tell its version ({said})",
                advice="name another one with CXX",
            )
        said = [*version, *target]
    return " ".join(("g++" if "clang" not in command else "clang++", *said))


def _ask(command: str, *options: str) -> list[str] | str:
    """The words of a program's answer, or what went wrong."""
    try:
        done = subprocess.run(
            [command, *options],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=COMPILER_WAIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode:
        return f"exit status {done.returncode}"
    return done.stdout.split() or "it said nothing"


def with_key(job: Job, facts: HostFacts) -> Job:
    """``job`` with its factors and its key filled in."""
    factors = key_factors(job, facts)
    return msgspec.structs.replace(job, key=_digest(factors), key_factors=factors)


def key_factors(job: Job, facts: HostFacts) -> dict[str, str]:
    """Each factor as short text, by name, in the order in which they are explained."""
    batch = f"{job.batch.min}..{job.batch.max}" if job.batch else "fixed"
    shapes = "; ".join(" ".join("x".join(map(str, s)) for s in example.shapes) for example in job.examples)
    strategy = job.strategy
    flags = _digest(
        [
            strategy.inductor,
            strategy.dynamic,
            strategy.wrapper,
            strategy.kernels,
            strategy.examples,
            strategy.extras,
            strategy.lines,
            strategy.cpu_only,
        ]
    )[:16]
    descriptor = msgspec.structs.replace(job.descriptor, description="")
    factory = job.factory
    return {
        "descriptor": _digest(msgspec.to_builtins(descriptor))[:16],
        "parameters": " ".join(f"{name}={value:.17g}" for name, value in sorted(job.parameters.items())),
        "shapes": shapes or "the factory's",
        "batch": batch,
        "dtype": job.dtype or "the factory's",
        "device": job.device,
        "strategy": strategy.name,
        "strategy flags": flags,
        "factory": factory.path,
        "builder": factory.digest[:16] + (f" {factory.distribution}" if factory.distribution else ""),
        "tags": " ".join(job.tags),
        "tool format": f"{FORMAT}.{PIPELINE}",
        "torch": facts.torch,
        "compiler": facts.compiler,
        "target": facts.target if job.device == "cpu" else f"{facts.target} sm {facts.gpus}".rstrip(),
    }


def explain(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The factors that differ, each as ``name: old -> new``."""
    names = [*new, *(name for name in old if name not in new)]
    return [
        f"{name}: {old.get(name) or 'none'} -> {new.get(name) or 'none'}"
        for name in names
        if old.get(name) != new.get(name)
    ]


def _digest(value: Any) -> str:
    import rfc8785

    return hashlib.sha256(rfc8785.dumps(value)).hexdigest()
