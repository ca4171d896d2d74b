"""The doctor's checks, each on a machine with the fault and on one without."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from update_all.core.host_checks import (
    Finding,
    Level,
    check_clock,
    check_disks,
    check_dpkg,
    check_package_locks,
    check_pacman_lock,
    check_permissions,
    check_run_locks,
    check_state,
    check_state_place,
)
from update_all.core.locks import exclusive


def level(findings: list[Finding]) -> Level:
    assert findings
    assert all(item.mend for item in findings if item.level is not Level.OK)
    order = list(Level)
    return max((item.level for item in findings), key=order.index)


def dpkg_root(root: Path, status: str = "") -> Path:
    (root / "var/lib/dpkg/updates").mkdir(parents=True)
    (root / "var/lib/dpkg/info").mkdir()
    (root / "var/lib/dpkg/status").write_text(status)
    return root


def test_no_dpkg_is_no_finding(tmp_path: Path) -> None:
    assert check_dpkg(tmp_path) == []


def test_an_interrupted_dpkg_is_bad(tmp_path: Path) -> None:
    root = dpkg_root(tmp_path)
    assert level(check_dpkg(root)) is Level.OK
    (root / "var/lib/dpkg/updates/0003").touch()
    (finding,) = check_dpkg(root)
    assert (finding.level, finding.mend) == (Level.BAD, "sudo dpkg --configure -a")


def test_half_installed_packages_are_named_by_the_real_dpkg(tmp_path: Path) -> None:
    status = """Package: half-done
Status: install ok half-configured
Maintainer: nobody
Architecture: all
Version: 1
Description: a package
"""
    (finding,) = check_dpkg(dpkg_root(tmp_path, status))
    assert finding.level is Level.BAD
    assert "half-done" in finding.text


def test_a_held_lock_names_its_process(tmp_path: Path) -> None:
    """A real lock as dpkg takes it, fcntl(2), held by a process of the test's own."""
    lock = tmp_path / "var/lib/dpkg/lock-frontend"
    assert check_package_locks(tmp_path) == []
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert level(check_package_locks(tmp_path)) is Level.OK
    source = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.lockf(file, fcntl.LOCK_EX);"
        " print(1, flush=True); input()"
    )
    with subprocess.Popen(
        ["python3", "-c", source, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (finding,) = check_package_locks(tmp_path)
        child.communicate(b"\n")
    assert finding.level is Level.WARNING
    assert f"pid {child.pid}" in finding.text
    assert str(lock) in finding.text
    assert level(check_package_locks(tmp_path)) is Level.OK


@pytest.mark.parametrize(
    "text", ["", "garbage\n", "1: POSIX\n", "1: -> POSIX ADVISORY WRITE 1 0:0:0 0 EOF\n"]
)
def test_any_list_of_locks_can_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/lock").touch()
    (tmp_path / "locks").write_text(text)
    assert level(check_package_locks(tmp_path, proc=tmp_path)) is Level.OK


def test_a_lock_file_of_pacman_is_bad_without_a_pacman(tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    assert check_pacman_lock(tmp_path, proc) == []
    (tmp_path / "var/lib/pacman").mkdir(parents=True)
    assert level(check_pacman_lock(tmp_path, proc)) is Level.OK
    (tmp_path / "var/lib/pacman/db.lck").touch()
    assert level(check_pacman_lock(tmp_path, proc)) is Level.BAD
    (proc / "77").mkdir(parents=True)
    (proc / "77/comm").write_text("pacman\n")
    assert level(check_pacman_lock(tmp_path, proc)) is Level.WARNING


def test_a_run_that_goes_on_is_named(tmp_path: Path) -> None:
    assert level(check_run_locks(tmp_path, tmp_path / "root")) is Level.OK
    with exclusive(tmp_path / "lock", "update-all"):
        (finding,) = check_run_locks(tmp_path, tmp_path / "root")
    assert finding.level is Level.WARNING
    assert f"pid {os.getpid()}" in finding.text
    with (tmp_path / "root").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert level(check_run_locks(tmp_path, tmp_path / "root")) is Level.WARNING


@pytest.mark.parametrize(
    ("mode", "closed", "expected"),
    [
        (0o700, True, Level.OK),
        (0o755, True, Level.WARNING),
        (0o770, True, Level.BAD),
        (0o702, True, Level.BAD),
        (0o755, False, Level.OK),
        (0o775, False, Level.BAD),
    ],
)
def test_permissions(tmp_path: Path, mode: int, closed: bool, expected: Level) -> None:
    place = tmp_path / "it is"
    place.mkdir()
    place.chmod(mode)
    found = check_permissions([place], []) if closed else check_permissions([], [place])
    assert level(found) is expected
    if expected is not Level.OK:
        subprocess.run(["sh", "-c", found[0].mend], check=True)
        assert level(check_permissions([place], [])) in {Level.OK, Level.WARNING}


def test_links_and_other_owners_are_bad(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    assert level(check_permissions([link], [])) is Level.BAD
    assert level(check_permissions([tmp_path / "missing"], [])) is Level.OK
    if os.geteuid() == 0:
        other = tmp_path / "other"
        other.touch(0o600)
        os.chown(other, 65534, 65534)
        assert "belongs to user 65534" in check_permissions([other], [])[0].text


def test_states_that_are_damaged_or_were_set_aside(tmp_path: Path) -> None:
    assert level(check_state(tmp_path)) is Level.OK
    steps = tmp_path / "steps"
    steps.mkdir(mode=0o700)
    (steps / "apt.json").write_text("{")
    (steps / "apt.json").chmod(0o600)
    assert level(check_state(tmp_path)) is Level.BAD
    (steps / "apt.json").rename(steps / "apt.json.corrupt-1")
    (finding,) = check_state(tmp_path)
    assert finding.level is Level.WARNING
    subprocess.run(["sh", "-c", finding.mend], check=True)
    assert level(check_state(tmp_path)) is Level.OK
    (steps / "apt.json").write_text(json.dumps({"schema": 99}))
    (steps / "apt.json").chmod(0o620)
    (finding,) = check_state(tmp_path)
    assert (finding.level, "chmod" in finding.mend) == (Level.BAD, True)


def test_disks(tmp_path: Path) -> None:
    assert level(check_disks([tmp_path / "not/yet/there"])) in {Level.OK, Level.WARNING}
    proc = check_disks([Path("/proc")])
    assert level(proc) is Level.OK, "a file system without a size is never full"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
@pytest.mark.parametrize(
    ("options", "fill", "expected"),
    [
        ("size=64m", 0, Level.OK),
        ("size=64m", 59, Level.WARNING),
        ("size=64m", 63, Level.BAD),
        ("size=64m,nr_inodes=10", 0, Level.BAD),
        ("size=64m,ro", 0, Level.BAD),
    ],
)
def test_full_disks(tmp_path: Path, options: str, fill: int, expected: Level) -> None:
    script = (
        'mount -t tmpfs -o "$1" tmpfs "$2" && { [ "$3" = 0 ] || head -c "$3M" /dev/zero > "$2/x"; }'
        ' && shift 3 && exec python3 -c "$@"'
    )
    code = (
        "import sys, pathlib; from update_all.core.host_checks import check_disks;"
        "print(check_disks([pathlib.Path(sys.argv[1])])[0].level)"
    )
    argv = ["unshare", "-m", "sh", "-c", script, "sh", options, str(tmp_path), str(fill), code, str(tmp_path)]
    source = Path(__file__).parents[2] / "src"
    env = {**os.environ, "PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout.strip() == expected.value, done.stderr


def test_the_clock(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    now = time.time()
    assert level(check_clock([file, tmp_path / "missing"], now - 1000)) is Level.OK
    assert level(check_clock([file], now + 86400)) is Level.BAD
    os.utime(file, (now, now + 7200))
    (finding,) = check_clock([file], 0.0)
    assert finding.level is Level.BAD
    assert "2.0 hours" in finding.text


MOUNTS = """22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:5 / /nfs rw,relatime - nfs4 server:/home rw,vers=4.2,local_lock=none,addr=192.0.2.1
31 30 0:6 / /nfs/local rw - tmpfs tmpfs rw
32 22 0:7 / /with\\040space rw - nfs server:/x rw,nolock,vers=3
33 22 0:8 / /ssh rw - fuse.sshfs ann@host: rw,user_id=1000
34 22 0:9 / /covered rw - nfs server:/y rw
35 34 8:2 / /covered rw - ext4 /dev/sdb1 rw
"""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/home/ann", Level.OK),
        ("/nfs/ann/state", Level.WARNING),
        ("/nfsx", Level.OK),
        ("/nfs/local/state", Level.OK),
        ("/with space/state", Level.BAD),
        ("/ssh", Level.WARNING),
        ("/covered/state", Level.OK),
    ],
)
def test_a_state_on_another_machine_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, expected: Level
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr("update_all.core.host_checks._existing", lambda path: path)
    assert level(check_state_place(Path(place), mounts)) is expected


def test_the_state_of_this_machine_has_a_place(tmp_path: Path) -> None:
    assert len(check_state_place(tmp_path / "not/there/yet")) == 1
    assert check_state_place(tmp_path, tmp_path / "no-table") == []
