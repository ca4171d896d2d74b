"""Output of any amount, shape and content: memory bounded, logs complete, nothing hostile in them.

UPDATE_ALL_FAULT_BYTES sets the amount (default 100 MiB, a tenth of the full tier's 1 GiB); the long line is a
tenth of it.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from harness import Plugin, Scenario, Step, cleaning_up

from update_all.core.cleaning import Cleaner

AMOUNT = int(os.environ.get("UPDATE_ALL_FAULT_BYTES", str(100 << 20)))
MEMORY = 100 << 20
LINE = b"Get:1 http://deb.example.org/debian bookworm/main amd64 pkg amd64 1.0-1 [12.3 kB]\n"
SECRET = "hunter2-correct-horse"


def printing(code: str) -> list[str]:
    """A command whose Python code writes to `out`, a raw file."""
    return [sys.executable, "-I", "-S", "-c", f"import os, sys, time\nout = open(1, 'wb', 0)\n{code}"]


def flood(directory: Path, *commands: list[str]) -> Scenario:
    plugins = [Plugin(f"p{n}", [Step(f"s{n}", [command])]) for n, command in enumerate(commands)]
    return Scenario(directory, *plugins, jobs=len(commands))


def log_of(scenario: Scenario, step: str = "s0") -> Path:
    return Path(scenario.ends()[step].log)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def repeated(data: bytes, times: int) -> str:
    found = hashlib.sha256()
    for _ in range(times):
        found.update(data)
    return found.hexdigest()


def test_much_output_is_logged_whole_in_little_memory(tmp_path: Path) -> None:
    block, times = LINE * 1000, AMOUNT // (len(LINE) * 1000)
    scenario = flood(
        tmp_path / "run", printing(f"block = {LINE!r} * 1000\nfor _ in range({times}): out.write(block)")
    )
    with cleaning_up(scenario):
        report = scenario.run()

    assert report.exit == 0
    assert report.peak < MEMORY
    assert digest(log_of(scenario)) == repeated(block, times)


def test_one_long_line_is_logged_whole_in_little_memory(tmp_path: Path) -> None:
    block, times = b"0123456789abcdef" * 65536, max(1, AMOUNT // 10 >> 20)
    scenario = flood(
        tmp_path / "run",
        printing(f"block = b'0123456789abcdef' * 65536\nfor _ in range({times}): out.write(block)"),
    )
    with cleaning_up(scenario):
        report = scenario.run()

    assert report.exit == 0
    assert report.peak < MEMORY
    assert digest(log_of(scenario)) == repeated(block, times)


def test_slow_reader_of_the_events_costs_no_memory(tmp_path: Path) -> None:
    times = AMOUNT // (len(LINE) * 1000)
    scenario = flood(
        tmp_path / "run", printing(f"block = {LINE!r} * 1000\nfor _ in range({times}): out.write(block)")
    )
    with cleaning_up(scenario):
        report = scenario.run("--slowly", str(0.02 * (100 << 20) / AMOUNT))

    assert report.exit == 0
    assert report.peak < MEMORY


def test_twenty_steps_side_by_side_lose_no_line(tmp_path: Path) -> None:
    code = (
        "for n in range(100):\n"
        "    for m in range(10): out.write(b'step %d line %d\\n' % ({0}, n * 10 + m))\n"
        "    time.sleep(0.01)"
    )
    commands = [printing(code.replace("{0}", str(number))) for number in range(20)]
    scenario = flood(tmp_path / "run", *commands)
    with cleaning_up(scenario):
        report = scenario.run()

    assert report.exit == 0
    assert report.peak < MEMORY
    for number in range(20):
        expected = "".join(f"step {number} line {line}\n" for line in range(1000))
        assert log_of(scenario, f"s{number}").read_text() == expected


HOSTILE = [
    b"\x1b]0;title\x07\x1b[31mred\x1b[0m\n",
    b"  1%\r 50%\r100%\r\n",
    b"caf\xc3\xa9 \xff\xfe broken \xc3\n",
    b"\xe2\x80\xaeevil\xe2\x80\x8b\n",
    b"\x9b31m\x90payload\x9c\n",
    b"https://user:pass word@example.org/\n",
]


def test_log_is_what_the_cleaner_makes_of_it_however_it_was_cut(tmp_path: Path) -> None:
    data = b"".join(HOSTILE) * 20
    code = "for n in range(len(data)): out.write(data[n:n + 1]); n % 90 or time.sleep(0.01)"
    scenario = flood(tmp_path / "run", printing(f"data = {data!r}\n{code}"))
    with cleaning_up(scenario):
        assert scenario.run().exit == 0

    whole = Cleaner()
    assert log_of(scenario).read_bytes() == whole.feed(data) + whole.finish()
    assert not {0x1B, 0x0D, 0x07} & set(log_of(scenario).read_bytes())


def leaks(scenario: Scenario) -> list[str]:
    """The files of the run that hold the secret; raw output is discarded when a step has ended."""
    files = [path for path in scenario.state.rglob("*") if path.is_file()]
    return sorted(path.name for path in files if SECRET.encode() in path.read_bytes())


@pytest.mark.parametrize("cut", range(1, len(SECRET), 4))
def test_secret_cut_in_two_is_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", SECRET)
    parts = f"{SECRET[:cut]!r}, {SECRET[cut:]!r}"
    code = f"for part in ({parts}): out.write(part.encode()); time.sleep(0.15)\nout.write(b' end\\n')"
    scenario = flood(tmp_path / "run", printing(code), printing(code + f"\nsys.exit({SECRET!r})"))
    with cleaning_up(scenario):
        scenario.run()

    assert leaks(scenario) == []
    assert log_of(scenario).read_text() == "[redacted] end\n"


def test_without_cleaning_a_secret_would_be_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", SECRET)
    scenario = flood(tmp_path / "run", printing(f"out.write(b'{SECRET}\\n')"))
    with cleaning_up(scenario):
        scenario.run("--off", "cleaning")

    assert leaks(scenario) == ["p0:s0.log"]
