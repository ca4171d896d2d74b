"""What speaks against a run: power supplies from a tree like /sys, a network asked of a program in its place.

busctl and nmcli are fakes that print what their manuals document: NetworkManager cannot run here.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from update_all.core.config_schema import Guard, GuardsConfig
from update_all.core.guards import ERRORS, GuardError, Power, is_metered, look, power

Supply = dict[str, str]
MAINS_ON: Supply = {"type": "Mains", "online": "1"}
MAINS_OFF: Supply = {"type": "Mains", "online": "0"}
USB_C: Supply = {"type": "USB", "online": "1"}
FULL: Supply = {"type": "Battery", "status": "Full", "capacity": "100", "present": "1", "scope": "System"}
LOW: Supply = {"type": "Battery", "status": "Discharging", "capacity": "17", "present": "1"}
CHARGES: Supply = {"type": "Battery", "status": "Charging", "capacity": "40"}
MOUSE: Supply = {"type": "Battery", "status": "Discharging", "capacity": "5", "scope": "Device"}
EMPTY_BAY: Supply = {"type": "Battery", "present": "0", "status": "Unknown"}
BROKEN: Supply = {"type": "Battery", "status": "Discharging", "capacity": "?"}


def supplies(machine: Path, *found: Supply) -> Path:
    for number, supply in enumerate(found):
        directory = machine / f"sys/class/power_supply/{number}"
        directory.mkdir(parents=True)
        for name, value in supply.items():
            (directory / name).write_text(value + "\n")
    return machine / "sys"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], None),
        ([MAINS_ON], None),
        ([MAINS_OFF], None),
        ([MAINS_ON, MOUSE], None),
        ([MAINS_ON, EMPTY_BAY], None),
        ([MAINS_ON, FULL], Power(on_battery=False, percent=100)),
        ([MAINS_OFF, FULL], Power(on_battery=False, percent=100)),
        ([MAINS_OFF, LOW], Power(on_battery=True, percent=17)),
        ([LOW], Power(on_battery=True, percent=17)),
        ([MAINS_OFF, USB_C, LOW], Power(on_battery=False, percent=17)),
        ([MAINS_ON, CHARGES], Power(on_battery=False, percent=40)),
        ([MAINS_OFF, LOW, FULL], Power(on_battery=True, percent=17)),
        ([BROKEN, MOUSE], Power(on_battery=True, percent=None)),
    ],
)
def test_power(tmp_path: Path, found: list[Supply], expected: Power | None) -> None:
    assert power(supplies(tmp_path, *found)) == expected


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which NetworkManager runs, and a PATH of its own."""
    (tmp_path / "run/NetworkManager").mkdir(parents=True)
    (tmp_path / "run/dbus").mkdir()
    (tmp_path / "run/dbus/system_bus_socket").touch()
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    return tmp_path


def program(machine: Path, name: str, answer: str, code: int = 0) -> None:
    path = machine / "bin" / name
    path.write_text(f"#!/bin/sh\nprintf '%s' '{answer}'\nexit {code}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [
        ("u 0\n", 0, False),
        ("u 1\n", 0, True),
        ("u 2\n", 0, False),
        ("u 3\n", 0, True),
        ("u 4\n", 0, False),
        ("", 0, None),
        ("Failed to get property Metered: Access denied\n", 1, None),
    ],
)
def test_network_by_busctl(network: Path, answer: str, code: int, expected: bool | None) -> None:
    program(network, "busctl", answer, code)
    assert asyncio.run(is_metered(network / "run")) is expected


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [
        ("GENERAL.METERED:no (guessed)\n\nGENERAL.METERED:unknown\n", 0, False),
        ("GENERAL.METERED:unknown\n\nGENERAL.METERED:yes (guessed)\n", 0, True),
        ("GENERAL.METERED:yes\n", 0, True),
        ("Error: NetworkManager is not running.\n", 8, None),
        ("", 0, None),
    ],
)
def test_network_by_nmcli(network: Path, answer: str, code: int, expected: bool | None) -> None:
    program(network, "nmcli", answer, code)
    assert asyncio.run(is_metered(network / "run")) is expected


def test_nobody_to_ask_is_no_answer(network: Path, tmp_path: Path) -> None:
    assert asyncio.run(is_metered(network / "run")) is None
    program(network, "busctl", "u 1")
    (network / "run/dbus/system_bus_socket").unlink()
    assert asyncio.run(is_metered(network / "run")) is None


def guards(
    battery: Guard = Guard.IGNORE, metered: Guard = Guard.IGNORE, busy: Guard = Guard.IGNORE
) -> GuardsConfig:
    return GuardsConfig(battery=battery, metered=metered, disk=Guard.IGNORE, busy=busy)


def troubled(machine: Path) -> None:
    """On battery, on a metered network, and dpkg is at work (a real lock of a real process)."""
    supplies(machine, MAINS_OFF, LOW)
    program(machine, "busctl", "u 3")
    (machine / "proc").symlink_to("/proc")
    lock = machine / "var/lib/dpkg/lock-frontend"
    lock.parent.mkdir(parents=True)
    lock.touch()


def test_all_is_said_and_what_is_ignored_is_not(network: Path) -> None:
    troubled(network)
    with (network / "var/lib/dpkg/lock-frontend").open("w") as lock:
        holder = "import fcntl, sys; fcntl.lockf(int(sys.argv[1]), fcntl.LOCK_EX); print(flush=True); input()"
        argv = [sys.executable, "-c", holder, str(lock.fileno())]
        with subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[lock.fileno()]
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            said = asyncio.run(look(GuardsConfig(), [], root=True, machine=network))
            assert [item.code for item in said] == ["on-battery", "metered", "package-manager-busy"]
            assert "17 % left" in said[0].message
            assert f"pid {process.pid}" in said[2].message
            assert all(item.hint for item in said)
            no_root = asyncio.run(look(GuardsConfig(), [], root=False, machine=network))
            assert [item.code for item in no_root] == ["on-battery", "metered"]
            assert asyncio.run(look(guards(), [], root=True, machine=network)) == []
            process.communicate(b"\n")


@pytest.mark.parametrize(
    ("refused", "first"),
    [(["battery"], "battery"), (["metered"], "metered"), (["metered", "battery"], "battery")],
)
def test_the_first_that_is_refused_refuses(network: Path, refused: list[str], first: str) -> None:
    supplies(network, LOW)
    program(network, "busctl", "u 1")
    with pytest.raises(GuardError) as caught:
        asyncio.run(look(guards(**dict.fromkeys(refused, Guard.REFUSE)), [], root=True, machine=network))
    assert caught.value.code == ERRORS[first].code
    assert f"guards.{first}" in caught.value.hint


def test_what_is_not_there_refuses_nothing(tmp_path: Path) -> None:
    config = guards(battery=Guard.REFUSE, metered=Guard.REFUSE, busy=Guard.REFUSE)
    assert asyncio.run(look(config, [], root=True, machine=tmp_path)) == []
