"""Privilege without a real password: what is wrapped, what is refused, what a refusal is taken for."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from update_all.core.errors import CommandNotFoundError
from update_all.core.privilege import Backend, Privilege, PrivilegeOutcome, Ticket
from update_all.core.queries import SILENT_ENVIRONMENT
from update_all.core.trusted_paths import (
    Lstat,
    UntrustedPathError,
    check_arguments,
    resolve_program,
    untrusted_part,
)

TRUE = str(resolve_program("true"))


def privilege(backend: Backend) -> Privilege:
    return Privilege(backend, Path(f"/usr/bin/{backend}"), terminal=False)


def test_sudo_never_asks_and_runs_an_absolute_program() -> None:
    argv = privilege(Backend.SUDO).wrap(["true", "-x", "a b"])
    assert argv == ["/usr/bin/sudo", "-n", "--", TRUE, "-x", "a b"]


def test_only_who_can_answer_is_asked() -> None:
    assert privilege(Backend.SUDO).wrap(["true"], ask=True) == ["/usr/bin/sudo", "--", TRUE]
    assert "--no-ask-password" in privilege(Backend.RUN0).wrap(["true"])
    assert "--no-ask-password" not in privilege(Backend.RUN0).wrap(["true"], ask=True)


@pytest.mark.parametrize(("body", "passed"), [("exit 0", ["A=b c"]), ('case "$*" in *=*) exit 1; esac', [])])
def test_sudo_is_given_variables_where_its_rules_are_wide_enough(
    tmp_path: Path, body: str, passed: list[str]
) -> None:
    fake = fake_sudo(tmp_path, tmp_path / "log", body)
    found = Privilege(Backend.SUDO, fake, terminal=False)
    assert found.wrap(["true"], {"A": "b c"}) == [str(fake), "-n", "--", TRUE]
    assert asyncio.run(found.authenticate()) is Ticket.UNTRIED
    assert found.wrap(["true"], {"A": "b c"}) == [str(fake), "-n", *passed, "--", TRUE]


def test_variables_of_the_other_backends() -> None:
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    assert "--setenv=DEBIAN_FRONTEND=noninteractive" in privilege(Backend.RUN0).wrap(["true"], env)
    assert privilege(Backend.DOAS).wrap(["true"], env) == ["/usr/bin/doas", "-n", "--", TRUE]


def test_root_gets_its_command_as_it_is() -> None:
    found = Privilege.find(euid=0)
    assert found.wrap(["./anything", "/tmp"], {"PATH": "/x"}) == ["./anything", "/tmp"]
    assert asyncio.run(found.authenticate()) is Ticket.NOT_NEEDED
    assert found.classify(1, "sudo: a password is required") is PrivilegeOutcome.COMMAND


@pytest.mark.parametrize(
    "name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "BASH_ENV", "PERL5LIB", "A B", "A=B", ""]
)
def test_variables_that_could_run_other_code_are_left_out(name: str) -> None:
    argv = privilege(Backend.RUN0).wrap(["true"], {name: "evil", "LC_ALL": "C.UTF-8"})
    assert "--setenv=LC_ALL=C.UTF-8" in argv
    assert not any("evil" in part for part in argv)


def test_what_silences_askers_can_always_be_given() -> None:
    argv = privilege(Backend.RUN0).wrap(["true"], SILENT_ENVIRONMENT)
    assert "--setenv=DEBIAN_FRONTEND=noninteractive" in argv


def test_the_backend_is_the_configured_one_or_the_first_installed(tmp_path: Path) -> None:
    for name in ("doas", "run0"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    directories = [str(tmp_path)]
    assert Privilege.find("auto", euid=1000, directories=directories).backend is Backend.DOAS
    assert Privilege.find("run0", euid=1000, directories=directories).program == tmp_path / "run0"
    missing = Privilege.find("sudo", euid=1000, directories=directories)
    assert asyncio.run(missing.authenticate()) is Ticket.UNTRIED
    with pytest.raises(CommandNotFoundError, match="true needs root, and sudo is not installed"):
        missing.wrap(["true"])


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake = fake_sudo(tmp_path, log, "exit 1")
    assert asyncio.run(Privilege(Backend.SUDO, fake, terminal=False).authenticate()) is Ticket.UNTRIED
    assert all(call.startswith("-n ") for call in calls(log))


def fake_sudo(tmp_path: Path, log: Path, body: str) -> Path:
    """A stand-in that records its calls: real sudo neither counts nor fails on demand."""
    fake = tmp_path / "sudo"
    fake.write_text(f'#!/bin/sh\necho "$* pgrp=$(cut -d" " -f5,6 /proc/$$/stat)" >> "{log}"\n{body}\n')
    fake.chmod(0o755)
    return fake


def calls(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - it is another process that is waited for
            await asyncio.sleep(0.01)


def test_the_ticket_is_kept_alive_from_this_session_until_the_last_root_step(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake = fake_sudo(tmp_path, log, "exit 0")

    async def scenario() -> None:
        async with Privilege(Backend.SUDO, fake, terminal=True, keepalive_seconds=0.001) as held:
            assert await held.authenticate() is Ticket.HELD
            await until(lambda: len(calls(log)) >= 4)
            for call in calls(log):
                assert call.startswith(("-n -v ", "-n UPDATE_ALL=1 -- true "))
                group, session = call.split("pgrp=")[1].split()
                assert int(session) == os.getsid(0)
                assert int(group) != os.getpgrp()
            await held.release()
            made = calls(log)
            assert len(asyncio.all_tasks()) == 1
        assert calls(log) == made
        assert not any(call.startswith("-k") for call in made)

    asyncio.run(scenario())


def test_a_ticket_that_cannot_be_kept_means_a_question_for_each_step(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fake = fake_sudo(tmp_path, log, f'test "$(wc -l < "{log}")" -lt 3')

    async def scenario() -> None:
        async with Privilege(Backend.SUDO, fake, terminal=True, keepalive_seconds=0.001) as lost:
            assert await lost.authenticate() is Ticket.HELD
            await until(lambda: lost.ticket is not Ticket.HELD)
            assert lost.ticket is Ticket.PER_STEP
        assert len(calls(log)) == 3

    asyncio.run(scenario())


def test_without_keepalive_nothing_runs_in_the_background(tmp_path: Path) -> None:
    fake = fake_sudo(tmp_path, tmp_path / "log", "exit 0")

    async def scenario() -> None:
        async with Privilege(Backend.SUDO, fake, terminal=True, keepalive_seconds=None) as held:
            assert await held.authenticate() is Ticket.HELD
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("backend", "text", "outcome"),
    [
        (Backend.SUDO, "sudo: a password is required\n", PrivilegeOutcome.PASSWORD_REQUIRED),
        (
            Backend.SUDO,
            "sudo: a terminal is required to read the password; either use …",
            PrivilegeOutcome.PASSWORD_REQUIRED,
        ),
        (Backend.SUDO, "noise\nsudo: 3 incorrect password attempts\n", PrivilegeOutcome.PASSWORD_REQUIRED),
        (Backend.SUDO, "sudo: interactive authentication is required", PrivilegeOutcome.PASSWORD_REQUIRED),
        (Backend.SUDO, "ann is not in the sudoers file.\n", PrivilegeOutcome.NOT_ALLOWED),
        (
            Backend.SUDO,
            "Sorry, user ann is not allowed to execute '/x' as root on h.",
            PrivilegeOutcome.NOT_ALLOWED,
        ),
        (Backend.SUDO, "sudo: I'm sorry ann. I'm afraid I can't do that", PrivilegeOutcome.NOT_ALLOWED),
        (
            Backend.SUDO,
            "sudo: sorry, you are not allowed to set the following environment variables: FOO",
            PrivilegeOutcome.ENVIRONMENT_REFUSED,
        ),
        (Backend.DOAS, "doas: Authorization required", PrivilegeOutcome.PASSWORD_REQUIRED),
        (Backend.DOAS, "doas: Operation not permitted", PrivilegeOutcome.NOT_ALLOWED),
        (Backend.RUN0, "Failed to start transient service unit: Access denied", PrivilegeOutcome.NOT_ALLOWED),
        (Backend.SUDO, "E: Could not get lock. sudo: a password is required? no", PrivilegeOutcome.COMMAND),
        (Backend.SUDO, "", PrivilegeOutcome.COMMAND),
    ],
)
def test_classify(backend: Backend, text: str, outcome: PrivilegeOutcome) -> None:
    assert privilege(backend).classify(1, text) is outcome
    assert privilege(backend).classify(100, text) is PrivilegeOutcome.COMMAND


def test_what_the_system_installed_is_trusted() -> None:
    assert resolve_program("/usr/bin/env") == Path("/usr/bin/env")
    assert untrusted_part(Path("/usr/bin")) is None
    assert untrusted_part(Path("/dev/null")) == (Path("/dev/null"), "can be written by others")
    check_arguments(["update", "-o", "/dev/null", "/nonexistent", "--x=/etc/passwd", "\0/", "a" * 5000])


def lstat_below(base: Path) -> Lstat:
    """As lstat, but all above `base` is root's alone, and so are files of the one who runs the tests."""

    def lstat(path: Path) -> os.stat_result:
        real = path.lstat()
        above = path != base and base not in path.parents
        mode = stat.S_IFDIR | 0o755 if above else real.st_mode
        uid = 0 if above or real.st_uid == os.geteuid() else real.st_uid
        return os.stat_result((mode, *real[1:4], uid, *real[5:10]))

    return lstat


@pytest.fixture
def bin_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir(mode=0o755)
    program = directory / "tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return directory


def resolve(directory: Path, name: str = "tool") -> Path:
    return resolve_program(name, [str(directory)], lstat=lstat_below(directory))


def test_a_program_and_its_directory_must_be_writable_by_nobody_else(bin_directory: Path) -> None:
    assert resolve(bin_directory) == bin_directory / "tool"
    (bin_directory / "tool").chmod(0o775)
    with pytest.raises(UntrustedPathError, match="can be written by others") as caught:
        resolve(bin_directory)
    assert f"{bin_directory}/tool" in caught.value.message
    assert f"chmod go-w {bin_directory}/tool" in caught.value.hint
    (bin_directory / "tool").chmod(0o755)
    bin_directory.chmod(0o757)
    with pytest.raises(UntrustedPathError, match=f"{bin_directory} can be written by others"):
        resolve(bin_directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_program_must_belong_to_root(bin_directory: Path) -> None:
    os.chown(bin_directory / "tool", 12345, -1)
    with pytest.raises(UntrustedPathError, match="belongs to user 12345"):
        resolve(bin_directory)


def test_a_link_is_followed_for_the_check_and_kept_in_the_answer(bin_directory: Path) -> None:
    (bin_directory / "name").symlink_to("tool")
    assert resolve(bin_directory, "name") == bin_directory / "name"
    (bin_directory / "tool").chmod(0o777)
    with pytest.raises(UntrustedPathError, match=f"{bin_directory}/tool"):
        resolve(bin_directory, "name")


def test_a_link_out_into_a_directory_of_others_is_refused(bin_directory: Path, tmp_path: Path) -> None:
    open_directory = bin_directory / "open"
    open_directory.mkdir()
    open_directory.chmod(0o777)
    (open_directory / "real").symlink_to("../tool")
    (bin_directory / "name").symlink_to(f"{bin_directory}/open/real")
    with pytest.raises(UntrustedPathError, match=f"{open_directory} can be written"):
        resolve(bin_directory, "name")


def test_the_first_trusted_program_is_taken(bin_directory: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    other.chmod(0o777)
    (other / "tool").write_text("#!/bin/sh\n")
    (other / "tool").chmod(0o755)
    directories = [str(other), str(bin_directory)]
    lstat = lstat_below(tmp_path)
    assert resolve_program("tool", directories, lstat=lstat) == bin_directory / "tool"


@pytest.mark.parametrize("name", ["no-such-program", "/usr/bin/no-such-program", "/etc/passwd", "/usr/bin"])
def test_what_is_no_program_is_not_found(name: str) -> None:
    with pytest.raises(CommandNotFoundError, match=name):
        resolve_program(name)


def test_a_relative_path_is_refused() -> None:
    with pytest.raises(UntrustedPathError, match="relative"):
        resolve_program("./tool")


@pytest.mark.parametrize("form", ["{}", "--config={}", "-c{}", "Dir::Etc={}", "file:{}", "a=1,b={}"])
def test_an_argument_that_others_can_change_is_refused(tmp_path: Path, form: str) -> None:
    config = tmp_path / "config"
    config.write_text("")
    config.chmod(0o666)
    with pytest.raises(UntrustedPathError, match="root must not read"):
        privilege(Backend.SUDO).wrap(["true", "-x", form.format(config)])
