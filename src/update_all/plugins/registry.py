"""Which plugins there are, where each is defined, and how one is loaded. Nothing is read too early.

The strongest definition of a name wins: user, system, entry point, built-in. A definition that is refused
or broken is not replaced by a weaker one of the same name, since that would run something else than meant;
all other names keep working.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from update_all.core.errors import InvalidDefinitionError, UsageError
from update_all.plugins import detection
from update_all.plugins.builtin import BUILT_IN, CATALOGUE
from update_all.plugins.presence import AS_ROOT, RULES, Programs
from update_all.plugins.sources import (
    Candidate,
    Kind,
    Origin,
    SearchPaths,
    read_definition_text,
    scan,
    stamp_of,
)
from update_all.plugins.summaries import Point, Summaries, Summary

if TYPE_CHECKING:
    from update_all.core.models import JsonValue, PluginConfig
    from update_all.core.planning import Updater
    from update_all.plugins.base import BasePlugin
    from update_all.plugins.definition import Definition
    from update_all.plugins.parse_cache import ParseCache

ENTRY_POINT_GROUP = "update_all.plugins"
_STRENGTH = list(Origin)


class Entry(NamedTuple):
    """A plugin in `plugins list`. `overrides`: where weaker definitions of the name are."""

    name: str
    origin: Origin
    kind: Kind
    place: str
    overrides: tuple[str, ...] = ()
    broken_reason: str = ""


class BrokenPlugin(NamedTuple):
    """A definition that cannot be used, and why."""

    name: str
    origin: Origin
    reason: str


class Glance(NamedTuple):
    """What is seen of a plugin from afar: whether its tool is here, why, whether it may act as root."""

    present: bool
    reason: str
    root: bool


class Registry:
    """The plugins that `discover` found. `candidates` may hold a name more than once.

    What was parsed is kept in files below `cache`; None: nowhere.
    """

    def __init__(self, candidates: Iterable[Candidate], cache: Path | None) -> None:
        self._found: dict[str, list[Candidate]] = {}
        self._cache_directory = cache
        self._summaries = Summaries(cache)
        self._definitions: dict[str, Definition] = {}
        for candidate in sorted(candidates, key=lambda one: _STRENGTH.index(one.origin)):
            self._found.setdefault(candidate.name, []).append(candidate)

    def __contains__(self, name: object) -> bool:
        return name in self._found

    @cached_property
    def _cache(self) -> ParseCache:
        from update_all.plugins.parse_cache import ParseCache

        return ParseCache(self._cache_directory)

    @cached_property
    def _programs(self) -> Programs:
        return Programs(os.environ.get("PATH", os.defpath))

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
            return self._summary(candidate).enabled
        except InvalidDefinitionError:
            return True

    def glance(self, name: str, options: Mapping[str, JsonValue]) -> Glance | None:
        """What `load(name).detect()` would say, without loading; None where only the plugin can tell.

        Raises UsageError (unknown) or InvalidDefinitionError (refused or broken).
        """
        candidate = self._candidate(name)
        if candidate.refused:
            return None
        if candidate.kind is Kind.PYTHON:
            if candidate.origin is not Origin.BUILT_IN:
                return None
            here, reason = RULES[name](self._programs.which, options, os.environ)
            return None if here is None else Glance(here, reason, root=name in AS_ROOT)
        summary = self._summary(candidate)
        present, reason = detection.answer(summary, os.environ, self._programs)
        return Glance(present, reason or summary.place, summary.root)

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
                from update_all.plugins.declarative import DeclarativePlugin

                return DeclarativePlugin(self._definition(candidate), config)
            case Kind.EXECUTABLE:
                from update_all.plugins.describing import executable

                return executable(candidate, self._cache, config)
            case Kind.PYTHON:
                return _python(candidate, config)

    def entries(self) -> list[Entry]:
        """Every name with its strongest definition; TOML files are read to see whether they are sound."""
        entries = [self._entry(name, found) for name, found in sorted(self._found.items())]
        self.save_cache()
        return entries

    def save_cache(self) -> None:
        """Keep what was parsed for the next process."""
        if "_cache" in self.__dict__:
            self._cache.save()
        self._summaries.save()

    def not_trusted(self, trusted: frozenset[str]) -> list[Candidate]:
        """The entry points that are not loaded. For show only: what is loaded is looked for each time."""
        places = _search_path()
        points = self._summaries.points(places)
        if points is None:
            points = _installed_points()
            self._summaries.put_points(places, points)
        return [one for one in _points_as_candidates(points, trusted) if one.refused]

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
                self._summary(first)
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

    def _summary(self, candidate: Candidate) -> Summary:
        """Of a definition in TOML or an executable. Raises InvalidDefinitionError where it is broken."""
        known = self._summaries.get(candidate.place, candidate.stamp)
        if known is not None:
            return known
        if candidate.kind is Kind.EXECUTABLE:
            from update_all.plugins.describing import summary_of

            summary = summary_of(candidate, self._cache)
        else:
            from update_all.plugins.declarative import DeclarativePlugin

            definition = self._definition(candidate)
            detect = definition.detect
            summary = Summary(
                enabled=definition.enabled,
                root=bool(DeclarativePlugin(definition).sudo_commands),
                command=detect.command,
                paths=detect.paths,
                absent=detect.absent,
                os_release=detect.os_release,
            )
        self._summaries.put(candidate.place, candidate.stamp, summary)
        return summary

    def _definition(self, candidate: Candidate) -> Definition:
        if candidate.place not in self._definitions:
            self._definitions[candidate.place] = self._read(candidate)
        return self._definitions[candidate.place]

    def _read(self, candidate: Candidate) -> Definition:
        from update_all.plugins.decoding import parse_definition
        from update_all.plugins.definition import Definition

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


def discover(paths: SearchPaths) -> Registry:
    """Look for plugins everywhere: a directory listing for each place, entry points where any is trusted."""
    candidates = list(_built_in())
    for directory in paths.system:
        candidates += scan(directory, Origin.SYSTEM)
    for directory in paths.user:
        candidates += scan(directory, Origin.USER)
    if paths.trusted:
        candidates += [one for one in entry_points(paths.trusted) if not one.refused]
    return Registry(candidates, paths.cache)


def entry_points(trusted: frozenset[str]) -> list[Candidate]:
    """The entry points of installed distributions; refused where the distribution is not trusted."""
    return _points_as_candidates(_installed_points(), trusted)


def _installed_points() -> list[Point]:
    from importlib.metadata import entry_points as installed

    points = installed(group=ENTRY_POINT_GROUP)
    return [(one.name, one.value, one.dist.name if one.dist is not None else "?") for one in points]


def _points_as_candidates(points: Sequence[Point], trusted: frozenset[str]) -> list[Candidate]:
    candidates: list[Candidate] = []
    for name, value, distribution in points:
        refused = ""
        if distribution not in trusted:
            refused = f"the distribution {distribution!r} is not trusted: it would run as you"
        candidates.append(
            Candidate(
                name, Origin.ENTRY_POINT, Kind.PYTHON, value, refused=refused, distribution=distribution
            )
        )
    return candidates


def _search_path() -> list[tuple[str, int]]:
    """Where distributions are looked for, and when each place changed: one that comes or goes changes it."""
    found: list[tuple[str, int]] = []
    for place in sys.path:
        try:
            found.append((place, Path(place).stat().st_mtime_ns))
        except OSError:
            continue
    return found


def order_between(plugins: Sequence[Updater]) -> Mapping[str, tuple[str, ...]]:
    """Plugin → plugins that must be finished before it: `after` of itself and `before` of the others."""
    names = {plugin.name for plugin in plugins}
    found = {plugin.name: [name for name in plugin.dependencies if name in names] for plugin in plugins}
    for plugin in plugins:
        # Only definitions and executables have it; to import their classes would take longer than to ask.
        dependents: Sequence[str] = getattr(plugin, "dependents", ())
        for name in dependents:
            if name in names and plugin.name not in found[name]:
                found[name].append(plugin.name)
    return {name: tuple(before) for name, before in found.items()}


def _built_in() -> Iterable[Candidate]:
    with os.scandir(CATALOGUE) as entries:
        stamps = {entry.name: stamp_of(entry.stat()) for entry in entries}
    for name, place in BUILT_IN.items():
        if place.endswith(".toml"):
            yield Candidate(name, Origin.BUILT_IN, Kind.TOML, f"{CATALOGUE}/{place}", stamps[place])
        else:
            yield Candidate(name, Origin.BUILT_IN, Kind.PYTHON, place)


def _python(candidate: Candidate, config: PluginConfig | None) -> BasePlugin:
    from update_all.plugins.base import BasePlugin

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
