"""What the fault tests share: scenarios, runs in processes of their own, and the ledger of what happened."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from update_all.core.journal import JOURNAL, read_events
from update_all.core.models import JsonValue
from update_all.core.state import StateStore
from update_all.core.streaming import StepEndEvent, StreamEvent

HERE = Path(__file__).parent
TAG = "UPDATE_ALL_FAULT_TEST"
PATIENCE = 30.0
"""Seconds after which something that should happen will not."""


@dataclass(frozen=True)
class Entry:
    """A line of the ledger: a worker begins, ends, gets a signal, or meets itself."""

    what: str
    name: str
    detail: str


class Ledger:
    """What the steps did, written by themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def worker(self, name: str, seconds: float | Path, *ignore: str) -> list[str]:
        """The argument list of a worker (worker.py): how long it works, or the file that ends it."""
        options = [word for number in ignore for word in ("--ignore", number)]
        program = str(HERE / "worker.py")
        return [sys.executable, "-I", "-S", program, str(self.path), name, str(seconds), *options]

    def entries(self) -> list[Entry]:
        with contextlib.suppress(FileNotFoundError):
            lines = self.path.read_text().splitlines()
            return [Entry(*line.split(" ", 2)) for line in lines]
        return []

    def details(self, what: str, name: str | None = None) -> list[str]:
        """The details of one kind of entry, of one worker or all."""
        found = [entry for entry in self.entries() if entry.what == what]
        return [entry.detail for entry in found if name in (None, entry.name)]

    def count(self, what: str, name: str | None = None) -> int:
        return len(self.details(what, name))


@dataclass
class Step:
    """A step of a scenario; see run_driver.StepData."""

    name: str
    commands: list[list[str]]
    idempotent: bool = True
    uninterruptible: bool = False
    timeout: int | None = None
    depends_on: list[str] = field(default_factory=list)
    mutexes: list[str] = field(default_factory=list)
    check: str = ""


@dataclass
class Plugin:
    """A plugin of a scenario; see run_driver.PluginData."""

    name: str
    steps: list[Step]
    parallel: bool = False
    third_party: bool = False


@dataclass(frozen=True)
class Report:
    """What a run said at its end. `peak` is its peak memory in bytes; `warnings` came with the states."""

    exit: int
    message: str
    peak: int
    stdout: str
    stderr: str
    warnings: str


class Scenario:
    """A run in a directory of its own: to be started, killed and resumed.

    `token` is in the command lines of those of its processes that clear their environment.
    """

    def __init__(
        self, directory: Path, *plugins: Plugin, jobs: int = 16, grace: float = 0.5, token: str = ""
    ) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.plugins = plugins
        self.tag = str(directory)
        self.always: list[str] = []
        """Options of every run from now on."""
        self.token = token
        directory.mkdir(parents=True, exist_ok=True)
        data = {"plugins": [_plain(plugin) for plugin in plugins], "jobs": jobs, "grace": grace}
        (directory / "scenario.json").write_text(json.dumps(data))

    def argv(self, *options: str) -> list[str]:
        program = [sys.executable, str(HERE / "run_driver.py")]
        return [*program, str(self.state), str(self.directory / "scenario.json"), *self.always, *options]

    def environment(self) -> dict[str, str]:
        return {**os.environ, TAG: self.tag}

    @contextlib.contextmanager
    def started(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        """A run of the scenario in the background; killed at the end if it still is there."""
        process = subprocess.Popen(
            self.argv(*options),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        with process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def run(self, *options: str) -> Report:
        """Run to the end."""
        with self.started(*options) as process:
            return finished(process)

    def living(self) -> dict[int, str]:
        """Everything of this scenario that lives: pid → command line."""
        return dict(_living(self.tag, self.token))

    def cleaned_up(self) -> None:
        """End what a test left; for its end."""
        for pid in self.living():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def directory_of_run(self) -> Path:
        return max((self.state / "runs").iterdir())

    def events(self) -> list[StreamEvent]:
        return [event for event, _ in read_events(self.directory_of_run() / JOURNAL)]

    def ends(self) -> dict[str, StepEndEvent]:
        """The last end of each step."""
        return {event.step_name: event for event in self.events() if isinstance(event, StepEndEvent)}

    def completed(self) -> set[str]:
        """The steps that the recorded states call done."""
        store = StateStore(self.state)
        states = [store.load(plugin).state for plugin in store.plugins()]
        return {name for state in states if state is not None for name in state.completed}


@contextlib.contextmanager
def cleaning_up(*scenarios: Scenario) -> Iterator[None]:
    """Leave no process of the scenarios behind, whatever the test found."""
    try:
        yield
    finally:
        for scenario in scenarios:
            scenario.cleaned_up()


def _plain(plugin: Plugin) -> dict[str, object]:
    return {**vars(plugin), "steps": [vars(step) for step in plugin.steps]}


def finished(process: subprocess.Popen[str]) -> Report:
    """What a run reports once it has ended. A run that was killed reports nothing: exit is its code."""
    stdout, stderr = process.communicate(timeout=PATIENCE * 2)
    assert "Traceback" not in stderr, stderr
    lines = stdout.splitlines()
    data: JsonValue = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    values = cast("dict[str, JsonValue]", data)
    return Report(
        exit=process.returncode,
        message=str(values.get("message", "")),
        peak=int(str(values.get("peak", 0))),
        stdout=stdout,
        stderr=stderr,
        warnings=str(values.get("warnings", "")),
    )


def _living(tag: str, token: str) -> Iterator[tuple[int, str]]:
    wanted = f"{TAG}={tag}".encode()
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            alive = (directory / "stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
            line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            named = bool(token) and token in line
            if alive and (named or wanted in (directory / "environ").read_bytes().split(b"\0")):
                yield int(directory.name), line.strip()


def living(token: str) -> dict[int, str]:
    """Everything that lives with this token in its command line: pid → command line."""
    return {pid: line for pid, line in _living("", token) if token in line}


def find(living: dict[int, str], part: str) -> list[int]:
    """The pids whose command line holds `part`."""
    return [pid for pid, line in living.items() if part in line]


def kill(pids: Sequence[int], number: int = signal.SIGKILL) -> None:
    """Signal what is there of these processes."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_for(what: str, until: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until the callable `until` is true. Fails the test, naming `what`, when it never is."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
