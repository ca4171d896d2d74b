"""A definition as a plugin: queries become answers, tables become steps."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from update_all.core.errors import StepError, UpdateAllError
from update_all.core.facts import fill
from update_all.core.models import (
    Change,
    CheckResult,
    Detection,
    ExecuteFn,
    Phase,
    PluginConfig,
    UpdateCommand,
    UpdateStep,
)
from update_all.core.queries import QueryOutput
from update_all.core.streaming import OutputEvent, StreamEvent
from update_all.plugins import detection, parsers
from update_all.plugins.base import BasePlugin
from update_all.plugins.definition import Definition, Fact, Probe, Query, Step, seconds
from update_all.plugins.parsers import NoAnswerError
from update_all.plugins.patterns import MAX_LINE_CHARS
from update_all.plugins.validation import EACH, commands, dependencies, fact_step

_EACH = re.compile(r"(?<!\{)\{(" + "|".join(EACH) + r")\}(?!\})")


class DeclarativePlugin(BasePlugin):
    """The plugin that a TOML file declares. `environ` fills `~/` and `${NAME}` in commands and paths."""

    def __init__(
        self,
        definition: Definition,
        config: PluginConfig | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(config)
        self.definition = definition
        self.description = definition.description
        self.tags = definition.tags
        self.parallel_steps = definition.parallel_steps
        self._environ = os.environ if environ is None else environ

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def command(self) -> str:
        return self.definition.detect.command or next(
            (argv[0] for _, argv in commands(self.definition.step[0])), "git"
        )

    @property
    def dependencies(self) -> Sequence[str]:
        return self.definition.after

    @property
    def dependents(self) -> Sequence[str]:
        """Plugins that start only after this one, where they take part in the run."""
        return self.definition.before

    @property
    def sudo_commands(self) -> Sequence[str]:
        programs = [argv[0] for step in self.definition.step if step.sudo for _, argv in commands(step)]
        return tuple(dict.fromkeys(programs))

    def detect(self) -> Detection:
        return detection.detect(self.definition.detect, self._environ)

    async def check(self) -> CheckResult:
        """The answer of the queries; "cannot know" with the reason wherever they leave a doubt."""
        try:
            await self._identify()
            begun = _begun(await self.unfinished())
            stale = self._stale()
            updates = None if stale else await self._updates()
        except UpdateAllError as error:
            return CheckResult.cannot_know(error.message)
        if updates:
            return CheckResult.of(updates)
        if updates is None or begun:
            reason = begun or stale or f"{self.name} has no query for updates"
            return CheckResult.cannot_know(reason, runnable=True)
        return CheckResult.of([])

    async def installed_versions(self) -> Mapping[str, str] | None:
        if self.definition.installed is None:
            return None
        try:
            return parsers.to_versions(await self.ask(self.definition.installed), self.name)
        except StepError:
            return None

    async def get_installed_version(self) -> str | None:
        versions = await self.installed_versions() or {}
        return next(iter(versions.values())) if len(versions) == 1 else None

    def get_update_steps(self) -> list[UpdateStep]:
        """The steps that do not depend on what is outdated, installed or unfinished."""
        return self._lowered({})

    def lowered_steps(self) -> list[UpdateStep]:
        """All steps as they are declared: `{item}` and the like stand in the commands of `for-each` steps."""
        return self._lowered(None)

    async def plan_steps(self, check: CheckResult) -> list[UpdateStep]:
        """The steps of a run: a `for-each` step has one command for each update that the check found.

        Or for each item that is installed or unfinished. Raises StepError when those cannot be told.
        """
        wanted = {step.for_each for step in self.definition.step}
        items: dict[str, Sequence[Change]] = {"outdated": check.updates}
        if "installed" in wanted:
            here = await self.installed_versions()
            if here is None:
                raise StepError(f"{self.name}: what is installed cannot be told")
            items["installed"] = [Change(item, old) for item, old in here.items()]
        if "unfinished" in wanted:
            items["unfinished"] = await self.unfinished()
        return self._lowered(items)

    def parse_changes(self, step_name: str, output: str) -> list[Change]:
        parser = next((step.changes for step in self.definition.step if step.name == step_name), None)
        if parser is None:
            return []
        try:
            return parsers.to_changes(parsers.read_records(parser, output), self.name)
        except NoAnswerError:
            return []

    def _lowered(self, items: Mapping[str, Sequence[Change]] | None) -> list[UpdateStep]:
        """The steps for what the queries found, or as they are declared."""
        needed = dependencies(self.definition)
        steps = [self._fact_step(fact, needed[fact_step(fact.name)]) for fact in self.definition.fact]
        for step in self.definition.step:
            if step.for_each is None or items is None:
                argvs = list(self._argvs(step))
            else:
                found = items.get(step.for_each, ())
                argvs = [one for argv in self._argvs(step) for one in _for_each(argv, found)]
            if argvs or step.fast_forward is not None:
                steps.append(self._step(step, needed[step.name], argvs))
        names = {step.name for step in steps}
        return [
            dataclasses.replace(step, depends_on=[name for name in step.depends_on if name in names])
            for step in steps
        ]

    def _step(self, step: Step, depends_on: list[str], argvs: Sequence[list[str]]) -> UpdateStep:
        return UpdateStep(
            name=step.name,
            description=step.description,
            commands=[self._command(step, argv) for argv in argvs] or None,
            execute_fn=None if step.fast_forward is None else self._forward(step.name, step.fast_forward),
            depends_on=depends_on,
            mutexes=list(step.mutexes),
            idempotent=step.idempotent,
            check_fn=None if step.check is None else _Check(self, step.check),
            timeout_seconds=None if step.timeout is None else seconds(step.timeout),
            sudo=step.sudo,
            phase=Phase(step.phase),
            retries=step.retries,
            retry_delay_seconds=seconds(step.retry_delay),
            independent_commands=step.independent_commands or step.for_each is not None,
            uninterruptible=step.uninterruptible,
            interactive=step.interactive,
            drops_sudo=step.drops_sudo,
            interval_seconds=None if step.interval is None else seconds(step.interval),
            reason=step.reason,
        )

    def _argvs(self, step: Step) -> Iterator[list[str]]:
        for _, argv in commands(step):
            yield [self._expand(part) for part in argv]

    def _command(self, step: Step, argv: list[str]) -> UpdateCommand:
        return UpdateCommand(
            cmd=argv,
            description=step.description,
            sudo=step.sudo,
            phase=Phase(step.phase),
            ignore_exit_codes=tuple(code for code in step.ok_codes if code != 0),
            error_patterns=step.error_patterns,
            success_patterns=step.ok_patterns,
            env={name: self._expand(value) for name, value in step.env.items()} or None,
            cwd=None if step.cwd is None else self._expand(step.cwd),
        )

    def _forward(self, name: str, path: str) -> ExecuteFn:
        async def forward() -> AsyncIterator[StreamEvent]:
            from update_all.plugins.checkouts import Checkout

            async for line in Checkout(Path(self._expand(path)), self.query).forward():
                yield OutputEvent(plugin_name=self.name, step_name=name, line=line)

        return forward

    def _fact_step(self, fact: Fact, depends_on: list[str]) -> UpdateStep:
        async def find() -> AsyncIterator[StreamEvent]:
            value = _fact_value(fact, await self._run(fact))
            self.facts[fact.name] = value
            line = f"{fact.name}: {value}"
            yield OutputEvent(plugin_name=self.name, step_name=fact_step(fact.name), line=line)

        return UpdateStep(
            name=fact_step(fact.name),
            description=f"Find {fact.name}",
            execute_fn=find,
            depends_on=depends_on,
            phase=Phase.CHECK,
        )

    async def holds(self, probe: Probe) -> bool:
        """Whether a probe answers yes. Raises StepError when it cannot be run."""
        output = await self._run(probe)
        return output.code in probe.ok_codes and (
            probe.regex is None or _line_matching(probe.regex, output) is not None
        )

    async def _identify(self) -> None:
        identity = self.definition.detect.identity
        if identity is not None and not await self.holds(identity):
            raise NoAnswerError(f"{identity.cmd[0]} is another program than {self.name} means")

    async def unfinished(self) -> list[Change]:
        """What an update that was cut off left, each item once; raises StepError when it cannot be told."""
        query = self.definition.unfinished
        if query is None:
            return []
        found = _printable(parsers.to_changes(await self.ask(query), self.name))
        return list({change.item: change for change in found}.values())

    def _stale(self) -> str:
        """Why the answer would be about an old index; empty where it would not."""
        query = self.definition.outdated or self.definition.available
        if query is None or query.fresh is None:
            return ""
        changed = detection.last_change(query.fresh.path, self._environ)
        if changed is None:
            return "its lists were never fetched; the run refreshes them"
        age = time.time() - changed
        if 0 <= age < seconds(query.fresh.max_age):
            return ""
        return f"its lists are {_age(age)} old; the run refreshes them"

    async def _updates(self) -> list[Change] | None:
        """What can be updated; None where the tool has no query."""
        import asyncio

        found = self.definition
        if found.outdated is not None:
            changes = parsers.to_changes(await self.ask(found.outdated), self.name)
            if found.installed is not None and any(change.old is None for change in changes):
                here = parsers.to_versions(await self.ask(found.installed), self.name)
                changes = [_with_old(change, here.get(change.item)) for change in changes]
        elif found.available is not None and found.installed is not None:
            here_records, new_records = await asyncio.gather(
                self.ask(found.installed), self.ask(found.available)
            )
            here = parsers.to_versions(here_records, self.name)
            changes = _compared(here, parsers.to_versions(new_records, self.name))
        else:
            return None
        return _printable(changes)

    async def ask(self, query: Query) -> list[parsers.Record]:
        """The records of a query. Raises NoAnswerError; StepError when it cannot be run or does not end."""
        if query.probe is not None and not await self.holds(query.probe):
            raise NoAnswerError(f"{query.probe.cmd[0]} cannot reach the index of {self.name}")
        output = await self._run(query)
        return parsers.read_answer(query, output.code, output.stdout, output.stderr)

    async def _run(self, asked: Query | Probe | Fact) -> QueryOutput:
        return await self.query(
            [fill(self._expand(part), self.facts) for part in asked.cmd],
            timeout=seconds(asked.timeout),
            env={name: fill(self._expand(value), self.facts) for name, value in asked.env.items()},
            # Some tools act on the project that they are started in.
            cwd="/" if asked.cwd is None else fill(self._expand(asked.cwd), self.facts),
        )

    def _expand(self, text: str) -> str:
        return detection.expand(text, self._environ)


class _Check:
    """The `check` of a step: already done?"""

    def __init__(self, plugin: DeclarativePlugin, probe: Probe) -> None:
        self._plugin = plugin
        self._probe = probe

    async def __call__(self) -> bool:
        return await self._plugin.holds(self._probe)


def _for_each(argv: Sequence[str], changes: Sequence[Change]) -> list[list[str]]:
    """The command for each item; one that names none is there once."""
    return [list(one) for one in dict.fromkeys(tuple(_for_item(argv, change)) for change in changes)]


def _for_item(argv: Sequence[str], change: Change) -> list[str]:
    """The command for one item. Raises StepError: a value is not known, or would be taken for an option."""
    values = {"item": change.item, "old": change.old, "new": change.new}

    def value(match: re.Match[str]) -> str:
        found = values[match[1]]
        if found is None:
            raise StepError(f"{argv[0]}: {match[0]} is not known for {change.item!r}")
        return found.replace("{", "{{").replace("}", "}}")

    filled: list[str] = []
    for part in argv:
        text = _EACH.sub(value, part)
        if text.startswith("-") and not part.startswith("-") and "--" not in filled:
            raise StepError(f"{argv[0]}: {text!r} would be taken for an option")
        filled.append(text)
    return filled


def _fact_value(fact: Fact, output: QueryOutput) -> str:
    if output.code not in fact.ok_codes:
        raise StepError(f"{fact.cmd[0]} ended with {output.code}, and the fact {fact.name!r} is not known")
    value: str | None = None
    if fact.regex is not None:
        match = _line_matching(fact.regex, output)
        value = None if match is None else match.groupdict().get("value", match[0])
    else:
        try:
            found = parsers.select(json.loads(output.stdout), parsers.json_path(fact.json or ""))
        except (ValueError, RecursionError) as error:
            raise StepError(f"{fact.cmd[0]} did not print JSON: {error}") from None
        value = next((text for _, one in found if (text := parsers.scalar(one)) is not None), None)
    if not value or not value.isprintable():
        raise StepError(f"the output of {fact.cmd[0]} does not hold the fact {fact.name!r}")
    return value


def _line_matching(pattern: str, output: QueryOutput) -> re.Match[str] | None:
    compiled = re.compile(pattern)
    lines = f"{output.stdout}\n{output.stderr}".splitlines()
    return next((match for line in lines if (match := compiled.search(line[:MAX_LINE_CHARS]))), None)


def _printable(changes: list[Change]) -> list[Change]:
    """Raises NoAnswerError where a name or version is not text."""
    for change in changes:
        if not all(text.isprintable() for text in (change.item, change.old or "", change.new or "")):
            raise NoAnswerError(f"its output holds a name that is not text: {change.item!r}")
    return changes


def _with_old(change: Change, old: str | None) -> Change:
    return change if change.old is not None else dataclasses.replace(change, old=old)


def _compared(here: Mapping[str, str], available: Mapping[str, str]) -> list[Change]:
    """Raises NoAnswerError where nothing that is installed was found among what is available."""
    if here and not here.keys() & available.keys():
        raise NoAnswerError("no available version was found for what is installed")
    return [
        Change(item, old, available[item])
        for item, old in here.items()
        if item in available and parsers.is_newer(available[item], old)
    ]


def _begun(left: Sequence[Change]) -> str:
    """Why a run has to mend something; empty where it has not."""
    names = [change.item for change in left[:3]]
    if len(left) > len(names):
        names.append(f"{len(left) - len(names)} more")
    return f"an update was begun and not finished: {', '.join(names)}" if left else ""


def _age(age: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if age >= 2 * length:
            return f"{int(age // length)} {unit}"
    return f"{max(0, int(age))} seconds"
