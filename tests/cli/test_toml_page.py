"""docs/toml-plugins.md: its example is run as it stands, and its tables name every key of the schema."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
from cli_machine import Machine

from update_all.plugins import definition as tables

PAGE = Path(__file__).parents[2] / "docs/toml-plugins.md"
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "The file": tables.Definition,
    "`[detect]`": tables.Detect,
    "`[installed]`, `[outdated]`, `[available]`": tables.Query,
    "A probe": tables.Probe,
    "`fresh`": tables.Fresh,
    "`[[fact]]`": tables.Fact,
    "`[[step]]`": tables.Step,
    "`[[mutex]]`": tables.Mutex,
    "`[[sample]]`": tables.Sample,
    "A record of `expect`": tables.Expected,
    "`[[allow]]`": tables.Allow,
}
SHELF = """
case $1 in
--version) echo "shelf 1.0" ;;
list) cat {root}/shelf.installed ;;
outdated)
    [ ! -e {root}/offline ] || {{ echo "shelf: cannot reach the library" >&2; exit 1; }}
    old=$(cut -d' ' -f2 {root}/shelf.installed)
    [ "$old" = 1.1 ] && echo "all books are new" || echo "dune $old -> 1.1" ;;
fetch) touch {root}/shelf.met; while [ ! -e {root}/other.met ]; do sleep 0.05; done ;;
update) echo "dune 1.1" > {root}/shelf.installed ;;
esac
echo "shelf $*" >> {root}/ledger
"""


def example() -> str:
    found = re.search(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.S)
    assert found is not None
    return found[1]


@pytest.fixture
def shelf(machine: Machine) -> Machine:
    """A machine with the page's tool: `dune` is there in 1.0, and 1.1 can be had."""
    machine.tool("shelf", SHELF.format(root=machine.root))
    (machine.root / "shelf.installed").write_text("dune 1.0\n")
    machine.plugin("shelf", text=example())
    return machine


def changing(machine: Machine) -> list[str]:
    return [line for line in machine.ledger if line.split()[1] in ("fetch", "update")]


def test_the_example_has_no_findings(shelf: Machine) -> None:
    ended = shelf.run("plugins", "check", "shelf", "--live")
    assert (ended.code, ended.out) == (0, "1 plugin checked: 0 errors, 0 warnings\n")
    assert changing(shelf) == []


def test_the_example_updates_beside_another_plugin_and_then_has_nothing_to_do(shelf: Machine) -> None:
    # Each of the two waits for the other: one after another, neither would end.
    meet = f"touch {shelf.root}/other.met; while [ ! -e {shelf.root}/shelf.met ]; do sleep 0.05; done"
    shelf.tool("meet", meet)
    shelf.plugin("other", {"name": "meet", "cmd": ["meet"]})
    found = shelf.run("check", "shelf")
    assert found.code == 100
    assert re.search(r"dune.*1\.0.*1\.1", found.out)
    ended = shelf.run("run", "--yes")
    assert ended.code == 0, ended.err
    assert changing(shelf) == ["shelf fetch", "shelf update --yes"]
    assert shelf.run("check", "shelf").code == 0
    assert shelf.run("run", "shelf", "--yes").code == 0
    assert changing(shelf) == ["shelf fetch", "shelf update --yes"]


def test_the_example_does_not_guess_without_a_network(shelf: Machine) -> None:
    (shelf.root / "offline").touch()
    ended = shelf.run("check", "shelf")
    assert ended.code not in (0, 100)
    assert "cannot reach" in ended.out + ended.err


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_tables_name_every_key_and_mark_those_that_must_be_there(heading: str) -> None:
    _, _, section = PAGE.read_text("utf-8").partition(f"\n### {heading}\n")
    rows = re.findall(r"^\| (.*?) \|", section.partition("\n### ")[0], re.M)
    told = {key: bool(bold) for row in rows for bold, key in re.findall(r"(\*\*)?`([\w-]+)`", row)}
    fields = msgspec.structs.fields(SECTIONS[heading])
    assert told == {field.encode_name: field.required for field in fields}


def test_every_table_of_the_schema_has_a_section() -> None:
    found = {
        one
        for one in vars(tables).values()
        if isinstance(one, type) and issubclass(one, msgspec.Struct) and not one.__name__.startswith("_")
    }
    assert found - {msgspec.Struct, tables.Parser} == set(SECTIONS.values())
