"""pip, pipx and uv: an index on loopback."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from recipe import Recipe
from registry_python import PythonIndex
from room import Room

from update_all.core.models import Change

PACKAGE = "ua-lab-py"
TOOLS = Path(sys.executable).parent
BASE_PYTHON = Path(os.path.realpath(sys.executable))
FILES = 3000
"""So many make an installation last."""


class _Indexed(Recipe):
    programs = (str(BASE_PYTHON),)

    def __init__(self, room: Room) -> None:
        super().__init__(room)
        self.index = self.open(PythonIndex())

    def configure(self) -> None:
        """An interpreter that no distribution manages, and the index for every tool."""
        wrapper = self.room.home / ".local/bin/python3"
        self.room.write(wrapper, f'#!/bin/sh\nexec {BASE_PYTHON} "$@"\n')
        wrapper.chmod(0o755)
        self.room.environment |= {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.index.url,
            "UV_NO_CONFIG": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_DEFAULT_INDEX": self.index.url,
        }
        self.index.publish(PACKAGE, "1.0", files=FILES)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        self.index.publish(PACKAGE, "2.0", files=FILES)
        return frozenset({Change(PACKAGE, "1.0", "2.0")})

    def installed(self) -> Mapping[str, str]:
        return {PACKAGE: self.room.run(self.room.home / ".local/bin" / PACKAGE).strip()}

    def cut(self) -> None:
        self.index.stop()

    def packages(self, place: str) -> Path | None:
        """The directory of a version's packages below the home directory, once it is there."""
        return next(self.room.home.glob(f"{place}/lib/python3*/site-packages"), None)

    def is_half_way(self, place: str) -> bool:
        """The old version has gone and the new one is not complete."""
        packages = self.packages(place)
        if packages is None:
            return False
        return (
            not (packages / "ua_lab_py-1.0.dist-info/RECORD").exists()
            and not (packages / "ua_lab_py-2.0.dist-info/RECORD").exists()
        )

    def leftovers(self, place: str) -> str:
        packages = self.packages(place)
        return "" if packages is None else " ".join(path.name for path in packages.glob("~*"))


class Pip(_Indexed):
    plugin = "pip"

    def version(self) -> str:
        return self.room.run("python3", "-m", "pip", "--version").split()[1]

    def prepare(self) -> None:
        self.configure()
        self.room.run("python3", "-m", "pip", "install", "--user", PACKAGE)

    @property
    def interrupted(self) -> bool:
        return self.is_half_way(".local")

    def complaint(self) -> str:
        found = self.room.finding("python3", "-m", "pip", "show", "--quiet", PACKAGE)
        return found or self.room.finding("python3", "-m", "pip", "check") or self.leftovers(".local")


class Pipx(_Indexed):
    plugin = "pipx"
    programs = (str(TOOLS / "pipx"),)

    def version(self) -> str:
        return self.room.run("pipx", "--version").strip()

    def prepare(self) -> None:
        self.configure()
        self.room.link("pipx", TOOLS / "pipx")
        self.room.environment |= {
            "PIPX_DEFAULT_BACKEND": "pip",
            "PIPX_DEFAULT_PYTHON": str(BASE_PYTHON),
        }
        self.index.publish_pip()
        # The first installation ends with a complaint that the index has no newer pip than Python bundles.
        self.room.run("pipx", "install", PACKAGE, codes=(0, 1))
        self.room.run("pipx", "install", PACKAGE)

    @property
    def interrupted(self) -> bool:
        return self.is_half_way(f".local/share/pipx/venvs/{PACKAGE}")

    def complaint(self) -> str:
        listed = self.room.run("pipx", "list", "--json", codes=(0, 1))
        entries = json.loads(listed[listed.index("{") :])["venvs"]
        found = "" if PACKAGE in entries else f"{PACKAGE} is not listed"
        return found or self.room.finding("pipx", "runpip", PACKAGE, "check")


class Uv(_Indexed):
    plugin = "uv-tools"
    programs = (str(TOOLS / "uv"),)

    def version(self) -> str:
        return self.room.run("uv", "--version").split()[1]

    def prepare(self) -> None:
        self.configure()
        self.room.link("uv", TOOLS / "uv")
        self.room.run("uv", "tool", "install", PACKAGE)

    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        if pausing:
            self.index.stall(f"{PACKAGE.replace('-', '_')}-2.0-py3-none-any.whl")
        return super().outdate(pausing=pausing)

    @property
    def interrupted(self) -> bool:
        return self.index.stalled.is_set()

    def complaint(self) -> str:
        place = self.room.home / ".local/share/uv/tools" / PACKAGE
        return self.room.finding("uv", "pip", "check", "--python", place / "bin/python")
