"""`plugins check`: each rule finds what it is for, and says nothing about a sound definition."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from update_all.core.models import UpdateCommand, UpdateStep
from update_all.plugins.declarative import DeclarativePlugin
from update_all.plugins.decoding import parse_definition
from update_all.plugins.lint import (
    Finding,
    Severity,
    check_definition,
    check_live,
    check_steps,
    check_together,
)
from update_all.plugins.template import new_definition

BASE = 'schema = 1\nname = "demo"\ndescription = "d"\n[detect]\ncommand = "demo"\n'


def step(cmd: str, more: str = "") -> str:
    return f'[[step]]\nname = "update"\ndescription = "Update"\ncmd = [{cmd}]\n{more}\n'


def findings(tmp_path: Path, text: str) -> list[Finding]:
    path = tmp_path / "demo.toml"
    path.write_text(text, "utf-8")
    path.chmod(0o600)
    return check_definition(path)


def rules(tmp_path: Path, text: str) -> set[str]:
    return {finding.rule for finding in findings(tmp_path, text)}


def test_the_template_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, new_definition("demo")) == []


@pytest.mark.parametrize(
    ("cmd", "more", "rule"),
    [
        ('"apt-get", "upgrade", "-y"', "sudo = true", "shared-tool"),
        ('"apt-get", "upgrade"', 'mutexes = ["dpkg"]', "may-ask"),
        ('"pacman", "-Syu"', 'mutexes = ["pacman"]', "may-ask"),
        ('"demo", "--allow-unauthenticated"', "", "unverified"),
        ('"demo", "--trusted-host=x"', "", "unverified"),
        ('"demo", "--no-gpg-check"', "", "unverified"),
        ('"demo", "--config.strict-ssl=false"', "", "unverified"),
        ('"demo"', 'env = { NODE_TLS_REJECT_UNAUTHORIZED = "0" }', "unverified"),
        ('"sh", "-c", "demo"', "", "shell"),
        ('"/bin/bash", "-lc", "demo"', "", "shell"),
        ('"~/.local/bin/demo"', "sudo = true", "root-runs-user-file"),
        ('"${HOME}/demo"', "sudo = true", "root-runs-user-file"),
        ('"sudo", "demo"', "", "own-sudo"),
        ('"demo"', 'mutexes = ["nobody-knows"]', "mutex-reason"),
    ],
)
def test_each_rule_finds_its_case(tmp_path: Path, cmd: str, more: str, rule: str) -> None:
    assert rule in rules(tmp_path, BASE + step(cmd, more))


def test_a_sound_step_has_no_findings(tmp_path: Path) -> None:
    text = BASE + step('"apt-get", "upgrade", "-y"', 'mutexes = ["dpkg"]\nsudo = true')
    assert findings(tmp_path, text) == []


def test_a_finding_that_is_meant_is_allowed_with_its_reason(tmp_path: Path) -> None:
    text = BASE + step('"bash", "-c", "sdk update"')
    assert rules(tmp_path, text) == {"shell"}
    assert rules(tmp_path, text + '[[allow]]\nrule = "shell"\nreason = "sdk is a shell function"\n') == set()


def test_a_schema_error_has_file_path_and_suggestion(tmp_path: Path) -> None:
    (finding,) = findings(tmp_path, BASE + step('"demo"', "sduo = true"))
    assert (finding.severity, finding.rule) == (Severity.ERROR, "schema")
    assert (finding.path, finding.message) == ("$.step[0].sduo", "unknown key")
    assert "'sudo'" in finding.hint


SAMPLED = BASE + "[outdated]\ncmd = ['demo']\nregex = '^(?P<item>\\w+) (?P<new>\\d+)$'\n" + step('"demo"')


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        ("output = 'a 2'\nexpect = [{ item = 'a', new = '2' }]", ""),
        ("output = 'a 2'\nexpect = [{ item = 'a', new = '3' }]", "must give (item = 'a', new = '3'), gives:"),
        ("output = 'a 2'\nexpect = []", "must give nothing"),
        ("output = 'a 2'", "must give nothing"),
        ("output = 'a 2'\nexpect = 'cannot-know'", "must give cannot-know"),
        ("code = 1\nexpect = 'cannot-know'", ""),
        ("code = 1\nexpect = []", "gives: demo ended with 1"),
    ],
)
def test_samples_are_run(tmp_path: Path, sample: str, problem: str) -> None:
    found = [
        finding.message
        for finding in findings(tmp_path, SAMPLED + f"[[sample]]\nof = 'outdated'\n{sample}\n")
    ]
    assert len(found) == (1 if problem else 0)
    assert not problem or problem in found[0]


def test_a_query_without_a_sample_is_doubtful(tmp_path: Path) -> None:
    assert rules(tmp_path, SAMPLED) == {"no-sample"}


def test_two_definitions_of_one_tool_need_a_mutex_in_common() -> None:
    def definition(name: str, mutexes: str) -> str:
        return BASE.replace('"demo"', f'"{name}"', 1) + step('"demo", "x"', f"mutexes = [{mutexes}]")

    one = parse_definition(definition("one", '"demo", "network"'), "one.toml")
    other = parse_definition(definition("other", '"network"'), "other.toml")
    sharing = parse_definition(definition("sharing", '"demo"'), "sharing.toml")
    (finding,) = check_together([one, other])
    assert finding.message == "one and other both run demo and share no mutex"
    assert check_together([one, sharing]) == []


def test_steps_of_a_plugin_in_code_are_held_to_the_same_rules() -> None:
    def found(*cmd: str, mutex: str = "dpkg", env: dict[str, str] | None = None) -> set[str]:
        commands = [UpdateCommand(list(cmd), "Do it", env=env)]
        steps = [UpdateStep("update", "Update", commands=commands, mutexes=[mutex])]
        return {finding.rule for finding in check_steps("demo.py", steps)}

    assert found("apt-get", "-y", "upgrade") == set()
    assert found("apt-get", "upgrade") == {"may-ask"}
    assert found("apt-get", "-y", "upgrade", mutex="network") == {"shared-tool"}
    assert found("demo", mutex="nobody-knows") == {"mutex-reason"}
    assert found("sh", "-c", "demo") == {"shell"}
    assert found("sudo", "demo") == {"own-sudo"}
    assert found("demo", env={"PIP_TRUSTED_HOST": "x"}) == {"unverified"}


def test_two_definitions_that_use_git_work_on_different_checkouts() -> None:
    texts = [
        BASE.replace('"demo"', f'"{name}"') + step(f'"git", "-C", "~/{name}", "pull", "--ff-only"')
        for name in ("one", "other")
    ]
    assert check_together([parse_definition(text, "demo.toml") for text in texts]) == []


def test_the_live_check_runs_the_queries(tmp_path: Path) -> None:
    tool = tmp_path / "demo"
    tool.write_text("#!/bin/sh\nexit 4\n")
    tool.chmod(0o755)
    text = SAMPLED.replace('command = "demo"', f'command = "{tool}"').replace("['demo']", f"['{tool}']")
    plugin = DeclarativePlugin(parse_definition(text, "demo.toml"), environ={"PATH": str(tmp_path)})
    (finding,) = asyncio.run(check_live(plugin, "demo.toml"))
    assert "ended with 4" in finding.message
    tool.write_text("#!/bin/sh\necho a 2\n")
    assert asyncio.run(check_live(plugin, "demo.toml")) == []
    tool.unlink()
    assert "not on PATH" in asyncio.run(check_live(plugin, "demo.toml"))[0].message
