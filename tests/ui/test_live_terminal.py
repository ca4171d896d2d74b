"""The live view in a real terminal (tmux): what is on the screen during and after a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

PLAYER = """
import sys, time
from pathlib import Path
from stories import LATER, middle_of_a_run, whole_run
from update_all.ui.printers import make_printer

signals, charset = Path(sys.argv[1]), sys.argv[2]
def wait_for(name, *clock):
    while not (signals / name).exists():
        for now in clock:
            printer.tick(now)
            time.sleep(0.02)

print("before")
printer = make_printer("live", sys.stdout)
events = whole_run()
for event in events[: len(middle_of_a_run())]:
    printer.handle(event)
wait_for("finish", LATER, LATER + 0.2)
for event in events[len(middle_of_a_run()) :]:
    printer.handle(event)
    printer.tick(event.timestamp.timestamp())
printer.close()
print("after", flush=True)
wait_for("leave", LATER + 100)
"""


class Terminal:
    """A tmux server of its own with one window, in which `script` runs."""

    def __init__(self, directory: Path, width: int, height: int, environment: dict[str, str]) -> None:
        self._socket = str(directory / "tmux")
        self._directory = directory
        script = directory / "player.py"
        script.write_text(PLAYER)
        exports = [f"{name}={value}" for name, value in environment.items()]
        path = f"PYTHONPATH={Path(__file__).parent}"
        command = ["env", path, *exports, sys.executable, str(script), str(directory), "x"]
        size = ["-x", str(width), "-y", str(height)]
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, *command)

    def tmux(self, *arguments: str) -> str:
        argv = ["tmux", "-u", "-S", self._socket, *arguments]
        return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20).stdout

    def signal(self, name: str) -> None:
        (self._directory / name).touch()

    def screen(self, *arguments: str) -> list[str]:
        return self.tmux("capture-pane", "-p", *arguments).rstrip("\n").split("\n")

    def wait(self, wanted: Callable[[list[str]], bool]) -> list[str]:
        deadline = time.monotonic() + 20
        while not wanted(lines := self.screen()):
            assert time.monotonic() < deadline, lines
            time.sleep(0.03)
        return lines


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def opener(width: int, height: int, environment: dict[str, str]) -> Terminal:
        opened.append(Terminal(tmp_path, width, height, environment))
        return opened[-1]

    yield opener
    for terminal in opened:
        terminal.signal("leave")
        subprocess.run(["tmux", "-S", terminal._socket, "kill-server"], check=False, capture_output=True)


UTF8 = {"LC_ALL": "C.UTF-8", "TERM": "screen"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TERM": "screen", "NO_COLOR": "1"}


@pytest.mark.parametrize(
    ("width", "height", "environment", "charset"),
    [
        (40, 10, UTF8, "unicode"),
        (80, 24, UTF8, "unicode"),
        (80, 24, ASCII, "ascii"),
        (200, 60, UTF8, "unicode"),
    ],
)
def test_screen_during_and_after_a_run(
    open_terminal: Callable[..., Terminal],
    width: int,
    height: int,
    environment: dict[str, str],
    charset: str,
) -> None:
    terminal = open_terminal(width, height, environment)
    golden = Path(__file__).parent / "screens" / f"live-{width}x{height}-{charset}.txt"
    rows = golden.read_text(encoding="utf-8").splitlines()
    lines = terminal.wait(lambda lines: rows[-1] in lines)
    assert lines[0] == "before"
    assert lines[-len(rows) :] == rows
    assert len(lines) == 1 + 3 + len(rows)
    assert terminal.tmux("display-message", "-p", "#{cursor_flag}").strip() == "0"
    terminal.signal("finish")
    terminal.wait(lambda lines: "after" in lines)
    lines = terminal.screen("-S", "-")
    finished = [
        "apt:",
        "rustup",
        "texlive",
        "apt",
        "snap",
        "日本語ツール" if charset == "unicode" else "??????",
    ]
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line.split()[1] for line in lines[1:-1]] == finished
    assert terminal.tmux("display-message", "-p", "#{cursor_flag} #{wrap_flag}").split() == ["1", "1"]


def test_resized_window_shows_the_rows_of_its_new_size(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal(80, 24, UTF8)
    screens = Path(__file__).parent / "screens"
    wide = (screens / "live-80x24-unicode.txt").read_text(encoding="utf-8").splitlines()
    narrow = (screens / "live-40x10-unicode.txt").read_text(encoding="utf-8").splitlines()
    terminal.wait(lambda lines: wide[-1] in lines)
    terminal.tmux("resize-window", "-x", "40", "-y", "10")
    lines = terminal.wait(lambda lines: lines[-len(narrow) :] == narrow)
    assert sum(narrow[-1] in line for line in lines) == 1
    terminal.tmux("resize-window", "-x", "80", "-y", "24")
    terminal.wait(lambda lines: lines[-len(wide) :] == wide)
    terminal.signal("finish")
    lines = terminal.wait(lambda lines: "after" in lines)
    assert not any("steps" in line for line in lines[-6:])
