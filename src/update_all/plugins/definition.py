"""The TOML form of a plugin: a strict, versioned schema (system.md section 8).

Keys are written in kebab-case. Only values are here: plugins.decoding reads a file, plugins.validation knows
what the types cannot say. `json_schema` gives the schema for editors.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from update_all.core.models import JsonValue

SCHEMA_VERSION = 1

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

Duration = (
    Annotated[int, Meta(ge=1, description="Seconds.")]
    | Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,5}[smhdw]$", description="90s, 6h, 7d")]
)
ExitCode = Annotated[int, Meta(ge=0, le=255)]
Argv = Annotated[tuple[str, ...], Meta(min_length=1, description="A program and its arguments; no shell.")]
Field = Literal["item", "old", "new", "version", "size", "security"]


def seconds(duration: int | str) -> int:
    """A duration of a definition in seconds: `90`, `"90s"`, `"6h"`, `"7d"`."""
    if isinstance(duration, int):
        return duration
    return int(duration[:-1]) * _UNITS[duration[-1]]


class _Table(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """A closed table: an unknown key is an error."""


class Parser(_Table, frozen=True, kw_only=True):
    """How text becomes records: exactly one of `regex`, `json` or `columns` (plugins.parsers)."""

    regex: str | None = None
    json: Annotated[str, Meta(description="Path to the records, such as `data.packages[*]`.")] | None = None
    json_lines: bool = False
    fields: dict[Field, str] = {}
    where: Annotated[dict[str, str], Meta(description="Path → regex that its value must match.")] = {}
    columns: Annotated[tuple[Field | Literal[""], ...], Meta(min_length=1)] | None = None
    separator: Annotated[str, Meta(min_length=1)] | None = None
    skip_lines: Annotated[int, Meta(ge=0)] = 0
    ignore_patterns: tuple[str, ...] = ()
    nothing_patterns: tuple[str, ...] = ()
    changed_only: Annotated[bool, Meta(description="Leave out records whose old is their new.")] = False
    repeated_only: Annotated[bool, Meta(description="Leave out items that are there once.")] = False


class Probe(_Table, frozen=True, kw_only=True):
    """A read-only command whose exit code, and where given a line of its output, answers yes or no."""

    cmd: Argv
    ok_codes: tuple[ExitCode, ...] = (0,)
    regex: str | None = None
    env: dict[str, str] = {}
    cwd: str | None = None
    timeout: Duration = 20


class Fresh(_Table, frozen=True, kw_only=True):
    """The answer counts only while `path` is younger than `max-age`: the run refreshes it first.

    With a * in it, the newest file that matches counts. It must be a file that a failed refresh leaves alone.
    """

    path: str
    max_age: Duration


class Query(Parser, frozen=True, kw_only=True):
    """A read-only command and what its output means.

    The answer is "cannot know" when an offline code or pattern, an error pattern, or a code that is not OK
    is seen, when the probe fails, or when the output is not understood.
    """

    cmd: Argv
    ok_codes: tuple[ExitCode, ...] = (0,)
    error_patterns: tuple[str, ...] = ()
    offline_codes: tuple[ExitCode, ...] = ()
    offline_patterns: tuple[str, ...] = ()
    probe: Probe | None = None
    fresh: Fresh | None = None
    env: dict[str, str] = {}
    cwd: str | None = None
    timeout: Duration = 20


class Fact(_Table, frozen=True, kw_only=True):
    """A value that steps use as `{name}`: found by a step of its own before the first step that needs it.

    `regex` takes the group `value`, or the whole match; `json` the value at a path.
    """

    name: str
    cmd: Argv
    regex: str | None = None
    json: str | None = None
    ok_codes: tuple[ExitCode, ...] = (0,)
    env: dict[str, str] = {}
    cwd: str | None = None
    after: str | None = None
    timeout: Duration = 20


class Detect(_Table, frozen=True, kw_only=True):
    """When the plugin is for this machine: all conditions that are given hold, any of `paths`, no `absent`.

    `identity` is run by `check` only, since names clash: the program must be the one that is meant.
    """

    command: str | None = None
    paths: tuple[str, ...] = ()
    absent: Annotated[tuple[str, ...], Meta(description="Paths of which each says: not here.")] = ()
    os_release: Annotated[tuple[str, ...], Meta(description="ID or ID_LIKE of os-release(5).")] = ()
    identity: Probe | None = None


class Step(_Table, frozen=True, kw_only=True):
    """A step of the update, with everything an UpdateStep has (core.models)."""

    name: str
    description: str
    cmd: Argv | None = None
    cmds: Annotated[tuple[Argv, ...], Meta(min_length=1)] | None = None
    fast_forward: Annotated[str, Meta(description="A checkout of git, moved to its upstream.")] | None = None
    for_each: Literal["outdated", "installed", "unfinished"] | None = None
    phase: Literal["check", "download", "execute"] = "execute"
    depends_on: tuple[str, ...] = ()
    mutexes: tuple[str, ...] = ()
    sudo: bool = False
    ok_codes: tuple[ExitCode, ...] = (0,)
    ok_patterns: tuple[str, ...] = ()
    error_patterns: tuple[str, ...] = ()
    timeout: Duration | None = None
    idempotent: bool = True
    reason: str = ""
    check: Probe | None = None
    interval: Duration | None = None
    interactive: bool = False
    drops_sudo: bool = False
    uninterruptible: bool = False
    independent_commands: bool = False
    retries: Annotated[int, Meta(ge=0, le=10)] = 0
    retry_delay: Duration = 1
    env: dict[str, str] = {}
    cwd: str | None = None
    changes: Parser | None = None


class Mutex(_Table, frozen=True, kw_only=True):
    """Why steps that hold this name must not overlap."""

    name: str
    reason: str


class Expected(_Table, frozen=True, kw_only=True):
    """A record that a sample must give; fields that are left out must be absent."""

    item: str | None = None
    old: str | None = None
    new: str | None = None
    version: str | None = None
    size: int | None = None
    security: bool = False


class Sample(_Table, frozen=True, kw_only=True):
    """Verbatim output of the tool beside what it must be read as. `of`: a query, or the name of a step."""

    of: str
    source: str = ""
    output: str = ""
    stderr: str = ""
    code: ExitCode = 0
    expect: tuple[Expected, ...] | Literal["cannot-know"] = ()


class Allow(_Table, frozen=True, kw_only=True):
    """A finding of the lint that is meant, with its reason."""

    rule: str
    reason: str


class Definition(_Table, frozen=True, kw_only=True):
    """A whole plugin."""

    schema: Literal[1]
    name: str
    description: str
    detect: Detect
    url: str = ""
    tags: tuple[str, ...] = ()
    enabled: Annotated[
        bool, Meta(description="False: only where it is named, or enabled in the configuration.")
    ] = True
    parallel_steps: bool = False
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    installed: Query | None = None
    outdated: Query | None = None
    available: Query | None = None
    unfinished: Annotated[
        Query | None, Meta(description="What an update that was cut off left; the run mends it.")
    ] = None
    fact: tuple[Fact, ...] = ()
    step: Annotated[tuple[Step, ...], Meta(min_length=1, max_length=100)]
    mutex: tuple[Mutex, ...] = ()
    sample: tuple[Sample, ...] = ()
    allow: tuple[Allow, ...] = ()


def json_schema() -> dict[str, JsonValue]:
    """The JSON Schema of a definition file, which is shipped as schema/plugin.schema.json."""
    from msgspec.json import schema

    data: dict[str, JsonValue] = schema(Definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "update-all plugin definition",
        **data,
    }
