"""Typed errors. A message says what happened and to what; `hint` says what to type next."""

from __future__ import annotations

from collections.abc import Sequence


class UpdateAllError(Exception):
    """An error that a person can act on.

    `code` is a stable name (`update-all explain CODE`), `hint` the next thing to type or do.
    """

    code = "error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def described(self) -> str:
        """The message with the hint behind it, where there is one line for both."""
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(UpdateAllError):
    """Wrong arguments, or a name that does not exist: nothing was run."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A configuration file that cannot be used; the message holds file, line and key."""

    code = "bad-config"


class InvalidDefinitionError(UsageError, ValueError):
    """A command, step or plugin whose declaration is wrong; the message names the field."""

    code = "bad-definition"


class StepOrderError(InvalidDefinitionError):
    """Steps that cannot be ordered: unknown dependency, cycle, duplicate name."""

    code = "bad-step-order"


class NeedsInputError(UpdateAllError):
    """An answer or a privilege is needed and nobody is there to give it."""

    code = "needs-input"
    exit_code = 4


class NeedsDecisionError(NeedsInputError):
    """A step may or may not have happened, and must not be repeated without asking."""

    code = "needs-decision"


class BusyError(UpdateAllError):
    """Another run holds the lock."""

    code = "lock-held"
    exit_code = 75


class StateError(UpdateAllError):
    """State that cannot be read or written safely."""

    code = "bad-state"


class StateWriteError(StateError):
    """A transition that could not be made durable: the step it announces must not start."""

    code = "state-write"


class HookError(UpdateAllError):
    """A hook of the user's own forbids the run."""

    code = "hook-failed"


class NothingToResumeError(UpdateAllError):
    """No step is unfinished."""

    code = "nothing-to-resume"
    exit_code = 0


class PlanChangedError(UpdateAllError):
    """The plan is not the one that was interrupted, and `--strict` forbids to go on."""

    code = "plan-changed"
    exit_code = 2


class NoProgressError(UpdateAllError):
    """A run was resumed too often without a step getting done."""

    code = "no-progress"


class StepError(UpdateAllError):
    """A step failed. Raised by an `execute_fn` to fail its step with a message."""

    code = "step-failed"


class MissingFactError(StepError):
    """A `{fact}` in a command that no earlier step has provided."""

    code = "missing-fact"


class CommandNotFoundError(StepError):
    """The program of a command does not exist or cannot be executed."""

    code = "command-not-found"


class UpToDate(Exception):  # noqa: N818 - an outcome, named as authors write it: `raise UpToDate`
    """Raised by a step that finds nothing to do: the plugin's remaining steps are skipped."""


class DownloadError(StepError):
    """A file that could not be fetched: the message names the file, the server and the fault."""

    code = "download-failed"


class DownloadRefusedError(DownloadError):
    """A download that the rules forbid: plain HTTP, a foreign host, no checksum, an older version."""

    code = "download-refused"


class IntegrityError(DownloadError):
    """Bytes that are not the promised ones; the message holds both values. The file has been deleted."""

    code = "integrity"


class ArchiveError(StepError):
    """An archive that was refused as a whole; nothing of it is left on disk."""

    code = "bad-archive"


class InstallError(StepError):
    """A version that could not be installed or switched to; the version before it still runs."""

    code = "install-failed"


SKIPPED_BY_HAND = "skipped"
"""The error code of a step that a person has ended, and the reason of one that a person left out: neither has
failed (core.supervision, core.orchestration)."""


def unknown_name(kind: str, name: str, known: Sequence[str], where: str = "") -> UsageError:
    """The error for a name that does not exist, with the nearest one that does."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known)[:20])}"
    return UsageError(f"there is no {kind} {name!r}{where}", hint=hint)
