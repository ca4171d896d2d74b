"""Hooks, notifications and advice: nothing around a run can fail it or hold it up."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from update_all.cli.after_run import after_run, before_run, left_to_do, notification, notify, run_hook
from update_all.cli.envelope import run_document
from update_all.cli.planned import Planned
from update_all.cli.recording import Recorder
from update_all.core.aftermath import Aftermath
from update_all.core.config_schema import Config, HooksConfig, NotifyConfig
from update_all.core.models import Change, JsonValue
from update_all.core.streaming import (
    CompletionEvent,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StepStartEvent,
    StreamEvent,
)
from update_all.ui.view import RunView

DOCUMENT: dict[str, JsonValue] = {"schema": "update-all.run/1", "exit_code": 1}


def view_of(*events: StreamEvent, seconds: float = 60.0, code: int = 0) -> RunView:
    view = RunView()
    for event in (RunStartEvent(run_id="r"), *events, RunEndEvent(exit_code=code, duration_seconds=seconds)):
        view.apply(event)
    return view


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_hook_gets_the_document(tmp_path: Path) -> None:
    hook = script(tmp_path / "hook", f"cat > {tmp_path}/got; echo $1 >> {tmp_path}/got")
    assert asyncio.run(run_hook([hook, "word"], DOCUMENT)) == ""
    first, second = (tmp_path / "got").read_text().splitlines()
    assert (json.loads(first), second) == (DOCUMENT, "word")


def test_a_hook_below_home_is_found(private_environment: Path) -> None:
    script(private_environment / "hook", "touch ~/ran")
    assert asyncio.run(run_hook(["~/hook"], DOCUMENT)) == ""
    assert (private_environment / "ran").exists()


def test_a_hook_that_reads_nothing_is_fine_even_for_a_large_document() -> None:
    assert asyncio.run(run_hook(["true"], {"big": "x" * 5_000_000})) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("exit 3", "exited with 3"),
        ("echo one; echo the reason >&2; exit 1", "exited with 1: the reason"),
        ("printf 'a\\033[31mb\\n'; exit 1", "exited with 1: ab"),
        ("kill -9 $$", "exited with -9"),
    ],
)
def test_a_failing_hook_is_a_text(tmp_path: Path, text: str, problem: str) -> None:
    assert asyncio.run(run_hook([script(tmp_path / "hook", text)], DOCUMENT)) == problem


def test_a_hook_that_is_not_there_is_a_text() -> None:
    assert "could not be started" in asyncio.run(run_hook(["/nonexistent/hook"], DOCUMENT))


def test_a_hook_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    hook = script(tmp_path / "hook", f"sleep 60 & echo $! > {tmp_path}/child; wait")
    assert "was ended after" in asyncio.run(run_hook([hook], DOCUMENT, timeout=1.0))
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < deadline


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_a_child_that_a_hook_leaves_behind_holds_nothing_up(tmp_path: Path) -> None:
    hook = script(tmp_path / "hook", f"sleep 60 & echo $! > {tmp_path}/child")
    try:
        assert asyncio.run(run_hook([hook], DOCUMENT, timeout=30.0)) == ""
        assert alive(int((tmp_path / "child").read_text()))
    finally:
        os.kill(int((tmp_path / "child").read_text()), 9)


def test_hooks_of_the_configuration_run_at_their_time(tmp_path: Path) -> None:
    before = script(tmp_path / "before", f"cat > {tmp_path}/before.json")
    hooks = HooksConfig(before=(before,), after=("/nonexistent/after",))
    config = dataclasses.replace(Config(), hooks=hooks)
    assert asyncio.run(before_run(config, DOCUMENT)) == []
    assert json.loads((tmp_path / "before.json").read_text()) == DOCUMENT
    (problem,) = asyncio.run(after_run(config, DOCUMENT, view_of()))
    assert problem.startswith("the hook hooks.after (/nonexistent/after) could not be started")
    assert asyncio.run(before_run(Config(), DOCUMENT)) == []


FAILED = (
    StepStartEvent(plugin_name="apt", step_name="install"),
    StepEndEvent(plugin_name="apt", step_name="install", success=False, error_message="broke"),
    CompletionEvent(plugin_name="apt"),
)


def test_a_notification_says_how_it_went() -> None:
    assert notification(view_of())[0] == "update-all is done"
    title, text = notification(view_of(*FAILED, code=1))
    assert title.isascii()
    assert "failed" in title
    assert "Failed: apt" in text


class Topic(HTTPServer):
    """An ntfy topic on loopback; `status` None never answers."""

    def __init__(self, status: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status = status
        self.got: list[tuple[str, str, str]] = []
        self.release = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/my-topic"


class _Handler(BaseHTTPRequestHandler):
    server: Topic

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.got.append((self.path, self.headers["Title"], body))
        if self.server.status is None:
            self.server.release.wait(30)
        else:
            self.send_response(self.server.status)
            self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> Iterator[Topic]:
    server = Topic(getattr(request, "param", 200))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_ntfy_gets_one_post(topic: Topic) -> None:
    settings = NotifyConfig(ntfy=topic.address, after_seconds=30)
    assert asyncio.run(notify(settings, view_of(*FAILED, code=1))) == []
    ((path, title, body),) = topic.got
    assert (path, title) == ("/my-topic", "update-all: some steps failed")
    assert "Failed: apt" in body


def test_short_runs_tell_nobody(topic: Topic) -> None:
    settings = NotifyConfig(desktop=True, ntfy=topic.address, after_seconds=61)
    assert asyncio.run(notify(settings, view_of())) == []
    assert topic.got == []


@pytest.mark.parametrize(
    ("topic", "problem"), [(403, "403"), (302, "302"), (None, "within 2 s")], indirect=["topic"]
)
def test_a_server_that_refuses_or_hangs_is_a_text(topic: Topic, problem: str) -> None:
    (text,) = asyncio.run(notify(NotifyConfig(ntfy=topic.address), view_of()))
    assert problem in text


def test_a_server_that_is_not_there_is_a_text(topic: Topic) -> None:
    address = topic.address
    topic.shutdown()
    topic.server_close()
    for wrong in (address, "http://127.0.0.1:99999/x", "http://[::1/x"):
        (text,) = asyncio.run(notify(NotifyConfig(ntfy=wrong), view_of()))
        assert text.startswith("no ntfy notification")


def test_the_desktop_is_told_by_notify_send(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """notify-send needs a desktop: a script with its arguments stands in for it."""
    script(tmp_path / "notify-send", f'printf "%s\\n" "$@" > {tmp_path}/said')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert asyncio.run(notify(NotifyConfig(desktop=True), view_of())) == []
    said = (tmp_path / "said").read_text().splitlines()
    assert said[:3] == ["--app-name=update-all", "--", "update-all is done"]
    script(tmp_path / "notify-send", "sleep 60")
    (text,) = asyncio.run(notify(NotifyConfig(desktop=True), view_of()))
    assert "was ended after 2 s" in text
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    (text,) = asyncio.run(notify(NotifyConfig(desktop=True), view_of()))
    assert "notify-send is not installed" in text


def test_only_a_run_that_changed_something_looks_what_is_left(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/reboot-required").touch()
    assert left_to_do(view_of(), tmp_path).advice() == []
    changed = CompletionEvent(plugin_name="apt", success=True, changes=(Change("libc6", "1", "2"),))
    assert [label for label, _ in left_to_do(view_of(changed), tmp_path).advice()] == ["Restart needed"]


def test_what_is_left_to_do_is_in_the_document_of_the_run() -> None:
    left = Aftermath("kernel 6.2 installed, 6.1 running", ("ssh",), ("firefox",))
    document = run_document("r", 0, Recorder(), Planned(), left)
    assert document["reboot"] == {"needed": True, "why": "kernel 6.2 installed, 6.1 running"}
    assert (document["services"], document["programs"]) == (["ssh"], ["firefox"])
    nothing = run_document("r", 0, Recorder(), Planned(), Aftermath())
    assert nothing["reboot"] == {"needed": False, "why": ""}
