"""The recipes of the lab, in the order of docs/lab.md."""

from __future__ import annotations

from recipe import Recipe

from tools.apt import Apt
from tools.cargo import Cargo
from tools.composer import Composer
from tools.dnf import Dnf
from tools.flatpak import Flatpak
from tools.gem import Gem
from tools.git import Git
from tools.js import Bun, Pnpm, Yarn
from tools.luarocks import Luarocks
from tools.nix import Nix
from tools.npm import Npm
from tools.opam import Opam
from tools.pacman import Pacman
from tools.python import Pip, Pipx, Uv
from tools.r import R
from tools.rustup import Rustup
from tools.tlmgr import Tlmgr
from tools.zypper import Zypper

RECIPES: tuple[type[Recipe], ...] = (
    Git,
    Apt,
    Flatpak,
    Pacman,
    Dnf,
    Zypper,
    Pip,
    Pipx,
    Uv,
    Npm,
    Pnpm,
    Yarn,
    Bun,
    Gem,
    Composer,
    Luarocks,
    R,
    Cargo,
    Rustup,
    Opam,
    Nix,
    Tlmgr,
)
