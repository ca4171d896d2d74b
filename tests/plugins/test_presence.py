"""What a listing says without importing a plugin is what the plugin says, wherever it says anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from update_all.core.models import JsonValue, PluginConfig
from update_all.plugins.builtin import BUILT_IN
from update_all.plugins.go_runtime import GoRuntimePlugin
from update_all.plugins.presence import RULES, Programs
from update_all.plugins.registry import discover
from update_all.plugins.sources import SearchPaths

TOOLS = (
    *("apt-get", "dpkg", "brew", "cargo", "conda", "mamba", "micromamba", "flatpak", "git", "go", "npm"),
    *("pipx", "python3", "python3.11", "rustup", "spack", "tlmgr", "uv"),
)
OPTIONS: dict[str, Mapping[str, JsonValue]] = {
    "nothing": {},
    "places": {
        "directory": "/opt/there",
        "paths": ["/opt/there"],
        "program": "mamba",
        "remove": ["packages"],
    },
    "the wrong kind": {"directory": 7, "paths": "text", "program": 7, "remove": "all", "user_mode": True},
    "empty": {"directory": "", "paths": [], "program": "", "remove": []},
}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and a PATH with one directory, /usr/bin of a tree, which is empty."""
    (tmp_path / "home").mkdir()
    (tmp_path / "usr/bin").mkdir(parents=True)
    for name in ("SPACK_ROOT", "TEXMFHOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "usr/bin"))
    return tmp_path


def provide(machine: Path, *names: str) -> None:
    for name in names:
        path = machine / "usr/bin" / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)


def disagreements(options: Mapping[str, JsonValue]) -> list[str]:
    """Every built-in plugin of which the registry says from afar something else than the plugin does."""
    registry = discover(SearchPaths())
    wrong: list[str] = []
    for name in registry.names():
        seen = registry.glance(name, options)
        if seen is None:
            continue
        plugin = registry.load(name, PluginConfig(options=options))
        found = plugin.detect()
        said = (seen.present, seen.reason, seen.root)
        if said != (found.present, found.reason, bool(plugin.sudo_commands)):
            wrong.append(f"{name}: {said}, the plugin: {found}")
    return wrong


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("tools", [(), TOOLS, ("python3", "git", "tlmgr"), ("apt-get", "conda", "uv")])
def test_the_listing_and_the_plugin_agree(
    machine: Path, tools: tuple[str, ...], options: Mapping[str, JsonValue]
) -> None:
    provide(machine, *tools)
    assert disagreements(options) == []


def test_they_agree_on_a_python_of_the_distribution(machine: Path) -> None:
    provide(machine, "python3.11")
    (machine / "usr/bin/python3").symlink_to("python3.11")
    assert disagreements({}) == []
    (machine / "usr/lib/python3.11").mkdir(parents=True)
    (machine / "usr/lib/python3.11/EXTERNALLY-MANAGED").touch()
    assert disagreements({}) == []
    seen = discover(SearchPaths()).glance("pip", {})
    assert seen is not None
    assert "PEP 668" in seen.reason


def test_they_agree_on_trees_of_tex_live_and_spack(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(machine, "tlmgr", "git", "spack")
    assert disagreements({}) == []
    (machine / "home/texmf/tlpkg").mkdir(parents=True)
    (machine / "home/texmf/tlpkg/texlive.tlpdb").touch()
    assert disagreements({}) == []
    monkeypatch.setenv("TEXMFHOME", str(machine / "elsewhere"))
    monkeypatch.setenv("SPACK_ROOT", str(machine / "spack"))
    assert disagreements({}) == []


def test_they_agree_on_releases_that_are_there(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert disagreements({}) == []
    for name in ("calibre", "go", "waterfox"):
        (machine / "home/apps" / name).mkdir(parents=True)
    assert disagreements({}) == []


def test_a_release_of_others_is_looked_for_in_its_own_places(machine: Path) -> None:
    class OfOthers(GoRuntimePlugin):
        presence = ""
        places = (str(machine / "there"), str(machine / "elsewhere"))

    assert OfOthers().detect().reason == f"it is not in {machine}/there or {machine}/elsewhere"
    (machine / "elsewhere").mkdir()
    assert OfOthers().directory == machine / "elsewhere"
    (machine / "there").mkdir()
    assert OfOthers().directory == machine / "there"


@pytest.mark.parametrize("architecture", ["aarch64", "x86_64", "z80"])
def test_they_agree_on_other_processors(
    machine: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    real = os.uname()
    there = os.uname_result((real.sysname, real.nodename, real.release, real.version, architecture))
    monkeypatch.setattr(os, "uname", lambda: there)
    monkeypatch.setattr("platform.machine", lambda: architecture)
    assert disagreements({}) == []


def test_there_is_a_rule_for_every_plugin_in_python_and_for_no_other() -> None:
    assert sorted(RULES) == [name for name, place in BUILT_IN.items() if not place.endswith(".toml")]


def test_a_bare_machine_needs_no_plugin_to_be_imported(machine: Path) -> None:
    registry = discover(SearchPaths())
    if os.uname().machine == "x86_64":
        assert [name for name in registry.names() if registry.glance(name, {}) is None] == []


NAMES = st.sampled_from(["tool", "folder", "plain", "link", "gone", ".", "..", "", "sub/tool", "./tool"])


@settings(max_examples=200, deadline=None)
@given(
    name=NAMES,
    order=st.lists(st.sampled_from(["a", "b", "nowhere", "file", "a", "relative", "empty"]), max_size=5),
)
def test_a_program_is_found_where_the_standard_library_finds_it(
    tmp_path_factory: pytest.TempPathFactory, name: str, order: list[str]
) -> None:
    root = tmp_path_factory.getbasetemp() / "programs"
    if not root.exists():
        make_programs(root)
    words = {"relative": "relative-to-here", "empty": ""}
    path = os.pathsep.join(words.get(word, str(root / word)) for word in order)
    assert Programs(path).which(name) == shutil.which(name, path=path)


def make_programs(root: Path) -> None:
    for directory in ("a", "b"):
        (root / directory / "folder").mkdir(parents=True)
        (root / directory / "plain").write_text("no program")
        (root / directory / "gone").symlink_to("nowhere")
    (root / "file").write_text("no directory")
    (root / "b/tool").write_text("#!/bin/sh\n")
    (root / "b/tool").chmod(0o755)
    (root / "a/link").symlink_to("../b/tool")
