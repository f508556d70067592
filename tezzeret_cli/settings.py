"""Every setting, from defaults, a TOML file, the environment and flags, in rising order.

This is the one place that knows the names of Tezzeret's environment variables.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tezzeret_cli.errors import SettingsError

PREFIX = "TEZZERET_"
CONFIG_VARIABLE = "TEZZERET_CONFIG"
SECRET_VARIABLE = "ESPER_LEYLINE_SECRET"
LARGEST = 1 << 62
"""A whole number above it, such as a size in bytes, is a mistake; more would not fit into a record."""
LONGEST_S = 1e9
"""Seconds, some thirty years; the clocks that wait take not much more."""
PASSPHRASE_VARIABLE = "TEZZERET_KEY_PASSPHRASE"
CI_VARIABLE = "CI"
"""Set where nobody looks after what is left in a home folder; by convention of the services themselves."""
SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"
"""The file that GitHub Actions shows as a step's summary."""

LEAST_MEMORY = 1 << 30
"""Bytes: importing torch and compiling the smallest graph take several hundred MiB."""

_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", re.IGNORECASE)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each with what the manual says of it. ``memory`` is in bytes; ``load_settings`` replaces an empty
    ``cache`` or ``state``."""

    store: Annotated[str | None, Meta(description="Where bundles are published.")] = None
    strategy: Annotated[str, Meta(description="How hard to compile.")] = "standard"
    device: Annotated[str, Meta(description="cpu, cuda or cuda:N.")] = "cpu"
    isa: Annotated[
        str | None, Meta(description="Instruction set of the libraries; by default the best one here.")
    ] = None
    jobs: Annotated[int, Meta(description="Jobs at once; 0: as many as cores and memory allow.")] = 0
    timeout_s: Annotated[
        float | None, Meta(description="Seconds for one build; by default the strategy's.")
    ] = None
    memory: Annotated[
        int | None, Meta(description="Memory for one build, such as 8GiB; by default the strategy's.")
    ] = None
    proof_timeout_s: Annotated[float, Meta(description="Seconds that the proof may take.")] = 120.0
    eager_timeout_s: Annotated[
        float, Meta(description="Seconds that building the module, and then one eager step, may take.")
    ] = 30.0
    prewarm_repeat: Annotated[int, Meta(description="Timed steps of the proof.")] = 20
    cache: Annotated[
        str, Meta(description="Compiled headers and scratch; by default $XDG_CACHE_HOME/tezzeret.")
    ] = ""
    profile: Annotated[str | None, Meta(description="Compile profile (TOML).")] = None
    sign: Annotated[str, Meta(description="How bundles are signed: key, keyless or none.")] = "key"
    key: Annotated[
        str | None,
        Meta(description="Private key to sign with; by default signing-key.pem beside the settings file."),
    ] = None
    state: Annotated[
        str, Meta(description="Journals of runs, on a local disk; by default $XDG_STATE_HOME/tezzeret.")
    ] = ""
    state_on_network: Annotated[
        bool, Meta(description="Allow journals on a network filesystem that only this host uses.")
    ] = False
    telemetry: Annotated[
        int, Meta(description="Bytes of telemetry that a store keeps, such as 64MiB; 0: none.")
    ] = 64 << 20
    telemetry_interval_s: Annotated[
        float, Meta(description="Seconds between aggregates of a run in its telemetry.")
    ] = 10.0
    oona_url: Annotated[
        str | None, Meta(description="Redis of the Oona bus, such as redis://host:6379/0; by default none.")
    ] = None
    oona_interval_s: Annotated[float, Meta(description="Seconds between messages to Oona.")] = 10.0
    oona_telemetry: Annotated[str, Meta(description="Stream of telemetry.")] = "oona.telemetry"
    oona_ready: Annotated[str, Meta(description="Stream of published bundles.")] = "oona.kernels.ready"
    oona_emergency: Annotated[str, Meta(description="Stream of telemetry of level error or worse.")] = (
        "oona.emergency"
    )
    oona_errors: Annotated[str, Meta(description="Stream of kernels that are not to be had.")] = (
        "oona.kernels.errors"
    )
    run_ttl_s: Annotated[float, Meta(description="Seconds after which a run that died is abandoned.")] = (
        7 * 86400.0
    )
    allow_aggressive: Annotated[bool, Meta(description="Allow the aggressive strategy.")] = False
    conservative: Annotated[
        bool, Meta(description="One job at a time, the fast strategy, longer timeouts.")
    ] = False
    approvals: Annotated[
        str | None, Meta(description="File (TOML) that approves blueprints which need approval.")
    ] = None
    aggressive_timeout_s: Annotated[
        float | None, Meta(description="Seconds for an aggressive build; by default 960.")
    ] = None
    standard_timeout_s: Annotated[
        float | None, Meta(description="Seconds for a standard build; by default 250.")
    ] = None
    fast_timeout_s: Annotated[float | None, Meta(description="Seconds for a fast build; by default 65.")] = (
        None
    )
    emergency_timeout_s: Annotated[
        float | None, Meta(description="Seconds for an emergency build; by default 10.")
    ] = None
    aggressive_memory: Annotated[
        int | None, Meta(description="Memory for an aggressive build; by default 16GiB.")
    ] = None
    standard_memory: Annotated[
        int | None, Meta(description="Memory for a standard build; by default 8GiB.")
    ] = None
    fast_memory: Annotated[int | None, Meta(description="Memory for a fast build; by default 4GiB.")] = None
    emergency_memory: Annotated[
        int | None, Meta(description="Memory for an emergency build; by default 2GiB.")
    ] = None
    memory_failures: Annotated[int, Meta(description="Failures in a row that open the memory breaker.")] = 3
    memory_cooldown_s: Annotated[
        float, Meta(description="Seconds until the memory breaker is half open.")
    ] = 30.0
    gpu_failures: Annotated[int, Meta(description="Failures in a row that open the gpu breaker.")] = 5
    gpu_cooldown_s: Annotated[float, Meta(description="Seconds until the gpu breaker is half open.")] = 60.0
    timeout_failures: Annotated[int, Meta(description="Failures in a row that open the timeout breaker.")] = 2
    timeout_cooldown_s: Annotated[
        float, Meta(description="Seconds until the timeout breaker is half open.")
    ] = 300.0


def load_settings(environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Merge all sources; a flag of ``None`` was not given. Folders come out absolute, for processes that
    work in folders of their own. Raises ``SettingsError`` naming the source."""
    try:
        os.getcwd()
    except OSError as error:
        raise SettingsError(
            f"the current folder: {error.strerror}", advice="go to one that exists"
        ) from error
    values: dict[str, tuple[Any, str]] = {}
    path = _config_path(environment)
    if path is not None:
        values |= {name: (value, f"{path}: {name}") for name, value in _read(path).items()}
    for name in Settings.__struct_fields__:
        variable = PREFIX + name.upper()
        if environment.get(variable):
            values[name] = (environment[variable], variable)
    values |= {
        name: (value, f"--{name.removesuffix('_s').replace('_', '-')}")
        for name, value in flags.items()
        if value is not None
    }
    settings = Settings(**{name: _convert(name, value, where) for name, (value, where) in values.items()})
    cache = settings.cache or str(_base(environment, "CACHE", ".cache") / "tezzeret")
    state = settings.state or str(_base(environment, "STATE", ".local/state") / "tezzeret")
    store = None if settings.store is None else os.path.abspath(settings.store)
    return msgspec.structs.replace(
        settings, cache=os.path.abspath(cache), state=os.path.abspath(state), store=store
    )


def leyline_secret(environment: Mapping[str, str]) -> bytes | None:
    """What messages to Oona are signed with, ``None`` to send them unsigned."""
    value = environment.get(SECRET_VARIABLE)
    return value.encode() if value else None


def store_of(settings: Settings) -> str:
    """The store's folder. Raises ``SettingsError`` when none is given."""
    if settings.store is None:
        raise SettingsError("no store is given", advice="name one with --store DIR or TEZZERET_STORE")
    return settings.store


def config_folder(environment: Mapping[str, str]) -> Path:
    """Tezzeret's own folder below the XDG configuration: settings, signing key, trusted keys. Raises
    ``SettingsError`` without a home: a folder that others can make must not say whom to trust."""
    home = environment.get("XDG_CONFIG_HOME") or _home(environment, ".config")
    if not home:
        try:
            home = os.path.join(pwd.getpwuid(os.getuid()).pw_dir, ".config")
        except KeyError:
            raise SettingsError("there is no home folder", advice="set HOME or XDG_CONFIG_HOME") from None
    return Path(os.path.abspath(os.path.join(home, "tezzeret")))


def passphrase_of(environment: Mapping[str, str]) -> bytes | None:
    """What opens the signing key, ``None`` when it is not given."""
    return os.fsencode(environment[PASSPHRASE_VARIABLE]) if environment.get(PASSPHRASE_VARIABLE) else None


def _config_path(environment: Mapping[str, str]) -> Path | None:
    explicit = environment.get(CONFIG_VARIABLE)
    if explicit:
        return Path(explicit)
    home = environment.get("XDG_CONFIG_HOME") or _home(environment, ".config")
    path = Path(home) / "tezzeret" / "config.toml" if home else None
    return path if path is not None and path.is_file() else None


def _base(environment: Mapping[str, str], kind: str, folder: str) -> Path:
    """A base folder of the XDG specification."""
    home = environment.get(f"XDG_{kind}_HOME") or _home(environment, folder)
    return Path(home) if home else Path(f"/tmp/tezzeret-{os.getuid()}")


def _home(environment: Mapping[str, str], folder: str) -> str | None:
    home = environment.get("HOME")
    return str(Path(home) / folder) if home else None


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}", advice=f"check {CONFIG_VARIABLE}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: malformed TOML: {error}", advice="correct the file") from error
    for name in values:
        if name not in Settings.__struct_fields__:
            known = ", ".join(Settings.__struct_fields__)
            raise SettingsError(f"{path}: {name}: unknown setting", advice=f"use one of {known}")
    return values


def _convert(name: str, value: Any, where: str) -> Any:
    if value == "":
        raise SettingsError(f"{where}: it is empty", advice="give a value, or leave it out")
    if isinstance(value, str) and "\0" in value:
        raise SettingsError(f"{where}: it has a NUL byte", advice="take it out")
    sizes = name.endswith("memory") or name == "telemetry"
    if sizes and isinstance(value, str):
        value = parse_size(value, where)
    kind: type[Any] = str
    if name.endswith("_s"):
        kind = float
    elif sizes or name.endswith("_failures") or name in ("jobs", "prewarm_repeat"):
        kind = int
    elif name in ("state_on_network", "allow_aggressive", "conservative"):
        kind = bool
    try:
        converted: Any = msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        raise SettingsError(f"{where}: {value!r} is not a {_KIND_NAMES[kind]}", advice="correct it") from None
    if name == "telemetry" and converted < 0:
        raise SettingsError(f"{where}: {converted} is negative", advice="give bytes, or 0 for none")
    if name == "jobs" and converted < 0:
        raise SettingsError(f"{where}: {converted} is negative", advice="give 1 or more, or 0 for automatic")
    if kind is float and not converted > 0:
        raise SettingsError(f"{where}: {converted:g} is not a time to wait", advice="give seconds above 0")
    if kind is float and converted > LONGEST_S:
        raise SettingsError(f"{where}: {converted:g} is too large", advice=f"give at most {LONGEST_S:g}")
    if kind is int and converted > LARGEST:
        raise SettingsError(f"{where}: {converted} is too large", advice=f"give at most {LARGEST}")
    if sizes and name != "telemetry" and converted < LEAST_MEMORY:
        raise SettingsError(
            f"{where}: {converted >> 20} MiB is less than a build needs",
            advice=f"give {LEAST_MEMORY >> 20} MiB or more",
        )
    if (name == "prewarm_repeat" or name.endswith("_failures")) and converted < 1:
        raise SettingsError(f"{where}: {converted} is too small", advice="give 1 or more")
    return converted


_KIND_NAMES = {int: "whole number", float: "number", str: "text", bool: "choice between true and false"}


def parse_size(text: str, where: str) -> int:
    """Bytes of a size such as ``8GiB``, ``512M`` or ``1000``. Raises ``SettingsError``."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SettingsError(f"{where}: {text!r} is not a size", advice="write it like 8GiB")
    size = float(match[1]) * _UNITS[match[2].upper()]
    if size > LARGEST:
        raise SettingsError(f"{where}: {text.strip()} is too large", advice="give what a machine may have")
    return int(size)
