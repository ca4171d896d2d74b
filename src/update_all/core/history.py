"""The history of all runs, in SQLite: what ran, how long it took, what changed.

A run does not depend on its history: every failure is a StateError, to be shown as a warning.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from update_all.core.errors import SKIPPED_BY_HAND
from update_all.core.history_database import Database
from update_all.core.models import Change, StepResult, Usage

_STEP_COLUMNS = (
    "run, plugin, step, outcome, ended, seconds, exit_code, error_code, error_message,"
    " cpu_seconds, max_rss_bytes, read_bytes, written_bytes"
)
_RUN_QUERY = (
    "SELECT id, started, ended, exit_code, interrupted,"
    " (SELECT count(DISTINCT plugin) FROM steps WHERE run = runs.id),"
    " (SELECT count(DISTINCT plugin) FROM steps WHERE outcome = 'failed' AND id IN"
    " (SELECT max(id) FROM steps WHERE run = runs.id GROUP BY plugin, step)),"
    " (SELECT count(*) FROM changes WHERE run = runs.id)"
    " FROM runs"
)


class Outcome(StrEnum):
    """How a step ended."""

    DONE = "done"
    UP_TO_DATE = "up-to-date"
    SKIPPED = "skipped"
    FAILED = "failed"
    NOT_RUN = "not-run"

    @classmethod
    def of(cls, result: StepResult) -> Outcome:
        if result.error_code == SKIPPED_BY_HAND:
            return cls.SKIPPED
        if not result.success:
            return cls.NOT_RUN if result.skipped else cls.FAILED
        if result.up_to_date:
            return cls.UP_TO_DATE
        return cls.SKIPPED if result.skipped else cls.DONE


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One end of a step; a step that was repeated by a resume has several."""

    plugin: str
    step: str
    outcome: Outcome
    ended: datetime
    seconds: float
    exit_code: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run. `ended` and `exit_code` are None while it runs, or when it was killed.

    The numbers count plugins, plugins whose last word was a failure, and changes.
    """

    id: str
    started: datetime
    ended: datetime | None
    exit_code: int | None
    interrupted: bool
    plugins: int
    failed: int
    changes: int


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A run with its steps in the order in which they ended, and its changes by plugin."""

    run: RunRecord
    steps: tuple[StepRecord, ...]
    changes: Mapping[str, tuple[Change, ...]]


@dataclass(frozen=True, slots=True)
class PluginResult:
    """How a plugin fared in the last run in which it took part; `failure` is None for a success."""

    run_id: str
    ended: datetime
    failure: StepRecord | None


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """What a run, which started then, made of an item's version; None: was not or is no longer there."""

    run_id: str
    started: datetime
    item: str
    old: str | None
    new: str | None


class History:
    """The database at `path`; its directory must exist and be private (paths.secure_directory).

    A damaged file is set aside as `history.db.corrupt-<n>` and a new one begun; `warnings` then says so. With
    `read_only` nothing is created or moved: a missing or damaged database is an empty one.

    The constructor and every method raise StateError: a newer schema, a file that is not private, no space,
    a read-only file system, a database that stays locked for five seconds. To be used from one thread.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._database = Database(path, read_only=read_only)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know about the database, so far."""
        return tuple(self._database.warnings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database. Safe to call twice; never raises."""
        self._database.close()

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """One transaction around several records; all or none are kept."""
        with self._database.transaction():
            yield

    def record_run_start(self, run_id: str, started: datetime) -> None:
        """A run starts, or is resumed: then it is no longer over."""
        self._write(
            "INSERT INTO runs (id, started) VALUES (?, ?)"
            " ON CONFLICT (id) DO UPDATE SET ended = NULL, exit_code = NULL, interrupted = 0",
            [(_text(run_id), started.timestamp())],
        )

    def record_run_end(
        self, run_id: str, ended: datetime, exit_code: int, *, interrupted: bool = False
    ) -> None:
        self._write(
            "UPDATE runs SET ended = ?, exit_code = ?, interrupted = ? WHERE id = ?",
            [(ended.timestamp(), _integer(exit_code), interrupted, _text(run_id))],
        )

    def record_step(self, run_id: str, plugin: str, result: StepResult, ended: datetime) -> None:
        """A step ended. Its changes are recorded by `record_changes`."""
        usage = result.usage
        row = (
            _text(run_id),
            _text(plugin),
            _text(result.step_name),
            Outcome.of(result).value,
            ended.timestamp(),
            result.duration_seconds,
            _integer(result.exit_code),
            _text(result.error_code),
            _text(result.error_message),
            usage and usage.cpu_seconds,
            usage and _integer(usage.max_rss_bytes),
            usage and _integer(usage.read_bytes),
            usage and _integer(usage.written_bytes),
        )
        marks = ", ".join("?" * len(row))
        self._write(f"INSERT INTO steps ({_STEP_COLUMNS}) VALUES ({marks})", [row])  # noqa: S608 - constants

    def record_changes(self, run_id: str, plugin: str, changes: Iterable[Change]) -> None:
        """What a run changed, in one transaction."""
        self._write(
            "INSERT INTO changes (run, plugin, item, old, new, size_bytes, security)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    _text(run_id),
                    _text(plugin),
                    _text(change.item),
                    _text(change.old),
                    _text(change.new),
                    _integer(change.size_bytes),
                    change.security,
                )
                for change in changes
            ],
        )

    def durations(
        self, limit: int = 10, *, since: datetime | None = None
    ) -> dict[tuple[str, str], list[float]]:
        """(plugin, step) → seconds of its last successful ends, newest first, at most `limit` each.

        With `since` those that ended then or later.
        """
        rows = self._read(
            "SELECT plugin, step, seconds FROM (SELECT plugin, step, seconds, id, row_number() OVER"
            " (PARTITION BY plugin, step ORDER BY id DESC) AS age FROM steps"
            " WHERE outcome = 'done' AND ended >= ?) WHERE age <= ? ORDER BY plugin, step, id DESC",
            (_seconds(since), limit),
        )
        found: dict[tuple[str, str], list[float]] = {}
        for plugin, step, seconds in rows:
            found.setdefault((plugin, step), []).append(seconds)
        return found

    def runs(self, limit: int = 50, *, since: datetime | None = None) -> list[RunRecord]:
        """The last runs, newest first; with `since` those that started then or later."""
        query = f"{_RUN_QUERY} WHERE started >= ? ORDER BY started DESC, rowid DESC LIMIT ?"
        return [_run_record(row) for row in self._read(query, (_seconds(since), limit))]

    def run(self, run_id: str) -> RunDetails | None:
        """One run with all its steps and changes; None where there is no such run."""
        found = self._read(f"{_RUN_QUERY} WHERE id = ?", (_text(run_id),))
        if not found:
            return None
        steps = self._read(f"SELECT {_STEP_COLUMNS} FROM steps WHERE run = ? ORDER BY id", (_text(run_id),))  # noqa: S608
        changes: dict[str, list[Change]] = {}
        for plugin, item, old, new, size, security in self._read(
            "SELECT plugin, item, old, new, size_bytes, security FROM changes WHERE run = ? ORDER BY id",
            (_text(run_id),),
        ):
            changes.setdefault(plugin, []).append(Change(item, old, new, size, bool(security)))
        return RunDetails(
            _run_record(found[0]),
            tuple(_step_record(row) for row in steps),
            {plugin: tuple(made) for plugin, made in changes.items()},
        )

    def last_success(self) -> dict[tuple[str, str], datetime]:
        """(plugin, step) → when it last ran and succeeded."""
        rows = self._read(
            "SELECT plugin, step, max(ended) FROM steps WHERE outcome IN (?, ?) GROUP BY plugin, step",
            (Outcome.DONE, Outcome.UP_TO_DATE),
        )
        return {(plugin, step): _moment(ended) for plugin, step, ended in rows}

    def last_results(self) -> dict[str, PluginResult]:
        """Plugin → how it fared in the last run that it took part in."""
        rows = self._read(
            "WITH last AS (SELECT plugin, run FROM steps WHERE id IN"  # noqa: S608 - constants
            " (SELECT max(id) FROM steps GROUP BY plugin))"
            f" SELECT {_STEP_COLUMNS} FROM steps WHERE id IN (SELECT max(id) FROM steps"
            " JOIN last USING (plugin, run) GROUP BY plugin, step) ORDER BY id"
        )
        found: dict[str, PluginResult] = {}
        for row in rows:
            run_id, record = row[0], _step_record(row)
            before = found.get(record.plugin)
            failure = before.failure if before else None
            if failure is None and record.outcome is Outcome.FAILED:
                failure = record
            found[record.plugin] = PluginResult(run_id, record.ended, failure)
        return found

    def failure_rate(self, plugin: str, limit: int = 50, *, since: datetime | None = None) -> float | None:
        """The share, 0 to 1, of a plugin's last runs that ended with a failed step; None without any.

        With `since` of those whose steps ended then or later.
        """
        rows = self._read(
            "SELECT max(outcome = 'failed') FROM steps WHERE plugin = ? AND id IN"
            " (SELECT max(id) FROM steps WHERE plugin = ? AND ended >= ? GROUP BY run, step)"
            " GROUP BY run ORDER BY max(id) DESC LIMIT ?",
            (_text(plugin), _text(plugin), _seconds(since), limit),
        )
        return sum(row[0] for row in rows) / len(rows) if rows else None

    def versions(self, plugin: str, limit: int = 50, *, since: datetime | None = None) -> list[VersionRecord]:
        """What the last `limit` runs that changed anything of a plugin made of its items.

        The newest run comes first; the changes of one run are in the order in which they were recorded.
        With `since` those runs that started then or later.
        """
        rows = self._read(
            "WITH last AS (SELECT id, started, row_number() OVER (ORDER BY started DESC, rowid DESC) AS age"
            " FROM runs WHERE started >= ? AND id IN (SELECT run FROM changes WHERE plugin = ?))"
            " SELECT last.id, last.started, item, old, new FROM last JOIN changes ON changes.run = last.id"
            " WHERE plugin = ? AND age <= ? ORDER BY age, changes.id",
            (_seconds(since), _text(plugin), _text(plugin), limit),
        )
        return [VersionRecord(run, _moment(started), *made) for run, started, *made in rows]

    def _write(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        with self._database.transaction():
            self._database.run(lambda connection: connection.executemany(statement, rows))

    def _read(self, statement: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        return self._database.run(lambda connection: connection.execute(statement, values).fetchall())


def _run_record(row: tuple[Any, ...]) -> RunRecord:
    run_id, started, ended, exit_code, interrupted, plugins, failed, changes = row
    return RunRecord(
        id=run_id,
        started=_moment(started),
        ended=None if ended is None else _moment(ended),
        exit_code=exit_code,
        interrupted=bool(interrupted),
        plugins=plugins,
        failed=failed,
        changes=changes,
    )


def _step_record(row: tuple[Any, ...]) -> StepRecord:
    _, plugin, step, outcome, ended, seconds, exit_code, error_code, error_message, *usage = row
    return StepRecord(
        plugin=plugin,
        step=step,
        outcome=Outcome(outcome),
        ended=_moment(ended),
        seconds=seconds,
        exit_code=exit_code,
        error_code=error_code,
        error_message=error_message,
        usage=None if usage[0] is None else Usage(*usage),
    )


def _seconds(since: datetime | None) -> float:
    """The moment as the database keeps it; the beginning of time without one."""
    return 0.0 if since is None else since.timestamp()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(value: str | None) -> str | None:
    """Without the lone surrogates of undecodable bytes, which SQLite cannot hold."""
    return None if value is None else value.encode("utf-8", "replace").decode("utf-8")


def _integer(value: int | None) -> int | None:
    """Within the 64 bits of SQLite: a number from a tool's output can be any."""
    return None if value is None else max(-(2**63), min(value, 2**63 - 1))
