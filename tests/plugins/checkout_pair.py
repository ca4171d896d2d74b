"""A checkout whose remote has a new commit, for the tests of moves that were cut off."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

from update_all.core.queries import query
from update_all.plugins.checkouts import NOTE, Checkout, Note

OLD = {"changed": "old\n" * 9, "gone": "going\n", "same": "same\n", "inner/deep": "1\n", "was-file": "x\n"}
NEW = {
    "changed": "new\n" * 99,
    "same": "same\n",
    "inner/deep": "2\n",
    "fresh": "f\n" * 50,
    "was-file/a": "y\n",
}
TOUCHED = ("changed", "gone", "inner/deep", "fresh")


def git(place: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(place), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Pair:
    """A checkout at the old commit, its remote at the new one, which is fetched."""

    def __init__(self, root: Path) -> None:
        self.place, self.remote = root / "checkout", root / "remote.git"
        git(root, "init", "--quiet", "--bare", "--initial-branch=main", str(self.remote))
        git(root, "clone", "--quiet", str(self.remote), str(self.place))
        for name, value in (("user.name", "Test"), ("user.email", "test@localhost")):
            git(self.place, "config", name, value)
        self.old, self.new = self.commit(OLD), self.commit(NEW)
        git(self.place, "push", "--quiet", "--set-upstream", "origin", "HEAD:main")
        git(self.place, "reset", "--hard", self.old)
        self.directory = self.place / ".git"

    def commit(self, tree: dict[str, str]) -> str:
        for path in [path for path in self.place.iterdir() if path.name != ".git"]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, text in tree.items():
            (self.place / name).parent.mkdir(exist_ok=True)
            (self.place / name).write_text(text)
        git(self.place, "add", "--all")
        git(self.place, "commit", "--quiet", "--message", "a commit")
        return git(self.place, "rev-parse", "HEAD")

    def cut_off(self) -> None:
        """As a kill after the first moment leaves it."""
        Note("refs/heads/main", self.old, self.new).write(self.directory)
        (self.directory / "index.lock").touch()

    @property
    def checkout(self) -> Checkout:
        return Checkout(self.place, query, patience=0)

    def go_on(self) -> None:
        async def forward() -> None:
            async for _ in self.checkout.forward():
                pass

        asyncio.run(forward())

    def files(self) -> dict[str, bytes]:
        """All but what git keeps."""
        return {
            str(path.relative_to(self.place)): path.read_bytes()
            for path in self.place.rglob("*")
            if path.is_file() and ".git" not in path.parts
        }

    def is_new(self) -> bool:
        """The new commit is checked out, whole, and nothing is left of the move."""
        assert {name: text.decode() for name, text in self.files().items()} == NEW
        assert git(self.place, "status", "--porcelain") == ""
        assert not [*self.directory.rglob("*.lock"), *self.directory.glob(f"{NOTE}*")]
        return git(self.place, "rev-parse", "HEAD") == self.new


def copied(template: Path, root: Path) -> Pair:
    shutil.copytree(template, root)
    found = Pair.__new__(Pair)
    found.place, found.remote = root / "checkout", root / "remote.git"
    found.directory = found.place / ".git"
    found.old, found.new = git(found.place, "rev-parse", "HEAD"), git(found.remote, "rev-parse", "main")
    return found


def put(place: Path, text: str | None) -> None:
    if place.parent.is_file():
        place.parent.unlink()
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    if text is not None:
        place.write_text(text)
