"""The shipped plugins: name → `module:Class`, or a file of the catalogue. Loaded only when needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

CATALOGUE = Path(__file__).parent / "catalogue"

BUILT_IN: Mapping[str, str] = {
    "apt": "update_all.plugins.apt:AptPlugin",
    "cargo": "update_all.plugins.cargo:CargoPlugin",
    "flatpak": "flatpak.toml",
    "npm": "update_all.plugins.npm:NpmPlugin",
    "pip": "update_all.plugins.pip:PipPlugin",
    "pipx": "update_all.plugins.pipx:PipxPlugin",
    "rustup": "rustup.toml",
    "snap": "snap.toml",
    "uv-python": "update_all.plugins.uv:UvPythonPlugin",
    "uv-tools": "update_all.plugins.uv:UvToolsPlugin",
}
