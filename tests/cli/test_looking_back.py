"""Looking back: what a person is told about past runs, and what a rollback leaves to be decided."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from typing import cast

import pexpect
import pytest
from cli_machine import Ended, Machine, finish

from update_all.core.history import History
from update_all.core.models import Change, JsonValue

INSTALLED = {"cmd": ["shelf", "list"], "columns": ["item", "version"]}
OUTDATED = {"cmd": ["shelf", "outdated"], "regex": r"^(?P<item>\S+) (?P<old>\S+) (?P<new>\S+)$"}


@pytest.fixture
def shelf(machine: Machine) -> Machine:
    """A machine whose shelf has had two updates of the book dune."""
    place = machine.root
    machine.tool(
        "shelf",
        f"cd {place}; case $1 in list) echo dune $(cat has);; "
        '*) test "$(cat has)" = "$(cat new)" || echo dune $(cat has) $(cat new);; esac',
    )
    update = {"name": "update", "cmd": ["cp", f"{place}/new", f"{place}/has"]}
    machine.plugin("shelf", update, installed=INSTALLED, outdated=OUTDATED)
    (place / "has").write_text("1.0\n")
    for version in ("1.1", "1.2"):
        (place / "new").write_text(f"{version}\n")
        assert machine.run("run", "--yes").code == 0
    return machine


def tables(ended: Ended, key: str) -> list[dict[str, JsonValue]]:
    return cast("list[dict[str, JsonValue]]", ended.json[key])


def test_the_history_of_a_plugin_tells_its_versions_newest_first(shelf: Machine) -> None:
    newest, oldest = [line.split()[0] for line in shelf.run("history").out.splitlines()]
    told = re.findall(r"(\S+)  dune  (\S+) → (\S+)$", shelf.run("history", "shelf").out, re.MULTILINE)
    assert told == [(newest, "1.1", "1.2"), (oldest, "1.0", "1.1")]


def test_the_past_of_a_plugin_is_found_behind_any_number_of_other_runs(shelf: Machine) -> None:
    before = shelf.run("history", "shelf").out
    with History(shelf.state / "history.db") as history, history.batch():
        for number in range(60):
            history.record_run_start(f"other-{number}", datetime(2999, 1, 1, tzinfo=UTC))
            history.record_changes(f"other-{number}", "other", [Change("dune", "7", "8")])
    assert shelf.run("history", "shelf").out == before
    assert before.count("dune") == 2


def test_the_past_of_a_plugin_is_as_long_as_one_asks_for(shelf: Machine) -> None:
    (only,) = tables(shelf.run("history", "shelf", "--limit", "1", "--json"), "changes")
    assert (only["item"], only["old"], only["new"]) == ("dune", "1.1", "1.2")
    assert only["run"] == shelf.run("history").out.split()[0]
    assert shelf.run("history", "shelf", "--limit", "1").out.count("dune") == 1
    assert len(tables(shelf.run("history", "shelf", "--json"), "changes")) == 2


def test_the_past_of_a_plugin_begins_when_one_says(shelf: Machine) -> None:
    with sqlite3.connect(shelf.state / "history.db") as database:
        oldest = database.execute("SELECT min(started) FROM runs").fetchone()[0]
        day = 24 * 3600
        database.execute("UPDATE runs SET started = started - ? WHERE started = ?", (9 * day, oldest))
        (first,) = database.execute("SELECT id FROM runs ORDER BY started LIMIT 1").fetchone()
        database.execute("UPDATE steps SET ended = ended - ? WHERE run = ?", (9 * day, first))
        database.execute("UPDATE steps SET outcome = 'failed' WHERE run = ?", (first,))
    assert "failed in 50% of its runs" in shelf.run("history", "shelf").out
    lately = shelf.run("history", "shelf", "--since", "7d").out
    assert "failed in 0% of its runs" in lately
    assert re.findall(r"dune  (\S+) → (\S+)$", lately, re.MULTILINE) == [("1.1", "1.2")]
    (step,) = tables(shelf.run("history", "shelf", "--since", "7d", "--json"), "steps")
    assert step["step"] == "update"
    assert isinstance(step["seconds"], list)
    assert len(step["seconds"]) == 1
    assert shelf.run("history", "shelf", "--since", "2999-01-01").out == (
        "shelf: nothing since 2999-01-01 00:00\n"
    )


def test_a_person_is_told_where_to_look_further_and_a_pipe_is_not(shelf: Machine) -> None:
    child = shelf.terminal("history", columns=120)
    child.expect(pexpect.EOF)
    assert "update-all report RUN" in str(child.before)
    assert "update-all rollback PLUGIN" in str(child.before)
    assert finish(child) == 0
    assert len(shelf.run("history").out.splitlines()) == 2


def test_a_failure_that_was_mended_by_a_resume_is_told_as_that(machine: Machine) -> None:
    mended = machine.root / "mended"
    machine.plugin("alpha", {"name": "one"}, {"name": "two", "cmd": ["test", "-e", str(mended)]})
    assert machine.run("run", "--yes").code == 1
    assert re.search(r"s  failed: ", machine.run("explain", "alpha").out)
    mended.touch()
    assert machine.run("resume").code == 0
    assert re.search(r"s  done, after it had failed: ", machine.run("explain", "alpha").out)
    assert re.search(r"s  done$", machine.run("explain", "alpha:one").out, re.MULTILINE)


def test_a_rollback_says_that_the_next_run_would_undo_it(machine: Machine) -> None:
    machine.python_plugin(
        "alpha",
        "from update_all.api import BasePlugin, UpdateCommand\n"
        "class Plugin(BasePlugin):\n"
        "    name, command = 'alpha', 'note'\n"
        "    def get_update_commands(self, dry_run=False): return [UpdateCommand(cmd=['note', 'ran'])]\n"
        "    async def rollback(self): return 'version 1 again'\n",
    )
    told = machine.run("rollback", "alpha")
    assert (told.code, told.err) == (0, "")
    assert "alpha: version 1 again" in told.out
    assert "update-all plugins disable alpha" in told.out
    assert machine.run("plugins", "disable", "alpha").code == 0
    assert "disable" not in machine.run("rollback", "alpha").out


VERSIONED = """from update_all.api import BasePlugin, StepError, UpdateCommand
class Plugin(BasePlugin):
    name, command = 'alpha', 'note'
    def get_update_commands(self, dry_run=False): return [UpdateCommand(cmd=['note', 'ran'])]
    async def installed_versions(self):
        return {'dune': open(HAS).read().strip()}
    async def rollback(self):
        if open(HAS).read() == '1.0': raise StepError('there is nothing to roll back')
        open(HAS, 'w').write('1.0')
        return 'version 1.0 again'
"""


def test_a_rollback_is_in_the_history(machine: Machine) -> None:
    has = machine.root / "has"
    machine.python_plugin("alpha", VERSIONED.replace("HAS", repr(str(has))))
    has.write_text("1.1")
    assert machine.run("run", "--yes").code == 0
    assert machine.run("rollback", "alpha").code == 0
    newest, _ = machine.run("history").out.splitlines()
    assert re.search(r"1 plugin +1 change +done$", newest)
    details = machine.run("history", newest.split()[0]).out
    assert re.search(r"alpha:rollback +done", details)
    assert "dune  1.1 → 1.0" in details
    assert "dune  1.1 → 1.0" in machine.run("history", "alpha").out
    reported = machine.run("report", newest.split()[0])
    assert (reported.code, reported.out) == (2, "")
    assert f"update-all history {newest.split()[0]}" in reported.err
    assert machine.run("rollback", "alpha").code == 1
    assert len(machine.run("history").out.splitlines()) == 2


def test_a_rollback_is_done_where_no_history_can_be_written(machine: Machine) -> None:
    has = machine.root / "has"
    machine.python_plugin("alpha", VERSIONED.replace("HAS", repr(str(has))))
    has.write_text("1.1")
    assert machine.run("run", "--yes").code == 0
    database = machine.state / "history.db"
    database.chmod(0o666)
    ended = machine.run("rollback", "alpha")
    assert (ended.code, has.read_text()) == (0, "1.0")
    assert "the history was not written" in ended.err


def test_a_plugin_whose_versions_cannot_be_told_is_warned_of(machine: Machine) -> None:
    has = machine.root / "has"
    source = VERSIONED.replace("open(HAS).read().strip()", "[]['dune']").replace("HAS", repr(str(has)))
    machine.python_plugin("alpha", source)
    machine.plugin("beta", {"name": "one"})
    has.write_text("1.1")
    ended = machine.run("run", "--yes")
    assert ended.code == 0
    assert re.search(r"alpha.*its installed versions: TypeError", ended.out)
    details = machine.run("history", machine.run("history").out.split()[0]).out
    assert re.search(r"alpha:\S+ +done", details)
    assert re.search(r"beta:one +done", details)
    rolled = machine.run("rollback", "alpha")
    assert (rolled.code, has.read_text()) == (0, "1.0")
    assert rolled.err.count("its installed versions: TypeError") == 1
    assert re.search(r" 0 changes +done$", machine.run("history").out.splitlines()[0])


def test_the_history_can_begin_some_time_ago(shelf: Machine) -> None:
    assert len(shelf.run("history", "--since", "1h").out.splitlines()) == 2
    assert len(shelf.run("history", "--since", "2001-02-03").out.splitlines()) == 2
    later = shelf.run("history", "--since", "2999-01-01")
    assert (later.code, later.out) == (0, "No run has been recorded since 2999-01-01 00:00.\n")
    for wrong in ("yesterday", "7", "-1d", "9999w9", "2026-13-01"):
        refused = shelf.run("history", f"--since={wrong}")
        assert refused.code == 2
        assert "as 12h, 7d or 2w" in refused.err
