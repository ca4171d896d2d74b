"""The lab: real tools against tiny repositories on loopback, in a network that holds nothing else."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

_CLONE_NEWNET = 0x40000000
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lab: takes long; run with UPDATE_ALL_TEST_LAB=1, as `make lab` does")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get("UPDATE_ALL_TEST_LAB"):
        return
    left_out = pytest.mark.skip(reason="takes long: make lab, or UPDATE_ALL_TEST_LAB=1")
    for item in items:
        # A recipe says so itself, with the name of its tool.
        if item.get_closest_marker("lab") and "recipe" not in getattr(item, "fixturenames", ()):
            item.add_marker(left_out)


@pytest.fixture(scope="module", autouse=True)
def closed_network() -> Iterator[None]:
    """Only loopback exists while a lab module runs, so that no tool can reach a real registry."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            pytest.skip(f"needs a network namespace of its own: {os.strerror(ctypes.get_errno())}")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))
        try:
            yield
        finally:
            libc.setns(before, _CLONE_NEWNET)
    finally:
        os.close(before)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own: nothing of this machine's configuration, nothing written outside."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in list(os.environ):
        if name.upper().startswith(("PIP", "UV_", "NPM_", "CARGO_", "XDG_", "VIRTUAL_ENV", "PYTHON", "APT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(folder))
    # Where they would be anyway for a user; for root, update-all would write to /var.
    for name, place in (("STATE", ".local/state"), ("CONFIG", ".config"), ("CACHE", ".cache")):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / place))
    # Set after the names above are gone: settings that would otherwise come from files of this machine.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    monkeypatch.setenv("NPM_CONFIG_GLOBALCONFIG", os.devnull)
    return folder
