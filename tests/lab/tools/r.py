"""R: a repository of source packages on loopback (R Administration, "Setting up a package repository")."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

from files_server import FilesServer
from recipe import Recipe
from room import Room

from update_all.core.models import Change

PACKAGE = "uaLabR"


class R(Recipe):
    plugin = "r-packages"
    programs = ("Rscript", "R")

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.server = self.open(FilesServer(room.folder / "repository"))
        self.library = room.home / "library"

    def version(self) -> str:
        return self.room.run("Rscript", "--version").partition("version ")[2].split()[0]

    def prepare(self) -> None:
        self.library.mkdir()
        # A library of the site that root can write is none of the test's.
        self.room.environment |= {"R_LIBS_USER": str(self.library), "R_LIBS_SITE": str(self.library)}
        self.room.write(self.room.home / ".Rprofile", f'options(repos = c(CRAN = "{self.server.url}"))\n')
        self._publish("1.0", "")
        self.room.run("Rscript", "-e", f'install.packages("{PACKAGE}")')

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self._publish("2.0", self.pause if pausing else "")
        return frozenset({Change(PACKAGE, "1.0", "2.0")})

    def installed(self) -> Mapping[str, str]:
        return {PACKAGE: self.room.run("Rscript", "-e", f'cat(format(packageVersion("{PACKAGE}")))')}

    def cut(self) -> None:
        self.server.stop()

    def complaint(self) -> str:
        locks = " ".join(path.name for path in self.library.glob("00LOCK*"))
        return self.room.finding("Rscript", "-e", f'library("{PACKAGE}")') or locks

    def _publish(self, version: str, script: str) -> None:
        tree = self.room.folder / f"r-{version}" / PACKAGE
        (tree / "R").mkdir(parents=True)
        (tree / "DESCRIPTION").write_text(
            f"Package: {PACKAGE}\nVersion: {version}\nTitle: Of the Lab\nDescription: Of the lab.\n"
            "Author: lab\nMaintainer: lab <lab@example.invalid>\nLicense: MIT\nBuilt-by: lab\n"
        )
        (tree / "NAMESPACE").write_text("export(lab)\n")
        # Run while the package is being built into the library.
        load = f"system({script!r})\n" if script else ""
        (tree / "R/lab.R").write_text(f"{load}lab <- function() '{version}'\n")
        place = Path(self.server.folder / "src/contrib")
        place.mkdir(parents=True, exist_ok=True)
        with tarfile.open(place / f"{PACKAGE}_{version}.tar.gz", "w:gz") as archive:
            archive.add(tree, PACKAGE)
        for old in place.glob("PACKAGES*"):
            old.unlink()
        self.room.run("Rscript", "-e", f'tools::write_PACKAGES("{place}", type = "source")')
        self.server.touch()
