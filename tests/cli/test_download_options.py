"""The tables for all downloads reach the plugins as options."""

from __future__ import annotations

from pathlib import Path

from update_all.cli.workspace import Workspace
from update_all.core.paths import directories


def workspace(text: str) -> Workspace:
    path = directories().config / "config.toml"
    path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return Workspace.open()


def test_settings_of_all_downloads_become_options(private_environment: Path) -> None:
    found = workspace(
        '[downloads]\nallow_unverified = ["waterfox"]\nallow_http = ["mirror.example"]\n'
        '[network]\nlimit = "2 MB/s"\n'
    )
    options = found.plugin_config("waterfox").options
    assert options["allow_unverified"] is True
    assert options["allow_http"] == ["mirror.example"]
    assert options["bandwidth"] == found.config.network.limit
    assert "allow_unverified" not in found.plugin_config("go-runtime").options


def test_a_plugins_own_option_wins(private_environment: Path) -> None:
    found = workspace('[network]\nlimit = "2 MB/s"\n[plugin.go-runtime]\nbandwidth = 10\n')
    assert found.plugin_config("go-runtime").options["bandwidth"] == 10
