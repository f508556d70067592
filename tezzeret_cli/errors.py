"""The one error tree. Each class carries its exit code, whether a retry can help, and advice.

Only the shell (``tezzeret_cli/cli``) turns an error into an exit status; every other layer raises.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path


class ExitCode(enum.IntEnum):
    """What the command's exit status means."""

    OK = 0
    JOB_FAILED = 1
    USAGE = 2
    FELL_BACK = 3
    VERIFICATION_FAILED = 4
    STORE_LOCKED = 5
    DAMAGED = 6
    JOURNAL_FAILED = 7
    INTERRUPTED = 130
    TERMINATED = 143


MEANING: Mapping[ExitCode, str] = {
    ExitCode.OK: "All done.",
    ExitCode.JOB_FAILED: "A job failed.",
    ExitCode.USAGE: "Bad input or usage, and nothing was written; or the store cannot be used.",
    ExitCode.FELL_BACK: "Done, but some blueprint fell back to eager.",
    ExitCode.VERIFICATION_FAILED: "Verification failed.",
    ExitCode.STORE_LOCKED: "The store, or a journal, is locked; or a run that died is to be resumed first.",
    ExitCode.DAMAGED: "The store, or a journal, is damaged.",
    ExitCode.JOURNAL_FAILED: "A journal could not be written.",
    ExitCode.INTERRUPTED: "Interrupted; what was finished stays.",
    ExitCode.TERMINATED: "Ended by a signal; what was finished stays.",
}
"""The exit codes in words, for the manual."""


class TezzeretError(Exception):
    """Base of all errors that Tezzeret raises on purpose.

    ``advice`` is the next thing a person can do; the shell prints it after the message.
    """

    exit_code: ExitCode = ExitCode.JOB_FAILED
    can_retry: bool = False

    def __init__(self, message: str, *, advice: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


class InputError(TezzeretError):
    """A descriptor, profile, parameter or flag is wrong. Nothing has been written."""

    exit_code = ExitCode.USAGE


class FactoryError(InputError):
    """A blueprint's factory is missing, does not import, raises, or returns something else."""


class SettingsError(InputError):
    """A setting (flag, environment variable or settings file) is wrong."""


class StoreError(TezzeretError):
    """The store cannot be used: unwritable, full, vanished, or of a newer format."""

    exit_code = ExitCode.USAGE
    can_retry = True


class StoreLockedError(StoreError):
    """Another process holds the store's lock for longer than the caller was willing to wait."""

    exit_code = ExitCode.STORE_LOCKED


class UnfinishedRunError(TezzeretError):
    """A run on this store died; what it left to do has to be resumed or abandoned first."""

    exit_code = ExitCode.STORE_LOCKED


class JournalError(TezzeretError):
    """The journal could not be read or written. What was acknowledged before is durable; nothing was
    acknowledged since, and the journal that raised it takes no more."""

    exit_code = ExitCode.JOURNAL_FAILED


class JournalLockedError(JournalError):
    """Another process has the journal open."""

    exit_code = ExitCode.STORE_LOCKED
    can_retry = True


class JournalChangedError(JournalError):
    """The journal was compacted while it was read."""

    can_retry = True


class JournalVersionError(JournalError):
    """The journal was written by a newer version. Nothing has been written to it."""

    exit_code = ExitCode.USAGE


class JournalDamagedError(JournalError):
    """The journal holds something that no interrupted write explains. Nothing has been written to it.

    ``path`` and ``offset`` say where, ``last_good`` is the sequence up to which it can be trusted.
    """

    exit_code = ExitCode.DAMAGED

    def __init__(
        self, message: str, *, path: Path, offset: int, last_good: int, advice: str | None = None
    ) -> None:
        super().__init__(message, advice=advice)
        self.path = path
        self.offset = offset
        self.last_good = last_good


class JournalTailError(JournalDamagedError):
    """The last frames of the journal are unreadable: an interrupted write or damage, nobody can tell.
    Opening it with ``accept_tail_loss`` gives them up."""


class BundleError(TezzeretError):
    """A bundle cannot be read or trusted."""

    exit_code = ExitCode.VERIFICATION_FAILED


class VerificationError(BundleError):
    """A bundle is not what its maker published, or nobody trusted says that it is. Verifying raises this
    and nothing else, whatever the bundle holds."""


class DamagedBundleError(VerificationError):
    """A bundle's files are missing, added, or differ from its manifest."""


class UntrustedBundleError(VerificationError):
    """A bundle is not signed, or its signature does not satisfy the policy of who opens it."""


class SigningError(TezzeretError):
    """A bundle could not be signed; it was not published."""

    can_retry = True


class TargetMismatchError(BundleError):
    """The bundle was built for another machine, device or torch than this process has."""


class QuarantinedError(BundleError):
    """The bundle is marked as one that nobody should get unasked."""


class NoBundleError(BundleError):
    """No bundle in the store fits the request and this process."""


class GuardMissError(TezzeretError):
    """A call is outside what the bundle was compiled for, and eager was not allowed to serve it."""


class EagerUnavailableError(TezzeretError):
    """Eager code is needed but its factory is not installed, not allowed, or has another digest."""


class WorkerError(TezzeretError):
    """The supervision of worker processes itself failed (not the job: a job's failure is a result)."""

    can_retry = True


class Interrupted(TezzeretError):
    """The run was stopped by a signal, which ``exit_code`` tells; what was finished stays published."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self, message: str, exit_code: ExitCode, *, advice: str | None = None) -> None:
        super().__init__(message, advice=advice)
        self.exit_code = exit_code
