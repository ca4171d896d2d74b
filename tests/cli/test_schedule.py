"""`update-all schedule`: units that the real systemd-analyze accepts, and the line for cron.

No systemd runs where these tests do, so a script that notes its arguments stands in for systemctl, and a
folder of the test's own for the mark that systemd has booted the machine.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cli_machine import Machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.cli import schedule
from update_all.cli.schedule import Place, check_calendar, verify
from update_all.core.errors import NeedsInputError, StateError, UsageError
from update_all.core.timer_units import MARK, SERVICE, TIMER, cron_lines, service_unit, timer_unit, unit_word

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """systemd runs, as far as the program can tell; the file to which its calls are written."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "systemctl").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ ! -e {tmp_path}/broken ]\n'
    )
    (tools / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setattr(schedule, "BOOTED", tmp_path)
    return tmp_path / "calls"


def test_without_systemd_it_prints_a_line_for_cron(machine: Machine) -> None:
    if schedule.BOOTED.exists():
        pytest.skip("systemd runs here")
    ended = machine.run("schedule", "enable", "daily")
    assert ended.code == 0
    path, line = ended.out.splitlines()[1:]
    assert path == f"PATH={machine.env['PATH']}"
    assert re.match(r"\d+ \d+ \* \* \* /\S+ .*run --yes --no-input", line)
    assert machine.run("schedule", "enable", "Sun 04:00").code == 2
    assert machine.run("schedule", "status").code == 0
    assert machine.run("schedule", "disable").code == 0
    assert not (machine.root / "config/systemd").exists()


def test_enable_status_disable(booted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Place.of(system=False)
    assert schedule.enable(place, "daily") == 0
    service, timer = place.files
    assert service.parent == Path(os.environ["XDG_CONFIG_HOME"]) / "systemd/user"
    assert "OnCalendar=daily\n" in timer.read_text()
    assert "PATH=" in service.read_text()
    assert booted.read_text().splitlines()[:2] == [
        "--user daemon-reload",
        f"--user enable --now {TIMER}",
    ]
    capsys.readouterr()
    assert schedule.status(place) == 0
    assert "daily" in capsys.readouterr().out
    assert schedule.enable(place, "Sun *-*-* 04:00") == 0
    assert "Sun *-*-* 04:00" in timer.read_text()
    assert schedule.disable(place) == 0
    assert f"--user disable --now {TIMER}" in booted.read_text()
    assert not service.exists()
    assert not timer.exists()
    assert schedule.disable(place) == 0


def test_units_of_somebody_else_are_left_alone(booted: Path) -> None:
    place = Place.of(system=False)
    place.units.mkdir(parents=True)
    (place.units / TIMER).write_text("[Timer]\nOnCalendar=daily\n")
    with pytest.raises(StateError, match="not written by update-all"):
        schedule.enable(place, "daily")
    with pytest.raises(StateError, match="not written by update-all"):
        schedule.disable(place)
    assert (place.units / TIMER).read_text() == "[Timer]\nOnCalendar=daily\n"
    assert not (place.units / SERVICE).exists()


def test_a_manager_that_does_not_answer_is_an_error_with_a_hint(booted: Path) -> None:
    booted.with_name("broken").touch()
    with pytest.raises(StateError) as caught:
        schedule.enable(Place.of(system=False), "daily")
    assert "enable-linger" in caught.value.hint


def test_the_system_needs_root(booted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NeedsInputError):
        schedule.enable(Place(tmp_path / "system", True), "daily")
    assert not (tmp_path / "system").exists()


def test_the_system_has_units_of_its_own(
    booted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert Place.of(system=True).units == Path("/etc/systemd/system")
    assert schedule.enable(Place(tmp_path / "system", True), "weekly") == 0
    assert "network-online.target" in (tmp_path / "system" / SERVICE).read_text()
    assert booted.read_text().splitlines()[0] == "daemon-reload"


@needs_systemd
@pytest.mark.parametrize("system", [False, True])
def test_systemd_accepts_the_units(system: bool) -> None:
    command = [sys.executable, "-m", "update_all", "run", "--yes"]
    verify((service_unit(command, {"PATH": "/a b:/c%d"}, system=system), timer_unit("weekly")), system=system)


@needs_systemd
@pytest.mark.parametrize("system", [False, True])
@pytest.mark.parametrize(
    ("command", "line"),
    [(["/nonexistent/update-all"], ""), (["/bin/true"], "Unknwon=1"), (["/bin/true"], "Type=sometimes")],
)
def test_systemd_refuses_what_is_wrong(system: bool, command: list[str], line: str) -> None:
    service = service_unit(command, {}, system=system).replace("Nice=10", f"Nice=10\n{line}")
    with pytest.raises(StateError, match="systemd refuses"):
        verify((service, timer_unit("weekly")), system=system)


@needs_systemd
@pytest.mark.parametrize("calendar", ["whenever", "Sun 25:00", "", "-h"])
def test_what_is_no_time_is_wrong_use(calendar: str) -> None:
    with pytest.raises(UsageError):
        check_calendar(calendar)


@needs_systemd
@pytest.mark.parametrize("calendar", ["weekly", "daily", "Sun 04:00", "*-*-1 03:30"])
def test_what_is_a_time_is_taken(calendar: str) -> None:
    check_calendar(calendar)


WORDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=("C", "Z")) | st.just(" ")
)


@needs_systemd
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(word=WORDS, value=WORDS)
def test_any_word_can_stand_in_a_unit(tmp_path: Path, word: str, value: str) -> None:
    program = tmp_path / "a program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    service = service_unit([str(program), word], {"NAME": value}, system=False)
    verify((service, timer_unit("weekly")), system=False)


@pytest.mark.parametrize("text", ["a\nExecStart=/bin/sh", "a\x00", "a\x1b", ""])
def test_no_line_can_be_smuggled_in(text: str) -> None:
    with pytest.raises(UsageError):
        timer_unit(text)
    if text:
        with pytest.raises(UsageError):
            unit_word(text)


def test_a_unit_says_who_wrote_it_and_never_kills_a_transaction() -> None:
    service = service_unit(["/bin/true"], {}, system=True)
    assert service.startswith(MARK)
    assert {"SendSIGKILL=no", "KillMode=mixed", "Type=oneshot"} <= set(service.splitlines())


@given(st.lists(WORDS.filter(bool), min_size=1))
def test_the_shell_of_cron_reads_the_same_words(words: list[str]) -> None:
    line = cron_lines(words, "weekly", "/usr/bin").splitlines()[1]
    fields = line.split(" ", 5)
    assert len(fields[:5]) == 5
    # crontab(5): before the shell sees the command, `\%` becomes `%`.
    assert shlex.split(fields[5].replace("\\%", "%")) == words


def test_the_program_is_an_absolute_path_that_runs() -> None:
    done = subprocess.run([*schedule.program(), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("update-all ")
    assert Path(schedule.program()[0]).is_absolute()
