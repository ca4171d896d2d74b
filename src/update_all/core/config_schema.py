"""Every configuration key, declared once: as fields of `Config`, with what each may hold and what it means.

Validation, `config show`, the environment variables and the shipped JSON Schema all derive from here.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import NoneType, UnionType

from update_all.core.names import NAME
from update_all.core.plugin_config import PluginConfig

if typing.TYPE_CHECKING:
    from update_all.core.models import JsonValue

KeyPath = tuple[str, ...]

PLUGIN_TABLE = "plugin"
"""`[plugin.NAME]`: besides `enabled` and `timeout_seconds` it holds what the plugin itself defines."""


class Confirm(StrEnum):
    """When a run asks before it starts. AUTO: on a terminal, when there is something to confirm."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Guard(StrEnum):
    """What to do where something speaks against a run."""

    WARN = "warn"
    REFUSE = "refuse"
    IGNORE = "ignore"


class SudoCommand(StrEnum):
    """The program that gains root. AUTO: the first that is installed."""

    AUTO = "auto"
    SUDO = "sudo"
    DOAS = "doas"
    RUN0 = "run0"


def _about(
    doc: str, *, minimum: int | None = None, pattern: str = "", rate: bool = False
) -> Mapping[str, object]:
    return {"doc": doc, "minimum": minimum, "pattern": pattern, "rate": rate}


@dataclass(frozen=True, slots=True)
class PluginsConfig:
    """Which plugins take part."""

    enabled: tuple[str, ...] = field(
        default=(), metadata=_about("if not empty, only these plugins run unless others are named")
    )
    order: tuple[str, ...] = field(
        default=(), metadata=_about("plugins that are listed and started first, where nothing else decides")
    )
    trusted: tuple[str, ...] = field(
        default=(), metadata=_about("plugins from other installed packages that may be loaded")
    )


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """How the network is used."""

    downloads: int = field(default=4, metadata=_about("how many downloads run at the same time", minimum=1))
    limit: int | None = field(
        default=None, metadata=_about("most bytes per second, as '8 MB/s'", minimum=1, rate=True)
    )


@dataclass(frozen=True, slots=True)
class SudoConfig:
    """How steps become root."""

    command: SudoCommand = field(
        default=SudoCommand.AUTO, metadata=_about("the program that runs a step as root")
    )
    keepalive: bool = field(
        default=True, metadata=_about("keep the sudo ticket alive until the last step that needs it")
    )


@dataclass(frozen=True, slots=True)
class GuardsConfig:
    """What to do before a run where something speaks against it."""

    battery: Guard = field(default=Guard.WARN, metadata=_about("on battery power"))
    metered: Guard = field(default=Guard.WARN, metadata=_about("on a network that is paid for by volume"))
    disk: Guard = field(default=Guard.WARN, metadata=_about("where a file system is nearly full"))
    busy: Guard = field(
        default=Guard.WARN, metadata=_about("while another package manager runs, which is then waited for")
    )
    stay_awake: bool = field(
        default=True, metadata=_about("keep the machine from sleeping and shutting down during a run")
    )


@dataclass(frozen=True, slots=True)
class NotifyConfig:
    """Who is told when a run ends."""

    desktop: bool = field(default=False, metadata=_about("show a desktop notification"))
    ntfy: str | None = field(
        default=None, metadata=_about("the address of an ntfy topic to post to", pattern=r"https?://\S+")
    )
    after_seconds: int = field(
        default=30, metadata=_about("only for runs that take at least so many seconds", minimum=0)
    )


@dataclass(frozen=True, slots=True)
class HooksConfig:
    """Commands of the user's own, as argument lists."""

    before: tuple[str, ...] = field(
        default=(), metadata=_about("the command to run before a run; if it fails, nothing is run")
    )
    after: tuple[str, ...] = field(
        default=(), metadata=_about("the command to run after a run; it gets the JSON summary on stdin")
    )


@dataclass(frozen=True, slots=True)
class DownloadsConfig:
    """Exceptions from the rules for downloads."""

    allow_unverified: tuple[str, ...] = field(
        default=(),
        metadata=_about("plugins that may install what is published without checksum or signature"),
    )
    allow_http: tuple[str, ...] = field(
        default=(), metadata=_about("hosts from which a file with a known checksum may come over plain HTTP")
    )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; without arguments, the defaults."""

    jobs: int = field(default=4, metadata=_about("how many steps run at the same time", minimum=1))
    confirm: Confirm = field(default=Confirm.AUTO, metadata=_about("when to ask before a run"))
    exclude: tuple[str, ...] = field(
        default=(), metadata=_about("plugins that do not run unless they are named")
    )
    fail_fast: bool = field(default=False, metadata=_about("start nothing new after the first failed step"))
    keep_runs: int = field(default=50, metadata=_about("how many runs keep their logs", minimum=1))
    plugins: PluginsConfig = PluginsConfig()
    limits: Mapping[str, int] = field(default_factory=dict)
    network: NetworkConfig = NetworkConfig()
    sudo: SudoConfig = SudoConfig()
    guards: GuardsConfig = GuardsConfig()
    notify: NotifyConfig = NotifyConfig()
    hooks: HooksConfig = HooksConfig()
    downloads: DownloadsConfig = DownloadsConfig()
    plugin: Mapping[str, PluginConfig] = field(default_factory=dict)

    def for_plugin(self, name: str) -> PluginConfig:
        """The user's settings for a plugin; the defaults where there are none."""
        return self.plugin.get(name, PluginConfig())


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it may hold. `kind` is bool, int, str, tuple (of strings) or a StrEnum class."""

    path: KeyPath
    kind: type
    default: object
    doc: str
    minimum: int | None = None
    pattern: str = ""
    rate: bool = False

    @property
    def name(self) -> str:
        return dotted(self.path)

    @property
    def wanted(self) -> str:
        """What the key may hold, in words."""
        if self.rate:
            return "bytes per second, as a whole number or as '8 MB/s'"
        if issubclass(self.kind, StrEnum):
            return "one of " + ", ".join(self.kind)
        if self.kind is int:
            return "a whole number" + ("" if self.minimum is None else f", at least {self.minimum}")
        if self.pattern:
            return f"a string like {self.pattern}"
        return {bool: "true or false", str: "a string", tuple: "a list of strings"}[self.kind]

    def check(self, value: object) -> object:
        """The value as `Config` holds it. Raises ValueError for one that is not `wanted`."""
        if self.rate and isinstance(value, str):
            value = parse_rate(value)
        if issubclass(self.kind, StrEnum):
            return self.kind(str(value))
        if self.kind is tuple:
            return _strings(value)
        ok = isinstance(value, self.kind) and (self.kind is bool or not isinstance(value, bool))
        if not ok or (isinstance(value, int) and self.minimum is not None and value < self.minimum):
            raise ValueError
        if self.pattern and not re.fullmatch(self.pattern, str(value)):
            raise ValueError
        return value

    def parse(self, text: str) -> object:
        """The value that a text from the environment or the command line stands for. Raises ValueError."""
        if self.kind is bool:
            return self.check(_BOOLEANS.get(text.lower()))
        if self.kind is tuple:
            if text.lstrip().startswith("["):
                return self.check(toml_value(text))
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if self.kind is int and (text.isdecimal() or not self.rate):
            return self.check(int(text))
        return self.check(text)


_BOOLEANS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def _strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError
    return tuple(value)


def toml_value(text: str) -> object:
    """The value that a text stands for in TOML. Raises ValueError."""
    import tomllib

    document = tomllib.loads("value = " + text)
    if list(document) != ["value"]:
        raise ValueError
    return document["value"]


RATE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?) *([kKMG]?)(i?)[Bb](?:/s)?")


def parse_rate(text: str) -> int:
    """Bytes per second from `8 MB/s`, `500 kB` (powers of 1000) or `8 MiB/s` (of 1024). Raises ValueError."""
    match = RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError
    number, prefix, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kMG".index(prefix.replace("K", "k") or " "))


def dotted(path: Sequence[str]) -> str:
    """A key as TOML writes it: parts with other characters than `A-Za-z0-9_-` are quoted."""
    return ".".join(
        part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part, ensure_ascii=False)
        for part in path
    )


@functools.cache
def keys() -> Mapping[KeyPath, Key]:
    """All keys with a fixed name, in the order of declaration."""
    return {key.path: key for key in _keys_of(Config, ())}


def is_table(path: KeyPath) -> bool:
    """Whether a path is that of a table; the table of one plugin is one."""
    fixed = {key[:-1] for key in keys()} | {("limits",), (PLUGIN_TABLE,)}
    return path in fixed or (len(path) == 2 and path[0] == PLUGIN_TABLE)


def key_at(path: KeyPath) -> Key | None:
    """The declaration of a key, also of those with free names (`limits.X`, `plugin.X.enabled`)."""
    if len(path) == 2 and path[0] == "limits":
        return limit_key(path[1])
    if len(path) == 3 and path[0] == PLUGIN_TABLE:
        return plugin_keys(path[1]).get(path[2])
    return keys().get(path)


def limit_key(mutex: str) -> Key:
    doc = "how many steps may hold this mutex at the same time"
    return Key(("limits", mutex), int, None, doc, minimum=1)


def plugin_keys(plugin: str) -> Mapping[str, Key]:
    path = (PLUGIN_TABLE, plugin)
    seconds = "how long one step of the plugin may take, in seconds"
    return {
        "enabled": Key((*path, "enabled"), bool, True, "whether the plugin runs"),
        "timeout_seconds": Key((*path, "timeout_seconds"), int, None, seconds, minimum=1),
    }


def is_plugin_option(path: KeyPath) -> bool:
    """Whether a key is one that a plugin defines for itself, so that any plain value is right."""
    return len(path) == 3 and path[0] == PLUGIN_TABLE and key_at(path) is None


def is_plugin_name(name: str) -> bool:
    return NAME.fullmatch(name) is not None


def build(values: Mapping[KeyPath, object]) -> Config:
    """The configuration from checked values by path; a key that is missing has its default."""
    tables: dict[str, dict[str, object]] = {}
    plugins: dict[str, dict[str, object]] = {}
    fields: dict[str, object] = {}
    for path, value in values.items():
        if len(path) == 1:
            fields[path[0]] = value
        elif path[0] == PLUGIN_TABLE:
            plugins.setdefault(path[1], {})[path[2]] = value
        else:
            tables.setdefault(path[0], {})[path[1]] = value
    fields[PLUGIN_TABLE] = {name: _plugin_config(table) for name, table in plugins.items()}
    for name, table in tables.items():
        default = getattr(Config(), name)
        fields[name] = table if name == "limits" else dataclasses.replace(default, **table)
    return dataclasses.replace(Config(), **fields)  # type: ignore[arg-type]


def _plugin_config(table: Mapping[str, object]) -> PluginConfig:
    fixed = {name: value for name, value in table.items() if name in {"enabled", "timeout_seconds"}}
    options = {name: value for name, value in table.items() if name not in fixed}
    return dataclasses.replace(PluginConfig(), **fixed, options=options)  # type: ignore[arg-type]


def _keys_of(cls: type, prefix: KeyPath) -> Iterator[Key]:
    hints = typing.get_type_hints(cls)
    for spec in dataclasses.fields(cls):
        kind = _plain_kind(hints[spec.name])
        if dataclasses.is_dataclass(kind):
            yield from _keys_of(kind, (*prefix, spec.name))
        elif spec.metadata:
            yield Key((*prefix, spec.name), kind, spec.default, **spec.metadata)


def _plain_kind(hint: object) -> type:
    """`int` for `int | None`, `tuple` for `tuple[str, ...]`, else the class itself."""
    if isinstance(hint, UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not NoneType)
    kind = typing.get_origin(hint) or hint
    assert isinstance(kind, type), hint  # noqa: S101 - of our own declarations above, seen by any test
    return kind


def plain(value: object) -> JsonValue:
    """A value of a key as JSON has it. Raises ValueError for what JSON cannot hold (a date, NaN)."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    raise ValueError
