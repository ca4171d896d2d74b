"""What can be wrong with the machine and our own files, each with the command that mends it. Only looks.

Every check takes the places it looks at, and reports instead of raising.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from update_all.core.cleaning import clean_line
from update_all.core.errors import StateError
from update_all.core.evidence import is_locked
from update_all.core.locks import holder
from update_all.core.queries import SILENT_ENVIRONMENT
from update_all.core.state import StateStore
from update_all.core.transitions import Outcome

FULL_BYTES = 100 * 1024 * 1024
LOW_BYTES = 1024 * 1024 * 1024
FEW_FILES = 1000
STALE_SECONDS = 7 * 86400.0
CLOCK_SLACK_SECONDS = 120.0
AUDIT_SECONDS = 20.0


class Level(StrEnum):
    """How bad a finding is. BAD makes `doctor` exit with 1."""

    OK = "ok"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: what was looked at, what was found, and the command that mends it."""

    check: str
    level: Level
    text: str
    mend: str = ""


def _found(check: str, problems: Sequence[Finding], fine: str) -> list[Finding]:
    return list(problems) or [Finding(check, Level.OK, fine)]


def check_dpkg(root: Path = Path("/")) -> list[Finding]:
    """Whether an interrupted dpkg left packages unconfigured; nothing where there is no dpkg.

    Reads the journal `/var/lib/dpkg/updates` (its entries have names of digits, dpkg(1)) and asks
    `dpkg --audit`.
    """
    database = root / "var/lib/dpkg"
    if not (database / "status").exists():
        return []
    mend = "sudo dpkg --configure -a"
    journal = [path.name for path in _entries(database / "updates") if path.name.isdigit()]
    if journal:
        return [Finding("dpkg", Level.BAD, "dpkg was interrupted in the middle of its work", mend)]
    audit = _dpkg_audit(database)
    if audit:
        return [Finding("dpkg", Level.BAD, f"packages are half installed: {audit}", mend)]
    return [Finding("dpkg", Level.OK, "no package is half installed")]


def _dpkg_audit(database: Path) -> str:
    program = shutil.which("dpkg")
    if program is None:
        return ""
    try:
        answer = subprocess.run(
            [program, f"--admindir={database}", "--audit"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=AUDIT_SECONDS,
            env={**os.environ, **SILENT_ENVIRONMENT},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = answer.stdout.decode("utf-8", "replace").splitlines()
    # Packages are the indented lines: a name, then the beginning of its description.
    names = [line.split()[0] for line in lines if line.startswith(" ") and line.split()]
    return ", ".join(clean_line(name, 60) for name in names[:5])


PACKAGE_LOCKS = (
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/lock",
    "var/lib/apt/lists/lock",
    "var/cache/apt/archives/lock",
    "var/lib/rpm/.rpm.lock",
    "usr/lib/sysimage/rpm/.rpm.lock",
)


def check_package_locks(root: Path = Path("/"), proc: Path = Path("/proc")) -> list[Finding]:
    """Locks of package managers that are held now, and by whom (`/proc/locks`, proc(5))."""
    files = {}
    for name in PACKAGE_LOCKS:
        try:
            status = (root / name).stat()
        except OSError:
            continue
        device = status.st_dev
        files[f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}"] = root / name
    problems = []
    for pid, place in _held(proc):
        if place in files:
            text = f"{files[place]} is held by {_process(proc, pid)}"
            problems.append(Finding("package locks", Level.WARNING, text, _wait_for(pid)))
    return _found("package locks", problems, "no package manager is busy") if files else []


def _wait_for(pid: int) -> str:
    return f"wait until it ends; look at it with: ps -fp {pid}" if pid > 0 else "wait until it ends"


def _held(proc: Path) -> Iterable[tuple[int, str]]:
    try:
        lines = (proc / "locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return
    for line in lines:
        # "1: POSIX  ADVISORY  WRITE 812 08:01:131090 0 EOF"; a waiter has "->" in second place.
        words = line.split()
        if len(words) >= 8 and words[1] != "->" and words[4].lstrip("-").isdigit():
            yield int(words[4]), words[5]


def _process(proc: Path, pid: int) -> str:
    try:
        name = clean_line((proc / str(pid) / "comm").read_text("utf-8", "replace").strip(), 60)
    except OSError:
        name = "a process"
    return f"{name} (pid {pid})"


def check_pacman_lock(root: Path = Path("/"), proc: Path = Path("/proc")) -> list[Finding]:
    """pacman's lock is a file that a crash leaves behind: bad only when no pacman runs."""
    lock = root / "var/lib/pacman/db.lck"
    if not lock.parent.is_dir():
        return []
    if not lock.exists():
        return [Finding("pacman lock", Level.OK, "pacman is not busy")]
    names = {_comm(process) for process in proc.glob("[0-9]*")}
    if names & {"pacman", "pamac", "pamac-daemon", "packagekitd"}:
        return [Finding("pacman lock", Level.WARNING, "pacman is busy", "wait until it ends")]
    text = f"{lock} was left behind: no pacman runs"
    return [Finding("pacman lock", Level.BAD, text, f"sudo rm {lock}")]


def _comm(process: Path) -> str:
    try:
        return (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def check_run_locks(state: Path, root_lock: Path) -> list[Finding]:
    """Whether a run of this user, or one that does something as root, goes on now."""
    problems = []
    if is_locked(state / "lock"):
        text = f"a run goes on: {holder(state / 'lock').describe()}"
        problems.append(Finding("run lock", Level.WARNING, text, "update-all attach"))
    if is_locked(root_lock):
        text = "steps of a run hold the lock for work as root"
        problems.append(Finding("run lock", Level.WARNING, text, f"fuser -v {root_lock}"))
    return _found("run lock", problems, "no run goes on")


def check_permissions(private: Sequence[Path], own: Sequence[Path]) -> list[Finding]:
    """`private` places must be closed to others, `own` ones (configuration) not writable by them."""
    problems = [problem for path in private for problem in _permission(path, closed=True)]
    problems += [problem for path in own for problem in _permission(path, closed=False)]
    return _found("permissions", problems, "only you can change configuration and state")


def _permission(path: Path, *, closed: bool) -> Iterable[Finding]:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        yield Finding("permissions", Level.BAD, f"{path}: {error.strerror}", f"ls -ld {_quoted(path.parent)}")
        return
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISLNK(status.st_mode):
        if closed:
            yield Finding("permissions", Level.BAD, f"{path} is a link", f"rm {_quoted(path)}")
    elif status.st_uid != os.geteuid():
        mend = f"sudo chown -R {os.geteuid()} {_quoted(path)}"
        yield Finding("permissions", Level.BAD, f"{path} belongs to user {status.st_uid}", mend)
    elif mode & 0o022:
        text = f"{path} can be changed by others (mode {mode:04o})"
        yield Finding("permissions", Level.BAD, text, f"chmod go-w {_quoted(path)}")
    elif closed and mode & 0o055:
        text = f"{path} can be read by others (mode {mode:04o})"
        yield Finding("permissions", Level.WARNING, text, f"chmod go= {_quoted(path)}")


def check_state(directory: Path, now: float | None = None) -> list[Finding]:
    """States that cannot be read, were set aside, or wait for a resume for more than a week."""
    now = time.time() if now is None else now
    store = StateStore(directory)
    problems: list[Finding] = []
    for plugin in store.plugins():
        try:
            state = store.peek(plugin)
        except FileNotFoundError:
            continue
        except StateError as error:
            problems.append(Finding("state", Level.BAD, error.message, error.hint))
        except ValueError as error:
            text = f"the state of {plugin} is damaged: {error}"
            problems.append(Finding("state", Level.BAD, text, f"update-all resume {plugin}"))
        else:
            updated = state.execution.last_updated
            age = now - updated.timestamp() if updated else 0.0
            if state.outcome is Outcome.UNFINISHED:
                since = f" for {age / 86400:.0f} days" if age > STALE_SECONDS else ""
                text = f"{plugin} is unfinished{since}"
                problems.append(Finding("state", Level.WARNING, text, f"update-all resume {plugin}"))
    for place in (directory, directory / "steps"):
        for path in _entries(place):
            if ".corrupt-" in path.name:
                text = f"{path} was damaged and set aside"
                problems.append(Finding("state", Level.WARNING, text, f"rm {_quoted(path)}"))
    return _found("state", problems, "every state can be read, and nothing is unfinished")


REMOTE = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.rclone"})


def check_state_place(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> list[Finding]:
    """Whether the state lies on this machine: the lock that keeps two runs apart is a flock(2).

    Over NFS such a lock is kept by the server, or, mounted with `nolock` or `local_lock`, by each client for
    itself: nfs(5). The table of mounts is that of proc(5).
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    place, (kind, options) = _existing(directory).resolve(), ("", "")
    deepest = -1
    for line in lines:
        before, _, after = line.partition(" - ")
        words, about = before.split(), after.split()
        if len(words) < 5 or len(about) < 3:
            continue
        point = Path(_unescaped(words[4]))
        # Of two mounts on one place the later one covers the other.
        if place.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind, options = len(point.parts), about[0], about[2]
    if kind not in REMOTE:
        return [Finding("state place", Level.OK, "the state lies on this machine")]
    alone = bool({"nolock", "local_lock=all", "local_lock=flock"} & set(options.split(",")))
    risk = "no lock keeps two machines apart" if alone else "a run waits for its server"
    text = f"the state lies on a network file system ({kind}): {risk}"
    mend = "set XDG_STATE_HOME to a directory of this machine"
    return [Finding("state place", Level.BAD if alone else Level.WARNING, text, mend)]


def _unescaped(text: str) -> str:
    """A path as proc(5) writes it: a space is `\\040`."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def check_disks(places: Sequence[Path]) -> list[Finding]:
    """File systems of `places` that are full, nearly full, out of files, or mounted read-only."""
    problems: list[Finding] = []
    seen: set[int] = set()
    for place in places:
        existing = _existing(place)
        try:
            device = existing.stat().st_dev
            status = os.statvfs(existing)
        except OSError as error:
            problems.append(
                Finding("disks", Level.BAD, f"{existing}: {error.strerror}", f"ls -ld {existing}")
            )
            continue
        if device not in seen:
            seen.add(device)
            problems += _disk(existing, status)
    return _found("disks", problems, "there is room on every file system that is used")


def _disk(place: Path, status: os.statvfs_result) -> Iterable[Finding]:
    free = status.f_bavail * status.f_frsize
    total = status.f_blocks * status.f_frsize
    look = f"df -h {_quoted(place)}; free some space there"
    if status.f_flag & os.ST_RDONLY:
        mend = f"findmnt -T {_quoted(place)}"
        yield Finding("disks", Level.BAD, f"the file system of {place} is read-only", mend)
    elif total and free < min(FULL_BYTES, total // 20):
        text = f"the file system of {place} is full ({free / 1e6:.0f} MB left)"
        yield Finding("disks", Level.BAD, text, look)
    elif total and free < min(LOW_BYTES, total // 10):
        text = f"the file system of {place} is nearly full ({free / 1e6:.0f} MB left)"
        yield Finding("disks", Level.WARNING, text, look)
    elif status.f_files and status.f_favail < FEW_FILES:
        text = f"the file system of {place} can take {status.f_favail} more files only"
        yield Finding("disks", Level.BAD, text, f"df -i {_quoted(place)}; delete files there")


def check_clock(files: Iterable[Path], built: float, now: float | None = None) -> list[Finding]:
    """Whether the clock runs before the newest of `files`, or before this program was `built`."""
    now = time.time() if now is None else now
    mend = "sudo timedatectl set-ntp true"
    if now < built - CLOCK_SLACK_SECONDS:
        text = "the clock shows a time before this program was made"
        return [Finding("clock", Level.BAD, text, mend)]
    for path in files:
        try:
            ahead = path.stat().st_mtime - now
        except OSError:
            continue
        if ahead > CLOCK_SLACK_SECONDS:
            text = f"the clock is wrong: {path} was changed {ahead / 3600:.1f} hours from now"
            return [Finding("clock", Level.BAD, text, mend)]
    return [Finding("clock", Level.OK, "the clock agrees with the files")]


def _existing(path: Path) -> Path:
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def _entries(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
