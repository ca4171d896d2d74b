"""Whether a tool is here: one rule for each plugin, which its `detect` asks, and `plugins list` from afar.

A rule needs nothing of the plugin, so a listing imports none. Where a rule cannot tell everything, its plugin
goes on from the place that the rule has found.
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
Which = Callable[[str], str | None]
"""The path of a program that is on PATH, as `shutil.which` gives it."""

Answer = tuple[bool | None, str]
"""True and where the tool is; False and why not; None and where it may be, which only its plugin can tell."""

Rule = Callable[[Which, Options, Mapping[str, str]], Answer]
"""Of what is on PATH, the options of the plugin and the environment. Reads files and starts nothing."""


def program(name: str) -> Rule:
    """The rule of a tool that is here where its program is on PATH."""

    def rule(which: Which, _options: Options, _environ: Mapping[str, str]) -> Answer:
        found = which(name)
        return (False, f"{name} is not on PATH") if found is None else (True, found)

    return rule


def release(*places: str) -> Rule:
    """The rule of a program in a directory of its own: that of the option `directory`, else one of `places`.

    The first that is there is taken; one that begins with "~" is for users only.
    """

    def rule(_which: Which, options: Options, _environ: Mapping[str, str]) -> Answer:
        if chosen := options.get("directory"):
            return None, str(chosen)
        # Root must not act on what a user's HOME, kept by sudo, happens to hold.
        usable = [place for place in places if os.geteuid() != 0 or not place.startswith("~")]
        for path in (Path(place).expanduser() for place in usable):
            if os.path.lexists(path):
                return None, str(path)
        return False, f"it is not in {' or '.join(usable)}"

    return rule


def _apt(which: Which, options: Options, environ: Mapping[str, str]) -> Answer:
    found = program("apt-get")(which, options, environ)
    if found[0] and which("dpkg") is None:
        return False, "apt-get is here without dpkg: another package format"
    return found


def _conda(which: Which, options: Options, environ: Mapping[str, str]) -> Answer:
    wanted = options.get("program")
    if isinstance(wanted, str):
        return program(wanted)(which, options, environ)
    names = ("conda", "mamba", "micromamba")
    found = next(filter(None, map(which, names)), None)
    return (False, f"none of {', '.join(names)} is on PATH") if found is None else (True, found)


def _conda_clean(which: Which, options: Options, environ: Mapping[str, str]) -> Answer:
    if not options.get("remove"):
        return False, "nothing is deleted unless the option remove says what"
    here, reason = _conda(which, options, environ)
    return None if here else here, reason


def _git_repositories(which: Which, options: Options, environ: Mapping[str, str]) -> Answer:
    here, reason = program("git")(which, options, environ)
    if here and options.get("paths") is None:
        return False, "no checkouts are named: paths under [plugin.git-repositories]"
    return None if here else here, reason


def _pip(which: Which, options: Options, environ: Mapping[str, str]) -> Answer:
    """Not here where the interpreter on PATH belongs to the distribution, as far as files tell (PEP 668)."""
    here, found = program("python3")(which, options, environ)
    path = Path(found).resolve()
    is_python = path.name.startswith("python3.") and path.name[8:].isdecimal()
    if here and is_python and (path.parent.parent / "lib" / path.name / "EXTERNALLY-MANAGED").exists():
        return False, f"the distribution manages it (PEP 668): {found}"
    return here, found


def _spack(which: Which, options: Options, environ: Mapping[str, str]) -> Answer:
    named = options.get("directory") or environ.get("SPACK_ROOT")
    found = which("spack")
    if not named and found is None:
        return False, "neither SPACK_ROOT nor spack on PATH says where Spack is"
    here, reason = program("git")(which, options, environ)
    if not here:
        return here, reason
    return None, str(named) if named else str(Path(str(found)).resolve().parent.parent)


def _texlive(which: Which, options: Options, environ: Mapping[str, str]) -> Answer:
    """The place is the root of a tree: that of tlmgr, or the one below TEXMFHOME of its user mode."""
    found = which("tlmgr")
    if found is None:
        return False, "tlmgr is not on PATH"
    root = Path(found).resolve().parent.parent.parent.parent
    packaged = not (root / "tlpkg/texlive.tlpdb").exists()
    if not options.get("user_mode", packaged):
        return None, str(root)
    home = Path(environ.get("TEXMFHOME") or Path.home() / "texmf")
    if (home / "tlpkg/texlive.tlpdb").exists():
        return None, str(home)
    whose = "the distribution's packages update it" if packaged else "it is not wanted"
    return False, f"{whose} ({root}), and there is no tree of tlmgr's user mode ({home})"


RULES: Mapping[str, Rule] = {
    "apt": _apt,
    "calibre": release("~/apps/calibre", "~/calibre-bin/calibre", "/opt/calibre"),
    "cargo": program("cargo"),
    "conda-clean": _conda_clean,
    "conda-packages": _conda,
    "conda-self": _conda,
    "git-repositories": _git_repositories,
    "go-binaries": program("go"),
    "go-runtime": release("~/apps/go", "~/.local/opt/go", "/usr/local/go"),
    "npm": program("npm"),
    "pip": _pip,
    "pipx": program("pipx"),
    "spack": _spack,
    "texlive-packages": _texlive,
    "texlive-self": _texlive,
    "uv-python": program("uv"),
    "uv-tools": program("uv"),
    "waterfox": release("~/apps/waterfox", "~/.local/opt/waterfox", "/opt/waterfox"),
}
"""Of the built-in plugins that are written in Python, by their names."""
