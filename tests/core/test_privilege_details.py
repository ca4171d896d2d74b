"""The edges of privilege: when nobody is asked, what is started how, and what is left when it is over."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_privilege import TRUE, calls, fake_sudo, until

from update_all.core.privilege import KEEPALIVE_SECONDS, Backend, Privilege, Ticket


def installed(tmp_path: Path, *names: str) -> list[str]:
    for name in names:
        (tmp_path / name).write_text("#!/bin/sh\nexit 0\n")
        (tmp_path / name).chmod(0o755)
    return [str(tmp_path)]


@pytest.mark.parametrize(("stdin", "stderr"), [(False, False), (True, False), (False, True), (True, True)])
def test_somebody_can_be_asked_where_both_ends_are_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdin: bool, stderr: bool
) -> None:
    directories = installed(tmp_path, "sudo")
    monkeypatch.setattr("sys.stdin.isatty", lambda: stdin)
    monkeypatch.setattr("sys.stderr.isatty", lambda: stderr)
    assert Privilege.find(euid=1000, directories=directories).terminal is (stdin and stderr)
    assert Privilege.find(euid=1000, directories=directories, terminal=True).terminal
    assert not Privilege.find(euid=1000, directories=directories, terminal=False).terminal


def test_where_nobody_needs_or_can_give_a_ticket_there_is_no_terminal(tmp_path: Path) -> None:
    assert not Privilege.find(euid=0, terminal=True).terminal
    missing = Privilege.find(euid=1000, terminal=True, directories=[str(tmp_path)])
    assert (missing.backend, missing.program, missing.terminal) == (Backend.SUDO, None, False)


@pytest.mark.parametrize("keepalive", [True, False])
def test_the_ticket_is_kept_alive_unless_the_configuration_says_no(tmp_path: Path, keepalive: bool) -> None:
    directories = installed(tmp_path, "sudo")

    async def scenario() -> int:
        usual = Privilege.find(euid=1000, terminal=True, directories=directories)
        without = Privilege.find(euid=1000, terminal=True, directories=directories, keepalive=False)
        async with usual if keepalive else without as found:
            assert await found.authenticate() is Ticket.HELD
            return len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == (2 if keepalive else 1)
    assert 30 < KEEPALIVE_SECONDS < 60


def test_the_ticket_is_renewed_only_after_a_while(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake = fake_sudo(tmp_path, log, "exit 0")

    async def scenario() -> None:
        async with Privilege(Backend.SUDO, fake, terminal=True, keepalive_seconds=3600) as held:
            await held.authenticate()
            made = calls(log)
            for _ in range(3):
                await (await asyncio.create_subprocess_exec("true")).wait()
            assert calls(log) == made

    asyncio.run(scenario())


def test_leaving_ends_the_keeper_and_gives_back_once_what_was_got(tmp_path: Path) -> None:
    log = tmp_path / "log"
    held_now = tmp_path / "held"
    body = f'case "$*" in -v*) touch {held_now};; -k*) rm {held_now};; *) test -e {held_now};; esac'
    fake = fake_sudo(tmp_path, log, body)

    async def scenario() -> None:
        async with Privilege(Backend.SUDO, fake, terminal=True) as found:
            assert await found.authenticate() is Ticket.HELD
            assert len(asyncio.all_tasks()) == 2
        assert len(asyncio.all_tasks()) == 1
        assert (found.ticket, held_now.exists()) == (Ticket.UNTRIED, False)
        await found.release()
        assert [call.split()[0] for call in calls(log)].count("-k") == 1
        assert await found.authenticate() is Ticket.HELD
        assert len(asyncio.all_tasks()) == 2
        await found.release()

    asyncio.run(scenario())


def test_doas_is_asked_by_a_command_and_given_back_with_its_own_option(tmp_path: Path) -> None:
    log = tmp_path / "log"
    asked = tmp_path / "asked"
    fake = fake_sudo(tmp_path, log, f'case "$*" in "-- true"*) touch {asked};; -n*) test -e {asked};; esac')

    async def scenario() -> None:
        async with Privilege(Backend.DOAS, fake, terminal=True) as found:
            assert await found.authenticate() is Ticket.HELD

    asyncio.run(scenario())
    said = [call.partition(" pgrp=")[0] for call in calls(log)]
    assert said == ["-n -- true", "-- true", "-n -- true", "-L"]


def test_run0_is_asked_for_each_step_and_paints_nothing(tmp_path: Path) -> None:
    found = Privilege(Backend.RUN0, tmp_path / "run0", terminal=True)
    assert asyncio.run(found.authenticate()) is Ticket.PER_STEP
    front = [str(tmp_path / "run0"), "--no-ask-password", "--background="]
    assert found.wrap(["true", "x"], {"A": "b"}) == [*front, "--setenv=A=b", "--", TRUE, "x"]


def test_after_a_wrong_answer_nothing_more_is_tried(tmp_path: Path) -> None:
    log = tmp_path / "log"
    found = Privilege(Backend.SUDO, fake_sudo(tmp_path, log, "exit 1"), terminal=True)
    assert asyncio.run(found.authenticate()) is Ticket.REFUSED
    assert not any("UPDATE_ALL" in call for call in calls(log))


@contextmanager
def standard_input(path: Path) -> Iterator[None]:
    kept, opened = os.dup(0), os.open(path, os.O_RDONLY)
    try:
        os.dup2(opened, 0)
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(opened)


def test_only_the_question_gets_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    terminal = tmp_path / "terminal"
    terminal.touch()
    body = f'echo "$1 $(readlink /proc/$$/fd/0)" >> {tmp_path}/inputs; test "$1" = -v'
    found = Privilege(Backend.SUDO, fake_sudo(tmp_path, log, body), terminal=True)
    with standard_input(terminal):
        assert asyncio.run(found.authenticate()) is Ticket.PER_STEP
    inputs = dict(line.split() for line in (tmp_path / "inputs").read_text().splitlines())
    assert inputs == {"-n": "/dev/null", "-v": str(terminal)}


def test_a_question_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    body = (
        f'case "$*" in -v*) echo $$ > {begun}.new; mv {begun}.new {begun}; exec sleep 60;; *) exit 1;; esac'
    )
    found = Privilege(Backend.SUDO, fake_sudo(tmp_path, tmp_path / "log", body), terminal=True)

    async def scenario() -> None:
        asking = asyncio.create_task(found.authenticate())
        await until(begun.exists)
        asking.cancel()
        await asyncio.wait([asking], timeout=20)
        assert asking.cancelled()

    asyncio.run(scenario())
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)
