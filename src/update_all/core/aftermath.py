"""What a run leaves to do: a restart of the machine, of services, of open programs. Only looks; never acts.

Read are `/run/reboot-required` (a file that Debian's and Ubuntu's packages leave), the kernels in `/boot`
and `/usr/lib/modules`, and, as root, `needrestart -b` (its README.batch.md); without it, proc(5): which
processes still have a file mapped as code that has been replaced.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from update_all.core.cleaning import clean_line
from update_all.core.queries import SILENT_ENVIRONMENT

NEEDRESTART_SECONDS = 30.0
MOST_NAMES = 12
"""Names that one line of advice holds; the others are counted."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """`restart` says why the machine should be restarted, "" that nothing asks for it."""

    restart: str = ""
    services: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def advice(self) -> list[tuple[str, str]]:
        """(label, text) pairs for a summary. Restarting is left to the person."""
        found: list[tuple[str, str]] = []
        if self.restart:
            found.append(("Restart needed", self.restart))
        if self.services:
            names = " ".join(self.services[:MOST_NAMES])
            found.append(("Restart services", f"{_listed(self.services)}; sudo systemctl restart {names}"))
        if self.programs:
            found.append(("Still open", f"{_listed(self.programs)} still run what was replaced"))
        return found


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def look(root: Path = Path("/"), *, release: str | None = None, euid: int | None = None) -> Aftermath:
    """What this machine needs now. `root` is where its files are, `release` the running kernel's.

    Never raises: what cannot be read is not mentioned.
    """
    release = os.uname().release if release is None else release
    euid = os.geteuid() if euid is None else euid
    if euid == 0 and root == Path("/") and (found := _needrestart()) is not None:
        restart = reboot_flag(root) or found.restart
        return Aftermath(restart, found.services, found.programs)
    services, programs = stale_processes(root / "proc")
    return Aftermath(reboot_flag(root) or kernel_advice(root, release), services, programs)


def _needrestart() -> Aftermath | None:
    program = shutil.which("needrestart", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        return None
    try:
        answer = subprocess.run(
            [program, "-b", "-r", "l"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=NEEDRESTART_SECONDS,
            env={**os.environ, **SILENT_ENVIRONMENT},
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_needrestart(answer.stdout.decode("utf-8", "replace"))


def parse_needrestart(text: str) -> Aftermath | None:
    """The batch output of needrestart: lines `NEEDRESTART-KEY: value`. None when it holds none.

    KSTA is 2 for an upgrade of the kernel with the same interface, 3 for one of another version.
    """
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"NEEDRESTART-([A-Z]+): *(.*)", line.rstrip())
        if match is not None and match[2]:
            values.setdefault(match[1], []).append(clean_line(match[2], 200))
    if not values:
        return None
    first = {key: found[0] for key, found in values.items()}
    restart = ""
    if first.get("KSTA") in {"2", "3"}:
        expected, current = first.get("KEXP", "another"), first.get("KCUR", "the old one")
        restart = f"kernel {expected} installed, {current} running"
    elif first.get("UCSTA") == "2":
        restart = "new processor microcode is installed"
    services = dict.fromkeys(name.removesuffix(".service") for name in values.get("SVC", ()))
    return Aftermath(restart, tuple(services), tuple(dict.fromkeys(values.get("SESS", ()))))


def reboot_flag(root: Path) -> str:
    """What `/run/reboot-required` and `.pkgs` say; "" where they are not."""
    flag = root / "run/reboot-required"
    if not flag.exists():
        return ""
    try:
        with (root / "run/reboot-required.pkgs").open(encoding="utf-8", errors="replace") as file:
            words = [clean_line(line, 100).strip() for line in file.read(65536).splitlines()]
    except OSError:
        words = []
    packages = tuple(dict.fromkeys(filter(None, words)))
    return f"because of {_listed(packages)}" if packages else "says /run/reboot-required"


def kernel_advice(root: Path, release: str) -> str:
    """Why the running kernel is an old one; "" when it is not, or when nothing can be said.

    A kernel that is not installed here (a container, a rented machine) says nothing, but for distributions
    that delete the running kernel's modules with an upgrade (`pkgbase` files in the modules tell those).
    """
    modules = root / "usr/lib/modules"
    installed = set(_names(root / "boot", "vmlinuz-")) | {
        path.parent.name for path in _glob(modules, "*/vmlinuz")
    }
    if release in installed:
        newest = max((name for name in installed if flavour(name) == flavour(release)), key=version_key)
        if version_key(newest) > version_key(release):
            return f"kernel {clean_line(newest, 100)} installed, {clean_line(release, 100)} running"
        return ""
    replaced = [path.parent.name for path in _glob(modules, "*/pkgbase")]
    if replaced and release not in replaced and not (root / "run/systemd/container").exists():
        newest = max(replaced, key=version_key)
        return f"kernel {clean_line(newest, 100)} installed, {clean_line(release, 100)} running"
    return ""


def version_key(release: str) -> tuple[int, ...]:
    """The numbers of a kernel's name, for comparison among kernels of one flavour."""
    return tuple(int(number) for number in re.findall(r"\d+", release))


def flavour(release: str) -> str:
    """What of a kernel's name is no version: `generic` of `6.8.0-90-generic`, `amd64`, `lts`."""
    return "-".join(
        word for word in re.split(r"[-+.]", release) if not re.fullmatch(r"\d+|(rc|arch|fc|el)\d+", word)
    )


def _names(directory: Path, prefix: str) -> Iterator[str]:
    for path in _glob(directory, f"{prefix}*"):
        name = path.name.removeprefix(prefix)
        if name[:1].isdigit() and not name.endswith((".old", ".bak", ".dpkg-bak")):
            yield name


def _glob(directory: Path, pattern: str) -> list[Path]:
    try:
        return sorted(directory.glob(pattern))
    except OSError:
        return []


_MAPPED_CODE = re.compile(
    r"^\S+ r-xp \S+ \S+ \S+ +/(?:usr|lib\w*|bin|sbin|opt)/.* \(deleted\)$", re.MULTILINE
)
_SERVICE = re.compile(r"^\d+:[^:]*:.*/system\.slice/(?:\S*/)?([^/\s]+)\.service(?:/|$)", re.MULTILINE)


def stale_processes(proc: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Services, and other programs, that run code whose file is gone; those that this user may look at."""
    services: set[str] = set()
    programs: set[str] = set()
    for process in _glob(proc, "[0-9]*"):
        try:
            if not _MAPPED_CODE.search((process / "maps").read_text("utf-8", "replace")):
                continue
            service = _SERVICE.search((process / "cgroup").read_text("utf-8", "replace"))
            if service is not None:
                services.add(clean_line(service[1], 100))
            elif process.name != str(os.getpid()):
                programs.add(clean_line((process / "comm").read_text("utf-8", "replace").strip(), 100))
        except OSError:
            continue
    return tuple(sorted(services)), tuple(sorted(programs))
