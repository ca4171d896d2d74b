"""Executables as plugins: what they say of themselves is asked once, and kept while the file is the same."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Thread
from typing import TypeVar

from msgspec import Struct

from update_all.core.errors import InvalidDefinitionError, StepError
from update_all.core.models import PluginConfig
from update_all.plugins.adapter import OlderDescription, OlderPlugin, describe_older
from update_all.plugins.base import BasePlugin
from update_all.plugins.external import ExternalPlugin, describe
from update_all.plugins.parse_cache import ParseCache
from update_all.plugins.protocol import Plugin, ProtocolError, UnknownProtocolError
from update_all.plugins.sources import Candidate
from update_all.plugins.summaries import Summary

T = TypeVar("T")


class Described(Struct, frozen=True):
    """What the cache keeps of an executable."""

    answer: Plugin | OlderDescription


def described_by(candidate: Candidate, cache: ParseCache) -> Described:
    """What the executable says. Raises InvalidDefinitionError."""
    described = cache.get(candidate.place, candidate.stamp, Described)
    if described is None:
        try:
            described = _in_thread(_ask(candidate))
        except StepError as error:
            raise InvalidDefinitionError(
                f"the plugin {candidate.name!r} is broken: {error.message}"
            ) from error
        cache.put(candidate.place, candidate.stamp, described)
        cache.save()
    return described


def executable(candidate: Candidate, cache: ParseCache, config: PluginConfig | None) -> BasePlugin:
    """The plugin that the executable is. Raises InvalidDefinitionError."""
    answer = described_by(candidate, cache).answer
    if isinstance(answer, OlderDescription):
        return OlderPlugin(candidate.path, candidate.name, answer, config)
    return ExternalPlugin(candidate.path, answer, config)


def summary_of(candidate: Candidate, cache: ParseCache) -> Summary:
    """What a listing needs to know of it. Raises InvalidDefinitionError."""
    root = bool(executable(candidate, cache, None).sudo_commands)
    answer = described_by(candidate, cache).answer
    if isinstance(answer, OlderDescription):
        return Summary(enabled=True, root=root, place=candidate.place)
    detect = answer.detect
    return Summary(
        enabled=True,
        root=root,
        command=detect.command,
        paths=detect.paths,
        absent=detect.absent,
        os_release=detect.os_release,
        place=candidate.place,
    )


async def _ask(candidate: Candidate) -> Described:
    try:
        described = await describe(candidate.path)
    except UnknownProtocolError:
        return Described(await describe_older(candidate.path))
    if described.name != candidate.name:
        raise ProtocolError(f"{candidate.place} calls itself {described.name!r}")
    return Described(described)


def _in_thread(question: Coroutine[object, object, T]) -> T:
    """Wait for a coroutine, also where an event loop is running already."""
    results: list[T] = []
    errors: list[StepError] = []

    def work() -> None:
        try:
            results.append(asyncio.run(question))
        except StepError as error:
            errors.append(error)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
