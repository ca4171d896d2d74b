"""Lock families: which programs must not overlap, and why. Data for the lint and for `plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """Programs whose changing commands share a mutex. `mutexes`: any of these names will do."""

    mutexes: tuple[str, ...]
    programs: frozenset[str]
    reason: str


FAMILIES: tuple[Family, ...] = (
    Family(
        ("apt-lists", "dpkg"),
        frozenset({"apt", "apt-get", "aptitude", "nala", "dpkg", "deb-get"}),
        "dpkg and apt hold /var/lib/dpkg/lock-frontend and the locks of the package lists",
    ),
    Family(
        ("rpm",),
        frozenset({"dnf", "dnf5", "yum", "microdnf", "zypper", "rpm", "rpm-ostree"}),
        "one RPM database, changed in one transaction at a time",
    ),
    Family(
        ("pacman",),
        frozenset({"pacman", "paru", "yay", "pikaur", "trizen", "pamac", "aura"}),
        "the file db.lck beside the database of pacman",
    ),
    Family(("apk",), frozenset({"apk"}), "one database and one lock file, /lib/apk/db/lock"),
    Family(("xbps",), frozenset({"xbps-install"}), "one package database"),
    Family(
        ("portage",),
        frozenset({"emerge", "ebuild", "emaint"}),
        "a plan is made for the packages as they are now, and its builds use all processors",
    ),
    Family(("opkg",), frozenset({"opkg"}), "one lock file that a second opkg does not wait for"),
    Family(("eopkg",), frozenset({"eopkg"}), "one package database that a second eopkg does not wait for"),
    Family(("fwupd",), frozenset({"fwupdmgr"}), "one daemon, which writes to one device at a time"),
    Family(("snap",), frozenset({"snap"}), "snapd performs one change of a snap at a time"),
    Family(
        ("flatpak-user", "flatpak-system"),
        frozenset({"flatpak"}),
        "one OSTree repository for each installation",
    ),
    Family(("conda",), frozenset({"conda", "mamba", "micromamba"}), "one package cache and one base prefix"),
    Family(("npm-global",), frozenset({"npm"}), "npm takes no lock on the global prefix"),
    Family(("pip-user",), frozenset({"pip", "pip3"}), "pip takes no lock on the user's packages"),
    Family(("pnpm-global",), frozenset({"pnpm"}), "one global package file"),
    Family(("yarn-global",), frozenset({"yarn"}), "one global package file"),
    Family(("cargo",), frozenset({"cargo"}), "cargo locks its package cache and waits without end"),
    Family(("rustup",), frozenset({"rustup"}), "rustup takes no lock on its toolchains"),
    Family(("gem",), frozenset({"gem"}), "gem takes no lock on its directories"),
    Family(("opam",), frozenset({"opam"}), "opam locks its root and waits without end"),
    Family(("texlive",), frozenset({"tlmgr"}), "tlmgr takes no lock: two of them lose packages"),
    Family(("brew",), frozenset({"brew"}), "one prefix and one lock for each formula"),
    Family(
        ("guix",), frozenset({"guix"}), "one profile, replaced as a whole: of two upgrades one is refused"
    ),
    Family(
        ("nix",),
        frozenset({"nix", "nix-env", "nix-channel", "nixos-rebuild"}),
        "one profile, replaced as a whole",
    ),
    Family(("uv",), frozenset({"uv"}), "uv locks its tool directory and waits without end"),
    Family(("pipx",), frozenset({"pipx"}), "pipx shares one environment with pip among all its own"),
    Family(
        ("containers",),
        frozenset({"distrobox", "toolbox"}),
        "one storage of containers, and one package manager inside each container",
    ),
    Family(
        ("dotfiles",),
        frozenset({"chezmoi", "yadm"}),
        "both pull a repository and write into the home directory",
    ),
    Family(("zsh",), frozenset({"zsh"}), "an interactive zsh reads what updates of frameworks are rewriting"),
    Family(
        ("fish",), frozenset({"fish"}), "each fish reads the functions that updates of plugins are rewriting"
    ),
    Family(("nvim",), frozenset({"nvim"}), "each nvim loads the plugins that another one may be rewriting"),
    Family(("emacs",), frozenset({"emacs"}), "one directory of packages"),
    Family(("spack",), frozenset({"spack"}), "one checkout, which spack reads while it runs"),
    Family(("luarocks",), frozenset({"luarocks"}), "one manifest for each tree"),
    Family(("composer",), frozenset({"composer"}), "one global composer.lock"),
)


def family_of(program: str) -> Family | None:
    """The family of a program, by its bare name."""
    name = program.rpartition("/")[2]
    return next((family for family in FAMILIES if name in family.programs), None)


def known_reasons() -> Mapping[str, str]:
    """Mutex → why it exists, for all families."""
    return {mutex: family.reason for family in FAMILIES for mutex in family.mutexes} | {
        "network": "one connection shared by all downloads: how many at once is configured"
    }
