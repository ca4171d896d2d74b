"""The shim by itself: a real process, spoken to over its socket as any orchestrator would."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from update_all.core import shim
from update_all.core.evidence import is_locked

Message = dict[str, object]


class Conversation:
    """A shim and the socket to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.records = directory / "records"
        self.socket, theirs = socket.socketpair()
        self.socket.settimeout(10)
        descriptor = os.open(self.records, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", shim.__file__, str(directory)],
                stdin=theirs.fileno(),
                stdout=descriptor,
            )
        os.close(descriptor)
        self.answers = self.socket.makefile("r")

    def send(self, **message: object) -> None:
        self.socket.sendall(json.dumps(message).encode() + b"\n")

    def start(self, key: str, *argv: str, env: dict[str, str] | None = None, cwd: str | None = None) -> None:
        self.send(do="start", key=key, argv=list(argv), env=env or {}, cwd=cwd, session=False)

    def hear(self, did: str) -> Message:
        """The next message, which must be of this kind."""
        message: Message = json.loads(self.answers.readline())
        assert message["did"] == did, message
        return message

    def run(self, key: str, *argv: str, env: dict[str, str] | None = None, cwd: str | None = None) -> Message:
        """Start a command and hear of its end."""
        self.start(key, *argv, env=env, cwd=cwd)
        self.hear("started")
        return self.hear("exit")

    def output(self, key: str) -> str:
        return (self.directory / f"{key}.out").read_text()

    def recorded(self) -> list[Message]:
        return [json.loads(line) for line in self.records.read_text().splitlines()]

    def leave(self) -> None:
        self.answers.close()
        self.socket.close()


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Conversation]:
    conversation = Conversation(tmp_path)
    try:
        yield conversation
    finally:
        conversation.leave()
        conversation.process.kill()
        conversation.process.wait()


def eventually(question: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", -9)])
def test_end_is_recorded_and_told(talk: Conversation, script: str, code: int) -> None:
    end = talk.run("k", "sh", "-c", script)

    assert end["code"] == code
    del end["did"]
    assert talk.recorded()[1] == end
    assert talk.recorded()[0]["key"] == "k"


def test_both_streams_go_to_the_spool_in_order_and_stdin_is_empty(talk: Conversation) -> None:
    talk.run("k", "sh", "-c", "echo out; echo err >&2; cat; echo end")

    assert talk.output("k") == "out\nerr\nend\n"
    assert (talk.directory / "k.out").stat().st_mode & 0o777 == 0o600


def test_environment_is_the_orchestrators_with_the_commands_changes(talk: Conversation) -> None:
    talk.send(do="environment", env={"PATH": os.environ["PATH"], "A": "base", "B": "base"})
    talk.run("k", "sh", "-c", 'echo "$A $B ${HOME-none}"', env={"B": "own"})

    assert talk.output("k") == "base own none\n"


def test_directory_is_the_commands_and_not_kept(talk: Conversation, tmp_path: Path) -> None:
    talk.run("one", "pwd", cwd=str(tmp_path))
    talk.run("two", "pwd")

    assert (talk.output("one"), talk.output("two")) == (f"{tmp_path}\n", "/\n")


def test_command_has_a_group_of_its_own_and_default_signals(talk: Conversation) -> None:
    talk.run("k", "sh", "-c", "ps -o pid,pgid,sid --no-headers -p $$")
    # The command itself, no shell: a shell blocks signals while it starts a program.
    talk.run("signals", "grep", "Sig[IB]", "/proc/self/status")

    pid, group, session = map(int, talk.output("k").split())
    assert pid == group
    assert session == os.getsid(0)
    # The C library keeps two signals for itself, which are no valid ones.
    ours = sum(1 << (number - 1) for number in signal.valid_signals())
    masks = talk.output("signals").splitlines()
    assert [int(line.split()[1], 16) & ours for line in masks] == [0, 0]


def test_third_party_gets_a_session_of_its_own(talk: Conversation) -> None:
    argv = ["sh", "-c", "ps -o pid,sid --no-headers -p $$"]
    talk.send(do="start", key="k", argv=argv, env={}, cwd=None, session=True)
    talk.hear("started")
    talk.hear("exit")

    pid, session = map(int, talk.output("k").split())
    assert pid == session


def test_descriptors_of_the_shim_are_not_inherited(talk: Conversation) -> None:
    talk.run("k", "sh", "-c", "ls -l /proc/$$/fd")

    assert "socket:" not in talk.output("k")
    assert "records" not in talk.output("k")


@pytest.mark.parametrize(
    ("argv", "env", "cwd"),
    [
        (["no-such-program"], {}, None),
        (["/etc/passwd"], {}, None),
        (["true"], {}, "/no/such/directory"),
        (["true", "nul\0in it"], {}, None),
        (["true", "lone surrogate \ud800"], {}, None),
        (["true"], {"A=B": "c"}, None),
        (["true", *["x" * 100_000] * 100], {}, None),
    ],
)
def test_what_cannot_start_is_refused_and_the_next_one_starts(
    talk: Conversation, argv: list[str], env: dict[str, str], cwd: str | None
) -> None:
    talk.start("bad", *argv, env=env, cwd=cwd)
    refused = talk.hear("refused")

    assert int(str(refused["errno"])) > 0
    assert talk.recorded() == [{"key": "bad", "refused": refused["errno"]}]
    assert not is_locked(talk.directory / "bad.out")
    assert talk.run("good", "true")["code"] == 0


def test_key_is_never_started_twice(talk: Conversation) -> None:
    talk.run("k", "true")
    talk.start("k", "true")

    assert talk.hear("refused")["errno"] == 17


def test_lock_lives_as_long_as_any_process_of_the_command(talk: Conversation) -> None:
    talk.start("k", "sh", "-c", "(trap '' HUP; sleep 0.4) & exit 0")
    talk.hear("started")
    talk.hear("exit")

    assert is_locked(talk.directory / "k.out")
    eventually(lambda: not is_locked(talk.directory / "k.out"))


def test_shim_outlives_the_orchestrator_and_records_every_end(talk: Conversation) -> None:
    for key, seconds in (("a", "0.2"), ("b", "0.4")):
        talk.start(key, "sleep", seconds)
        talk.hear("started")
    talk.leave()

    assert is_locked(talk.records)
    assert talk.process.wait(timeout=10) == 0
    assert not is_locked(talk.records)
    assert [record["key"] for record in talk.recorded() if "code" in record] == ["a", "b"]


def test_idle_shim_ends_with_its_orchestrator(talk: Conversation) -> None:
    talk.run("k", "true")
    talk.leave()

    assert talk.process.wait(timeout=10) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_do_not_end_the_shim(talk: Conversation, number: signal.Signals) -> None:
    talk.run("before", "true")
    talk.process.send_signal(number)

    assert talk.run("after", "true")["code"] == 0


def test_orphans_of_commands_are_adopted_and_reaped(talk: Conversation) -> None:
    talk.run("k", "sh", "-c", "(sleep 0.2 & echo $!)")
    orphan = Path(f"/proc/{talk.output('k').strip()}")
    with contextlib.suppress(OSError):
        assert f"PPid:\t{talk.process.pid}\n" in (orphan / "status").read_text()

    eventually(lambda: not orphan.exists())


def test_messages_in_pieces_and_in_a_bunch(talk: Conversation) -> None:
    starts = [
        json.dumps({"do": "start", "key": str(n), "argv": ["true"], "env": {}, "cwd": None, "session": False})
        for n in range(3)
    ]
    data = ("\n".join(starts) + "\n").encode()
    for part in (data[:7], data[7:150], data[150:]):
        talk.socket.sendall(part)
        time.sleep(0.02)

    heard = [json.loads(talk.answers.readline()) for _ in range(6)]
    assert {(message["did"], message["key"]) for message in heard} == {
        (did, str(n)) for did in ("started", "exit") for n in range(3)
    }


def test_full_disk_costs_the_record_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "records").symlink_to("/dev/full")
    talk = Conversation(tmp_path)
    try:
        assert talk.run("k", "true")["code"] == 0
    finally:
        talk.leave()
        assert talk.process.wait(timeout=10) == 0


def test_usage_is_that_of_the_command(talk: Conversation) -> None:
    code = "x = bytearray(64 << 20); n = 0\nfor n in range(2_000_000): pass"
    end = talk.run("k", sys.executable, "-I", "-S", "-c", code)

    assert float(str(end["cpu"])) > 0
    assert 64 << 20 < int(str(end["rss"])) < 256 << 20


def test_start_ticks_tell_processes_apart_and_boots_have_names() -> None:
    assert shim.start_ticks(os.getpid()) > 0
    assert shim.start_ticks(2**22 + 1) == 0
    assert len(shim.boot_id()) == 36
