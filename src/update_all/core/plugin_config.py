"""The user's settings for one plugin. By itself, since the configuration is read without the other values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from update_all.core.models import JsonValue


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """`[plugin.NAME]` of the configuration; `options` are those that the plugin itself defines."""

    enabled: bool = True
    timeout_seconds: int | None = None
    options: Mapping[str, JsonValue] = field(default_factory=dict)
