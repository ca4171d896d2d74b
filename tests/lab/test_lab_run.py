"""One real run over several real tools at once, through the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from apt_root import AptRoot
from registry_npm import NpmRegistry
from registry_python import PythonIndex

from update_all.core.models import Change
from update_all.core.streaming import CheckEvent, CompletionEvent, StepStartEvent, StreamEvent

PROGRAMS = Path(sys.executable).parent
NAMES = ("apt", "npm", "uv-tools")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0
    or any(shutil.which(tool) is None for tool in ("apt-get", "dpkg-deb", "npm"))
    or not (PROGRAMS / "uv").exists(),
    reason="needs root, apt-get, npm and uv",
)


@pytest.fixture
def outdated(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AptRoot]:
    """A machine with one outdated package of each tool; its Debian root."""
    (home / "programs").mkdir()
    (home / "programs/uv").symlink_to(PROGRAMS / "uv")
    monkeypatch.setenv("PATH", f"{home}/programs:/usr/sbin:/usr/bin:/sbin:/bin")
    with ExitStack() as servers:
        apt = AptRoot(tmp_path, home)
        for name, value in apt.environment.items():
            monkeypatch.setenv(name, value)
        apt.publish("ua-lab-deb", "1.0")
        apt.start()
        servers.callback(apt.stop)
        npm = NpmRegistry()
        servers.callback(npm.stop)
        npm.publish("ua-lab-npm", "1.0.0")
        (home / ".npmrc").write_text(f"registry={npm.url}\nprefix={home}/prefix\n")
        index = PythonIndex()
        servers.callback(index.stop)
        index.publish("ua-lab-uv", "1.0")
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        for command in (
            ["apt-get", "-qq", "update"],
            ["apt-get", "-qq", "-y", "install", "ua-lab-deb"],
            ["npm", "install", "--global", "ua-lab-npm"],
            ["uv", "tool", "install", "ua-lab-uv"],
        ):
            subprocess.run(command, check=True, capture_output=True)
        apt.publish("ua-lab-deb", "2.0")
        npm.publish("ua-lab-npm", "2.0.0")
        index.publish("ua-lab-uv", "2.0")
        yield apt


def update_all(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAMS / "update-all"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def events(output: str) -> list[StreamEvent]:
    return [StreamEvent.from_dict(json.loads(line)) for line in output.splitlines()]


def changes(output: str) -> set[Change]:
    """Item, old and new of what the plugins say has changed."""
    completions = (event for event in events(output) if isinstance(event, CompletionEvent))
    return {Change(c.item, c.old, c.new) for event in completions for c in event.changes}


@pytest.mark.usefixtures("outdated")
def test_one_run_updates_every_tool_and_the_second_has_nothing_to_do() -> None:
    first = update_all("run", "--yes", "--progress", "jsonl", *NAMES)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-2000:]
    assert changes(first.stdout) == {
        Change("ua-lab-deb", "1.0", "2.0"),
        Change("ua-lab-npm", "1.0.0", "2.0.0"),
        Change("ua-lab-uv", "1.0", "2.0"),
    }
    second = update_all("run", "--yes", "--progress", "jsonl", *NAMES)
    assert second.returncode == 0, second.stdout[-3000:] + second.stderr[-2000:]
    answers = {e.plugin_name: e.status for e in events(second.stdout) if isinstance(e, CheckEvent)}
    assert answers == dict.fromkeys(NAMES, "up-to-date")
    assert not [event for event in events(second.stdout) if isinstance(event, StepStartEvent)]


def descendants(pid: int) -> list[int]:
    """The process and all below it, as /proc tells (proc(5), "children")."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += descendants(int(child))
    return found


def test_run_killed_in_the_middle_of_apt_is_resumed_to_the_end(outdated: AptRoot) -> None:
    outdated.publish("ua-lab-deb", "3.0", postinst="> /tmp/started\nsleep 2")
    process = subprocess.Popen(
        [str(PROGRAMS / "update-all"), "run", "--yes", "apt"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 30
    while not (outdated.root / "tmp/started").exists() and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.02)
    for pid in descendants(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    assert "half-configured" in outdated.status or any(outdated.journal.iterdir())

    resumed = update_all("resume", "--progress", "jsonl")
    assert resumed.returncode == 0, resumed.stdout[-3000:] + resumed.stderr[-2000:]
    ran = [event.step_name for event in events(resumed.stdout) if isinstance(event, StepStartEvent)]
    assert "download" not in ran
    assert "upgrade" in ran
    query = ["dpkg-query", "--show", "--showformat=${Version} ${db:Status-Abbrev}", "ua-lab-deb"]
    assert subprocess.run(query, check=True, capture_output=True, text=True).stdout == "3.0 ii "
    assert subprocess.run(["dpkg", "--audit"], check=True, capture_output=True).stdout == b""
