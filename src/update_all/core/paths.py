"""Where files live, and the only ways in which private files are opened, made and replaced.

The directories follow the XDG Base Directory Specification. The write sequence (fsync of the file, rename,
fsync of the directory) is what survives a power cut, see rename(2), fsync(2) and system.md section 4.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from update_all.core.errors import StateError, StateWriteError

TYPE_CHECKING = False  # What `typing` says, which every command would wait for.
if TYPE_CHECKING:
    from typing import BinaryIO

MAX_STATE_BYTES = 8 * 1024 * 1024
"""Nothing that we write as state comes near; a bigger file is not ours."""

PREVIOUS_SUFFIX = ".prev"
TEMPORARY_SUFFIX = ".tmp"

_NAME = "update-all"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})


class FileSystem:
    """The system calls of this module, one method each, so that a test can make any of them fail.

    Replace the module's `filesystem` by an instance of a subclass. Paths are relative to `dir_fd` where one
    is given. All raise OSError.
    """

    def open(self, path: str | Path, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
        return os.open(path, flags | os.O_CLOEXEC, mode, dir_fd=dir_fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def fstat(self, fd: int) -> os.stat_result:
        return os.fstat(fd)

    def lstat(self, path: str | Path, *, dir_fd: int | None = None) -> os.stat_result:
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def write(self, fd: int, data: memoryview) -> int:
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def rename(self, old: str, new: str, *, dir_fd: int) -> None:
        # One directory on both sides: nothing here ever moves a file elsewhere.
        os.rename(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)

    def link(self, old: str, new: str, *, dir_fd: int) -> None:
        os.link(old, new, src_dir_fd=dir_fd, dst_dir_fd=dir_fd, follow_symlinks=False)

    def unlink(self, path: str, *, dir_fd: int) -> None:
        os.unlink(path, dir_fd=dir_fd)

    def mkdir(self, path: Path, mode: int) -> None:
        path.mkdir(mode)


filesystem = FileSystem()


class Directories:
    """Our directories of one user, absolute. Nothing says that they exist.

    No dataclass: those cost more to import than the commands that only look need for all they do.
    """

    __slots__ = ("cache", "config", "state", "system_config")

    def __init__(
        self, state: Path, config: Path, cache: Path, system_config: Path = Path("/etc/update-all")
    ) -> None:
        self.state = state
        self.config = config
        self.cache = cache
        self.system_config = system_config

    @property
    def history(self) -> Path:
        return self.state / "history.db"


def directories(environ: Mapping[str, str] | None = None, *, uid: int | None = None) -> Directories:
    """The directories of user `uid` (default: the effective one) under `environ` (default: os.environ).

    A relative XDG variable is ignored, as the XDG specification demands. Root keeps state in
    /var/lib/update-all and downloads in /var/cache/update-all unless XDG variables say otherwise. Raises
    StateError where there is no home directory.
    """
    environ = os.environ if environ is None else environ
    root = (os.geteuid() if uid is None else uid) == 0
    home = _home(environ)

    def base(variable: str, default: Path) -> Path:
        value = environ.get(variable, "")
        return (Path(value) if value.startswith("/") else default) / _NAME

    return Directories(
        state=base("XDG_STATE_HOME", Path("/var/lib") if root else home / ".local/state"),
        config=base("XDG_CONFIG_HOME", home / ".config"),
        cache=base("XDG_CACHE_HOME", Path("/var/cache") if root else home / ".cache"),
    )


def _home(environ: Mapping[str, str]) -> Path:
    try:
        return Path(environ.get("HOME") or "~").expanduser()
    except RuntimeError:
        raise StateError(
            "this user has no home directory", hint="export HOME=/a/directory/of/yours"
        ) from None


def secure_directory(path: Path) -> Path:
    """Make `path` a directory that only its owner can write, and return it.

    Missing directories are created with mode 0700. Raises StateError, with the command that mends it, when
    `path` is a link or no directory, belongs to another user, or is writable by group or others; and when
    it cannot be created.
    """
    try:
        _make_directories(path)
        with _directory(path) as fd:
            status = filesystem.fstat(fd)
    except OSError as error:
        raise _unusable_directory(path, error) from error
    _check_owner(path, status)
    return path


def open_secure(path: Path, max_bytes: int = MAX_STATE_BYTES) -> BinaryIO:
    """Open a private file for reading, checked after opening so that nothing can be swapped in between.

    It must be a regular file of the effective user, writable by nobody else, no link, with no second name
    (except its own `.prev`, which a crash inside `write_atomic` can leave), and hold at most `max_bytes`
    bytes. Raises FileNotFoundError where there is none, StateError for anything else.
    """
    try:
        # Without O_NONBLOCK a FIFO would block the open for ever.
        fd = filesystem.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        status = filesystem.fstat(fd)
        check_private_file(path, status)
        if status.st_size > max_bytes:
            raise StateError(
                f"{path} holds {status.st_size} bytes, more than the {max_bytes} allowed",
                hint=f"mv {_quoted(path)} {_quoted(path)}.old",
            )
        return os.fdopen(fd, "rb")
    except OSError as error:
        _close_unwritten(fd)
        raise _unreadable(path, error) from error
    except BaseException:
        _close_unwritten(fd)
        raise


def check_private_file(path: Path, status: os.stat_result) -> None:
    """Refuse what is not a regular file of the effective user alone. Raises StateError."""
    if stat.S_ISLNK(status.st_mode):
        raise StateError(f"{path} is a link, which is never followed", hint=f"rm {_quoted(path)}")
    if not stat.S_ISREG(status.st_mode):
        raise StateError(f"{path} is not a regular file", hint=f"mv {_quoted(path)} {_quoted(path)}.old")
    _check_owner(path, status)
    _check_single_name(path, status)


def read_secure(path: Path, max_bytes: int = MAX_STATE_BYTES) -> bytes:
    """The content of a private file; raises as `open_secure`, also when it grows past `max_bytes`."""
    with open_secure(path, max_bytes) as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:
            raise _unreadable(path, error) from error
    if len(data) > max_bytes:
        raise StateError(f"{path} holds more than the {max_bytes} bytes allowed")
    return data


def write_atomic(path: Path, data: bytes, *, keep_previous: bool = True, mode: int = 0o600) -> None:
    """Replace `path` by `data`, durably: after a crash it holds the old content or the new, never a mix.

    The content before is kept as `<name>.prev` (not on file systems without hard links). The directory must
    exist and be no link. Raises StateWriteError; the old content is then still in place, unless only the
    last flush of the directory failed: then the new one is, and may not survive a power cut.
    """
    try:
        with _directory(path.parent) as directory:
            with _temporary(path.name, data, directory, mode) as temporary:
                if keep_previous:
                    _keep_previous(path.name, directory)
                filesystem.rename(temporary, path.name, dir_fd=directory)
            filesystem.fsync(directory)
    except OSError as error:
        raise _unwritable(path, error) from error


def append_durable(path: Path, data: bytes, *, first: bool) -> None:
    """Append `data` to a private file and flush it; `first` also flushes the directory that names it.

    Raises StateWriteError; a part of `data` may then be in the file, which a reader must expect.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    try:
        fd = filesystem.open(path, flags, 0o600)
        try:
            _write_all(fd, data)
            filesystem.fsync(fd)
        finally:
            filesystem.close(fd)
        if first:
            _flush_directory(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def remove(path: Path) -> None:
    """Delete a file, if it is there. Raises StateWriteError."""
    try:
        with _directory(path.parent) as directory, contextlib.suppress(FileNotFoundError):
            filesystem.unlink(path.name, dir_fd=directory)
    except OSError as error:
        raise StateWriteError(
            f"{path} cannot be removed: {error.strerror}", hint=f"rm {_quoted(path)}"
        ) from error


def rename(path: Path, name: str) -> None:
    """Give a file another name in its directory, replacing what has that name. Raises OSError."""
    with _directory(path.parent) as directory:
        filesystem.rename(path.name, name, dir_fd=directory)


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[int]:
    fd = filesystem.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        _close_unwritten(fd)


@contextlib.contextmanager
def _temporary(name: str, data: bytes, directory: int, mode: int) -> Iterator[str]:
    """A flushed temporary file beside `name`, removed again unless the block renamed it."""
    temporary = f".{name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY_SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    fd = filesystem.open(temporary, flags, mode, dir_fd=directory)
    try:
        try:
            _write_all(fd, data)
            filesystem.fsync(fd)
        finally:
            filesystem.close(fd)
        yield temporary
    except BaseException:
        with contextlib.suppress(OSError):
            filesystem.unlink(temporary, dir_fd=directory)
        raise


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        written = filesystem.write(fd, rest)
        if written == 0:
            raise OSError(errno.EIO, "the file system takes no more data")
        rest = rest[written:]


def _keep_previous(name: str, directory: int) -> None:
    previous = name + PREVIOUS_SUFFIX
    with contextlib.suppress(FileNotFoundError):
        filesystem.unlink(previous, dir_fd=directory)
    try:
        filesystem.link(name, previous, dir_fd=directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise


def _close_unwritten(fd: int) -> None:
    # It was only read and flushed: an error of close(2) tells nothing that the flush did not.
    with contextlib.suppress(OSError):
        filesystem.close(fd)


def _make_directories(path: Path) -> None:
    try:
        filesystem.mkdir(path, 0o700)
    except FileExistsError:
        return
    except FileNotFoundError:
        if path.parent == path:
            raise
        _make_directories(path.parent)
        with contextlib.suppress(FileExistsError):
            filesystem.mkdir(path, 0o700)
    _flush_directory(path.parent)


def _flush_directory(path: Path) -> None:
    try:
        fd = filesystem.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # A parent that may be entered but not listed cannot be opened, and so not flushed.
    try:
        filesystem.fsync(fd)
    finally:
        _close_unwritten(fd)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise StateError(
            f"{path} belongs to user {status.st_uid}, not to user {os.geteuid()} who runs this",
            hint=f"chown {os.geteuid()} {_quoted(path)}",
        )
    if status.st_mode & _WRITABLE_BY_OTHERS:
        raise StateError(
            f"{path} can be written by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod go-w {_quoted(path)}",
        )


def _check_single_name(path: Path, status: os.stat_result) -> None:
    names = 1
    if path.name.endswith(PREVIOUS_SUFFIX):
        twin = path.with_name(path.name.removesuffix(PREVIOUS_SUFFIX))
    else:
        twin = path.with_name(path.name + PREVIOUS_SUFFIX)
    with contextlib.suppress(OSError):
        names += os.path.samestat(filesystem.lstat(twin), status)
    if status.st_nlink > names:
        raise StateError(
            f"{path} has {status.st_nlink} names (hard links): somebody else may hold one",
            hint=f"find / -xdev -inum {status.st_ino}",
        )


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))


def _unusable_directory(path: Path, error: OSError) -> StateError:
    if path.is_symlink():
        return StateError(f"{path} is a link; a directory is needed", hint=f"rm {_quoted(path)}")
    if error.errno in {errno.ENOTDIR, errno.EEXIST} and path.exists():
        return StateError(f"{path} is not a directory", hint=f"mv {_quoted(path)} {_quoted(path)}.old")
    if error.errno == errno.EACCES and path.is_dir():
        hint = f"chown {os.geteuid()} {_quoted(path)} && chmod 0700 {_quoted(path)}"
        return StateError(f"{path} cannot be opened: {error.strerror}", hint=hint)
    return StateError(
        f"{path} cannot be created: {error.strerror}",
        hint="set XDG_STATE_HOME to a directory that you can write",
    )


def _unreadable(path: Path, error: OSError) -> StateError:
    if error.errno == errno.ELOOP:
        return StateError(f"{path} is a link, which is never followed", hint=f"rm {_quoted(path)}")
    hint = f"chown {os.geteuid()} {_quoted(path)} && chmod 0600 {_quoted(path)}"
    return StateError(f"{path} cannot be read: {error.strerror}", hint=hint)


def _unwritable(path: Path, error: OSError) -> StateWriteError:
    hint = "free some space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else f"ls -ld {path.parent}"
    return StateWriteError(f"{path} could not be written durably: {error.strerror}", hint=hint)
