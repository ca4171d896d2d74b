"""Checkouts of git: moved forward and never otherwise, also after a move that was cut off.

`git merge --ff-only` writes the files, then the index, then the branch. Killed in between, it leaves
index.lock and a tree that is neither the old nor the new one, which look like another git at work and like
changes of the owner. So what is about to happen is noted in the git directory, and the next move finishes it:
only where each file that differs is the old one, the new one, or the beginning of the new one.

Sources: git-diff-tree(1), "RAW OUTPUT FORMAT"; git-hash-object(1); git-checkout-index(1);
gitrepository-layout(5).
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from update_all.api import QueryOutput, StepError

FETCH_SECONDS = 900.0
PATIENCE_SECONDS = 60.0
"""How long another git in the checkout is waited for."""
NOTE = "update-all-moving"
_QUERY_SECONDS = 60.0
_FILES_AT_ONCE = 500
_SUBMODULE = "160000"
_ELSEWHERE = 0
_CHANGES = ("status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=all", "--no-renames")


Part = TypeVar("Part")


class Ask(Protocol):
    """BasePlugin.query."""

    def __call__(
        self, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None
    ) -> Awaitable[QueryOutput]: ...


@dataclass(frozen=True, slots=True)
class Note:
    """A move of `branch` (a full name) that was begun; `new` is empty until the commit is fetched."""

    branch: str
    old: str
    new: str = ""

    def write(self, directory: Path) -> None:
        """Durably, before git begins."""
        fresh = directory / f"{NOTE}.new"
        with fresh.open("w") as file:
            file.write(f"{self.branch} {self.old} {self.new}\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(directory / NOTE)

    @classmethod
    def read(cls, directory: Path) -> Note | None:
        try:
            parts = (directory / NOTE).read_text("utf-8").split()
        except (OSError, UnicodeDecodeError):
            return None
        return cls(*parts) if len(parts) in (2, 3) else None


@dataclass(frozen=True, slots=True)
class Touched:
    """A file that differs between two commits; `versions` are its blobs, `new` is empty where it goes."""

    path: str
    versions: frozenset[str]
    new: str
    submodule: bool = False


def parse_touched(text: str) -> list[Touched]:
    """Read the output of `git diff-tree -r -z` or `git diff-index -z`. Pure."""
    fields = text.split("\0")
    found: list[Touched] = []
    for raw, path in zip(fields[::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _ = raw.lstrip(":").split()
        blobs = frozenset(blob for blob in (old, new) if blob.strip("0"))
        found.append(Touched(path, blobs, new if new.strip("0") else "", _SUBMODULE in (old_mode, new_mode)))
    return found


class Checkout:
    """One checkout. All methods raise StepError with what git says where it refuses."""

    def __init__(self, path: Path, ask: Ask, patience: float = PATIENCE_SECONDS) -> None:
        self.path = path
        self._ask = ask
        self._patience = patience

    async def git(
        self, *arguments: str, seconds: float = _QUERY_SECONDS, index: Path | None = None
    ) -> QueryOutput:
        """Run git in it, without the locks that only save time. `index`: another file as its index."""
        env = {"GIT_OPTIONAL_LOCKS": "0"}
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        return await self._ask(["git", "-C", str(self.path), *arguments], timeout=seconds, env=env)

    async def forward(self) -> AsyncIterator[str]:
        """Mend it, fetch, and fast-forward the branch to its upstream; yields what git prints."""
        if mended := await self.mend():
            yield mended
        directory = await self._directory("--absolute-git-dir")
        branch, old = await self._said("symbolic-ref", "HEAD"), await self._said("rev-parse", "HEAD")
        clean = not await self._said(*_CHANGES)
        if clean:
            Note(branch, old).write(directory)
        for line in await self._moving(directory, "fetch"):
            yield line
        new = await self._said("rev-parse", "--verify", "@{upstream}")
        if clean:
            Note(branch, old, new).write(directory)
        for line in await self._moving(directory, "merge", "--ff-only", new):
            yield line
        (directory / NOTE).unlink(missing_ok=True)

    async def interrupted(self) -> bool:
        """Whether a move was begun and not finished."""
        return Note.read(await self._directory("--absolute-git-dir")) is not None

    async def mend(self) -> str:
        """Finish a move that was cut off; what was done, empty for nothing.

        Raises StepError where something is not ours to touch: then it is left as it is, without our lock.
        """
        directory = await self._directory("--absolute-git-dir")
        note = Note.read(directory)
        if note is None:
            return ""
        common = await self._directory("--git-common-dir")
        await self._nobody_at_work({directory, common})
        head = await self.git("rev-parse", "HEAD")
        branch = await self.git("symbolic-ref", "HEAD")
        here = (branch.stdout.strip(), head.stdout.strip())
        done = ""
        if here in ((note.branch, note.old), (note.branch, note.new)):
            for lock in _left_locks(directory, common, (directory / NOTE).stat().st_mtime):
                lock.unlink(missing_ok=True)
            half_way = bool(note.new) and here == (note.branch, note.old)
            if half_way:
                touched = await self._difference("diff-tree", "-r", note.old, note.new)
                if foreign := await self._foreign(note, touched):
                    raise StepError(f"an update was cut off there, and {foreign} has been changed since")
                await self._finish(note, touched)
                done = f"finished what was cut off: {note.old[:12]} → {note.new[:12]}"
        # Otherwise its owner has gone elsewhere since.
        (directory / NOTE).unlink(missing_ok=True)
        return done

    async def _moving(self, directory: Path, *arguments: str) -> list[str]:
        output = await self.git(*arguments, seconds=FETCH_SECONDS)
        if not output.ok:
            if output.code >= 0:
                # It ended by itself, so it left nothing behind.
                (directory / NOTE).unlink(missing_ok=True)
            raise StepError(complaint(output))
        return [line for line in f"{output.stderr}\n{output.stdout}".splitlines() if line.strip()]

    async def _said(self, *arguments: str, seconds: float = _QUERY_SECONDS) -> str:
        output = await self.git(*arguments, seconds=seconds)
        if not output.ok:
            raise StepError(complaint(output))
        return output.stdout.strip()

    async def _directory(self, which: str) -> Path:
        return (self.path / await self._said("rev-parse", which)).resolve()

    async def _nobody_at_work(self, directories: Collection[Path]) -> None:
        import asyncio

        end = time.monotonic() + self._patience
        while (process := at_work(self.path.resolve(), directories)) is not None:
            if time.monotonic() >= end:
                raise StepError(f"git is at work in it: process {process}")
            await asyncio.sleep(0.1)

    async def _difference(self, *arguments: str) -> list[Touched]:
        output = await self.git(*arguments, "-z", "--raw", "--no-renames", "--ignore-submodules=none")
        if not output.ok:
            raise StepError(complaint(output))
        return parse_touched(output.stdout)

    async def _foreign(self, note: Note, touched: Sequence[Touched]) -> str:
        """The first file that is neither the old nor the new commit's; empty where all are."""
        ours = {one.path: one for one in touched}
        for staged in await self._difference("diff-index", "--cached", note.old):
            if staged.path not in ours or staged.new not in {"", *ours[staged.path].versions}:
                return staged.path
        changed = (entry[3:] for entry in (await self.git(*_CHANGES)).stdout.split("\0") if entry)
        for path in (*changed, *ours):
            # Written over by a replacement character, it could be any file.
            if path not in ours or "\ufffd" in path:
                return path
        doubtful = [one async for one in self._unlike([one for one in touched if not one.submodule])]
        return await self._not_begun(doubtful, note.new) if doubtful else ""

    async def _finish(self, note: Note, touched: Sequence[Touched]) -> None:
        """Bring what the move touches to the new commit, and the branch last. Nothing else, hidden or not."""
        gone = [one for one in touched if not one.new]
        for some in _in_parts([one.path for one in gone]):
            await self._said("update-index", "--force-remove", "--", *some)
        for one in gone:
            if not one.submodule:
                _remove(self.path, one.path)
        for some in _in_parts([one.path for one in touched if one.new]):
            command = ("--literal-pathspecs", "checkout", "--no-recurse-submodules", note.new, "--")
            await self._said(*command, *some, seconds=FETCH_SECONDS)
        await self._said("update-ref", "-m", "merge: finished", note.branch, note.new, note.old)

    async def _unlike(self, touched: Sequence[Touched]) -> AsyncIterator[Touched]:
        """Files that are there and are neither version."""
        files: list[Touched] = []
        for one in touched:
            mode = _mode(self.path, one.path)
            if mode is None:
                continue
            if stat.S_ISREG(mode):
                files.append(one)
            elif stat.S_ISLNK(mode):
                if not _blobs(os.fsencode((self.path / one.path).readlink())) & one.versions:
                    yield one
            elif one.new or mode == _ELSEWHERE:
                yield one
        for some in _in_parts(files):
            hashes = await self._said("hash-object", "--", *(one.path for one in some))
            for one, blob in zip(some, hashes.split(), strict=True):
                if blob not in one.versions:
                    yield one

    async def _not_begun(self, doubtful: Sequence[Touched], commit: str) -> str:
        """The first file that is not the beginning of what the commit has there; empty where all are."""
        from tempfile import TemporaryDirectory

        with TemporaryDirectory() as folder:
            index, tree = Path(folder, "index"), Path(folder, "tree")
            names = [one.path for one in doubtful if one.new]
            for arguments in (
                ("read-tree", commit),
                ("checkout-index", f"--prefix={tree}/", "--", *names[:_FILES_AT_ONCE]),
            ):
                output = await self.git(*arguments, index=index)
                if not output.ok:
                    raise StepError(complaint(output))
            for one in doubtful:
                if not _is_beginning(self.path / one.path, tree / one.path):
                    return one.path
        return ""


def _in_parts(items: Sequence[Part]) -> Iterator[Sequence[Part]]:
    for start in range(0, len(items), _FILES_AT_ONCE):
        yield items[start : start + _FILES_AT_ONCE]


def _mode(root: Path, name: str) -> int | None:
    """Mode of a file, None where there is none; `_ELSEWHERE` where a link leads out of the checkout."""
    try:
        mode = (root / name).lstat().st_mode
    except OSError:
        return None
    inside = (root / name).parent.resolve().is_relative_to(root.resolve())
    return mode if inside else _ELSEWHERE


def _remove(root: Path, name: str) -> None:
    """Remove a file, and the directories above it that are empty then."""
    with suppress(OSError):
        (root / name).unlink()
    with suppress(OSError):
        for directory in list((root / name).relative_to(root).parents)[:-1]:
            (root / directory).rmdir()


def at_work(checkout: Path, directories: Collection[Path]) -> int | None:
    """A process that has a lock below `directories` open, or a git that works in the checkout (proc(5))."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            # Of another user: a lock of theirs is none that is removed.
            with suppress(OSError):
                if _is_git_in(entry, checkout) or any(_is_lock(link, directories) for link in _open(entry)):
                    return int(entry.name)
    return None


def _is_git_in(process: Path, checkout: Path) -> bool:
    name = (process / "comm").read_text("utf-8", "replace").strip()
    return (name == "git" or name.startswith("git-")) and (process / "cwd").readlink().is_relative_to(
        checkout
    )


def _open(process: Path) -> Iterator[Path]:
    for descriptor in (process / "fd").iterdir():
        with suppress(OSError):
            yield descriptor.readlink()


def _is_lock(path: Path, directories: Collection[Path]) -> bool:
    return path.suffix == ".lock" and any(path.is_relative_to(one) for one in directories)


def _left_locks(directory: Path, common: Path, begun: float) -> list[Path]:
    """The locks that a move takes, where they are ours and not older than the move."""
    names = ("index.lock", "HEAD.lock", "ORIG_HEAD.lock", "packed-refs.lock", "shallow.lock")
    places = {one / name for one in (directory, common) for name in names}
    found: list[Path] = []
    for place in (*places, *(common / "refs").rglob("*.lock")):
        with suppress(OSError):
            status = place.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_mtime >= begun:
                found.append(place)
    return found


def _blobs(content: bytes) -> set[str]:
    """The names of a blob, in a repository of either kind (gitformat-pack(5), "object-format")."""
    import hashlib

    data = b"blob %d\0%b" % (len(content), content)
    return {hashlib.sha1(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest()}


def _is_beginning(part: Path, whole: Path) -> bool:
    """Whether a regular file holds nothing but the first bytes of another."""
    if part.is_symlink() or whole.is_symlink() or not part.is_file() or not whole.is_file():
        return False
    return whole.read_bytes().startswith(part.read_bytes())


def complaint(output: QueryOutput) -> str:
    """What git says when it fails."""
    lines = [line for line in output.stderr.splitlines() if line.strip()]
    chosen = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
    return chosen[0].partition(": ")[2] or chosen[0] if chosen else f"git ended with {output.code}"
