"""Live view: twenty running steps of a thousand lines a second each, in a terminal of 100 columns."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

from benchmarks.context import Context, write_config, write_toml_plugins
from benchmarks.measuring import (
    BenchmarkError,
    Contestant,
    Sample,
    Stopwatch,
    constant,
    interleave,
    with_value,
)
from benchmarks.rows import Row, at_most

TOPIC = "Live view"
MOST_OF_A_CORE = 0.03

_TALKER = """
import sys, time
line = "unpacking something of some length from the archive of a package\\n"
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    sys.stdout.write(line * 20)
    sys.stdout.flush()
    time.sleep(0.02)
"""
_PLUGIN = """schema = 1
name = "{name}"
description = "A tool that talks"
[detect]
command = "sh"
[[step]]
name = "talk"
description = "Talk"
cmd = [{python}, {script}, "{seconds}"]
"""


def bench(context: Context) -> Iterator[Row]:
    count, seconds = (3, 1.0) if context.quick else (20, 6.0)
    home = context.directory("home")
    script = home / "talker.py"
    script.write_text(_TALKER)
    names = [f"talker{number:02}" for number in range(count)]
    quoted = {"python": json.dumps(sys.executable), "script": json.dumps(str(script)), "seconds": seconds}
    write_toml_plugins(
        home / "config/update-all/plugins.d", {name: _PLUGIN.format(name=name, **quoted) for name in names}
    )
    write_config(home, names)
    contestants: dict[str, Contestant] = {
        mode: _contestant(context, home, mode, count) for mode in ("live", "none")
    }
    results = interleave(contestants, context.rounds(3))
    more = [
        with_value(live, live.value - none.value)
        for live, none in zip(results["live"], results["none"], strict=True)
    ]
    work = f"{count} steps, 1,000 lines/s each: CPU above --progress none"
    note = f"of a core; without a view: {min(s.value for s in results['none']):.1%}"
    yield Row(TOPIC, work, "limit", more, constant(MOST_OF_A_CORE), at_most(1), unit="%", note=note)
    work = f"{count} steps, 1,000 lines/s each: share of a core"
    yield Row(TOPIC, work, "--progress none", results["live"], results["none"], unit="%")


def _contestant(context: Context, home: Path, mode: str, jobs: int) -> Contestant:
    def contest() -> Sample:
        used = home / "used.json"
        argv = [sys.executable, "-m", "benchmarks.observed", used, "run", "--yes", "--progress", mode]
        with Stopwatch() as watch:
            code = _in_terminal(
                [*map(str, argv), "--jobs", str(jobs)], context.environment(home) | {"TERM": "xterm-256color"}
            )
        if code:
            raise BenchmarkError(f"update-all run --progress {mode} ended with {code}")
        figures = json.loads(used.read_text())
        return watch.sample(figures["cpu"], figures["cpu"] / figures["seconds"])

    return contest


def _in_terminal(argv: list[str], env: dict[str, str]) -> int:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    reader = Thread(target=_drain, args=(master,))
    reader.start()
    code = process.wait()
    reader.join()
    os.close(master)
    return code


def _drain(master: int) -> None:
    with suppress(OSError):  # EIO: nobody has the other side open any more.
        while os.read(master, 1 << 16):
            pass
