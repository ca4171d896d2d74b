"""The Go tool chain. Source: /dl/?mode=json of the Go site (version, file, SHA-256, size)."""

from __future__ import annotations

import sys

from update_all.api import (
    DownloadSpec,
    JsonValue,
    Phase,
    Release,
    ReleasePlugin,
    StepError,
    UpdateStep,
    version_key,
)

FEED = "https://go.dev/dl/?mode=json"
MIRROR = "https://dl.google.com/go"
_LITTLE = "le" if sys.byteorder == "little" else ""
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "loongarch64": "loong64"}
ARCHITECTURES |= dict.fromkeys(("i386", "i686"), "386") | dict.fromkeys(
    ("armv6l", "armv7l", "armv8l"), "armv6l"
)
ARCHITECTURES |= {name: name for name in ("ppc64", "ppc64le", "riscv64", "s390x")}
ARCHITECTURES |= {name: f"{name}{_LITTLE}" for name in ("mips", "mips64")}


class GoRuntimePlugin(ReleasePlugin):
    """Go in ~/apps/go, ~/.local/opt/go or /usr/local/go, from the publisher's archives."""

    description = "The Go tool chain"
    tags = ("go",)
    places = ("~/apps/go", "~/.local/opt/go", "/usr/local/go")
    smoke = ("bin/go", "version")
    version_pattern = r"go version go(\S+)"
    architectures = ARCHITECTURES
    top = "go"
    must_have = ("bin/go", "VERSION")

    @property
    def name(self) -> str:
        return "go-runtime"

    @property
    def command(self) -> str:
        return "go"

    async def newest_release(self) -> Release:
        feed = self.option("feed", FEED)
        archives = stable_archives(await self.fetch_json(feed), self.architecture)
        if not archives:
            raise StepError(f"the publisher's list has no stable release for linux/{self.architecture}")
        version, filename, sha256, size = max(archives, key=lambda archive: version_key(archive[0]))
        url = f"{self.option('mirror', MIRROR)}/{filename}"
        signature = self.signature(f"{url}.asc")
        return Release(version, DownloadSpec(url, filename, f"sha256:{sha256}", size, feed, signature))

    def get_update_steps(self) -> list[UpdateStep]:
        return [
            UpdateStep(
                name="check-version",
                description="Check for a new Go version",
                execute_fn=self.look_up,
                mutexes=["network"],
                phase=Phase.CHECK,
            ),
            UpdateStep(
                name="download",
                description="Download the Go archive",
                execute_fn=self.download,
                check_fn=self.is_downloaded,
                depends_on=["check-version"],
                mutexes=["network"],
                phase=Phase.DOWNLOAD,
            ),
            UpdateStep(
                name="extract",
                description="Unpack it beside the installed versions",
                execute_fn=self.unpack,
                check_fn=self.is_unpacked,
                depends_on=["download"],
            ),
            UpdateStep(
                name="install",
                description="Make it an installed version, if it runs",
                execute_fn=self.install,
                check_fn=self.is_installed,
                depends_on=["extract"],
            ),
            UpdateStep(
                name="symlink",
                description="Lead the link to the new version",
                execute_fn=self.switch,
                depends_on=["install"],
            ),
        ]


def stable_archives(feed: JsonValue, architecture: str) -> list[tuple[str, str, str, int]]:
    """Version, file name, SHA-256 and size of the archives of stable releases for Linux."""
    archives: list[tuple[str, str, str, int]] = []
    for release in feed if isinstance(feed, list) else []:
        match release:
            case {"version": str(version), "stable": True, "files": list(files)}:
                described = (file for file in files if isinstance(file, dict))
                wanted = {"os": "linux", "arch": architecture, "kind": "archive"}.items()
                for file in (file for file in described if wanted <= file.items()):
                    match file:
                        case {"filename": str(name), "sha256": str(digest), "size": int(size)}:
                            archives.append((version.removeprefix("go"), name, digest, size))
    return archives
