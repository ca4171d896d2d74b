"""`update-all report` on runs that the real program has made."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from cli_machine import Machine


def two_runs(machine: Machine) -> list[str]:
    machine.plugin("alpha", {"name": "one"}, {"name": "two", "cmd": ["false"]})
    machine.plugin("beta", {"name": "one"})
    for _ in range(2):
        assert machine.run("run", "--yes").code == 1
    return sorted(path.name for path in (machine.state / "runs").iterdir())


def test_the_page_of_the_newest_run_is_private_and_complete(machine: Machine) -> None:
    _, newest = two_runs(machine)
    ended = machine.run("report")
    path = Path(ended.out.strip())
    assert (ended.code, path) == (0, machine.state / "runs" / newest / "report.html")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text("utf-8")
    for part in ("alpha › two", "update-all resume alpha", newest, "Timeline"):
        assert part in text, part


def test_an_older_run_and_another_place(machine: Machine, tmp_path: Path) -> None:
    older, newest = two_runs(machine)
    place = tmp_path / "page.html"
    place.write_text("before")
    place.chmod(0o644)
    assert machine.run("report", older, "-o", str(place)).code == 0
    assert older in place.read_text("utf-8")
    assert newest not in place.read_text("utf-8")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_standard_output_takes_page_and_trace(machine: Machine) -> None:
    two_runs(machine)
    assert machine.run("report", "-o", "-").out.startswith("<!DOCTYPE html>")
    trace = json.loads(machine.run("report", "--trace", "-o", "-").out)
    names = {event["name"] for event in trace["traceEvents"] if event["ph"] == "X"}
    assert names == {"alpha:one", "alpha:two", "beta:one"}


def test_the_trace_has_a_file_of_its_own(machine: Machine) -> None:
    two_runs(machine)
    path = Path(machine.run("report", "--trace").out.strip())
    assert path.name == "trace.json"
    assert json.loads(path.read_text("utf-8"))["traceEvents"]


def test_unknown_runs_and_none_at_all_are_wrong_use(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one"})
    none = machine.run("report")
    assert (none.code, "update-all run" in none.err) == (2, True)
    machine.run("run", "--yes")
    assert machine.run("report", "2026").code == 2


def test_a_place_that_cannot_be_written_is_said(machine: Machine, tmp_path: Path) -> None:
    two_runs(machine)
    ended = machine.run("report", "-o", str(tmp_path / "missing" / "page.html"))
    assert ended.code == 1
    assert "missing/page.html" in ended.err


def test_a_link_is_not_written_through(machine: Machine, tmp_path: Path) -> None:
    two_runs(machine)
    target = tmp_path / "target"
    target.write_text("mine")
    link = tmp_path / "link.html"
    link.symlink_to(target)
    assert machine.run("report", "-o", str(link)).code == 0
    assert target.read_text() == "mine"
    assert not link.is_symlink()


def test_a_torn_journal_still_makes_a_page(machine: Machine) -> None:
    _, newest = two_runs(machine)
    journal = machine.state / "runs" / newest / "events.jsonl"
    data = journal.read_bytes()
    journal.write_bytes(data[: len(data) * 2 // 3] + b"\xff{not json\n")
    ended = machine.run("report", "-o", "-")
    assert ended.code == 0
    assert "not finished" in ended.out
