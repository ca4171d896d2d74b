"""A run is warned of what speaks against it, or refused, before anything happens.

The circumstance is a file system for the cache that is nearly full: a small one, in a mount namespace.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

import pexpect
import pytest
from cli_machine import SECONDS, Ended, Machine, can_mount, finish, mount_namespace

from update_all.core.guards import ERRORS

needs_mount = pytest.mark.skipif(not can_mount(), reason="needs root, to mount a small file system")
FILL = 'head -c 3700k /dev/zero > "$1/filler"; shift; exec "$@"'


@pytest.fixture
def machine(machine: Machine) -> Machine:
    machine.plugin("alpha", {"name": "one"})
    (machine.root / "cache").mkdir()
    return machine


def argv(machine: Machine, arguments: Sequence[str]) -> list[str]:
    """The program, with a cache on 4 MB of which 3.7 are taken."""
    cache = machine.root / "cache"
    inside = ["sh", "-c", FILL, "sh", str(cache), *Machine.argv(arguments)]
    return mount_namespace(inside, cache, "size=4m")


def run(machine: Machine, *arguments: str, disk: str = "warn") -> Ended:
    ended = subprocess.run(
        argv(machine, arguments),
        env={**machine.env, "UPDATE_ALL_GUARDS_DISK": disk},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@needs_mount
def test_it_is_said_and_the_run_goes_on(machine: Machine) -> None:
    ended = run(machine, "run", "--yes", "--progress", "plain")
    assert ended.code == 0, ended.err
    assert "nearly full" in ended.out
    assert machine.ledger == ["alpha one"]
    assert "low-disk" in run(machine, "run", "--yes", "--json").out


@needs_mount
def test_it_is_said_before_the_question(machine: Machine) -> None:
    command, *rest = argv(machine, ["run"])
    child = pexpect.spawn(command, rest, env={**os.environ, **machine.env}, encoding="utf-8", timeout=SECONDS)
    try:
        child.expect("nearly full")
        child.expect("Proceed")
        child.sendline("n")
        assert finish(child) == 130
    finally:
        child.close(force=True)
    assert machine.ledger == []


@needs_mount
def test_refused_is_an_error_that_says_how_to_go_on(machine: Machine) -> None:
    ended = run(machine, "run", "--yes", disk="refuse")
    assert (ended.code, machine.ledger) == (1, [])
    for part in ("nothing was run", "[low-disk]", "guards.disk ignore"):
        assert part in ended.err, part
    assert run(machine, "run", "--yes", disk="ignore").code == 0


@needs_mount
def test_a_resume_is_guarded_too(machine: Machine) -> None:
    machine.plugin("alpha", {"name": "one", "cmd": ["false"]})
    assert run(machine, "run", "--yes").code == 1
    ended = run(machine, "resume", disk="refuse")
    assert (ended.code, "[low-disk]" in ended.err) == (1, True)


def test_every_guard_is_explained(machine: Machine) -> None:
    for error in ERRORS.values():
        assert machine.run("explain", error.code).code == 0, error
