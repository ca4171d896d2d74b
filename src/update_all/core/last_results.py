"""How each plugin fared last, read from the history without its values: `plugins list` needs no more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from update_all.core.history_database import Database

_QUERY = (
    "WITH last AS (SELECT plugin, run FROM steps WHERE id IN (SELECT max(id) FROM steps GROUP BY plugin))"
    " SELECT plugin, outcome, ended FROM steps WHERE id IN (SELECT max(id) FROM steps"
    " JOIN last USING (plugin, run) GROUP BY plugin, step) ORDER BY id"
)


def last_results(path: Path) -> Mapping[str, tuple[bool, datetime]]:
    """Plugin → whether a step failed in the last run that it took part in, and when that ended.

    The time is of the local zone. Raises StateError for a history that cannot be read.
    """
    database = Database(path, read_only=True)
    try:
        rows = database.run(lambda connection: connection.execute(_QUERY).fetchall())
    finally:
        database.close()
    found: dict[str, tuple[bool, datetime]] = {}
    for plugin, outcome, ended in rows:
        failed_before = plugin in found and found[plugin][0]
        found[plugin] = (failed_before or outcome == "failed", datetime.fromtimestamp(ended).astimezone())
    return found
