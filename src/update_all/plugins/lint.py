"""`plugins check`: what is wrong with a definition, or doubtful, before it is ever run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from update_all.core.errors import InvalidDefinitionError, StepError
from update_all.core.models import Change, CheckStatus, UpdateStep
from update_all.plugins.base import BasePlugin
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Definition, Expected, Parser, Query, Sample
from update_all.plugins.mutexes import family_of, known_reasons
from update_all.plugins.parsers import (
    NoAnswerError,
    UnreadableError,
    read_answer,
    read_records,
    to_changes,
    to_versions,
)
from update_all.plugins.sources import Origin, read_definition_text
from update_all.plugins.validation import QUERIES, VERSION_QUERIES, commands

SHELLS = frozenset({"sh", "bash", "dash", "zsh", "fish", "ksh", "nu", "pwsh"})
WORKS_ON_ARGUMENTS = SHELLS | {"git"}
"""What they work on is in their arguments: two uses of one of them need not touch the same files."""
SHELL_OPTION = re.compile(r"-[a-z]*c")
UNVERIFIED = re.compile(
    r"--allow-unauthenticated|--allow-insecure-repositories|--force-yes|AllowUnauthenticated=|"
    r"--no-?gpg-?check(s)?|--gpg-auto-import-keys|--trusted-host|strict-ssl=false|--no-verify-ssl|"
    r"--insecure|--no-check-certificate|--verify-repo=none|--disable-gpg|--nogpgcheck|--no-signature|"
    r"--allow-untrusted|SigLevel=Never|--skip-signature|--no-require-sigs|--ssl-no-verify|--skip-verify"
)
UNVERIFIED_ENVIRONMENT = frozenset(
    {
        "PIP_TRUSTED_HOST",
        "NODE_TLS_REJECT_UNAUTHORIZED",
        "GIT_SSL_NO_VERIFY",
        "NPM_CONFIG_STRICT_SSL",
        "PYTHONHTTPSVERIFY",
    }
)
NON_INTERACTIVE: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "apt": (frozenset({"upgrade", "full-upgrade", "autoremove"}), frozenset({"-y", "--yes", "-qq"})),
    "apt-get": (frozenset({"upgrade", "dist-upgrade", "autoremove"}), frozenset({"-y", "--yes", "-qq"})),
    "dnf": (frozenset({"upgrade", "update", "autoremove"}), frozenset({"-y", "--assumeyes"})),
    "dnf5": (frozenset({"upgrade", "update", "autoremove"}), frozenset({"-y", "--assumeyes"})),
    "zypper": (frozenset({"update", "up", "dist-upgrade", "dup"}), frozenset({"--non-interactive", "-n"})),
    "pacman": (frozenset({"-Syu", "-Su", "-Syyu"}), frozenset({"--noconfirm"})),
    "paru": (frozenset({"-Syu", "-Sua"}), frozenset({"--noconfirm"})),
    "yay": (frozenset({"-Syu", "-Sua"}), frozenset({"--noconfirm"})),
    "xbps-install": (frozenset({"-Su", "-Suy", "--update"}), frozenset({"-y", "-Suy", "--yes"})),
    "transactional-update": (frozenset({"up", "dup"}), frozenset({"--non-interactive", "-n"})),
    "emerge": (frozenset({"@world", "world"}), frozenset({"--ask=n"})),
    "eopkg": (frozenset({"upgrade"}), frozenset({"--yes-all", "-y"})),
    "certbot": (frozenset({"renew"}), frozenset({"--non-interactive", "-n"})),
    "flatpak": (frozenset({"update"}), frozenset({"-y", "--assumeyes", "--noninteractive"})),
    "conda": (frozenset({"update", "upgrade"}), frozenset({"-y", "--yes"})),
    "mamba": (frozenset({"update", "upgrade"}), frozenset({"-y", "--yes"})),
    "opam": (frozenset({"upgrade"}), frozenset({"-y", "--yes"})),
    "gcloud": (frozenset({"update"}), frozenset({"-q", "--quiet"})),
    "fwupdmgr": (frozenset({"update", "upgrade"}), frozenset({"-y", "--assume-yes"})),
    "composer": (frozenset({"update"}), frozenset({"-n", "--no-interaction"})),
    "pkcon": (frozenset({"update"}), frozenset({"-y", "--noninteractive"})),
}
"""Program → (words that change something, arguments one of which keeps it from asking)."""


class Severity(StrEnum):
    """An error makes `plugins check` fail."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the rule that found it, file and TOML path, and what is wrong in words."""

    severity: Severity
    rule: str
    file: str
    path: str
    message: str
    hint: str = ""


Rule = Iterator[tuple[Severity, str, str, str]]


class Holder(Protocol):
    """What the rules ask of a step, be it one of a definition or one that is ready to run."""

    @property
    def mutexes(self) -> Sequence[str]: ...
    @property
    def sudo(self) -> bool: ...
    @property
    def interactive(self) -> bool: ...


def check_definition(path: Path, origin: Origin = Origin.USER) -> list[Finding]:
    """Schema, lint and samples of a TOML file. Runs nothing. A finding that [[allow]] names is left out."""
    try:
        text, _ = read_definition_text(path, origin)
        definition = parse_definition(text, str(path))
    except InvalidDefinitionError as error:
        where, message = _place(error.message.removeprefix(f"{path}: "))
        return [Finding(Severity.ERROR, "schema", str(path), where, message, error.hint)]
    findings = [
        Finding(severity, rule, str(path), where, message)
        for severity, rule, where, message in (*_lint(definition), *_samples(definition))
    ]
    if definition.name != path.stem:
        message = f"the file must be named {definition.name}.toml"
        findings.append(Finding(Severity.ERROR, "name", str(path), "$.name", message))
    allowed = {allow.rule for allow in definition.allow}
    return [finding for finding in findings if finding.rule not in allowed]


def _place(message: str) -> tuple[str, str]:
    """The TOML path that a message begins with, and the rest."""
    where, colon, rest = message.partition(": ")
    return (where, rest) if colon and where.startswith("$") else ("$", message)


def check_steps(file: str, steps: Sequence[UpdateStep]) -> list[Finding]:
    """Lint of the steps of a plugin that is written in code. `file` says where the plugin is defined."""
    reasons = known_reasons()
    found: list[tuple[Severity, str, str, str]] = []
    for step in steps:
        for index, command in enumerate(step.commands or ()):
            path = f"{step.name}.commands[{index}]"
            found += _command(path, command.cmd, step)
            found += _environment(path, command.env or {})
        found += _unexplained(f"{step.name}.mutexes", step.mutexes, reasons, "")
    return [Finding(severity, rule, file, where, message) for severity, rule, where, message in found]


def check_together(definitions: Sequence[Definition]) -> list[Finding]:
    """Definitions that run the same program in steps which share no mutex: they may overlap."""
    users: dict[str, list[tuple[Definition, frozenset[str]]]] = {}
    for definition in definitions:
        for step in definition.step:
            programs = {_bare(argv[0]) for _, argv in commands(step)} - WORKS_ON_ARGUMENTS
            for program in sorted(programs):
                users.setdefault(program, []).append((definition, frozenset(step.mutexes)))
    found: dict[tuple[str, str, str], None] = {}
    for program, uses in users.items():
        for number, (one, held) in enumerate(uses):
            for other, also in uses[number + 1 :]:
                if one.name != other.name and not (held & also) - {"network"}:
                    found[(program, one.name, other.name)] = None
    return [
        Finding(
            Severity.WARNING,
            "shared-tool",
            f"{one}.toml",
            "$.step",
            f"{one} and {other} both run {program} and share no mutex",
        )
        for program, one, other in found
    ]


async def check_live(plugin: BasePlugin, file: str) -> list[Finding]:
    """Run what a plugin only reads with, on this machine: detection, identity, queries.

    Raises what the plugin raises; one that is shipped raises nothing but UpdateAllError.
    """
    here = plugin.detect()
    if not here.present:
        return [Finding(Severity.WARNING, "live", file, "detect", here.reason)]
    findings: list[Finding] = []
    answer = await plugin.check()
    if answer.status is CheckStatus.CANNOT_KNOW and not answer.runnable:
        findings.append(Finding(Severity.WARNING, "live", file, "check", answer.reason))
    if isinstance(plugin, DeclarativePlugin) and plugin.definition.installed is not None:
        try:
            await plugin.ask(plugin.definition.installed)
        except StepError as error:
            # Only what is not understood speaks against the definition: a service may be down.
            wrong = Severity.ERROR if isinstance(error, UnreadableError) else Severity.WARNING
            findings.append(Finding(wrong, "live", file, "$.installed", error.message))
    return findings


def _bare(program: str) -> str:
    return program.rpartition("/")[2]


def _lint(definition: Definition) -> Rule:
    reasons = {**known_reasons()} | {mutex.name: mutex.reason for mutex in definition.mutex}
    for index, step in enumerate(definition.step):
        path = f"$.step[{index}]"
        for where, argv in commands(step, path):
            yield from _command(where, argv, step)
        yield from _environment(path, step.env)
        yield from _unexplained(f"{path}.mutexes", step.mutexes, reasons, ": add a [[mutex]]")
    for name in QUERIES:
        query: Query | None = getattr(definition, name)
        if query is not None:
            yield from _arguments(f"$.{name}.cmd", query.cmd)
            if not any(sample.of == name for sample in definition.sample):
                yield Severity.WARNING, "no-sample", f"$.{name}", "no [[sample]] shows what its output means"


def _environment(path: str, env: Mapping[str, str]) -> Rule:
    for name in sorted(UNVERIFIED_ENVIRONMENT & env.keys()):
        message = f"{name} turns off the verification of downloads"
        yield Severity.ERROR, "unverified", f"{path}.env", message


def _unexplained(path: str, mutexes: Sequence[str], reasons: Mapping[str, str], advice: str) -> Rule:
    for name in mutexes:
        if not reasons.get(name, "").strip():
            message = f"nobody says why the mutex {name!r} exists{advice}"
            yield Severity.WARNING, "mutex-reason", path, message


def _command(path: str, argv: Sequence[str], step: Holder) -> Rule:
    yield from _arguments(path, argv)
    program = _bare(argv[0])
    family = family_of(program)
    if family is not None and not set(family.mutexes) & set(step.mutexes):
        message = f"{program} needs the mutex {' or '.join(family.mutexes)}: {family.reason}"
        yield Severity.ERROR, "shared-tool", path, message
    if step.sudo and argv[0].startswith(("~", "${", "{", "/home/", "/tmp/")):  # noqa: S108 - named, not used
        message = f"root would run {argv[0]!r}, which a user can write"
        yield Severity.ERROR, "root-runs-user-file", path, message
    changing, quiet = NON_INTERACTIVE.get(program, (frozenset(), frozenset()))
    if changing & set(argv) and not quiet & set(argv) and not step.interactive:
        message = f"{program} may ask: add {' or '.join(sorted(quiet))}"
        yield Severity.ERROR, "may-ask", path, message
    if program in ("sudo", "doas", "pkexec", "run0"):
        yield Severity.ERROR, "own-sudo", path, f"says {program} itself: use `sudo = true`"


def _arguments(path: str, argv: Sequence[str]) -> Rule:
    if _bare(argv[0]) in SHELLS and any(SHELL_OPTION.fullmatch(part) for part in argv[1:]):
        yield Severity.WARNING, "shell", path, "runs a shell: give the program and its arguments instead"
    for part in argv:
        if UNVERIFIED.search(part):
            yield Severity.ERROR, "unverified", path, f"{part!r} turns off the verification of downloads"


def _samples(definition: Definition) -> Rule:
    for index, sample in enumerate(definition.sample):
        problem = sample_problem(definition, sample)
        if problem:
            yield Severity.ERROR, "sample", f"$.sample[{index}]", problem


def sample_problem(definition: Definition, sample: Sample) -> str:
    """What a sample gives instead of what it should; empty where it gives just that."""
    query: Query | None = getattr(definition, sample.of) if sample.of in QUERIES else None
    try:
        if query is not None:
            records = read_answer(query, sample.code, sample.output, sample.stderr)
        else:
            records = read_records(_changes_of(definition, sample.of), sample.output)
    except NoAnswerError as error:
        return "" if sample.expect == "cannot-know" else f"must give {_said(sample)}, gives: {error}"
    if sample.of in VERSION_QUERIES:
        got = [Expected(item=item, version=at) for item, at in to_versions(records, definition.name).items()]
    else:
        got = [_expected(change) for change in to_changes(records, definition.name)]
    if sample.expect == "cannot-know" or list(sample.expect) != got:
        return f"must give {_said(sample)}, gives: {_listed(got)}"
    return ""


def _changes_of(definition: Definition, name: str) -> Parser:
    return next(step.changes for step in definition.step if step.name == name and step.changes is not None)


def _expected(change: Change) -> Expected:
    return Expected(
        item=change.item,
        old=change.old,
        new=change.new,
        size=change.size_bytes,
        security=change.security,
    )


def _said(sample: Sample) -> str:
    return "cannot-know" if sample.expect == "cannot-know" else _listed(sample.expect)


def _listed(records: Sequence[Expected]) -> str:
    fields = ("item", "old", "new", "version", "size", "security")
    shown = [
        ", ".join(
            f"{name} = {getattr(one, name)!r}" for name in fields if getattr(one, name) not in (None, False)
        )
        for one in records
    ]
    return "; ".join(f"({one})" for one in shown) or "nothing"
