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


class GoRuntimePlugin(ReleasePlugin):
    """Go in ~/apps/go, ~/.local/opt/go or /usr/local/go, from the publisher's archives."""

    description = "The Go tool chain"
    tags = ("go",)
    places = ("~/apps/go", "~/.local/opt/go", "/usr/local/go")
    smoke = ("bin/go", "version")
    version_pattern = r"go version go(\S+)"
    architectures = {  # noqa: RUF012 - a ClassVar of the base class
        "x86_64": "amd64",
        "aarch64": "arm64",
        "i386": "386",
        "i686": "386",
        "armv6l": "armv6l",
        "armv7l": "armv6l",
        "armv8l": "armv6l",
        "loongarch64": "loong64",
        "mips": f"mips{_LITTLE}",
        "mips64": f"mips64{_LITTLE}",
        "ppc64": "ppc64",
        "ppc64le": "ppc64le",
        "riscv64": "riscv64",
        "s390x": "s390x",
    }
    top = "go"
    must_have = ("bin/go", "VERSION")

    @property
    def name(self) -> str:
        return "go-runtime"

    @property
    def command(self) -> str:
        return "go"

    async def newest_release(self) -> Release:
        feed, architecture = self.option("feed", FEED), self.architecture
        archives = stable_archives(await self.fetch_json(feed), architecture)
        if not archives:
            raise StepError(f"the publisher's list has no stable release for linux/{architecture}")
        version, filename, sha256, size = max(archives, key=lambda archive: version_key(archive[0]))
        url = f"{self.option('mirror', MIRROR)}/{filename}"
        download = DownloadSpec(
            url,
            filename,
            f"sha256:{sha256}",
            size,
            digest_source=feed,
            signature=self.signature(f"{url}.asc"),
        )
        return Release(version, download)

    def get_update_steps(self) -> list[UpdateStep]:
        return [
            UpdateStep(
                "check-version",
                "Check for a new Go version",
                execute_fn=self.look_up,
                mutexes=["network"],
                phase=Phase.CHECK,
            ),
            UpdateStep(
                "download",
                "Download the Go archive",
                execute_fn=self.download,
                check_fn=self.is_downloaded,
                depends_on=["check-version"],
                mutexes=["network"],
                phase=Phase.DOWNLOAD,
            ),
            UpdateStep(
                "extract",
                "Unpack it beside the installed versions",
                execute_fn=self.unpack,
                check_fn=self.is_unpacked,
                depends_on=["download"],
            ),
            UpdateStep(
                "install",
                "Make it an installed version, if it runs",
                execute_fn=self.install,
                check_fn=self.is_installed,
                depends_on=["extract"],
            ),
            UpdateStep(
                "symlink",
                "Lead the link to the new version",
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
                for file in files:
                    match file:
                        case {
                            "os": "linux",
                            "arch": str(arch),
                            "kind": "archive",
                            "filename": str(filename),
                            "sha256": str(sha256),
                            "size": int(size),
                        } if arch == architecture:
                            archives.append((version.removeprefix("go"), filename, sha256, size))
    return archives
