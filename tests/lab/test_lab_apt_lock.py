"""The real apt-get and dpkg while another program holds their lock: they wait, and nobody takes it away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import driver
import pytest
from apt_root import AptRoot
from test_lab_apt import install, lab

from update_all.plugins.apt import AptPlugin

__all__ = ["lab"]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None,
    reason="needs root (dpkg changes owners and roots) and apt-get",
)
LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock")
HOLD = """
import fcntl, sys
held = [open(path, "a") for path in sys.argv[1:]]
for file in held:
    fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held(*paths: Path) -> Iterator[subprocess.Popen[str]]:
    """Another program that holds these locks until its input ends."""
    argv = [sys.executable, "-c", HOLD, *map(str, paths)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other
        other.kill()


def test_a_foreign_lock_is_waited_for_and_never_taken(lab: AptRoot, tmp_path: Path) -> None:
    install("ua-lab-one")
    lab.publish("ua-lab-one", "2.0")
    subprocess.run(["apt-get", "-qq", "update"], check=True)
    plugin = AptPlugin()
    steps = {step.name: step for step in driver.steps(plugin, driver.check(plugin))}
    locks = [lab.root / name for name in LOCKS]
    said = tmp_path / "said"
    with held(*locks) as other:
        before = [path.stat().st_ino for path in locks]
        with said.open("w") as file:
            process = subprocess.Popen((steps["upgrade"].commands or [])[-1].cmd, stdout=file, stderr=file)
        deadline = time.monotonic() + 60
        while "Waiting for cache lock" not in said.read_text():
            assert process.poll() is None, said.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert driver.versions(plugin) == {"ua-lab-one": "1.0"}
        assert other.poll() is None
        other.communicate("")
        assert process.wait(60) == 0, said.read_text()
    assert driver.versions(plugin) == {"ua-lab-one": "2.0"}
    assert [path.stat().st_ino for path in locks] == before
