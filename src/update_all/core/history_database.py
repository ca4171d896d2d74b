"""The SQLite file under the history: its schema, its privacy, and what happens when it is damaged.

Write-ahead log with `synchronous=NORMAL` (SQLite documentation, "Write-Ahead Logging"): a commit costs no
flush, and a power cut can lose the last commits but not damage the database.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
from collections.abc import Callable, Iterator
from enum import Enum, auto
from pathlib import Path
from typing import TypeVar

from update_all.core.errors import StateError
from update_all.core.paths import check_private_file

SCHEMA_VERSION = 1
BUSY_SECONDS = 5.0
MAX_SET_ASIDE = 5

_SCHEMA = (
    "CREATE TABLE runs (id TEXT PRIMARY KEY, started REAL NOT NULL, ended REAL, exit_code INTEGER,"
    " interrupted INTEGER NOT NULL DEFAULT 0)",
    "CREATE TABLE steps (id INTEGER PRIMARY KEY, run TEXT NOT NULL, plugin TEXT NOT NULL, step TEXT NOT NULL,"
    " outcome TEXT NOT NULL, ended REAL NOT NULL, seconds REAL NOT NULL, exit_code INTEGER,"
    " error_code TEXT, error_message TEXT, cpu_seconds REAL, max_rss_bytes INTEGER, read_bytes INTEGER,"
    " written_bytes INTEGER)",
    "CREATE TABLE changes (id INTEGER PRIMARY KEY, run TEXT NOT NULL, plugin TEXT NOT NULL,"
    " item TEXT NOT NULL, old TEXT, new TEXT, size_bytes INTEGER, security INTEGER NOT NULL)",
    "CREATE INDEX runs_by_start ON runs (started)",
    "CREATE INDEX steps_by_run ON steps (run, plugin, step)",
    "CREATE INDEX steps_by_plugin ON steps (plugin, run)",
    "CREATE INDEX durations ON steps (plugin, step, id, seconds) WHERE outcome = 'done'",
    "CREATE INDEX changes_by_run ON changes (run)",
    "CREATE INDEX changes_by_item ON changes (plugin, item)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
_TABLES = {"runs", "steps", "changes"}
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_Result = TypeVar("_Result")


class _Content(Enum):
    """What a readable file holds; NOTHING where another process is just about to make the tables."""

    HISTORY = auto()
    NOTHING = auto()
    FOREIGN = auto()


class Database:
    """A connection to `path`, made anew when the file turns out to be damaged; `warnings` then says so.

    With `read_only`, a missing or damaged database is an empty one, and no file is created or moved. All
    methods raise StateError.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        self.warnings: list[str] = []
        with self._typed():
            self._connection = self._open()

    def close(self) -> None:
        """Safe to call twice; never raises."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def run(self, action: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """The result of an action; on a damaged file, of a second try on a new one."""
        with self._typed():
            try:
                return action(self._connection)
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise
            self.close()
            self._connection = self._open_after_damage()
            return action(self._connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in the block, or nothing; a block within a block is part of the outer one."""
        if self._connection.in_transaction:
            yield
            return
        self.run(lambda connection: connection.execute("BEGIN IMMEDIATE"))
        try:
            yield
            # After damage in the block, the new connection has no transaction open.
            if self._connection.in_transaction:
                self.run(lambda connection: connection.execute("COMMIT"))
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _open(self) -> sqlite3.Connection:
        if not self._is_there():
            return self._in_memory() if self.read_only else self._create()
        connection = self._connect()
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            content = self._content(connection)
            if content is _Content.NOTHING and not self.read_only:
                self._make_schema(connection)
                content = _Content.HISTORY
        except sqlite3.Error as error:
            connection.close()
            if not _is_damage(error):
                raise
            return self._open_after_damage()
        except BaseException:
            connection.close()
            raise
        if content is _Content.HISTORY:
            return connection
        connection.close()
        return self._in_memory() if content is _Content.NOTHING else self._open_after_damage()

    def _open_after_damage(self) -> sqlite3.Connection:
        if self.read_only:
            self.warnings.append(f"{self.path} is damaged and was left alone; the next run sets it aside")
            return self._in_memory()
        aside = self._set_aside()
        self.warnings.append(f"{self.path} was damaged: it is now {aside}, and a new history begins")
        return self._create()

    def _is_there(self) -> bool:
        try:
            status = self.path.lstat()
        except FileNotFoundError:
            return False
        check_private_file(self.path, status)
        return status.st_size > 0

    def _create(self) -> sqlite3.Connection:
        # SQLite gives its -wal and -shm files the mode of the database.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            self._make_schema(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _in_memory(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self._make_schema(connection)
        return connection

    def _make_schema(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            # Another process may have made it while this one waited.
            if self._content(connection) is _Content.NOTHING:
                for statement in _SCHEMA:
                    connection.execute(statement)

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rw"
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)

    def _content(self, connection: sqlite3.Connection) -> _Content:
        """What the file holds. Raises StateError for a newer schema."""
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StateError(
                f"{self.path} was written by a newer update-all (schema {version}, this one knows"
                f" {SCHEMA_VERSION}); it is left untouched",
                hint=f"use that version, or: mv {self._quoted} {self._quoted}.newer",
            )
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version == SCHEMA_VERSION and names >= _TABLES:
            return _Content.HISTORY
        return _Content.NOTHING if version == 0 and not names else _Content.FOREIGN

    def _set_aside(self) -> Path:
        numbers = range(1, MAX_SET_ASIDE + 1)
        candidates = [self.path.with_name(f"{self.path.name}.corrupt-{number}") for number in numbers]
        aside = next((path for path in candidates if not path.exists()), candidates[-1])
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            # The log belongs to the damaged file; a new database must not find it.
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
        return aside

    @property
    def _quoted(self) -> str:
        return shlex.quote(str(self.path))

    @contextlib.contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StateError(
                f"the history {self.path} cannot be used: {error}", hint="update-all doctor"
            ) from error


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _DAMAGE
