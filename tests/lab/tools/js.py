"""pnpm, yarn 1 and bun, as npm installs them: the registry of npm's recipe."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

from tools.npm import PACKAGE, Registered

INSTALLED = Path("/opt/lab-js/node_modules/.bin")
"""Where they are found beside PATH: `npm install --prefix /opt/lab-js pnpm yarn@1 bun`."""


class _FromNpm(Registered):
    """They stay in the range of the first installation, ^1.0.0."""

    new = "1.1.0"
    tool: str

    @classmethod
    def missing(cls) -> str:
        found = shutil.which(cls.tool) or (INSTALLED / cls.tool).exists()
        return "" if found and shutil.which("node") else f"needs node and {cls.tool}"

    def version(self) -> str:
        return self.room.run(self.tool, "--version").strip()

    def link_tool(self) -> None:
        if (INSTALLED / self.tool).exists():
            self.room.link(self.tool, INSTALLED / self.tool)

    def complaint(self) -> str:
        return self.room.finding(self.program)

    @property
    @abstractmethod
    def program(self) -> Path:
        """The installed program."""

    def installed(self) -> Mapping[str, str]:
        return {PACKAGE: self.room.run(self.program).strip()}


class Pnpm(_FromNpm):
    plugin = "pnpm"
    tool = "pnpm"
    programs = ("pnpm",)
    quick = True

    @property
    def program(self) -> Path:
        return self.room.home / "pnpm/bin" / PACKAGE

    def prepare(self) -> None:
        self.link_tool()
        bin_ = self.room.home / "pnpm"
        self.room.environment |= {
            "PNPM_HOME": str(bin_),
            "PATH": f"{bin_}:{bin_}/bin:{self.room.environment['PATH']}",
            "npm_config_registry": self.registry.url,
        }
        self.room.write(self.room.home / ".npmrc", f"registry={self.registry.url}\n")
        self.registry.publish(PACKAGE, "1.0.0")
        self.room.run("pnpm", "add", "--global", PACKAGE)


class Yarn(_FromNpm):
    plugin = "yarn"
    tool = "yarn"
    programs = ("yarn",)

    @property
    def program(self) -> Path:
        return self.room.home / "prefix/bin" / PACKAGE

    def prepare(self) -> None:
        self.link_tool()
        self.room.write(
            self.room.home / ".yarnrc",
            f'registry "{self.registry.url}"\nprefix "{self.room.home}/prefix"\n'
            # Where it is for users; root's is in /usr/local/share.
            f'"--global-folder" "{self.room.home}/.config/yarn/global"\n',
        )
        # yarn believes to be offline where there is no address but 127.0.0.1.
        self.room.run("ip", "address", "replace", "127.0.0.2/8", "dev", "lo")
        self.registry.publish(PACKAGE, "1.0.0")
        self.room.run("yarn", "global", "add", PACKAGE)


class Bun(_FromNpm):
    plugin = "bun-packages"
    tool = "bun"
    programs = ("bun",)

    @property
    def program(self) -> Path:
        return self.room.home / ".cache/.bun/bin" / PACKAGE

    def prepare(self) -> None:
        self.link_tool()
        self.room.write(
            self.room.home / ".config/.bunfig.toml", f'[install]\nregistry = "{self.registry.url}"\n'
        )
        self.registry.publish(PACKAGE, "1.0.0")
        self.room.run("bun", "add", "--global", PACKAGE)
