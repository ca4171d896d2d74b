"""The recipes of the lab, in the order of docs/lab.md."""

from __future__ import annotations

from recipe import Recipe
from tools.pacman import Pacman

RECIPES: tuple[type[Recipe], ...] = (Pacman,)
