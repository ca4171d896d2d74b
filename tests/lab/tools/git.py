"""git: a repository on loopback, served as plain files ("dumb" HTTP, git-update-server-info(1))."""

from __future__ import annotations

from collections.abc import Mapping

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

STEP = "checkout"


class Git(Recipe):
    plugin = "git-repositories"
    programs = ("git",)
    quick = True

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "served"))
        self.origin = self.server.folder / "origin.git"
        self.checkout = room.home / STEP

    def version(self) -> str:
        return self.room.run("git", "--version").split()[2]

    def prepare(self) -> None:
        self.room.write(
            self.room.home / ".gitconfig", "[user]\nname = lab\nemail = lab@example.invalid\n[gc]\nauto = 0\n"
        )
        self.room.run("git", "init", "--quiet", "--bare", "--initial-branch=main", self.origin)
        self.work = self.room.folder / "work"
        self.room.run("git", "clone", "--quiet", self.origin, self.work)
        self._commit("1")
        self.room.run("git", "clone", "--quiet", f"{self.server.url}/origin.git", self.checkout)
        self.room.write(
            self.room.home / ".config/update-all/config.toml",
            f'[plugin.git-repositories]\npaths = ["{self.checkout}"]\n',
        )

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        old = self._head(self.checkout)
        self._commit("2")
        if pausing:
            # Checking a file out is what moving forward consists of.
            self.room.run("git", "-C", self.checkout, "config", "filter.lab.smudge", f"{self.pause} >&2; cat")
            (self.checkout / ".git/info/attributes").write_text("file filter=lab\n")
        return frozenset({Change(STEP, old, self._head(self.work))})

    def installed(self) -> Mapping[str, str]:
        return {STEP: self._head(self.checkout)}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        changed = self.room.run("git", "-C", self.checkout, "status", "--porcelain")
        locks = [path.name for path in (self.checkout / ".git").rglob("*.lock")]
        return self.room.finding("git", "-C", self.checkout, "fsck") or changed or " ".join(locks)

    def _commit(self, text: str) -> None:
        (self.work / "file").write_text(text)
        self.room.run("git", "-C", self.work, "add", "file")
        self.room.run("git", "-C", self.work, "commit", "--quiet", "--message", text)
        self.room.run("git", "-C", self.work, "push", "--quiet", "origin", "main")
        self.room.run("git", "-C", self.origin, "update-server-info")

    def _head(self, place: object) -> str:
        return self.room.run("git", "-C", str(place), "rev-parse", "HEAD").strip()
