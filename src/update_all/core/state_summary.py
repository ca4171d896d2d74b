"""How a plugin stands, for those that only look: read without the engine's values, which cost their import.

Whatever is out of the ordinary (a journal, a damaged file, a newer schema) is the state store's to judge, so
what is told here is always what `StateStore.peek` would tell.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from update_all.core import paths
from update_all.core.errors import StateError
from update_all.core.json_reading import Reader, loads
from update_all.core.names import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from update_all.core.models import JsonValue
    from update_all.core.transitions import PluginState

STATE_SCHEMA = 1
OUTCOMES = ("unfinished", "complete", "up-to-date")
_STATE_FILE = re.compile(r"(.+)\.json(?:\.prev|\.corrupt-\d+)?")
_CHECK_STATUS = ("up-to-date", "updates", "cannot-know")


class Failure:
    """The last step of a plugin that failed."""

    __slots__ = ("code", "message", "step")

    def __init__(self, step: str, code: str | None, message: str | None) -> None:
        self.step = step
        self.code = code
        self.message = message


class Summary:
    """What `status` shows of a plugin. `outcome` is one of OUTCOMES, `done` and `steps` are counts."""

    __slots__ = ("current_step", "done", "failure", "outcome", "plugin", "run_id", "steps", "updated")

    def __init__(
        self,
        plugin: str,
        run_id: str,
        outcome: str,
        *,
        done: int,
        steps: int,
        current_step: str | None,
        failure: Failure | None,
        updated: datetime | None,
    ) -> None:
        self.plugin = plugin
        self.run_id = run_id
        self.outcome = outcome
        self.done = done
        self.steps = steps
        self.current_step = current_step
        self.failure = failure
        self.updated = updated


def plugins_in(directory: Path) -> list[str]:
    """Names of the plugins that have a state there, also if only older or damaged files are left of it."""
    try:
        found = [_STATE_FILE.fullmatch(name) for name in os.listdir(directory)]  # noqa: PTH208 - names only
    except OSError:
        return []
    names = {match.group(1) for match in found if match is not None}
    return sorted(name for name in names if NAME.fullmatch(name))


def summary(directory: Path, plugin: str) -> Summary:
    """How a plugin stands by its files in `directory`; nothing is set aside.

    Raises StateError, and ValueError for a damaged state, as `StateStore.peek`.
    """
    path = directory / f"{plugin}.json"
    if not os.path.lexists(path.with_suffix(".journal")):
        try:
            found = summary_from(loads(paths.read_secure(path)))
            if found.plugin == plugin:
                return found
        except (StateError, ValueError, OSError):
            pass
    return _read_in_full(directory, plugin)


def _read_in_full(directory: Path, plugin: str) -> Summary:
    from update_all.core.state import StateStore

    return summary_of(StateStore(directory.parent).peek(plugin))


def summary_of(state: PluginState) -> Summary:
    """The same of a state in memory."""
    results = state.execution.step_results
    failed = next((name for name in reversed(results) if not results[name].success), None)
    return Summary(
        state.plugin,
        state.run_id,
        state.outcome.value,
        done=len(state.completed),
        steps=len(state.step_fingerprints),
        current_step=state.execution.current_step,
        failure=None
        if failed is None
        else Failure(failed, results[failed].error_code, results[failed].error_message),
        updated=state.execution.last_updated,
    )


def summary_from(value: JsonValue) -> Summary:
    """The summary of a state of today's schema. Raises ValueError wherever `state_json.state_from` would."""
    reader = Reader(value, "state")
    if reader.get("schema", int) != STATE_SCHEMA:
        raise ValueError("another schema")
    _check_the_rest(reader)
    failure = None
    for name, item in reader.table("step_results").items():
        result = Reader(item, f"state.step_results.{name}")
        if not _checked_result(result):
            failure = Failure(name, result.optional("error_code", str), result.optional("error_message", str))
    reader.time("started_at")
    return Summary(
        reader.get("plugin_name", str),
        reader.get("run_id", str),
        _one_of(reader, "outcome", OUTCOMES),
        done=len(set(reader.strings("completed_steps"))),
        steps=len(reader.table_of("step_fingerprints", str)),
        current_step=reader.optional("current_step", str),
        failure=failure,
        updated=reader.time("last_updated"),
    )


def _check_the_rest(reader: Reader) -> None:
    """What is not shown must be as it ought to be, or the state is damaged."""
    for name in ("fingerprint", "boot_id"):
        reader.get(name, str)
    for name in ("fruitless_resumes", "sequence"):
        reader.get(name, int)
    reader.table("facts")
    for item in reader.table("active").values():
        active = Reader(item, "state.active")
        active.get("attempt", int)
        active.get("commands", int)
    reader.table_of("attempts", int)
    for step, indices in reader.table("commands_done").items():
        if not isinstance(indices, list) or not all(type(index) is int for index in indices):
            raise ValueError(f"state.commands_done.{step} must hold numbers")
    if reader.data.get("versions_before") is not None:
        reader.table_of("versions_before", str)
    if reader.data.get("check") is not None:
        _check_check(Reader(reader.data["check"], "state.check"))


def _check_check(reader: Reader) -> None:
    _one_of(reader, "status", _CHECK_STATUS)
    reader.get("reason", str)
    reader.get("runnable", bool)
    _check_changes(reader, "updates")


def _check_changes(reader: Reader, name: str) -> None:
    for item in reader.items(name):
        change = Reader(item, "change")
        change.get("item", str)
        change.optional("old", str)
        change.optional("new", str)
        change.optional("size_bytes", int)
        change.get("security", bool, False)


_KINDS: Mapping[str, type] = {
    "skipped": bool,
    "output": str,
    "duration_seconds": float,
    "packages_updated": int,
    "up_to_date": bool,
}
_USAGE: Mapping[str, type] = {
    "cpu_seconds": float,
    "max_rss_bytes": int,
    "read_bytes": int,
    "written_bytes": int,
}


def _checked_result(reader: Reader) -> bool:
    """Whether the step succeeded. Raises ValueError for a result that cannot be read."""
    reader.get("step_name", str)
    for name in reader.data.keys() & _KINDS.keys():
        reader.get(name, _KINDS[name])
    for name in ("error_message", "error_code"):
        reader.optional(name, str)
    reader.optional("exit_code", int)
    _check_changes(reader, "changes")
    if reader.data.get("usage") is not None:
        usage = Reader(reader.data["usage"], "usage")
        for name in usage.data.keys() & _USAGE.keys():
            usage.get(name, _USAGE[name])
    return reader.get("success", bool)


def _one_of(reader: Reader, name: str, values: tuple[str, ...]) -> str:
    value = reader.get(name, str)
    if value not in values:
        raise ValueError(f"{reader.where}.{name} is {value!r:.60}")
    return value
