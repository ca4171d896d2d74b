"""The recipes of the lab, in the order of docs/lab.md."""

from __future__ import annotations

from recipe import Recipe
from tools.composer import Composer
from tools.dnf import Dnf
from tools.flatpak import Flatpak
from tools.gem import Gem
from tools.git import Git
from tools.js import Bun, Pnpm, Yarn
from tools.luarocks import Luarocks
from tools.npm import Npm
from tools.pacman import Pacman
from tools.r import R
from tools.zypper import Zypper

RECIPES: tuple[type[Recipe], ...] = (
    Git,
    Flatpak,
    Pacman,
    Dnf,
    Zypper,
    Npm,
    Pnpm,
    Yarn,
    Bun,
    Gem,
    Composer,
    Luarocks,
    R,
)
