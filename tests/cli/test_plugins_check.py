"""`plugins check`, `plugins new` and what `plugins list` says of packages that nobody trusted."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cli_machine import Machine

from update_all.plugins.builtin import BUILT_IN

ONE = {"name": "one"}
QUERY = {"cmd": ["outdated"], "regex": r"^(?P<item>\S+) (?P<old>\S+) (?P<new>\S+)$"}
SAMPLE = """
[[sample]]
of = "outdated"
output = "jq 1.6 1.7"
expect = [{ item = "jq", old = "1.6", new = "%s" }]
"""
SHARED = {"name": "one", "cmd": ["note", "one"], "mutexes": ["network"]}


def sampled(machine: Machine, new: str) -> Path:
    """A plugin whose sample says that jq becomes `new`; it becomes 1.7."""
    path = machine.plugin("alpha", ONE, outdated=QUERY)
    path.write_text(path.read_text() + SAMPLE % new)
    return path


def plugins_d(machine: Machine) -> Path:
    return machine.config_file.parent / "plugins.d"


def test_what_is_shipped_has_no_findings(machine: Machine) -> None:
    ended = machine.run("plugins", "check")
    assert ended.code == 0, ended.out
    assert ended.out == f"{len(BUILT_IN)} plugins checked: 0 errors, 0 warnings\n"
    assert not machine.state.exists()


def test_a_sound_plugin_by_name_and_by_file(machine: Machine) -> None:
    path = sampled(machine, "1.7")
    for word in ("alpha", str(path)):
        ended = machine.run("plugins", "check", word)
        assert (ended.code, ended.out) == (0, "1 plugin checked: 0 errors, 0 warnings\n")
    assert machine.ledger == []


def test_a_wrong_sample_fails_with_file_and_place(machine: Machine) -> None:
    path = sampled(machine, "1.8")
    ended = machine.run("plugins", "check", "alpha")
    assert ended.code == 1
    first, last = ended.out.splitlines()
    assert first.startswith(f"{path}: $.sample[0]: error: ")
    assert "1.8" in first
    assert "1.7" in first
    assert last == "1 plugin checked: 1 error, 0 warnings"


def test_a_warning_is_no_failure(machine: Machine) -> None:
    machine.plugin("alpha", ONE, outdated=QUERY)
    ended = machine.run("plugins", "check", "alpha")
    assert ended.code == 0
    assert "$.outdated: warning: no [[sample]]" in ended.out


def test_a_broken_definition_says_what_and_where(machine: Machine) -> None:
    path = machine.plugin("alpha", ONE, colour="red")
    for words in (("alpha",), (str(path),), ()):
        ended = machine.run("plugins", "check", *words)
        assert ended.code == 1
        assert str(path) in ended.out
        assert "colour" in ended.out


def test_a_definition_that_others_can_write_is_refused(machine: Machine) -> None:
    path = machine.plugin("alpha", ONE)
    path.chmod(0o666)
    ended = machine.run("plugins", "check", "alpha")
    assert ended.code == 1
    assert "writable by" in ended.out


def test_two_plugins_with_one_tool_and_no_common_mutex(machine: Machine) -> None:
    machine.plugin("alpha", SHARED)
    machine.plugin("beta", SHARED)
    machine.plugin("gamma", {"name": "one", "cmd": ["true"]})
    for words in (("alpha",), ("beta",), ()):
        ended = machine.run("plugins", "check", *words)
        assert ended.code == 0
        assert ended.out.count("both run note and share no mutex") == 1, words
    assert "share no mutex" not in machine.run("plugins", "check", "gamma").out


@pytest.mark.parametrize("word", ["aplha", "/nowhere/alpha.toml", "./alpha.toml"])
def test_what_does_not_exist_is_a_usage_error(machine: Machine, word: str) -> None:
    machine.plugin("alpha", ONE)
    ended = machine.run("plugins", "check", word)
    assert (ended.code, ended.out) == (2, "")
    assert word.rpartition("/")[2] in ended.err


def test_a_file_that_is_no_plugin(machine: Machine) -> None:
    path = machine.root / "home/readme"
    path.write_text("hello")
    ended = machine.run("plugins", "check", str(path))
    assert (ended.code, ended.out) == (2, "")
    assert "no plugin" in ended.err


def test_live_asks_the_tool_and_still_asks_nothing_else(machine: Machine) -> None:
    sampled(machine, "1.7")
    machine.tool("outdated", "echo jq 1.6 1.7")
    assert machine.run("plugins", "check", "alpha", "--live").code == 0
    machine.tool("outdated", "echo the index is gone >&2; exit 9")
    assert "index is gone" not in machine.run("plugins", "check", "alpha").out
    ended = machine.run("plugins", "check", "alpha", "--live")
    assert "check: warning" in ended.out
    assert "the index is gone" in ended.out
    assert machine.ledger == []


def test_live_says_that_a_named_tool_is_not_here(machine: Machine) -> None:
    machine.plugin("ghost", ONE, detect="no-such-tool")
    ended = machine.run("plugins", "check", "ghost", "--live")
    assert ended.code == 0
    assert "no-such-tool is not on PATH" in ended.out


def test_live_finds_installed_versions_that_cannot_be_read(machine: Machine) -> None:
    machine.tool("installed", "echo oops")
    machine.plugin("alpha", ONE, installed={"cmd": ["installed"], "columns": ["item", "version"]})
    ended = machine.run("plugins", "check", "alpha", "--live")
    assert ended.code == 1
    assert "$.installed: error" in ended.out
    machine.tool("installed", "echo the daemon is not running >&2; exit 3")
    ended = machine.run("plugins", "check", "alpha", "--live")
    assert ended.code == 0
    assert "$.installed: warning: installed ended with 3: the daemon is not running" in ended.out


def test_as_json_the_same_is_told(machine: Machine) -> None:
    path = sampled(machine, "1.8")
    ended = machine.run("plugins", "check", "alpha", "--json")
    assert ended.code == 1
    assert (ended.json["schema"], ended.json["checked"]) == ("update-all.plugins-check/1", 1)
    findings = ended.json["findings"]
    assert isinstance(findings, list)
    (finding,) = findings
    assert isinstance(finding, dict)
    assert (finding["severity"], finding["rule"]) == ("error", "sample")
    assert (finding["file"], finding["path"]) == (str(path), "$.sample[0]")
    assert "1.8" in str(finding["message"])


@pytest.mark.parametrize("kind", ["toml", "executable"])
def test_a_new_plugin_is_sound_as_it_stands_and_runs(machine: Machine, kind: str) -> None:
    machine.tool("demo", f'echo "$@" >> {machine.root}/ledger')
    made = machine.run("plugins", "new", "demo", "--kind", kind)
    (path,) = plugins_d(machine).iterdir()
    assert made.code == 0
    assert str(path) in made.out
    assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    ended = machine.run("plugins", "check", "demo")
    assert (ended.code, ended.out) == (0, "1 plugin checked: 0 errors, 0 warnings\n")
    machine.plugins.append("demo")
    machine.config()
    assert "present" in machine.run("plugins", "list").out.split("\ndemo ")[1].splitlines()[0]
    if kind == "toml":
        assert machine.run("run", "demo", "--yes").code == 0
        assert machine.ledger == ["update --yes"]


@pytest.mark.parametrize("kind", ["toml", "executable"])
def test_a_plugin_that_is_there_is_never_overwritten(machine: Machine, kind: str) -> None:
    path = machine.plugin("alpha", ONE)
    before = path.read_bytes()
    ended = machine.run("plugins", "new", "alpha", "--kind", kind)
    assert (ended.code, ended.out) == (2, "")
    assert "is there already" in ended.err
    assert [*plugins_d(machine).iterdir()] == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["../evil", "a b", "", ".hidden", "a/b"])
def test_a_name_that_no_plugin_can_have(machine: Machine, name: str) -> None:
    assert machine.run("plugins", "new", name).code == 2
    assert [*plugins_d(machine).iterdir()] == []


def test_a_new_plugin_that_takes_the_place_of_a_shipped_one_is_told_of(machine: Machine) -> None:
    assert "takes the place of the built-in plugin apt" in machine.run("plugins", "new", "apt").out


def test_a_package_that_nobody_trusted_is_listed_with_the_command_that_trusts_it(machine: Machine) -> None:
    loaded = machine.root / "loaded"
    machine.python_plugin("alien", f"open({str(loaded)!r}, 'w').close()\n")
    machine.trusted.clear()
    machine.config()
    row = next(line for line in machine.run("plugins", "list").out.splitlines() if line.startswith("alien"))
    assert "not trusted" in row
    assert not loaded.exists()
    command = row.partition("after: update-all ")[2].split()
    assert machine.run(*command).code == 0
    assert "not trusted" not in machine.run("plugins", "list").out
    assert loaded.exists()
