"""How each plugin fared last, read from the history without its values: `plugins list` needs no more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from update_all.core.errors import SKIPPED_BY_HAND
from update_all.core.history_database import Database

_QUERY = (
    "WITH last AS (SELECT plugin, run FROM steps WHERE id IN (SELECT max(id) FROM steps GROUP BY plugin))"
    " SELECT plugin, outcome, error_code, ended FROM steps WHERE id IN (SELECT max(id) FROM steps"
    " JOIN last USING (plugin, run) GROUP BY plugin, step) ORDER BY id"
)


_WORDS = ("failed", "skipped", "done")


def last_results(path: Path) -> Mapping[str, tuple[str, datetime]]:
    """Plugin → how the last run went that it took part in, and when that ended.

    "failed" if a step did, else "skipped" if a person has skipped one, else "done". The time is of the local
    zone. Raises StateError for a history that cannot be read.
    """
    database = Database(path, read_only=True)
    try:
        rows = database.run(lambda connection: connection.execute(_QUERY).fetchall())
    finally:
        database.close()
    found: dict[str, tuple[str, datetime]] = {}
    for plugin, outcome, error_code, ended in rows:
        word = "failed" if outcome == "failed" else "skipped" if error_code == SKIPPED_BY_HAND else "done"
        before = found[plugin][0] if plugin in found else word
        found[plugin] = (min(word, before, key=_WORDS.index), datetime.fromtimestamp(ended).astimezone())
    return found
