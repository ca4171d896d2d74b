"""The rooms of the house: who may import whom."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import update_all

SOURCE = Path(update_all.__file__).parent
ALLOWED = {
    "core": {"core"},
    "downloads": {"core", "downloads"},
    "plugins": {"core", "downloads", "plugins", "api"},
    "ui": {"core", "ui"},
    "cli": {"core", "downloads", "plugins", "ui", "cli", "api"},
}
UI_SEES = {
    "update_all.core.models",
    "update_all.core.streaming",
    "update_all.core.errors",
    "update_all.core.cleaning",
}
MACHINERY = {
    "adapter",
    "base",
    "builtin",
    "declarative",
    "decoding",
    "definition",
    "describing",
    "detection",
    "executables",
    "external",
    "lint",
    "mutexes",
    "parse_cache",
    "parsers",
    "patterns",
    "presence",
    "protocol",
    "registry",
    "releases",
    "sources",
    "summaries",
    "template",
    "validation",
}


def modules(room: str) -> list[Path]:
    return sorted((SOURCE / room).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules of ours that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("update_all"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("update_all"):
            module = node.module or ""
            deeper = SOURCE.parent / module.replace(".", "/")
            for alias in node.names:
                is_module = (deeper / f"{alias.name}.py").exists() or (deeper / alias.name).is_dir()
                yield f"{module}.{alias.name}" if is_module else module


@pytest.mark.parametrize("room", ALLOWED)
def test_no_room_imports_an_upper_one(room: str) -> None:
    wrong = [
        f"{path.relative_to(SOURCE)} imports {name}"
        for path in modules(room)
        for name in imports(path)
        if len(name.split(".")) > 1 and name.split(".")[1] not in ALLOWED[room]
    ]
    assert modules(room)
    assert wrong == []


def test_ui_sees_only_models_events_errors_and_cleaning() -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in modules("ui")
        for name in imports(path)
        if name.startswith("update_all.core") and name not in UI_SEES
    ]
    assert wrong == []


def test_a_built_in_plugin_imports_only_the_api() -> None:
    """A plugin may be split into modules of its own, which keep to the same rule."""
    plugins = [path for path in modules("plugins") if path.stem not in MACHINERY | {"__init__"}]
    own = {f"update_all.plugins.{path.stem}" for path in plugins}
    wrong = [
        f"{path.name} imports {name}"
        for path in plugins
        for name in imports(path)
        if name != "update_all.api" and name not in own
    ]
    assert plugins
    assert wrong == []


def test_the_modules_of_plugins_import_one_another_in_one_direction() -> None:
    """Also where an import waits inside a function: who reads one module needs those below it only."""
    graph = {
        f"update_all.plugins.{path.stem}": {name for name in imports(path) if "plugins" in name.split(".")}
        for path in modules("plugins")
        if path.stem != "__init__"
    }
    assert len(list(TopologicalSorter(graph).static_order())) == len(graph)


def test_modules_are_short() -> None:
    """About 400 lines is what a reader takes in at once."""
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in SOURCE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 450} == {}
