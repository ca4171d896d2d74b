"""The shipped plugins: name → `module:Class`, or a file of the catalogue. Loaded only when needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

CATALOGUE = Path(__file__).parent / "catalogue"

_CLASSES = {
    "apt": "update_all.plugins.apt:AptPlugin",
    "calibre": "update_all.plugins.calibre:CalibrePlugin",
    "cargo": "update_all.plugins.cargo:CargoPlugin",
    "conda-clean": "update_all.plugins.conda_clean:CondaCleanPlugin",
    "conda-packages": "update_all.plugins.conda_packages:CondaPackagesPlugin",
    "conda-self": "update_all.plugins.conda_self:CondaSelfPlugin",
    "git-repositories": "update_all.plugins.git_repositories:GitRepositoriesPlugin",
    "go-binaries": "update_all.plugins.go_binaries:GoBinariesPlugin",
    "go-runtime": "update_all.plugins.go_runtime:GoRuntimePlugin",
    "npm": "update_all.plugins.npm:NpmPlugin",
    "pip": "update_all.plugins.pip:PipPlugin",
    "pipx": "update_all.plugins.pipx:PipxPlugin",
    "spack": "update_all.plugins.spack:SpackPlugin",
    "texlive-packages": "update_all.plugins.texlive_packages:TexLivePackagesPlugin",
    "texlive-self": "update_all.plugins.texlive_self:TexLiveSelfPlugin",
    "uv-python": "update_all.plugins.uv:UvPythonPlugin",
    "uv-tools": "update_all.plugins.uv:UvToolsPlugin",
    "waterfox": "update_all.plugins.waterfox:WaterfoxPlugin",
}
_FILES = {name.removesuffix(".toml"): name for name in os.listdir(CATALOGUE) if name.endswith(".toml")}  # noqa: PTH208 - names only

BUILT_IN: Mapping[str, str] = dict(sorted((_FILES | _CLASSES).items()))
