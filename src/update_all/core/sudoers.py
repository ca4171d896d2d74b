"""A least-privilege drop-in for sudoers(5): exact commands and arguments, and nothing that runs others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from update_all.core.errors import InvalidDefinitionError

DROP_IN = "/etc/sudoers.d/update-all"

_SHELLS = re.compile(r"(ba|da|z|k|mk|c|tc|fi|a|r|rba|ya|pdk|power)?sh|busybox|toybox|nu|xonsh|elvish|pwsh")
_INTERPRETERS = re.compile(
    r"(python|pypy|perl|ruby|lua|node|nodejs|deno|bun|php|tclsh|wish|expect|[gmn]?awk|R|Rscript)[0-9.]*"
)
_RUNNERS = re.compile(
    r"env|sudo|su|doas|run0|pkexec|runuser|setpriv|xargs|find|nice|nohup|timeout|stdbuf|chroot|unshare|nsenter"
    r"|systemd-run|script|ssh|vi|vim|nano|ed|sed|less|more|man|git|make"
)
_FILE_TOOLS = re.compile(
    r"rm|mv|cp|ln|dd|tee|install|chmod|chown|chgrp|truncate|shred|rsync|tar|mount|umount"
)

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
_ALIAS = re.compile(r"[A-Z][A-Z0-9_]*")


def refusal(command: Sequence[str]) -> str | None:
    """Why a command does not belong in a sudoers file; None if it does."""
    if not command or not command[0].startswith("/") or command[0].endswith("/"):
        return "is no absolute path of a program"
    path = PurePosixPath(command[0])
    if ".." in path.parts or str(path) != command[0]:
        return "is not a plain absolute path"
    if not all(part.isprintable() for part in command):
        return "holds a character that cannot be written there"
    if any(part.strip(" ") in {"", '""'} or part.strip(" ") != part for part in command[1:]):
        # An empty last argument would vanish, and with it the limit to these arguments.
        return "has an empty argument, or one that begins or ends with a space"
    if _SHELLS.fullmatch(path.name):
        return "is a shell"
    if _INTERPRETERS.fullmatch(path.name) or _RUNNERS.fullmatch(path.name):
        return "runs other programs"
    return "changes any file" if _FILE_TOOLS.fullmatch(path.name) else None


def sudoers_lines(user: str, commands: Sequence[Sequence[str]]) -> str:
    """The text of a drop-in by which `user` may run exactly these commands as root without a password.

    Each command is a resolved argument list (trusted_paths.resolve_program). A command without arguments is
    allowed without arguments only. sudo compares the arguments joined by spaces, so it cannot tell an
    argument `a b` from two. Raises InvalidDefinitionError for a command that `refusal` refuses, or a name
    that is none of a user.
    """
    if not _USER.fullmatch(user) or _ALIAS.fullmatch(user):
        raise InvalidDefinitionError(f"sudoers: {user!r} cannot stand there as the name of a user")
    for command in commands:
        if reason := refusal(command):
            raise InvalidDefinitionError(f"sudoers: {' '.join(command)!r} {reason}")
    rules = dict.fromkeys(f"{user} ALL=(root) NOPASSWD: {_rule(command)}" for command in commands)
    header = f"# {DROP_IN}: what runs of update-all do as root without asking. update-all sudoers --install"
    return "".join(f"{line}\n" for line in (header, *rules))


def _rule(command: Sequence[str]) -> str:
    program, *arguments = command
    # sudoers(5): no arguments stand for any arguments, `""` for none.
    return " ".join([_escaped(program), *(map(_escaped, arguments) if arguments else ['""'])])


def _escaped(text: str) -> str:
    r"""One word: wildcards lose their meaning for fnmatch(3), and then sudoers' own signs theirs.

    A backslash is read twice, by sudoers and by fnmatch, so it is written four times.
    """
    text = text.replace("\\", "\\\\\\\\")
    return re.sub(r"[*?\[\]!^,:=# ]", r"\\\g<0>", text)
