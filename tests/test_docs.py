"""The documents for plugin authors: every block of code runs, and the reference names everything."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import update_all.api as api
from update_all.core.models import StepExecutionState
from update_all.core.streaming import CompletionEvent, StepEndEvent, StepStartEvent

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/plugin-development.md"
TEXT = PAGE.read_text("utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2], TEXT[: match.start()].count("\n") + 1) for match in BLOCK.finditer(TEXT)]
EXAMPLES = [pytest.param(code, id=f"line{line}") for kind, code, line in BLOCKS if kind == "python"]


def sections(level: int) -> list[str]:
    return re.findall(rf"^{'#' * level} (.+)$", BLOCK.sub("", TEXT), re.MULTILINE)


def test_the_plans_sections_are_there_in_its_order() -> None:
    found = sections(2)
    assert found.index("Step-Based Execution API") == found.index("Declarative Command Execution API") + 1
    assert {"Migration guide", "API reference"} <= set(found)


def test_every_block_is_of_a_kind_that_is_run() -> None:
    assert {kind for kind, _, _ in BLOCKS} == {"python", "toml"}
    for kind, code, _ in BLOCKS:
        assert kind != "toml" or tomllib.loads(code)


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_runs(code: str, private_environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examples' mirror is there; each plugin is run to its end, but for the one that needs a network."""
    mirror = private_environment / "mirror"
    mirror.mkdir()
    (mirror / "version").write_text("2\n")
    (mirror / "words").write_text("hello\n")
    module = ModuleType("example")
    exec(compile(code, PAGE.name, "exec"), vars(module))  # noqa: S102 - our own page
    plugins = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, api.BasePlugin) and not inspect.isabstract(value)
    ]
    assert plugins
    for plugin in plugins:
        steps = plugin().lowered_steps()
        assert steps
        if not issubclass(plugin, api.ReleasePlugin):
            assert completed(plugin())
    if (private_environment / "wordlist").exists():
        assert (private_environment / "wordlist/words").read_text() == "hello\n"


def completed(plugin: api.BasePlugin) -> bool:
    async def last() -> api.StreamEvent:
        return [event async for event in plugin.execute_streaming()][-1]

    event = asyncio.run(last())
    return isinstance(event, CompletionEvent) and event.success


def test_a_second_run_of_the_word_list_finds_nothing_to_do(private_environment: Path) -> None:
    code = next(code for kind, code, _ in BLOCKS if "class SteppedWordListPlugin" in code)
    (private_environment / "mirror").mkdir()
    (private_environment / "mirror/version").write_text("2\n")
    module = ModuleType("example")
    exec(compile(code, PAGE.name, "exec"), vars(module))  # noqa: S102 - our own page
    plugin: type[api.BasePlugin] = module.SteppedWordListPlugin

    async def events() -> list[api.StreamEvent]:
        return [event async for event in plugin().execute_streaming()]

    asyncio.run(events())
    again = [event for event in asyncio.run(events()) if isinstance(event, StepEndEvent)]
    skipped = {event.step_name: event.skipped for event in again}
    assert skipped == {"check": False, "fetch": True, "install": True}


@pytest.mark.parametrize("path", re.findall(r"^<!-- (\S+) -->\n```python$", TEXT, re.MULTILINE))
def test_an_included_file_is_the_shipped_one(path: str) -> None:
    (included,) = re.findall(rf"^<!-- {re.escape(path)} -->\n```python\n(.*?)^```$", TEXT, re.M | re.S)
    assert included == (ROOT / path).read_text("utf-8")


def test_the_go_plugin_is_included() -> None:
    assert "<!-- src/update_all/plugins/go_runtime.py -->" in TEXT


def table(section: str) -> str:
    """The text of a section of the reference."""
    return re.split(r"^#", TEXT.partition(f"\n### {section}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("cls", [api.UpdateStep, api.UpdateCommand, api.StepResult, StepExecutionState])
def test_the_reference_names_every_field(cls: type) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    assert [name for name in names if f"`{name}`" not in table(cls.__name__)] == []


def test_the_reference_names_every_field_of_the_events() -> None:
    text = table("StepStartEvent and StepEndEvent")
    names = [field.name for cls in (StepStartEvent, StepEndEvent) for field in dataclasses.fields(cls)]
    assert [name for name in names if f"`{name}`" not in text] == []


def members(cls: type, beyond: type = object) -> list[str]:
    own = [name for base in cls.__mro__ if base is not object for name in vars(base)]
    own += [name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})]
    return sorted({name for name in own if name[0] != "_" and not hasattr(beyond, name)})


def test_the_reference_names_every_member() -> None:
    plain, release = table("BasePlugin"), table("ReleasePlugin")
    missing = [name for name in members(api.BasePlugin) if not re.search(rf"`{name}[`(]", plain)]
    missing += [
        name for name in members(api.ReleasePlugin, api.BasePlugin) if not re.search(rf"`{name}[`(]", release)
    ]
    assert missing == []


def test_everything_in_the_api_is_there() -> None:
    assert [name for name in api.__all__ if not hasattr(api, name)] == []
