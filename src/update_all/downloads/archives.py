"""Unpack an archive: in a confined child, into a staging directory, whole or not at all."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pwd
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import update_all
from update_all.core.errors import ArchiveError
from update_all.downloads.exchange import flush_file_system, flush_path
from update_all.downloads.members import Limits
from update_all.downloads.unpack import Request

STAGING_PREFIX = ".extract-"
_NOBODY = 65534
_START = "import os, sys; own, *more = sys.argv.pop(1).split(os.pathsep); sys.path[:0] = [own];"
_START += "sys.path += more; from update_all.downloads.unpack import main; raise SystemExit(main())"


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was unpacked, and the walls that stood around the child."""

    entries: int
    bytes: int
    walls: tuple[str, ...]


async def extract(
    archive: Path,
    target: Path,
    *,
    expect_top: str = "",
    must_have: Sequence[str] = (),
    limits: Limits | None = None,
    label: str = "",
) -> Extracted:
    """Unpack a tar (plain, gz, bz2, xz, zst) or zip archive so that `target` appears complete, or not at all.

    The format is told from the contents. `expect_top` is the one folder at the top (a pattern is allowed); it
    becomes `target` itself. `must_have` names files below `target`. Run as root, the child becomes "nobody",
    and what it wrote is given to root afterwards; where it cannot (a user namespace without other users), it
    stays root behind Landlock, and without Landlock it refuses. On return the tree is flushed.
    Raises ArchiveError, calling the archive `label` (else by its file name); then nothing is left. `target`
    must not exist. What a killed process left beside it is deleted first.
    """
    limits, label = limits or Limits(), label or archive.name
    _require_absent(target)
    async with _staging(target.parent) as (staging, lock):
        tree = staging / "tree"
        tree.mkdir(mode=0o755)
        user = _other_user(tree)
        with _descriptor(archive, os.O_RDONLY) as source, _descriptor(tree, os.O_DIRECTORY) as place:
            _require_space(label, source, place)
            request = Request(source, place, expect_top, tuple(must_have), limits, user)
            extracted = await _run(request, label, lock)
        await asyncio.to_thread(_settle, tree, user is not None)
        tree.rename(target)
        flush_path(target.parent)
    return extracted


def _require_absent(target: Path) -> None:
    if os.path.lexists(target):
        raise ArchiveError(f"cannot unpack to {target}: something is there already")


class _descriptor:  # noqa: N801 - used like a function
    """An open file for the child, closed on the way out."""

    def __init__(self, path: Path, flags: int) -> None:
        self._path, self._flags = path, flags
        self._number = -1

    def __enter__(self) -> int:
        try:
            self._number = os.open(self._path, self._flags | os.O_CLOEXEC)
        except OSError as error:
            raise ArchiveError(f"cannot open {self._path}: {error.strerror}") from error
        return self._number

    def __exit__(self, *_: object) -> None:
        os.close(self._number)


@asynccontextmanager
async def _staging(parent: Path) -> AsyncIterator[tuple[Path, int]]:
    """A new folder and the lock on it, which lives as long as any process that uses the folder."""
    folder, lock = await asyncio.to_thread(_claim, parent)
    try:
        yield folder, lock
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
        os.close(lock)


def _claim(parent: Path) -> tuple[Path, int]:
    """Delete what killed processes left below `parent`, make a folder there and lock it. The lock of `parent`
    itself keeps others from deleting the folder before that.
    """
    try:
        gate = _open_folder(parent)
        try:
            fcntl.flock(gate, fcntl.LOCK_EX)
            _sweep(parent)
            folder = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=parent))
            lock = _open_folder(folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
        finally:
            os.close(gate)
    except OSError as error:
        raise ArchiveError(f"cannot unpack to {parent}: {error.strerror}") from error
    return folder, lock


def _sweep(parent: Path) -> None:
    for abandoned in parent.glob(f"{STAGING_PREFIX}*"):
        with suppress(OSError):
            lock = _open_folder(abandoned)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(abandoned, ignore_errors=True)
            finally:
                os.close(lock)


def _open_folder(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _other_user(tree: Path) -> int | None:
    """Who the child becomes when we are root: nobody, if this system lets us have another user at all."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        user = _NOBODY
    try:
        os.chown(tree, user, user)
    except OSError:
        return None
    return user


def _require_space(label: str, source: int, place: int) -> None:
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode):
        raise ArchiveError(f"{label} is not a file")
    system = os.fstatvfs(place)
    needed, free = 2 * status.st_size, system.f_bavail * system.f_frsize
    if free < needed:
        raise ArchiveError(
            f"{label} needs at least {needed} bytes to be unpacked, {free} are free",
            hint="free some space, then: update-all resume",
        )


def _settle(tree: Path, given_away: bool) -> None:
    """Take over what another user wrote, and flush all of it."""
    if given_away:
        user, group = os.geteuid(), os.getegid()
        for _, folders, files, descriptor in os.fwalk(tree):
            for name in (*folders, *files):
                os.chown(name, user, group, dir_fd=descriptor, follow_symlinks=False)
        os.chown(tree, user, group)
    flush_file_system(tree)


async def _run(request: Request, label: str, lock: int) -> Extracted:
    own = str(Path(update_all.__file__).parent.parent)
    paths = os.pathsep.join([own, *(path for path in sys.path if path.startswith("/"))])
    argv = [sys.executable, "-I", "-c", _START, paths, request.to_json()]
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"LC_ALL": "C.UTF-8"},
        cwd="/",
        pass_fds=(request.archive, request.target, lock),
        process_group=0,
    )
    try:
        async with asyncio.timeout(request.limits.seconds):
            output, errors = await process.communicate()
    except TimeoutError:
        raise ArchiveError(f"{label}: not unpacked within {request.limits.seconds:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return _answer(output, errors, process.returncode or 0, label)


def _answer(output: bytes, errors: bytes, code: int, label: str) -> Extracted:
    try:
        answer = json.loads(output)
    except ValueError:
        answer = None
    match answer:
        case {"error": str(message)}:
            raise ArchiveError(f"{label} is refused: {message}", hint=str(answer.get("hint", "")))
        case {"entries": int(entries), "bytes": int(count), "walls": list(walls)}:
            return Extracted(entries, count, tuple(str(wall) for wall in walls))
    if code < 0:
        raise ArchiveError(f"{label} is refused: unpacking was ended by {signal.Signals(-code).name}")
    last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
    raise ArchiveError(f"{label}: the unpacking process failed: {last or f'exit code {code}'}")
