"""A tool that fails or prints garbage: no plugin takes it for "up to date", and none raises."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from update_all.api import BasePlugin, CheckStatus
from update_all.plugins.apt import AptPlugin
from update_all.plugins.cargo import CargoPlugin
from update_all.plugins.npm import NpmPlugin
from update_all.plugins.pip import PipPlugin
from update_all.plugins.pipx import PipxPlugin
from update_all.plugins.uv import UvPythonPlugin, UvToolsPlugin

PLUGINS: list[type[BasePlugin]] = [
    AptPlugin,
    CargoPlugin,
    NpmPlugin,
    PipPlugin,
    PipxPlugin,
    UvPythonPlugin,
    UvToolsPlugin,
]
PROGRAMS = ("apt-get", "apt-config", "dpkg", "dpkg-query", "cargo", "npm", "python3", "pipx", "uv")

BROKEN = {
    "fails": "echo 'it broke' >&2\nexit 70",
    "garbage": "printf '\\377\\376 <html>sign in</html> \\000 {'",
    "killed": "kill -9 $$",
    "silent failure": "exit 1",
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("kind", PLUGINS, ids=lambda kind: str(kind.__name__))
def test_broken_tool_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BasePlugin], script: str
) -> None:
    for program in PROGRAMS:
        (tmp_path / program).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / ".cargo").mkdir()
    record = '{"installs": {"tool 1.0.0 (registry+https://git.example.invalid/crates.io-index)": {}}}'
    (tmp_path / ".cargo/.crates2.json").write_text(record)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CARGO_HOME", "CARGO_INSTALL_ROOT", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    result = asyncio.run(kind().check())
    assert result.status is CheckStatus.CANNOT_KNOW
    assert result.reason


@pytest.mark.parametrize("kind", PLUGINS, ids=lambda kind: str(kind.__name__))
def test_missing_tool_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BasePlugin]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CARGO_HOME", str(tmp_path))
    monkeypatch.delenv("CARGO_INSTALL_ROOT", raising=False)
    record = '{"installs": {"tool 1.0.0 (registry+https://git.example.invalid/crates.io-index)": {}}}'
    (tmp_path / ".crates2.json").write_text(record)
    assert asyncio.run(kind().check()).status is CheckStatus.CANNOT_KNOW
