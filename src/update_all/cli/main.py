"""The command `update-all`: find the command's module, run it, turn errors into messages and exit codes.

Start-up is a feature: a command's module, and whatever it needs, is imported only when it is asked for.
"""

from __future__ import annotations

import errno
import io
import os
import sys

from update_all import __version__

TYPE_CHECKING = False  # What `typing` says: importing it would double the time that `--version` takes.
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import TextIO

    from _typeshed import ReadableBuffer

    from update_all.core.errors import UpdateAllError

COMMANDS: dict[str, str] = {
    "run": "bring everything up to date (the default)",
    "check": "say what could be updated, changing nothing",
    "plan": "show the steps, their order, commands and locks",
    "resume": "go on with what the last run left",
    "rollback": "return one plugin to the version before",
    "status": "the last state of each plugin",
    "history": "past runs",
    "report": "one run as a page for a browser, or as a trace",
    "attach": "follow a run from another terminal",
    "plugins": "list, show, enable, disable plugins",
    "config": "show, set, edit the configuration",
    "explain": "why a plugin, step or error is as it is",
    "doctor": "what is wrong with the set-up, and the command that mends it",
    "schedule": "run regularly: systemd timer or cron line",
    "sudoers": "the rules by which sudo lets a run through without a password",
    "completion": "the completion script of a shell",
}

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
STANDARD_ERROR = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (system.md section 7)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments in (["--version"], ["-V"]):
        sys.stdout.write(f"update-all {__version__}\n")
        return 0
    _prepare_streams()
    try:
        code = _dispatch(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("update-all: interrupted\n")
        code = EXIT_INTERRUPTED
    return _flushed(code)


class _Outlet(io.FileIO):
    """Output whose reader may go, as `head` does, or a terminal that is closed: that ends no command and
    changes no exit code. A full disk does, but there is nowhere to say that of standard error.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._terminal = self.isatty()

    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except OSError as error:
            gone = error.errno == errno.EPIPE or (error.errno == errno.EIO and self._terminal)
            if not gone and self.fileno() != STANDARD_ERROR:
                raise
            return memoryview(data).nbytes


def _prepare_streams() -> None:
    """A stream that was closed takes nothing; one that cannot encode a character takes its escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - until the process ends
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _outlet(stream))


def _outlet(stream: TextIO) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_Outlet(stream.fileno())),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.isatty() or stream is sys.__stderr__,
    )


def _flushed(code: int) -> int:
    """The exit code, once everything is written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # The flush at exit would fail again, and complain.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        sys.stderr.write(f"update-all: the output cannot be written: {error.strerror}\n")
        return code or EXIT_FAILED
    return code


def _dispatch(arguments: list[str]) -> int:
    first = arguments[0] if arguments else ""
    word = next((word for word in arguments if not word.startswith("-")), "")
    if first in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0
    if first in COMMANDS:
        return _run_command(first, arguments[1:])
    if word in COMMANDS:
        sys.stderr.write(f"update-all: options come after the command: update-all {word} {first}\n")
        return EXIT_USAGE
    if first == word and _looks_wrong(word):
        return _unknown_command(word)
    return _run_command("run", arguments)


def _looks_wrong(word: str) -> bool:
    """`update-all run apt` may be typed `update-all apt`; anything near a command's name may not."""
    import difflib

    return bool(difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.75))


def _unknown_command(word: str) -> int:
    import difflib

    near = difflib.get_close_matches(word, COMMANDS, n=1, cutoff=0.75)[0]
    sys.stderr.write(
        f"update-all: there is no command {word!r}\n"
        f"  did you mean: update-all {near}\n"
        f"  a plugin of that name: update-all run {word}\n"
    )
    return EXIT_USAGE


def _overview() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: update-all [COMMAND] [OPTIONS] [PLUGIN…]",
            "",
            "One command that brings everything on this machine up to date.",
            "",
            *lines,
            "",
            "update-all COMMAND --help tells more. Without a command: update-all run.",
            "",
        ]
    )


def _run_command(name: str, arguments: list[str]) -> int:
    if name == "resume" and not arguments:
        from update_all.cli.nothing_to_resume import answer

        if answer():
            return 0
    from importlib import import_module

    from update_all.cli.arguments import Parser

    module = import_module(f"update_all.cli.{name}")
    parser = Parser(prog=f"update-all {name}", description=module.__doc__, allow_abbrev=False)
    module.add_arguments(parser)
    options = parser.parse_args(arguments)
    return _guarded(module.run, options)


def _guarded(command: object, options: argparse.Namespace) -> int:
    from update_all.core.errors import UpdateAllError

    assert callable(command)  # noqa: S101 - each command module defines run()
    try:
        return int(command(options))
    except UpdateAllError as error:
        return _failed(error, as_json=getattr(options, "json", False))
    except Exception:  # noqa: BLE001 - the process boundary: a bug becomes a report file and exit 3
        from update_all.cli.bug_report import write_bug_report

        return write_bug_report(sys.exc_info()[1])


def _failed(error: UpdateAllError, *, as_json: bool) -> int:
    from update_all.cli.failing import error_document, tell

    tell(error)
    if as_json:
        from update_all.cli.json_output import write_json

        write_json(error_document(error))
    return error.exit_code
