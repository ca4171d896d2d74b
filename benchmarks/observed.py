"""`python -m benchmarks.observed FILE ARGUMENT…` runs update-all and writes what it used: JSON in FILE."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path


def peak_bytes() -> int:
    """Of this program alone: getrusage(2) would count what its parent was before execve(2)."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    from update_all.cli.main import main

    began = time.monotonic()
    code = main(sys.argv[2:])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = {"seconds": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "peak": peak_bytes()}
    Path(sys.argv[1]).write_text(json.dumps(used))
    sys.exit(code)
