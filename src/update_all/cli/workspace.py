"""What every command needs: configuration, plugins, directories; and how plugins are chosen."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from update_all.core.config import LoadedConfig, load_config
from update_all.core.config_schema import PLUGIN_TABLE, Config
from update_all.core.errors import (
    ConfigError,
    InvalidDefinitionError,
    UpdateAllError,
    UsageError,
    unknown_name,
)
from update_all.core.paths import Directories, directories
from update_all.core.plugin_config import PluginConfig
from update_all.plugins.registry import Registry, discover
from update_all.plugins.sources import SearchPaths

if TYPE_CHECKING:
    from update_all.core.history import History
    from update_all.core.models import Detection, JsonValue
    from update_all.plugins.base import BasePlugin


@dataclass(frozen=True, slots=True)
class Broken:
    """A plugin that cannot be used, and why."""

    name: str
    reason: str

    @classmethod
    def of(cls, name: str, error: UpdateAllError) -> Broken:
        return cls(name, error.described)


@dataclass(slots=True)
class Selection:
    """The plugins of a command: those that are here, those that are not, those that are broken."""

    plugins: list[BasePlugin] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    broken: list[Broken] = field(default_factory=list)


@dataclass(slots=True)
class Workspace:
    """One process's view of its surroundings. Everything is read when it is first needed.

    `plugin_options` are those that the command line gives to every plugin; they win.
    """

    directories: Directories
    loaded: LoadedConfig
    plugin_options: Mapping[str, JsonValue] = field(default_factory=dict)
    _registry: Registry | None = None

    @classmethod
    def open(
        cls,
        overrides: Mapping[str, JsonValue] | None = None,
        plugin_options: Mapping[str, JsonValue] | None = None,
    ) -> Workspace:
        """Read the configuration. Raises ConfigError."""
        found = directories()
        return cls(found, load_config(found, overrides=overrides), plugin_options or {})

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def registry(self) -> Registry:
        if self._registry is None:
            self._registry = discover(SearchPaths.default(trusted=frozenset(self.config.plugins.trusted)))
        return self._registry

    def plugin_config(self, name: str) -> PluginConfig:
        """The settings of a plugin. One that is optional is enabled only where somebody wrote so."""
        config = self.config.plugin.get(name, PluginConfig())
        options = {**self._download_options(name), **config.options, **self.plugin_options}
        config = dataclasses.replace(config, options=options)
        if self.enabled_by_name(name) or self.registry.enabled_by_default(name):
            return config
        return dataclasses.replace(config, enabled=False)

    def enabled_by_name(self, name: str) -> bool:
        """Whether the configuration names a plugin as one that takes part."""
        switched = (PLUGIN_TABLE, name, "enabled") in self.loaded.sources
        return name in self.config.plugins.enabled or (switched and self.config.for_plugin(name).enabled)

    def _download_options(self, name: str) -> dict[str, JsonValue]:
        """What the tables for all downloads say, as the options of one plugin; its own options win."""
        downloads, limit = self.config.downloads, self.config.network.limit
        options: dict[str, JsonValue] = {}
        if name in downloads.allow_unverified:
            options["allow_unverified"] = True
        if downloads.allow_http:
            options["allow_http"] = list(downloads.allow_http)
        if limit is not None:
            options["bandwidth"] = limit
        return options

    def enabled(self, name: str) -> bool:
        """Whether the configuration lets a plugin take part when nobody names it."""
        only = self.config.plugins.enabled
        return (
            self.plugin_config(name).enabled
            and name not in self.config.exclude
            and (not only or name in only)
        )

    def load(self, name: str) -> BasePlugin:
        """One plugin. Raises UsageError for an unknown name, the plugin's own error for a broken one.

        Raises ConfigError for an option that it does not know.
        """
        if name not in self.registry:
            raise unknown_name("plugin", name, self.registry.names())
        plugin = self.registry.load(name, self.plugin_config(name))
        if self.config.for_plugin(name).options:
            from update_all.cli.plugin_options import refuse_unknown

            refuse_unknown(plugin, self.loaded)
        return plugin

    def select(self, wanted: Sequence[str] = (), excluded: Sequence[str] = ()) -> Selection:
        """The plugins named (or tagged `@tag`), else all that are enabled, without those excluded.

        Raises UsageError for a name that does not exist, with the nearest one that does, and for a plugin
        that is named and not here or broken: who names one wants it and nothing less. Raises ConfigError for
        an option that its plugin does not take.
        """
        known = self.registry.names()
        tagged = [word for word in (*wanted, *excluded) if word.startswith("@")]
        for word in (*wanted, *excluded):
            if word not in known and word not in tagged:
                raise unknown_name("plugin", word, known)
        selection = Selection()
        for name in known:
            if name in excluded or not (name in wanted or (not wanted and self.enabled(name)) or tagged):
                continue
            self._add(selection, name, wanted, excluded, tagged=bool(tagged))
        self.registry.save_cache()
        self._check_tags(tagged)
        _require_usable(selection, wanted)
        return selection

    def _add(
        self,
        selection: Selection,
        name: str,
        wanted: Sequence[str],
        excluded: Sequence[str],
        *,
        tagged: bool,
    ) -> None:
        try:
            seen = None if tagged else self.registry.glance(name, self.plugin_config(name).options)
            if seen is not None and not seen.present:
                selection.absent[name] = seen.reason
                return
            plugin = self.load(name)
            tags = {f"@{tag}" for tag in plugin.tags}
            if tags & set(excluded):
                return
            named = name in wanted or bool(tags & set(wanted))
            if not named and (wanted or not self.enabled(name)):
                return
            found = plugin.detect()
        except ConfigError:
            raise
        except UpdateAllError as error:
            selection.broken.append(Broken.of(name, error))
        except Exception as error:  # noqa: BLE001 - a plugin of anybody; it is reported, the rest goes on
            selection.broken.append(Broken(name, f"{type(error).__name__}: {error}"))
        else:
            self._sort(selection, plugin, found)

    def _sort(self, selection: Selection, plugin: BasePlugin, found: Detection) -> None:
        if found.present:
            selection.plugins.append(plugin)
        else:
            selection.absent[plugin.name] = found.reason

    def _check_tags(self, tagged: Sequence[str]) -> None:
        if not tagged:
            return
        tags = {f"@{tag}" for name in self.registry.names() for tag in self._tags(name)}
        for word in tagged:
            if word not in tags:
                raise unknown_name("tag", word, sorted(tags))

    def _tags(self, name: str) -> tuple[str, ...]:
        with contextlib.suppress(UpdateAllError):
            return self.load(name).tags
        return ()

    @property
    def root_prefix(self) -> str:
        """What goes before a command that runs as root, in the words of this machine: "sudo", or nothing."""
        from update_all.core.rights import Rights

        return Rights.find(self.config.sudo.command).prefix

    @property
    def state_directory(self) -> Path:
        return self.directories.state

    def history(self, *, read_only: bool = False) -> History:
        """The history. Raises StateError when it cannot be used."""
        from update_all.core.history import History

        return History(self.directories.history, read_only=read_only)


def _require_usable(selection: Selection, wanted: Sequence[str]) -> None:
    for item in selection.broken:
        if item.name in wanted:
            raise InvalidDefinitionError(f"the plugin {item.name!r} is broken: {item.reason}")
    for name, reason in selection.absent.items():
        if name in wanted:
            raise UsageError(
                f"the plugin {name!r} has nothing to do here: {reason}", hint="update-all plugins list"
            )
