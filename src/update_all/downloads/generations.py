"""Versions side by side, and a link that changes in one rename: at every instant the tool runs.

    ROOT/versions/1.22    complete trees
    ROOT/current          → versions/1.22, what people run
    ROOT/previous         → versions/1.21, where `rollback` leads
    ROOT/.switching       → the version that last proved itself, while `current` is on trial

Every method may be killed at any point and called again. They block; from a step use `asyncio.to_thread`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from update_all.core.errors import BusyError, InstallError
from update_all.downloads.exchange import exchange, flush_file_system, flush_path
from update_all.downloads.in_use import directories_in_use
from update_all.downloads.smoke import require_runs

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,99}")
_TRASH, _STAGING, _EXTRACTING = ".trash-", ".staging-", ".extract-"
_ABANDONED_SECONDS = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Generations:
    """The installed versions of one tool below `root`, an absolute path on one file system.

    All methods raise InstallError, and BusyError while another process changes the same root.
    """

    root: Path

    def __post_init__(self) -> None:
        if not self.root.is_absolute():
            raise InstallError(f"the place of the versions must be an absolute path, got {self.root}")

    @property
    def current(self) -> Path:
        """The link that always leads to a version that runs; absent before the first install."""
        return self.root / "current"

    @property
    def versions(self) -> Path:
        return self.root / "versions"

    @property
    def _previous(self) -> Path:
        return self.root / "previous"

    @property
    def _switching(self) -> Path:
        return self.root / ".switching"

    @property
    def _journal(self) -> Path:
        return self.root / ".adopting"

    def path(self, version: str) -> Path:
        """Where a version lives. Raises InstallError for a name that is no version."""
        if not _VERSION.fullmatch(version):
            raise InstallError(f"{version!r} cannot be the name of a version")
        return self.versions / version

    def staged(self, version: str) -> Path:
        """Where to build a version: beside the others, the same in every process. Its parent exists."""
        place = self.path(version).with_name(f"{_STAGING}{version}")
        self.versions.mkdir(parents=True, exist_ok=True)
        return place

    def current_version(self) -> str | None:
        return _version_of(self.current)

    def installed(self) -> list[str]:
        """The complete versions, the newest first."""
        found = [
            entry
            for entry in _entries(self.versions)
            if entry.is_dir(follow_symlinks=False) and entry.name[0] != "."
        ]
        found.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime_ns, reverse=True)
        return [entry.name for entry in found]

    def install(self, staging: Path, version: str, smoke: Sequence[str]) -> Path:
        """`place` and `switch` in one."""
        self.place(staging, version, smoke)
        self.switch(version, smoke)
        return self.current

    def place(self, staging: Path, version: str, smoke: Sequence[str]) -> Path:
        """Make a staged tree a version: it runs there, is flushed, renamed. Does not touch `current`.

        `smoke` is a command whose program is a path inside the tree (["bin/go", "version"]); it must end
        with exit code 0. A tree that does not run is deleted. Already placed: nothing happens.
        """
        final = self.path(version)
        with self._exclusive():
            if final.is_dir() and not final.is_symlink():
                _remove(staging)
                return final
            if not staging.is_dir():
                raise InstallError(f"{staging} is not there: nothing to install", hint="extract it again")
            try:
                require_runs(staging, smoke)
            except InstallError:
                _remove(staging)
                raise
            if final.is_symlink():
                final.unlink()
            os.utime(staging)
            flush_file_system(staging)
            staging.rename(final)
            flush_path(self.versions)
        return final

    def switch(self, version: str, smoke: Sequence[str]) -> None:
        """Lead `current` to a placed version and run `smoke` through it.

        If that fails, `current` leads to the old version again and the new one is deleted.
        """
        tree, wanted = self.path(version), f"versions/{version}"
        with self._exclusive():
            if tree.is_symlink() or not tree.is_dir():
                raise InstallError(f"version {version} is not installed in {self.root}")
            present = _target(self.current)
            proven = _target(self._switching) or present
            if present != wanted:
                if proven is not None:
                    self._link(self._switching, proven)
                self._link(self.current, wanted)
            try:
                require_runs(self.current, smoke)
            except InstallError as error:
                self._switch_back(present)
                now = self.current_version() or "nothing"
                if now != version:
                    _remove(tree)
                raise InstallError(f"{error.message}; {now} is current", hint=error.hint) from None
            self._settle(wanted)

    def _settle(self, wanted: str) -> None:
        """The trial is over: what was proven before becomes the previous version."""
        proven = _target(self._switching)
        if proven == wanted:
            self._switching.unlink()
        elif proven is not None:
            self._switching.rename(self._previous)
        flush_path(self.root)

    def _switch_back(self, before: str | None) -> None:
        if self._switching.is_symlink():
            self._switching.rename(self.current)
        elif before is None:
            self.current.unlink()
        flush_path(self.root)

    def rollback(self) -> str:
        """Lead `current` back to the version before, in one rename; returns it. Twice is as good as once."""
        with self._exclusive():
            proven = _target(self._switching)
            if proven is not None and proven != _target(self.current):
                self._switching.rename(self.current)
                flush_path(self.root)
            else:
                before = _target(self._previous)
                if before is None or not (self.root / before).is_dir():
                    raise InstallError(f"there is no version before the current one in {self.root}")
                if before != _target(self.current):
                    self._link(self.current, before)
        return str(self.current_version())

    def prune(self, keep: int = 2) -> list[str]:
        """Delete old versions but for the newest `keep`; never the current one, the previous one, or one that
        a process uses. Also what was abandoned a week ago. Returns what was deleted.
        """
        with self._exclusive():
            links = (self.current, self._previous, self._switching)
            protected = {version for version in map(_version_of, links) if version is not None}
            others = [version for version in self.installed() if version not in protected]
            surplus = others[max(0, keep - len(protected)) :]
            used = directories_in_use(self.path(version) for version in surplus)
            deleted = [version for version in surplus if self.path(version) not in used]
            for version in deleted:
                _remove(self.path(version))
            for entry in _entries(self.versions):
                abandoned = time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_SECONDS
                if abandoned and entry.name.startswith((_STAGING, _EXTRACTING)):
                    _remove(Path(entry.path))
        return deleted

    def adopt(self, path: Path, version: str) -> None:
        """Turn an existing plain directory (`/usr/local/go`) into a link to `current`; its tree becomes
        `version`.

        The tool is there at every instant: directory and link change places in one step (renameat2(2)). Only
        where the file system cannot, is it away between two calls, and a journal lets the next call of any
        method finish. Already adopted: nothing happens.
        """
        tree = self.path(version)
        with self._exclusive():
            target = _target(path)
            if target == str(self.current):
                return
            if target is None:
                self._move_in(path, tree)
            elif target != str(tree):
                raise InstallError(f"{path} is a link to {target}, not a directory", hint=f"ls -l {path}")
            if _target(self.current) is None:
                self._link(self.current, f"versions/{version}")
            self._link(path, str(self.current))

    def _move_in(self, path: Path, tree: Path) -> None:
        """Exchange the directory for a link to where it goes. The link is made in that very place, so that it
        is right from the moment of the exchange.
        """
        if not path.is_dir():
            raise InstallError(f"{path} is not a directory that could be adopted")
        if path.stat().st_dev != self.versions.stat().st_dev or path.is_mount():
            raise InstallError(f"{path} and {self.root} are on different file systems")
        if not tree.is_symlink():
            if tree.exists():
                raise InstallError(f"version {tree.name} is installed in {self.root} already")
            tree.symlink_to(tree)
        if not exchange(path, tree):
            tree.unlink()
            _write_durably(self._journal, json.dumps({"path": str(path), "version": tree.name}))
            path.rename(tree)
            self._finish_adoption()
        flush_path(self.versions)
        flush_path(path.parent)

    def _finish_adoption(self) -> None:
        """Put the link where the journal says that a directory was taken away."""
        try:
            entry = json.loads(self._journal.read_text("utf-8"))
        except FileNotFoundError:
            return
        path, tree = Path(entry["path"]), self.path(entry["version"])
        if not os.path.lexists(path) and tree.is_dir():
            path.symlink_to(tree)
            flush_path(path.parent)
        self._journal.unlink()

    def _link(self, link: Path, target: str) -> None:
        """Make or replace a symbolic link in one rename, durably."""
        fresh = link.with_name(f".{link.name.lstrip('.')}-new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(target)
        fresh.rename(link)
        flush_path(link.parent)

    def _require_own(self) -> None:
        """Root runs what is here: it must belong to root and be writable by nobody else."""
        for folder in (self.root, self.versions):
            status = folder.stat()
            if os.geteuid() == 0 and (status.st_uid != 0 or status.st_mode & 0o022):
                raise InstallError(
                    f"{folder} must belong to root and be writable by nobody else",
                    hint=f"chown root:root {folder} && chmod 755 {folder}",
                )

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One process at a time; first finishes what a killed one left; OSError becomes InstallError."""
        try:
            self.versions.mkdir(parents=True, exist_ok=True)
            self._require_own()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(self.root / ".lock", flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._finish_adoption()
                for entry in _entries(self.versions):
                    if entry.name.startswith(_TRASH):
                        _remove(Path(entry.path))
                yield
            finally:
                os.close(descriptor)
        except BlockingIOError:
            raise BusyError(f"another process is changing {self.root}", hint="try again later") from None
        except OSError as error:
            raise InstallError(f"cannot change {self.root}: {error}") from error


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:
        return []


def _target(link: Path) -> str | None:
    return str(link.readlink()) if link.is_symlink() else None


def _version_of(link: Path) -> str | None:
    target = _target(link)
    return None if target is None else target.rpartition("/")[2]


def _remove(tree: Path) -> None:
    """Delete a tree, out of sight first, so that no half-deleted one has a version's name."""
    if tree.is_symlink() or not tree.exists():
        tree.unlink(missing_ok=True)
        return
    trash = tree
    if not tree.name.startswith(_TRASH):
        trash = tree.with_name(f"{_TRASH}{tree.name}-{os.getpid()}-{time.monotonic_ns()}")
        tree.rename(trash)
    shutil.rmtree(trash, ignore_errors=True)


def _write_durably(path: Path, text: str) -> None:
    fresh = path.with_name(f"{path.name}-new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    flush_path(path.parent)
