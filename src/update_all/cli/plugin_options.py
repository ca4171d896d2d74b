"""The options of `[plugin.NAME]`: those that a plugin knows, with their values; others are refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from update_all.core.config_schema import PLUGIN_TABLE, dotted, plugin_keys
from update_all.core.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import argparse

    from update_all.core.config import LoadedConfig
    from update_all.core.models import JsonValue
    from update_all.plugins.base import BasePlugin


def refuse_unknown(plugin: BasePlugin, loaded: LoadedConfig) -> None:
    """Raise ConfigError for an option of the configuration that the plugin does not know.

    It names the file and line, and the nearest option that is known.
    """
    known = plugin.options
    if known is None:
        return
    for name in loaded.config.for_plugin(plugin.name).options:
        if name not in known:
            key = dotted((PLUGIN_TABLE, plugin.name, name))
            near = get_close_matches(name.replace("-", "_"), [*known, *plugin_keys(plugin.name)], n=1)
            meant = dotted((PLUGIN_TABLE, plugin.name, *near))
            hint = f"did you mean {meant}?" if near else f"update-all plugins show {plugin.name}"
            raise ConfigError(f"{loaded.origin(key)}: unknown key {key}", hint=hint)


def given(options: argparse.Namespace) -> dict[str, JsonValue]:
    """What the command line gives to every plugin, as its options."""
    return {"allow_downgrade": True} if options.allow_downgrade else {}


def require_releases(plugins: Sequence[BasePlugin]) -> None:
    """Raise UsageError where `--allow-downgrade` means nothing to any of the plugins that were named."""
    if not any("allow_downgrade" in (plugin.options or {}) for plugin in plugins):
        named = ", ".join(plugin.name for plugin in plugins)
        raise UsageError(
            f"--allow-downgrade means nothing to {named}",
            hint="update-all plugins show NAME says which options a plugin knows",
        )


def option_lines(plugin: BasePlugin) -> Iterator[str]:
    """Each option with its meaning, and its value where one is configured."""
    import json

    values = plugin.config.options
    for name, meaning in (plugin.options or {}).items():
        value = f" = {json.dumps(values[name], ensure_ascii=False)}" if name in values else ""
        yield f"{name}{value}: {meaning}"
