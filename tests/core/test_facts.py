"""`{fact}` templates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.errors import MissingFactError
from update_all.core.facts import fill, fill_command, names
from update_all.core.models import JsonValue, UpdateCommand

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
SCALARS = st.text(max_size=10) | st.integers() | st.booleans()


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("", ""),
        ("go{version}.tar.gz", "go1.26.tar.gz"),
        ("{version}{version}", "1.261.26"),
        ("{{version}}", "{version}"),
        ("{{{version}}}", "{1.26}"),
        ("{}", "{}"),
        ("{ version }", "{ version }"),
        ("{1}", "{1}"),
        ("a } b {", "a } b {"),
        ("$HOME ${x", "$HOME ${x"),
        ("{count}", "3"),
        ("{brace}", "{version}"),
        ("{a.b-c}", "deep"),
    ],
)
def test_templates(template: str, filled: str) -> None:
    facts: dict[str, JsonValue] = {"version": "1.26", "count": 3, "brace": "{version}", "a.b-c": "deep"}
    assert fill(template, facts) == filled


@pytest.mark.parametrize("facts", [{}, {"version": None}, {"Version": "1"}])
def test_a_missing_fact_is_named(facts: dict[str, JsonValue]) -> None:
    with pytest.raises(MissingFactError, match=r"the fact 'version' is missing, which 'go\{version\}' needs"):
        fill("go{version}", facts)


@pytest.mark.parametrize(("value", "kind"), [(["a"], "list"), ({"a": 1}, "dict")])
def test_a_fact_never_becomes_several_arguments(value: JsonValue, kind: str) -> None:
    with pytest.raises(MissingFactError, match=f"the fact 'items' is a {kind}"):
        fill("{items}", {"items": value})


@given(st.dictionaries(NAMES, SCALARS, min_size=1), st.data())
def test_text_around_a_fact_is_left_alone(facts: dict[str, JsonValue], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(facts)))
    before, after = data.draw(st.tuples(*[st.text(st.characters(exclude_characters="{}"))] * 2))
    assert fill(f"{before}{{{name}}}{after}", facts) == f"{before}{facts[name]}{after}"


@given(st.text())
def test_escaped_braces_come_back(text: str) -> None:
    escaped = text.replace("{", "{{").replace("}", "}}")
    assert fill(escaped, {}) == text
    assert names(escaped) == set()


@given(st.text(st.sampled_from("{}ab")), st.dictionaries(st.sampled_from(["a", "b", "ab", "ba"]), SCALARS))
def test_filling_fails_exactly_when_a_named_fact_is_missing(text: str, facts: dict[str, JsonValue]) -> None:
    if names(text) <= facts.keys():
        fill(text, facts)
    else:
        with pytest.raises(MissingFactError):
            fill(text, facts)


def test_arguments_environment_and_directory_are_filled_and_nothing_else() -> None:
    command = UpdateCommand(
        ["tar", "-C", "{dir}", "{file}"],
        description="unpack {file}",
        env={"{key}": "{value}"},
        cwd="{dir}/sub",
        error_patterns=("a{2}",),
    )
    facts: dict[str, JsonValue] = {"dir": "/opt", "file": "a b.tar", "value": "v"}
    filled = fill_command(command, facts)
    assert filled.cmd == ["tar", "-C", "/opt", "a b.tar"]
    assert filled.env == {"{key}": "v"}
    assert filled.cwd == "/opt/sub"
    assert filled.error_patterns == ("a{2}",)
    assert filled.description == "unpack {file}"
    assert command.cmd[2] == "{dir}"


def test_a_command_without_environment_keeps_none() -> None:
    filled = fill_command(UpdateCommand(["true"]), {})
    assert (filled.env, filled.cwd) == (None, None)
