"""Which plugins there are, where each is defined, and how one is loaded. Nothing is read too early.

The strongest definition of a name wins: user, system, entry point, built-in. A definition that is refused
or broken is not replaced by a weaker one of the same name, since that would run something else than meant;
all other names keep working.
"""

from __future__ import annotations

import importlib
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import TypeVar

from msgspec import Struct

from update_all.core.errors import InvalidDefinitionError, StepError, UsageError
from update_all.core.models import PluginConfig
from update_all.core.planning import Updater
from update_all.plugins.adapter import OlderDescription, OlderPlugin, describe_older
from update_all.plugins.base import BasePlugin
from update_all.plugins.builtin import BUILT_IN, CATALOGUE
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.definition import Definition, parse_definition
from update_all.plugins.external import ExternalPlugin, describe
from update_all.plugins.parse_cache import ParseCache
from update_all.plugins.protocol import Plugin, ProtocolError, UnknownProtocolError
from update_all.plugins.sources import (
    Candidate,
    Kind,
    Origin,
    SearchPaths,
    read_definition_text,
    scan,
    stamp_of,
)

ENTRY_POINT_GROUP = "update_all.plugins"
_STRENGTH = list(Origin)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """A plugin in `plugins list`. `overrides`: where weaker definitions of the name are."""

    name: str
    origin: Origin
    kind: Kind
    place: str
    overrides: tuple[str, ...] = ()
    broken_reason: str = ""


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """A definition that cannot be used, and why."""

    name: str
    origin: Origin
    reason: str


class Registry:
    """The plugins that `discover` found. `candidates` may hold a name more than once."""

    def __init__(self, candidates: Iterable[Candidate], cache: ParseCache) -> None:
        self._found: dict[str, list[Candidate]] = {}
        self._cache = cache
        self._definitions: dict[str, Definition] = {}
        for candidate in sorted(candidates, key=lambda one: _STRENGTH.index(one.origin)):
            self._found.setdefault(candidate.name, []).append(candidate)

    def names(self) -> list[str]:
        """All names, sorted, also those whose definition is refused or broken. Reads no file."""
        return sorted(self._found)

    def origin(self, name: str) -> Origin:
        """Where the definition comes from that `load` would use. Raises UsageError for an unknown name."""
        return self._candidate(name).origin

    def enabled_by_default(self, name: str) -> bool:
        """Whether the plugin takes part where the configuration does not say. A broken one does, to be seen.

        Raises UsageError for an unknown name.
        """
        candidate = self._candidate(name)
        if candidate.refused or candidate.kind is not Kind.TOML:
            return True
        try:
            return self._definition(candidate).enabled
        except InvalidDefinitionError:
            return True

    def load(self, name: str, config: PluginConfig | None = None) -> BasePlugin:
        """The plugin of that name.

        Raises UsageError (unknown, with the nearest name) or InvalidDefinitionError (refused or broken, with
        the reason).
        """
        candidate = self._candidate(name)
        if candidate.refused:
            raise InvalidDefinitionError(
                f"the plugin {name!r} ({candidate.place}) is refused: {candidate.refused}"
            )
        match candidate.kind:
            case Kind.TOML:
                return DeclarativePlugin(self._definition(candidate), config)
            case Kind.EXECUTABLE:
                return self._executable(candidate, config)
            case Kind.PYTHON:
                return _python(candidate, config)

    def entries(self) -> list[Entry]:
        """Every name with its strongest definition; TOML files are read to see whether they are sound."""
        entries = [self._entry(name, found) for name, found in sorted(self._found.items())]
        self.save_cache()
        return entries

    def save_cache(self) -> None:
        """Keep what was parsed for the next process."""
        self._cache.save()

    def broken(self) -> list[BrokenPlugin]:
        """The definitions that cannot be used."""
        return [
            BrokenPlugin(entry.name, entry.origin, entry.broken_reason)
            for entry in self.entries()
            if entry.broken_reason
        ]

    def _entry(self, name: str, found: Sequence[Candidate]) -> Entry:
        first, *others = found
        reason = first.refused
        if not reason and first.kind is Kind.TOML:
            try:
                self._definition(first)
            except InvalidDefinitionError as error:
                reason = error.message
        overrides = tuple(f"{one.origin} ({one.place})" for one in others)
        return Entry(name, first.origin, first.kind, first.place, overrides, reason)

    def _candidate(self, name: str) -> Candidate:
        found = self._found.get(name)
        if found is None:
            from difflib import get_close_matches

            close = get_close_matches(name, self._found, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "update-all plugins list"
            raise UsageError(f"there is no plugin {name!r}", hint=hint)
        return found[0]

    def _definition(self, candidate: Candidate) -> Definition:
        if candidate.place not in self._definitions:
            self._definitions[candidate.place] = self._read(candidate)
        return self._definitions[candidate.place]

    def _read(self, candidate: Candidate) -> Definition:
        cached = self._cache.get(candidate.place, candidate.stamp, Definition)
        if cached is not None:
            return cached
        text, stamp = read_definition_text(candidate.path, candidate.origin)
        definition = parse_definition(text, candidate.place)
        if definition.name != candidate.name:
            raise InvalidDefinitionError(
                f"{candidate.place}: $.name: is {definition.name!r} in a file named for {candidate.name!r}",
                hint=f"mv {candidate.place} {candidate.path.with_name(definition.name + '.toml')}",
            )
        self._cache.put(candidate.place, stamp, definition)
        return definition

    def _executable(self, candidate: Candidate, config: PluginConfig | None) -> BasePlugin:
        described = self._cache.get(candidate.place, candidate.stamp, _Described)
        if described is None:
            try:
                described = _in_thread(_described(candidate))
            except StepError as error:
                raise InvalidDefinitionError(
                    f"the plugin {candidate.name!r} is broken: {error.message}"
                ) from error
            self._cache.put(candidate.place, candidate.stamp, described)
            self._cache.save()
        if isinstance(described.answer, OlderDescription):
            return OlderPlugin(candidate.path, candidate.name, described.answer, config)
        return ExternalPlugin(candidate.path, described.answer, config)


def discover(paths: SearchPaths) -> Registry:
    """Look for plugins everywhere: a directory listing for each place, entry points where any is trusted."""
    candidates = list(_built_in())
    for directory in paths.system:
        candidates += scan(directory, Origin.SYSTEM)
    for directory in paths.user:
        candidates += scan(directory, Origin.USER)
    if paths.trusted:
        candidates += [one for one in entry_points(paths.trusted) if not one.refused]
    return Registry(candidates, ParseCache(paths.cache))


def entry_points(trusted: frozenset[str]) -> list[Candidate]:
    """The entry points of installed distributions; refused where the distribution is not trusted."""
    from importlib.metadata import entry_points as installed

    candidates: list[Candidate] = []
    for point in installed(group=ENTRY_POINT_GROUP):
        distribution = point.dist.name if point.dist is not None else "?"
        refused = ""
        if distribution not in trusted:
            refused = f"the distribution {distribution!r} is not trusted: it would run as you"
        candidates.append(
            Candidate(
                point.name,
                Origin.ENTRY_POINT,
                Kind.PYTHON,
                point.value,
                refused=refused,
                distribution=distribution,
            )
        )
    return candidates


def order_between(plugins: Sequence[Updater]) -> Mapping[str, tuple[str, ...]]:
    """Plugin → plugins that must be finished before it: `after` of itself and `before` of the others."""
    names = {plugin.name for plugin in plugins}
    found = {plugin.name: [name for name in plugin.dependencies if name in names] for plugin in plugins}
    for plugin in plugins:
        if isinstance(plugin, DeclarativePlugin | ExternalPlugin):
            for name in plugin.dependents:
                if name in names and plugin.name not in found[name]:
                    found[name].append(plugin.name)
    return {name: tuple(before) for name, before in found.items()}


def _built_in() -> Iterable[Candidate]:
    for name, place in BUILT_IN.items():
        if not place.endswith(".toml"):
            yield Candidate(name, Origin.BUILT_IN, Kind.PYTHON, place)
            continue
        path = CATALOGUE / place
        yield Candidate(name, Origin.BUILT_IN, Kind.TOML, str(path), stamp_of(path.stat()))


def _python(candidate: Candidate, config: PluginConfig | None) -> BasePlugin:
    module, _, attribute = candidate.place.partition(":")
    try:
        cls = getattr(importlib.import_module(module), attribute)
        plugin = cls(config)
    except Exception as error:
        raise InvalidDefinitionError(
            f"the plugin {candidate.name!r} ({candidate.place}) cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(plugin, BasePlugin):
        raise InvalidDefinitionError(f"the plugin {candidate.name!r} ({candidate.place}) is no BasePlugin")
    if plugin.name != candidate.name:
        raise InvalidDefinitionError(
            f"the plugin {candidate.name!r} ({candidate.place}) calls itself {plugin.name!r}"
        )
    if candidate.origin is Origin.ENTRY_POINT:
        plugin.third_party = True
    return plugin


class _Described(Struct, frozen=True):
    """What the cache keeps of an executable."""

    answer: Plugin | OlderDescription


async def _described(candidate: Candidate) -> _Described:
    try:
        described = await describe(candidate.path)
    except UnknownProtocolError:
        return _Described(await describe_older(candidate.path))
    if described.name != candidate.name:
        raise ProtocolError(f"{candidate.place} calls itself {described.name!r}")
    return _Described(described)


def _in_thread(question: Coroutine[object, object, T]) -> T:
    """Wait for a coroutine, also where an event loop is running already."""
    import asyncio

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
