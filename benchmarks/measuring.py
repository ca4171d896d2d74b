"""Time programs side by side: every round runs each contestant once, so that all see the same machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Timer

LIMIT_SECONDS = 600.0
_TICKS = os.sysconf("SC_CLK_TCK")


class BenchmarkError(Exception):
    """A contestant did not do the work that was to be measured."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement and the machine beside it.

    `value` is in seconds where the row does not say otherwise, `cpu` in seconds of the process and all of its
    children, `load` the load average over a minute, `others` the cores that other programs kept busy.
    """

    value: float
    cpu: float = 0.0
    load: float = 0.0
    others: float = 0.0


Argv = Sequence[str | Path]
Contestant = Callable[[], Sample]
Results = dict[str, list[Sample]]


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ran to its end: how long it took and, where it was kept, its standard output."""

    sample: Sample
    output: bytes = b""


def _busy_seconds() -> float:
    """CPU time that the whole machine has used: proc(5), /proc/stat, all but idle and iowait."""
    with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123 - the cheapest way, it is timed
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


class Stopwatch:
    """Measures a block: `with Stopwatch() as watch: …`, then `watch.sample(cpu)`."""

    def __enter__(self) -> Stopwatch:
        self._load = os.getloadavg()[0]
        self._busy = _busy_seconds()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self._busy = _busy_seconds() - self._busy

    def sample(self, cpu: float, value: float | None = None) -> Sample:
        """What was measured; `cpu` are the seconds that the contestant itself used."""
        others = max(0.0, self._busy - cpu) / max(self.seconds, 1e-9)
        return Sample(self.seconds if value is None else value, cpu, self._load, others)


def run(
    argv: Argv,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    codes: Sequence[int] = (0,),
    keep_output: bool = False,
) -> Finished:
    """Run a program to its end and time it. Raises BenchmarkError for an exit code that is not in `codes`."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        with Stopwatch() as watch:
            process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output if keep_output else subprocess.DEVNULL,
                stderr=errors,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )
            guard = Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
            guard.start()
            _, status, usage = os.wait4(process.pid, 0)
        guard.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()[-600:]
            raise BenchmarkError(f"{' '.join(map(str, argv))[:200]} ended with {process.returncode}: {said}")
        output.seek(0)
        sample = watch.sample(usage.ru_utime + usage.ru_stime)
        return Finished(sample, output.read() if keep_output else b"")


def timed(argv: Argv, **how: object) -> Contestant:
    """The contestant that runs a program, with the keyword arguments of `run`."""
    return lambda: run(argv, **how).sample  # type: ignore[arg-type]


def interleave(contestants: Mapping[str, Contestant], rounds: int) -> Results:
    """Run everybody once per round, each round beginning with another one."""
    results: Results = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            if sys.stderr.isatty():
                sys.stderr.write(f"\r\x1b[K  round {number + 1}/{rounds}: {name}\r")
                sys.stderr.flush()
            results[name].append(contestants[name]())
    return results


def constant(value: float) -> list[Sample]:
    """A limit in the place of a peer."""
    return [Sample(value)]


def with_value(sample: Sample, value: float) -> Sample:
    """The same moment of the machine, another figure: what the program itself has measured."""
    return replace(sample, value=value)
