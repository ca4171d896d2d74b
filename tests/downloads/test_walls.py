"""The walls around the unpacking child, each read back and each run into, in a process of its own."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from update_all.downloads import confine

sys.path.insert(0, str(Path(__file__).parent))
from walled import answer, ended

MIB = 1024**2
NOBODY = 65534
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
LIMITS = {"CPU": [7, 7], "AS": [900 * MIB, 900 * MIB], "FSIZE": [70_001] * 2, "CORE": [0, 0]}
LIMITS["NOFILE"] = [128, 128]
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38


def test_every_limit_is_set_and_cannot_be_raised() -> None:
    assert answer("bounded", 1000)["limits"] == LIMITS


def test_a_lower_limit_stays() -> None:
    assert answer("bounded", 64)["limits"] == {**LIMITS, "NOFILE": [64, 64]}


def test_files_and_memory_end_where_the_limits_say(tmp_path: Path) -> None:
    seen = answer("limited", tmp_path)
    assert (seen["written"], seen["beyond"]) == (70_001, "EFBIG")
    assert (tmp_path / "file").stat().st_size == 70_001
    assert (seen["half"], seen["all"]) == ("done", "MemoryError")
    assert (seen["no more files"], seen["highest file"]) == ("EMFILE", 127)


def test_what_is_written_is_writable_by_its_owner_only(tmp_path: Path) -> None:
    assert answer("limited", tmp_path)["mode"] == 0o644


def test_an_endless_loop_is_ended_by_the_kernel() -> None:
    assert ended("burns").returncode in {-signal.SIGKILL, -signal.SIGXCPU}


@pytest.mark.skipif(
    not Path("/proc/sys/kernel/core_pattern").read_text().startswith("core"),
    reason="crashes go to another program here",
)
@pytest.mark.parametrize("walled", [True, False])
def test_a_crash_leaves_no_core_file(tmp_path: Path, walled: bool) -> None:
    """Without the limit it does, where this system lets it: so the test would notice."""
    assert ended("aborts", tmp_path, "yes" if walled else "").returncode == -signal.SIGABRT
    left = list(tmp_path.iterdir())
    for core in left:
        core.unlink()
    if walled:
        assert left == []
    elif not left:
        pytest.skip("no core files on this system")


@ROOT_ONLY
def test_root_is_given_up_for_good() -> None:
    seen = answer("another", NOBODY)
    assert seen["end"] == "done"
    assert seen["users"] == [NOBODY] * 3
    assert seen["groups"] == [NOBODY] * 3, "real, effective and saved group, and no other"
    assert seen["back"] == ["EPERM"] * 4


@ROOT_ONLY
@pytest.mark.parametrize(("real", "effective"), [(0, 0), (NOBODY, 0), (0, NOBODY)])
def test_who_is_still_root_goes_no_further(real: int, effective: int) -> None:
    """The kernel says that it changed the user and did not."""
    seen = answer("unchanged", NOBODY, real, effective)
    assert seen["users"][:2] == [real, effective]
    assert seen["end"] == "cannot confine the unpacking process: still root"


@pytest.mark.parametrize(
    ("option", "what"), [(PR_SET_NO_NEW_PRIVS, "no_new_privs"), (PR_SET_PDEATHSIG, "parent-death signal")]
)
def test_a_wall_that_the_kernel_refuses_is_an_error(option: int, what: str) -> None:
    expected = f"cannot confine the unpacking process: {what}: {os.strerror(errno.EINVAL)}"
    assert answer("refused_prctl", option)["end"] == expected


def test_nothing_is_left_when_the_parent_dies() -> None:
    """The child of the child holds its output open, and waits for ever: the end of it is the end of both."""
    assert ended("orphan").returncode == 0


@pytest.mark.parametrize("user", [pytest.param(str(NOBODY), marks=ROOT_ONLY), ""])
def test_the_child_puts_all_walls_up(tmp_path: Path, user: str) -> None:
    landlock = ["landlock"] if confine.landlock_version() else []
    before = answer("bounded", 1000)
    seen = answer("confined", tmp_path, user, "")
    if not landlock and not user and os.geteuid() == 0:
        pytest.skip("root without Landlock is refused")
    assert seen["end"] == "done"
    assert seen["walls"] == ["rlimits", "no_new_privs", *([f"uid {user}"] if user else []), *landlock]
    assert seen["limits"] == LIMITS
    assert (seen["umask"], seen["no_new_privs"], seen["dies_with"]) == (0o022, 1, signal.SIGKILL)
    assert seen["users"] == ([int(user)] * 3 if user else before["users"])
    if user:
        assert seen["groups"] == [int(user)] * 3
    assert seen["outside"] == ("EACCES" if landlock else "done")


@pytest.mark.parametrize("user", [pytest.param(str(NOBODY), marks=ROOT_ONLY), ""])
def test_without_landlock_only_root_is_refused(tmp_path: Path, user: str) -> None:
    seen = answer("confined", tmp_path, user, errno.ENOSYS)
    if user or os.geteuid() != 0:
        assert (seen["end"], seen["walls"][:2]) == ("done", ["rlimits", "no_new_privs"])
        assert "landlock" not in seen["walls"]
    else:
        assert seen["end"].startswith("archives are not unpacked as root")
