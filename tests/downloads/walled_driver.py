"""Puts walls up around itself and says in JSON what is still possible: `walled_driver.py CASE [ARGUMENT …]`.

Started by test_walls.py and test_landlock.py as a program, because no wall can be taken down again.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from refusing_kernel import LANDLOCK_CREATE_RULESET, number_of, refuse

from update_all.core.errors import ArchiveError
from update_all.downloads import confine
from update_all.downloads.members import Limits
from update_all.downloads.unpack import Request, _confine

MIB = 1024**2
LIMITS = Limits(cpu_seconds=7, memory_bytes=900 * MIB, file_bytes=70_001)
KINDS = ("CPU", "AS", "FSIZE", "CORE", "NOFILE")
PR_GET_PDEATHSIG, PR_GET_NO_NEW_PRIVS, PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP = 2, 39, 28, 4
_libc = ctypes.CDLL(None, use_errno=True)
Answer = dict[str, object]


def outcome(attempt: Callable[[], object]) -> str:
    """ "done", or the name of the error."""
    try:
        attempt()
    except ArchiveError as error:
        return error.message
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except MemoryError:
        return "MemoryError"
    return "done"


def listed(folder: str | Path) -> list[Path]:
    return list(Path(folder).iterdir())


def run(program: str | Path) -> None:
    os.execv(program, [str(program)])  # noqa: S606 - becomes it, as an attacker would


def standing() -> Answer:
    """Everything that can be read back about the walls."""
    signal_number = ctypes.c_int(-1)
    _libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(signal_number), 0, 0, 0)
    mask = os.umask(0o077)
    return {
        "limits": {kind: resource.getrlimit(getattr(resource, f"RLIMIT_{kind}")) for kind in KINDS},
        "umask": mask,
        "users": os.getresuid(),
        "groups": [*os.getresgid(), *os.getgroups()],
        "no_new_privs": _libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0),
        "dies_with": signal_number.value,
    }


def confined(room: str, user: str, refused: str) -> Answer:
    """All walls, as the unpacking child puts them up; `user` is a number or empty, `refused` an errno."""
    if os.geteuid() == 0:
        os.setgroups([0, 4, 27])
    os.umask(0)
    if refused:
        refuse(LANDLOCK_CREATE_RULESET, int(refused))
    place = os.open(room, os.O_DIRECTORY)
    walls: list[str] = []
    request = Request(-1, place, "", (), LIMITS, int(user) if user else None)
    end = outcome(lambda: walls.extend(_confine(request)))
    return {"end": end, "walls": walls, "outside": outcome(lambda: listed("/")), **standing()}


def limited(room: str) -> Answer:
    """What the limits do: how big a file gets, how many are open, how much memory there is."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    confine.limit_resources(LIMITS)
    file = os.open(f"{room}/file", os.O_WRONLY | os.O_CREAT, 0o666)
    written = os.write(file, bytes(LIMITS.file_bytes + 1000))
    answer: Answer = {
        "written": written,
        "beyond": outcome(lambda: os.write(file, b"x")),
        "mode": os.fstat(file).st_mode & 0o777,
        "half": outcome(lambda: bytearray(LIMITS.memory_bytes // 2)),
        "all": outcome(lambda: bytearray(LIMITS.memory_bytes)),
    }
    opened = [file]
    answer["no more files"] = outcome(lambda: opened.extend(os.dup(file) for _ in range(1000)))
    answer["highest file"] = max(opened)
    for number in opened[1:]:
        os.close(number)
    return answer


def bounded(before: str) -> Answer:
    """The limit of open files where there is one already, `before`."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(before), int(before)))
    confine.limit_resources(LIMITS)
    return standing()


def burns() -> Answer:
    """Never ends by itself."""
    confine.limit_resources(Limits(cpu_seconds=1))
    while True:
        pass


def aborts(room: str, walled: str) -> Answer:
    """Ends as a crash does that writes a core file where it may."""
    os.chdir(room)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    if walled:
        confine.limit_resources(Limits())
    os.abort()


def another(user: str) -> Answer:
    """Becomes another user and tries to be root again."""
    os.setgroups([0, 4, 27])
    end = outcome(lambda: confine.become(int(user)))
    back: list[Callable[[], object]] = [
        lambda: os.setuid(0),
        lambda: os.setresuid(0, 0, 0),
        lambda: os.setgid(0),
        lambda: os.setgroups([0]),
    ]
    return {"end": end, "back": [outcome(attempt) for attempt in back], **standing()}


def unchanged(user: str, real: str, effective: str) -> Answer:
    """Becomes `user` on a kernel that says so and does not do it."""
    refuse(number_of("setresuid"), 0)
    _libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setreuid(int(real), int(effective))
    return {"end": outcome(lambda: confine.become(int(user))), "users": os.getresuid()}


def refused_prctl(option: str) -> Answer:
    """The kernel refuses one of the two wishes."""
    refuse(number_of("prctl"), errno.EINVAL, int(option))
    return {"end": outcome(confine.forbid_new_privileges)}


def orphan() -> Answer:
    """Leaves a child behind that holds our standard output open for as long as it lives."""
    ready, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.read(ready, 1)
        os._exit(0)
    confine.forbid_new_privileges()
    os.write(tell, b"x")
    signal.pause()
    return {}


def ways_out(room: str, outside: str, port: str, name: str) -> Answer:
    """Everything that Landlock alone must stop, and everything that unpacking needs."""
    inside, out, parent = Path(room), Path(outside), os.getppid()
    (inside / "old").write_bytes(b"old")
    (inside / "tool").write_bytes(Path("/bin/true").read_bytes())
    (inside / "tool").chmod(0o755)
    (inside / "empty").mkdir()
    (inside / "folder").mkdir()
    place = os.open(inside, os.O_DIRECTORY)
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream, listener = socket.socket(), socket.socket()
    confine.forbid_new_privileges()
    told = confine.landlock_to(place)
    needed: dict[str, Callable[[], object]] = {
        "new file": lambda: (inside / "new").write_bytes(b"new"),
        "new folder": lambda: (inside / "folder/deep").mkdir(),
        "file in it": lambda: (inside / "folder/deep/file").write_bytes(b"1"),
        "symbolic link": lambda: (inside / "link").symlink_to("new"),
        "hard link": lambda: (inside / "folder/hard").hardlink_to(inside / "new"),
        "read": lambda: (inside / "new").read_bytes(),
        "list": lambda: listed(inside),
    }
    evil: dict[str, Callable[[], object]] = {
        "write outside": lambda: os.open(out / "precious", os.O_WRONLY),
        "truncate outside": lambda: os.truncate(out / "precious", 0),
        "read outside": lambda: (out / "precious").read_bytes(),
        "list outside": lambda: listed(out),
        "create outside": lambda: (out / "evil").write_bytes(b"evil"),
        "folder outside": lambda: (out / "evil").mkdir(),
        "link outside": lambda: (out / "evil").symlink_to("x"),
        "delete outside": lambda: (out / "precious").unlink(),
        "move outside": lambda: (inside / "new").rename(out / "new"),
        "hard link outside": lambda: (out / "new").hardlink_to(inside / "new"),
        "hard link from outside": lambda: (inside / "stolen").hardlink_to(out / "precious"),
        "program": lambda: run("/bin/true"),
        "program inside": lambda: run(inside / "tool"),
        "delete": lambda: (inside / "old").unlink(),
        "delete folder": lambda: (inside / "empty").rmdir(),
        "truncate": lambda: os.truncate(inside / "old", 1),
        "pipe": lambda: os.mkfifo(inside / "pipe"),
        "device": lambda: os.mknod(inside / "device", 0o20666, os.makedev(1, 3)),
        "socket": lambda: local.bind(str(inside / "socket")),
        "connect": lambda: stream.connect(("127.0.0.1", int(port))),
        "listen": lambda: listener.bind(("127.0.0.1", 0)),
        "abstract socket": lambda: local.connect(f"\0{name}"),
        "signal": lambda: os.kill(parent, 0),
    }
    return {
        "told": told,
        "needed": {way: outcome(attempt) for way, attempt in needed.items()},
        "evil": {way: outcome(attempt) for way, attempt in evil.items()},
    }


def asked(room: str, version: str) -> Answer:
    """What the kernel is asked for when it claims this version of Landlock, and what comes of it."""
    seen: list[tuple[int, list[object]]] = []
    syscall = confine._syscall

    def noted(number: int, *arguments: object) -> int:
        plain = [getattr(value, "value", value) for value in arguments]
        seen.append((number, [value.hex() if isinstance(value, bytes) else value for value in plain]))
        return syscall(number, *arguments)

    place = os.open(room, os.O_DIRECTORY)
    confine._syscall = noted
    confine.landlock_version()
    confine.landlock_version = lambda: int(version)
    confine.forbid_new_privileges()
    told = confine.landlock_to(place)
    return {"told": told, "place": place, "asked": seen, "outside": outcome(lambda: listed("/"))}


def refused_landlock(room: str, number: str, code: str) -> Answer:
    """The kernel has Landlock and refuses one step; number 0 refuses none, an empty room is no directory."""
    version = confine.landlock_version()
    confine.landlock_version = lambda: version
    place = os.open(room, os.O_DIRECTORY) if room else 999
    if int(number):
        refuse(int(number), int(code))
    before = len(listed("/proc/self/fd"))
    told: list[bool] = []
    end = outcome(lambda: told.append(confine.landlock_to(place)))
    return {"end": end, "told": told, "left open": len(listed("/proc/self/fd")) - before}


def no_landlock() -> Answer:
    """The version that is told where the kernel has no Landlock at all."""
    refuse(LANDLOCK_CREATE_RULESET, errno.ENOSYS)
    return {"version": confine.landlock_version(), "told": confine.landlock_to(0)}


CASES: dict[str, Callable[..., Answer]] = {
    case.__name__: case
    for case in (
        confined, limited, bounded, burns, aborts, another, unchanged, refused_prctl, orphan, ways_out, asked,
        refused_landlock, no_landlock,
    )
}  # fmt: skip

if __name__ == "__main__":
    print(json.dumps(CASES[sys.argv[1]](*sys.argv[2:])))
