"""Whether a tool is here, told without importing the plugin: what `plugins list` asks of all of them.

Each rule gives the answer that its plugin's own `detect` gives, or None where only that can tell: most often
because the tool is here, or an option names a place. `tests/plugins/test_presence.py` holds both together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

TYPE_CHECKING = False  # What `typing` says, which a listing would wait for.
if TYPE_CHECKING:
    from update_all.core.models import JsonValue

AS_ROOT = frozenset({"apt", "npm"})
"""Those of RULES that may run something as root where their rule says that they are here."""


class Programs:
    """What is on PATH. Lists each directory once: cheaper than to ask for every name in every directory."""

    def __init__(self, path: str) -> None:
        self._directories = list(dict.fromkeys(path.split(os.pathsep))) if path else []
        self._names: dict[str, frozenset[str] | None] = {}

    def which(self, name: str) -> str | None:
        """As `shutil.which` with this PATH."""
        if os.path.dirname(name):  # noqa: PTH120 - the same question as in shutil
            return name if _runs(name) else None
        for directory in self._directories:
            names = self._listed(directory)
            if names is None or name in names:
                path = os.path.join(directory, name)  # noqa: PTH118 - an entry of PATH may be empty
                if _runs(path):
                    return path
        return None

    def _listed(self, directory: str) -> frozenset[str] | None:
        """The names in a directory; None where it can only be asked for each."""
        if directory not in self._names:
            try:
                self._names[directory] = frozenset(os.listdir(directory or os.curdir))  # noqa: PTH208
            except (FileNotFoundError, NotADirectoryError):
                self._names[directory] = frozenset()
            except OSError:
                self._names[directory] = None
        return self._names[directory]


def _runs(path: str) -> bool:
    return os.access(path, os.F_OK | os.X_OK) and not os.path.isdir(path)  # noqa: PTH112 - as in shutil


Options = Mapping[str, "JsonValue"]
Answer = tuple[bool, str]
"""Whether the tool is here, and why or why not: what `models.Detection` holds."""

Rule = Callable[[Programs, Options, Mapping[str, str]], Answer | None]


def _program(name: str) -> Rule:
    def rule(programs: Programs, _options: Options, _environ: Mapping[str, str]) -> Answer:
        found = programs.which(name)
        return (False, f"{name} is not on PATH") if found is None else (True, found)

    return rule


def _apt(programs: Programs, options: Options, environ: Mapping[str, str]) -> Answer | None:
    found = _program("apt-get")(programs, options, environ)
    return None if found and found[0] and programs.which("dpkg") is None else found


def _conda(programs: Programs, options: Options, _environ: Mapping[str, str]) -> Answer | None:
    names = ("conda", "mamba", "micromamba")
    if "program" in options or any(programs.which(name) for name in names):
        return None
    return (False, f"none of {', '.join(names)} is on PATH")


def _conda_clean(_programs: Programs, options: Options, _environ: Mapping[str, str]) -> Answer | None:
    if "remove" in options:
        return None
    return (False, "nothing is deleted unless remove lists it, of index-cache, packages, tarballs")


def _git_repositories(programs: Programs, options: Options, environ: Mapping[str, str]) -> Answer | None:
    found = _program("git")(programs, options, environ)
    if found and not found[0]:
        return found
    return None if options.get("paths") is not None else (False, "no checkouts are named")


def _pip(programs: Programs, options: Options, environ: Mapping[str, str]) -> Answer | None:
    found = _program("python3")(programs, options, environ)
    if not found or not found[0]:
        return found
    program = Path(found[1]).resolve()
    is_python = program.name.startswith("python3.") and program.name[8:].isdecimal()
    if is_python and (program.parent.parent / "lib" / program.name / "EXTERNALLY-MANAGED").exists():
        return (False, f"{found[1]} is managed by the distribution (PEP 668)")
    return found


def _spack(programs: Programs, options: Options, environ: Mapping[str, str]) -> Answer | None:
    if options.get("directory") or environ.get("SPACK_ROOT") or programs.which("spack"):
        return None
    return (False, "neither SPACK_ROOT nor spack on PATH says where Spack is")


def _texlive(programs: Programs, options: Options, environ: Mapping[str, str]) -> Answer | None:
    found = programs.which("tlmgr")
    if found is None:
        return (False, "tlmgr is not on PATH")
    parents = Path(found).resolve().parents
    home = Path(environ.get("TEXMFHOME") or Path.home() / "texmf")
    if (
        "user_mode" in options
        or len(parents) < 4
        or any((tree / "tlpkg/texlive.tlpdb").exists() for tree in (parents[3], home))
    ):
        return None
    reason = f"{parents[3]} belongs to the distribution's packages, which update it"
    return (False, f"{reason}; {home} is no tree of tlmgr's user mode")


def _release(*places: str) -> Rule:
    def rule(_programs: Programs, options: Options, _environ: Mapping[str, str]) -> Answer | None:
        if options.get("directory") or os.uname().machine != "x86_64":
            return None
        usable = [place for place in places if os.geteuid() != 0 or not place.startswith("~")]
        try:
            there = any(os.path.lexists(Path(place).expanduser()) for place in usable)
        except RuntimeError:
            return None
        return None if there else (False, f"it is not in {' or '.join(usable)}")

    return rule


RULES: Mapping[str, Rule] = {
    "apt": _apt,
    "calibre": _release("~/apps/calibre", "~/calibre-bin/calibre", "/opt/calibre"),
    "cargo": _program("cargo"),
    "conda-clean": _conda_clean,
    "conda-packages": _conda,
    "conda-self": _conda,
    "git-repositories": _git_repositories,
    "go-binaries": _program("go"),
    "go-runtime": _release("~/apps/go", "~/.local/opt/go", "/usr/local/go"),
    "npm": _program("npm"),
    "pip": _pip,
    "pipx": _program("pipx"),
    "spack": _spack,
    "texlive-packages": _texlive,
    "texlive-self": _texlive,
    "uv-python": _program("uv"),
    "uv-tools": _program("uv"),
    "waterfox": _release("~/apps/waterfox", "~/.local/opt/waterfox", "/opt/waterfox"),
}
"""Of the built-in plugins that are written in Python."""
