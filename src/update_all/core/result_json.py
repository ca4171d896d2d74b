"""The JSON form of results, changes and checks, as state and journal keep them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from update_all.core.json_reading import Reader
from update_all.core.models import Change, CheckResult, CheckStatus, JsonValue, StepResult, Usage

KEPT_OUTPUT = 256
KEPT_FAILED_OUTPUT = 4096
"""Characters of a step's output that its state keeps; the whole output is in the log."""


def _change_to(change: Change) -> dict[str, JsonValue]:
    return {
        "item": change.item,
        "old": change.old,
        "new": change.new,
        "size_bytes": change.size_bytes,
        "security": change.security,
    }


def _change_from(value: JsonValue) -> Change:
    reader = Reader(value, "change")
    return Change(
        item=reader.get("item", str),
        old=reader.optional("old", str),
        new=reader.optional("new", str),
        size_bytes=reader.optional("size_bytes", int),
        security=reader.get("security", bool, False),
    )


def check_to(check: CheckResult) -> dict[str, JsonValue]:
    return {
        "status": check.status.value,
        "updates": [_change_to(change) for change in check.updates],
        "reason": check.reason,
        "runnable": check.runnable,
    }


def check_from(reader: Reader) -> CheckResult:
    return CheckResult(
        status=CheckStatus(reader.get("status", str)),
        updates=tuple(_change_from(item) for item in reader.items("updates")),
        reason=reader.get("reason", str),
        runnable=reader.get("runnable", bool),
    )


def result_to(result: StepResult) -> dict[str, JsonValue]:
    """The JSON form of a result, with the end of its output only; fields at their default are left out."""
    data: dict[str, JsonValue] = {"step_name": result.step_name, "success": result.success}
    kept = KEPT_OUTPUT if result.success else KEPT_FAILED_OUTPUT
    optional: Mapping[str, JsonValue] = {
        "skipped": result.skipped,
        "output": result.output[-kept:],
        "error_message": result.error_message,
        "duration_seconds": round(result.duration_seconds, 6),
        "packages_updated": result.packages_updated,
        "up_to_date": result.up_to_date,
        "error_code": result.error_code,
        "changes": [_change_to(change) for change in result.changes],
    }
    data.update({name: value for name, value in optional.items() if value})
    if result.exit_code is not None:
        data["exit_code"] = result.exit_code
    if result.usage is not None:
        data["usage"] = {name: getattr(result.usage, name) for name in Usage.__dataclass_fields__}
    return data


def result_from(reader: Reader) -> StepResult:
    """Rebuild a result. Raises ValueError naming the field that is wrong."""
    usage = reader.data.get("usage")
    return StepResult(
        step_name=reader.get("step_name", str),
        success=reader.get("success", bool),
        skipped=reader.get("skipped", bool, False),
        output=reader.get("output", str, ""),
        error_message=reader.optional("error_message", str),
        duration_seconds=reader.get("duration_seconds", float, 0.0),
        packages_updated=reader.get("packages_updated", int, 0),
        exit_code=reader.optional("exit_code", int),
        changes=tuple(_change_from(item) for item in reader.items("changes")),
        up_to_date=reader.get("up_to_date", bool, False),
        error_code=reader.optional("error_code", str),
        usage=None if usage is None else _usage_from(Reader(usage, "usage")),
    )


def _usage_from(reader: Reader) -> Usage:
    return Usage(
        cpu_seconds=reader.get("cpu_seconds", float, 0.0),
        max_rss_bytes=reader.get("max_rss_bytes", int, 0),
        read_bytes=reader.get("read_bytes", int, 0),
        written_bytes=reader.get("written_bytes", int, 0),
    )
