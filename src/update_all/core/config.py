"""Configuration: where each value comes from, and what is wrong with it, by file and line.

Later wins: /etc/update-all/config.toml and its config.d/*.toml, the user's config.toml and config.d/*.toml,
environment variables `UPDATE_ALL_<KEY>`, the command line. Lists are replaced, tables are merged by key.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from update_all.core.config_schema import (
    PLUGIN_TABLE,
    Config,
    KeyPath,
    build,
    dotted,
    is_plugin_name,
    is_plugin_option,
    is_table,
    key_at,
    keys,
    plain,
    plugin_keys,
    toml_value,
)
from update_all.core.errors import ConfigError
from update_all.core.paths import Directories, write_atomic

if TYPE_CHECKING:
    from update_all.core.models import JsonValue

__all__ = ["Config", "LoadedConfig", "Setting", "config_file", "config_set", "load_config", "variable_name"]

MAX_CONFIG_BYTES = 256 * 1024
VARIABLE_PREFIX = "UPDATE_ALL_"
RESERVED_VARIABLES = frozenset({"UPDATE_ALL_COMMAND"})
"""Set by update-all itself for the programs that it starts; no settings."""

COMMAND_LINE = "command line"
DEFAULT = "default"

Origin = Callable[[KeyPath], str]
"""Says where a key of one source stands: `FILE:LINE`, a variable, the command line."""

Table = dict[str, object]
Sources = dict[KeyPath, tuple[object, Origin]]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key for `config show`: its value as JSON has it, and `FILE:LINE`, the variable, or "default"."""

    key: str
    value: JsonValue
    origin: str


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """The configuration with the files that were read, in their order, and where each value comes from."""

    config: Config
    files: tuple[Path, ...] = ()
    sources: Mapping[KeyPath, tuple[object, Origin]] = field(default_factory=dict, repr=False)
    sections: Mapping[KeyPath, Origin] = field(default_factory=dict, repr=False)
    """The tables of plugins, also those without a key, and where each is."""

    def settings(self) -> list[Setting]:
        """Every key: those with a fixed name as declared, then those that the user named, sorted."""
        free = sorted(path for path in self.sources if path not in keys())
        return [self._setting(path) for path in (*keys(), *free)]

    def origin(self, key: str) -> str:
        """Where a key (`plugin.apt.enabled`), or the first one in a table (`plugin.apt`), was set."""
        wanted = _split(key)
        found = (path for path in self.sources if path[: len(wanted)] == wanted)
        return next((self._setting(path).origin for path in found), DEFAULT)

    def _setting(self, path: KeyPath) -> Setting:
        if path in self.sources:
            value, origin = self.sources[path]
            return Setting(dotted(path), plain(value), origin(path))
        return Setting(dotted(path), plain(keys()[path].default), DEFAULT)


def config_file(directories: Directories) -> Path:
    """The file that `config set` and `config edit` change."""
    return directories.config / "config.toml"


def load_config(
    directories: Directories,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, JsonValue] | None = None,
) -> LoadedConfig:
    """Read, check and merge all sources; `overrides` are those of the command line, by dotted key.

    Raises ConfigError for the first thing that is wrong: a file that cannot be read or that others may
    write, TOML that does not parse, an unknown key (with the nearest known one), a bad value.
    """
    sources: Sources = {}
    sections: dict[KeyPath, Origin] = {}
    files = tuple(_files(directories))
    for path in files:
        text = _read_text(path)
        table, locate = _parse(text, path), _locator(path, text)
        sources |= _checked_table(table, locate)
        sections |= {key: locate for key in _paths(table) if len(key) == 2 and key[0] == PLUGIN_TABLE}
    sources |= _from_environment(os.environ if environ is None else environ)
    for name, value in (overrides or {}).items():
        key_path = _split(name)
        sources[key_path] = (_checked(key_path, value, _command_line), _command_line)
    return LoadedConfig(
        build({path: value for path, (value, _) in sources.items()}), files, sources, sections
    )


def config_set(path: Path, key: str, text: str) -> None:
    """Set one key in a configuration file, keeping its comments and order; the file may be new.

    `text` is a value as on the command line (`3`, `true`, `a,b`); for an option that a plugin defines, TOML
    or else a plain string. Raises, with nothing written, ConfigError for an unknown key, a bad value or a
    file that is wrong otherwise, and StateWriteError where it cannot be written.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    key_path = _split(key)
    value = plain(_parsed(key_path, text, _command_line))
    target = path.resolve()
    source = _read_text(target) if target.exists() else ""
    wanted = _parse(source, path)
    unpatched = ConfigError(
        f"{path}: {key} cannot be set there without damage", hint="update-all config edit"
    )
    try:
        _assign(wanted, key_path, value, dict)
        document = tomlkit.parse(source)
        _assign(document, key_path, value, tomlkit.table)
        result = tomlkit.dumps(document)
    except (TOMLKitError, KeyError, TypeError, AttributeError) as error:
        raise unpatched from error
    if _parse(result, path) != wanted:
        raise unpatched
    _checked_table(wanted, _locator(path, result))
    _write(target, result)


def variable_name(path: KeyPath) -> str:
    """The environment variable of a key: `network.downloads` is UPDATE_ALL_NETWORK_DOWNLOADS."""
    return VARIABLE_PREFIX + "_".join(path).upper()


def statement_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, on which each key and table of a valid TOML document first appears.

    tomllib keeps no positions. But each statement begins on a line of its own and parses on its own, so
    lines are collected until they do.
    """
    import tomllib

    lines: dict[KeyPath, int] = {}
    header: KeyPath = ()
    statement, first = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        first = first if statement else number
        statement += line + "\n"
        try:
            found = list(_paths(tomllib.loads(statement)))
        except ValueError:
            continue
        is_header = statement.lstrip().startswith("[")
        for path in found:
            lines.setdefault(path if is_header else (*header, *path), first)
        header = found[-1] if is_header else header
        statement = ""
    return lines


def _paths(table: Mapping[str, object]) -> Iterator[KeyPath]:
    for name, value in table.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, *rest) for rest in _paths(value))


def _locator(file: Path, text: str) -> Origin:
    lines = functools.cache(lambda: statement_lines(text))

    def locate(path: KeyPath) -> str:
        known = (lines()[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines())
        return f"{file}:{next(known, 1)}"

    return locate


def _command_line(_: KeyPath) -> str:
    return COMMAND_LINE


def _files(directories: Directories) -> Iterator[Path]:
    for directory in (directories.system_config, directories.config):
        try:
            names = {entry.name for entry in directory.iterdir()}
            drop_ins = sorted((directory / "config.d").iterdir()) if "config.d" in names else []
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
        if "config.toml" in names:
            yield directory / "config.toml"
        yield from (path for path in drop_ins if path.suffix == ".toml" and not path.name.startswith("."))


def _read_text(path: Path) -> str:
    try:
        # Without O_NONBLOCK a FIFO would block the open for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _check_trusted(path, os.fstat(fd))
            with os.fdopen(fd, "rb", closefd=False) as file:
                data = file.read(MAX_CONFIG_BYTES + 1)
        finally:
            os.close(fd)
    except OSError as error:
        hint = f"ls -lL {shlex.quote(str(path))}"
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path} holds more than the {MAX_CONFIG_BYTES} bytes allowed")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: the text is not UTF-8") from None


def _check_trusted(path: Path, status: os.stat_result) -> None:
    """Hooks and plugin options make a configuration as powerful as a program: only its owner may write it."""
    quoted = shlex.quote(str(path))
    root = os.geteuid() == 0
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path} is not a regular file", hint=f"ls -lL {quoted}")
    if status.st_uid not in {0, os.geteuid()}:
        raise ConfigError(
            f"{path} belongs to user {status.st_uid}, who could change what user {os.geteuid()} runs",
            hint=f"chown {os.geteuid()} {quoted}",
        )
    # A group of one's own is common among users (umask 002); root takes no such chance.
    if status.st_mode & (stat.S_IWOTH | (stat.S_IWGRP if root else 0)):
        raise ConfigError(f"{path} can be written by others", hint=f"chmod go-w {quoted}")


def _parse(text: str, path: Path) -> Table:
    import tomllib

    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{path}: tables or lists are nested too deeply") from None
    except ValueError as error:
        reason, line = str(error), text.count("\n") + 1
        if match := re.search(r" \(at line (\d+), column (\d+)\)$", reason):
            line, reason = int(match[1]), f"{reason[: match.start()]} (column {match[2]})"
        raise ConfigError(f"{path}:{line}: {reason}", hint="update-all config edit") from None


def _checked_table(table: Mapping[str, object], locate: Origin, prefix: KeyPath = ()) -> Sources:
    found: Sources = {}
    for name, value in table.items():
        path = (*prefix, name)
        if not is_table(path):
            found[path] = (_checked(path, value, locate), locate)
        elif not isinstance(value, dict):
            raise ConfigError(f"{locate(path)}: {dotted(path)} must be a table, got {value!r}")
        elif path[0] == PLUGIN_TABLE and len(path) == 2 and not is_plugin_name(name):
            raise ConfigError(f"{locate(path)}: {name!r} cannot be the name of a plugin")
        else:
            found |= _checked_table(value, locate, path)
    return found


def _from_environment(environ: Mapping[str, str]) -> Sources:
    by_variable = {variable_name(path): path for path in keys()}
    found: Sources = {}
    for variable, text in environ.items():
        if not variable.startswith(VARIABLE_PREFIX) or variable in RESERVED_VARIABLES or not text:
            continue
        if variable not in by_variable:
            near = _close_matches(variable, by_variable, n=1)
            raise ConfigError(
                f"environment: unknown variable {variable}",
                hint=f"did you mean {near[0]}?" if near else "update-all config show",
            )

        def origin(_: KeyPath, variable: str = variable) -> str:
            return f"environment {variable}"

        path = by_variable[variable]
        found[path] = (_parsed(path, text, origin), origin)
    return found


def _checked(path: KeyPath, value: object, locate: Origin) -> object:
    key = key_at(path)
    try:
        if key is not None:
            return key.check(value)
        if is_plugin_option(path):
            _refuse_misspelling(path, locate)
            return plain(value)
    except ValueError:
        wanted = key.wanted if key else "a string, number, boolean, list or table"
        raise ConfigError(f"{locate(path)}: {dotted(path)} must be {wanted}, got {value!r}") from None
    raise _unknown(path, locate)


def _parsed(path: KeyPath, text: str, locate: Origin) -> object:
    key = key_at(path)
    if key is None:
        try:
            value = toml_value(text) if is_plugin_option(path) else text
        except ValueError:
            value = text
        return _checked(path, value, locate)
    try:
        return key.parse(text)
    except ValueError:
        raise ConfigError(f"{locate(path)}: {key.name} must be {key.wanted}, got {text!r}") from None


def _refuse_misspelling(path: KeyPath, locate: Origin) -> None:
    """A plugin may define any option, but none that is nearly one of ours: `enabeld = false` is a mistake."""
    near = _close_matches(path[2].replace("-", "_"), plugin_keys(path[1]), n=1, cutoff=0.8)
    if near:
        raise _unknown(path, locate, dotted((*path[:2], near[0])))


def _unknown(path: KeyPath, locate: Origin, nearest: str = "") -> ConfigError:
    names = {key.name: key for key in keys().values()}
    same_end = [name for name, key in names.items() if key.path[-1] == path[-1]]
    guesses = [nearest] if nearest else same_end or _close_matches(dotted(path), names, n=1)
    hint = f"did you mean {guesses[0]}?" if guesses else "update-all config show"
    return ConfigError(f"{locate(path)}: unknown key {dotted(path)}", hint=hint)


def _close_matches(word: str, words: Iterable[str], n: int, cutoff: float = 0.6) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(word, list(words), n=n, cutoff=cutoff)


def _split(name: str) -> KeyPath:
    """The parts of a dotted key as TOML reads it: `plugin."a b".x`. Raises ConfigError."""
    import tomllib

    try:
        found = list(_paths(tomllib.loads(f"{name} = 0")))
    except ValueError:
        found = []
    if not found or any(path != found[-1][: len(path)] for path in found):
        raise ConfigError(f"{COMMAND_LINE}: {name!r} is no key", hint="update-all config show")
    return found[-1]


def _assign(table: Table, path: KeyPath, value: JsonValue, make_table: Callable[[], Table]) -> None:
    for part in path[:-1]:
        if part not in table:
            table[part] = make_table()
        inner = table[part]
        if not isinstance(inner, dict):
            raise TypeError(part)
        table = inner
    table[path[-1]] = value


def _write(path: Path, text: str) -> None:
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be created: {error.strerror}") from error
    write_atomic(path, text.encode(), keep_previous=False, mode=mode)
