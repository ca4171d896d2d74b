"""The program that steps run: writes down in the ledger what it does and what happens to it.

    worker.py LEDGER NAME SECONDS|FILE [--ignore SIGNAL]...

One line, one write(2) with O_APPEND: `start NAME PID`, `signal NAME SIGNAL`, `end NAME PID`, and `overlap
NAME PID` when another worker of that name lives. With a FILE it works until that exists. INT ends it at the
next tenth of a second, unless ignored.
"""

import fcntl
import os
import signal
import sys
import time

LONGEST_SECONDS = 120.0


def main() -> int:
    ledger, name, seconds = sys.argv[1:4]
    ignored = sys.argv[5::2]
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    stopping: list[int] = []

    def note(*words: object) -> None:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())

    def take(number: int, _frame: object) -> None:
        note("signal", name, signal.Signals(number).name)
        if signal.Signals(number).name not in ignored:
            stopping.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1):
        signal.signal(number, take)
    alone = os.open(f"{ledger}.{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("overlap", name, os.getpid())
    note("start", name, os.getpid())
    print(f"{name} begins", flush=True)
    gate = seconds if seconds.startswith("/") else ""
    until = time.monotonic() + (LONGEST_SECONDS if gate else float(seconds))
    while time.monotonic() < until and not (gate and os.path.exists(gate)):  # noqa: PTH110 - starts quickly
        if stopping:
            return 128 + stopping[0]
        time.sleep(min(0.1, max(0.0, until - time.monotonic())))
    note("end", name, os.getpid())
    print(f"{name} is done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
