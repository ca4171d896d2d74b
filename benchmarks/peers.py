"""The peers, in environments of their own outside the repository.

topgrade, mpm (meta-package-manager) and doit are wheels; ninja, make and parallel come from PATH or from
Debian's packages, which are unpacked, not installed, so that no root is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measuring import Argv

WHEELS = {"topgrade": "topgrade", "mpm": "meta-package-manager", "doit": "doit"}
DEBIAN = {"ninja": "ninja-build", "make": "make", "parallel": "parallel"}
SYSTEM = ("cc", "curl", "sha256sum", "tar", "sh", "cat")
_SPAWN_LIMIT = Path(__file__).with_name("limit.c")


def cache_directory() -> Path:
    """Where the peers live between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "update-all-benchmarks"


def find(cache: Path) -> dict[str, Path]:
    """The programs that are there already, by name."""
    tools: dict[str, Path] = {}
    for name in (*DEBIAN, *SYSTEM):
        found = shutil.which(name)
        if found:
            tools[name] = Path(found)
    for name in DEBIAN:
        unpacked = cache / "debian" / "usr/bin" / name
        if unpacked.exists():
            tools.setdefault(name, unpacked)
    for name in WHEELS:
        installed = cache / "python" / "bin" / name
        if installed.exists():
            tools[name] = installed
    if "cc" in tools:
        tools["spawn-limit"] = _compiled(cache)
    return tools


def install(cache: Path) -> dict[str, Path]:
    """Bring those that are missing; one that cannot be had is left out, with a word on stderr."""
    tools = find(cache)
    wheels = [package for name, package in WHEELS.items() if name not in tools]
    if wheels:
        environment = cache / "python"
        _try([sys.executable, "-m", "venv", environment], cache)
        _try([environment / "bin/pip", "install", "--quiet", *wheels], cache)
    packages = [package for name, package in DEBIAN.items() if name not in tools]
    if packages and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        folder = cache / "debian"
        folder.mkdir(parents=True, exist_ok=True)
        _try(["apt-get", "download", *packages], folder)
        for archive in folder.glob("*.deb"):
            _try(["dpkg-deb", "-x", archive, folder], folder)
    return find(cache)


def topgrade(program: Path, folder: Path, commands: Mapping[str, str]) -> Argv:
    """The command line with which topgrade runs these commands, by name, and nothing else."""
    # Without a directory for configurations it ignores the one that it is given.
    (folder / "config").mkdir(exist_ok=True)
    config = folder / "topgrade.toml"
    entries = "\n".join(f"{json.dumps(name)} = {json.dumps(line)}" for name, line in commands.items())
    config.write_text(f"[misc]\nno_self_update = true\nassume_yes = true\n[commands]\n{entries}\n")
    only = ["--only", "custom_commands", "--no-ask-retry", "--allow-root", "--notify-end", "never"]
    return [program, "--config", config, *only]


def versions(tools: Mapping[str, Path]) -> dict[str, str]:
    """The first line of what each peer says of itself."""
    found: dict[str, str] = {}
    for name in sorted({*WHEELS, *DEBIAN} & tools.keys()):
        done = subprocess.run([tools[name], "--version"], capture_output=True, text=True, check=False)
        found[name] = next(iter(done.stdout.splitlines()), "").strip()
    return found


def _try(argv: list[str | Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(f"{argv[0]}: {done.stderr.strip()[-400:]}\n")


def _compiled(cache: Path) -> Path:
    program = cache / "spawn-limit"
    if not program.exists() or program.stat().st_mtime < _SPAWN_LIMIT.stat().st_mtime:
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-o", program, _SPAWN_LIMIT], check=True)
    return program
