"""Output of tools becomes records, and what is not understood is never "nothing to update"."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.models import Change
from update_all.plugins.definition import Parser, Query
from update_all.plugins.parsers import (
    MAX_EFFORT,
    NoAnswerError,
    is_newer,
    json_path,
    read_answer,
    read_records,
    select,
    size_bytes,
    to_changes,
    to_versions,
)
from update_all.plugins.patterns import MAX_LINE_CHARS, UnsafePatternError, check_pattern

ARROW = Parser(regex=r"^(?P<item>\S+) (?P<old>\S+) -> (?P<new>\S+)$")


def test_regex_reads_one_record_for_each_line() -> None:
    records = read_records(ARROW, "zlib 1.2 -> 1.3\nnoise\ncurl 8.0 -> 8.1\n")
    assert to_changes(records, "x") == [Change("zlib", "1.2", "1.3"), Change("curl", "8.0", "8.1")]


def test_colours_are_not_part_of_a_name() -> None:
    assert read_records(ARROW, "\x1b[1;32mzlib\x1b[0m 1.2 -> 1.3") == [
        {"item": "zlib", "old": "1.2", "new": "1.3"}
    ]


def test_a_line_that_is_neither_record_nor_expected_is_not_understood() -> None:
    parser = Parser(regex=ARROW.regex, ignore_patterns=("^Loading",))
    assert read_records(parser, "Loading index\nzlib 1 -> 2") == [{"item": "zlib", "old": "1", "new": "2"}]
    with pytest.raises(NoAnswerError, match="Segmentation fault"):
        read_records(parser, "Loading index\nSegmentation fault")


@pytest.mark.parametrize("text", ["", "Loading index\n", "\n\n"])
def test_silence_is_no_answer_where_the_tool_says_so_in_words(text: str) -> None:
    parser = Parser(regex=ARROW.regex, nothing_patterns=("^Everything is up to date",))
    with pytest.raises(NoAnswerError, match="nothing to update"):
        read_records(parser, text)
    assert read_records(parser, text + "Everything is up to date.\n") == []
    assert read_records(parser, text, aside="Everything is up to date.\n") == []


def test_columns_by_white_space_and_by_separator() -> None:
    table = "Name  Version  Rev  Size\nfoo   1.2      77   12MB\n"
    parser = Parser(columns=("item", "new", "", "size"), skip_lines=1)
    assert to_changes(read_records(parser, table), "x") == [Change("foo", None, "1.2", 12_000_000)]
    tabs = Parser(columns=("item", "old", "new"), separator="\t")
    assert read_records(tabs, "a b\t\t2.0\n") == [{"item": "a b", "new": "2.0"}]


def test_a_row_with_too_few_columns_is_not_understood() -> None:
    with pytest.raises(NoAnswerError, match="too few columns"):
        read_records(Parser(columns=("item", "old", "new")), "curl 8.0 8.1\nerror\n")


def test_json_list_and_mapping() -> None:
    listed = Parser(json="data.packages[*]", fields={"item": "name", "new": "latest[0].v"})
    text = json.dumps({"data": {"packages": [{"name": "a", "latest": [{"v": "2"}]}]}})
    assert read_records(listed, text) == [{"item": "a", "new": "2"}]
    mapped = Parser(json="*", fields={"item": "@key", "old": "current", "new": "latest"})
    assert read_records(mapped, '{"npm": {"current": "9", "latest": "10"}}') == [
        {"item": "npm", "old": "9", "new": "10"}
    ]
    assert read_records(mapped, "{}") == []


def test_json_where_leaves_out_what_is_pinned() -> None:
    parser = Parser(json="[*]", fields={"item": "name", "new": "to"}, where={"pinned": "^(false)?$"})
    text = '[{"name": "a", "to": "1", "pinned": true}, {"name": "b", "to": "2"}]'
    assert [record["item"] for record in read_records(parser, text)] == ["b"]


def test_json_lines() -> None:
    parser = Parser(json="data", json_lines=True, fields={"item": "name", "new": "v"})
    text = '{"type": "info"}\n{"data": {"name": "a", "v": "2"}}\n'
    assert read_records(parser, text) == [{"item": "a", "new": "2"}]


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "[1]", '{"error": "offline"}', "{", "[" * 100_000, '{"data": 7}', "\ud800"]
)
def test_json_of_another_shape_is_not_understood(text: str) -> None:
    parser = Parser(json="data.packages[*]", fields={"item": "name", "new": "v"})
    with pytest.raises(NoAnswerError):
        read_records(parser, text)


def test_an_entry_without_what_is_looked_for_is_not_understood() -> None:
    parser = Parser(json="*", fields={"item": "@key", "old": "current", "new": "latest"})
    with pytest.raises(NoAnswerError, match="'error'"):
        read_records(parser, '{"error": {"code": "ECONNREFUSED"}}')


@pytest.mark.parametrize("path", [".a", "a..b", "a[", "a[x]", 'a"', "a[-1]"])
def test_what_is_no_json_path(path: str) -> None:
    with pytest.raises(ValueError, match="no JSON path"):
        json_path(path)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters='"'), min_size=1), min_size=1, max_size=4))
def test_quoted_keys_reach_any_key(keys: list[str]) -> None:
    nested: object = "found"
    for key in reversed(keys):
        nested = {key: nested}
    path = json_path(".".join(f'"{key}"' for key in keys))
    assert [value for _, value in select(json.loads(json.dumps(nested)), path)] == ["found"]


@given(st.text())
def test_any_text_gives_records_or_no_answer(text: str) -> None:
    parsers = (
        ARROW,
        Parser(columns=("item", "new")),
        Parser(json="[*]", fields={"item": "@"}),
        Parser(regex="(?P<item>x)", ignore_patterns=("^#",), nothing_patterns=("none",)),
    )
    for parser in parsers:
        with contextlib.suppress(NoAnswerError):
            records = read_records(parser, text)
            assert all(record.keys() <= {"item", "old", "new"} for record in records)


def test_a_query_that_failed_is_no_answer_whatever_it_printed() -> None:
    query = Query(
        cmd=("tool",),
        regex=ARROW.regex,
        ok_codes=(0, 100),
        offline_codes=(7,),
        offline_patterns=("no route",),
    )
    assert read_answer(query, 100, "a 1 -> 2", "") == [{"item": "a", "old": "1", "new": "2"}]
    for code, stdout, stderr, said in (
        (1, "a 1 -> 2", "error: disk", "error: disk"),
        (-9, "", "", "-9"),
        (7, "", "", "cannot reach its index"),
        (0, "", "warning: no route to host", "cannot reach its index"),
    ):
        with pytest.raises(NoAnswerError, match=re.escape(said)):
            read_answer(query, code, stdout, stderr)


def test_an_error_pattern_beats_a_good_exit_code() -> None:
    query = Query(cmd=("tool",), regex=ARROW.regex, error_patterns=("^E:",))
    with pytest.raises(NoAnswerError, match="tool says: E: broken"):
        read_answer(query, 0, "a 1 -> 2", "E: broken")


def test_a_huge_output_is_refused_before_it_is_searched() -> None:
    line = "x" * MAX_LINE_CHARS + "\n"
    with pytest.raises(NoAnswerError, match="too long"):
        read_records(ARROW, line * (MAX_EFFORT // MAX_LINE_CHARS**2 + 1))


def test_versions_of_a_tool_that_has_one() -> None:
    parser = Parser(regex=r"^tool (?P<version>\S+)")
    assert to_versions(read_records(parser, "tool 1.2"), "tool") == {"tool": "1.2"}


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("361 bytes", 361),
        ("1.2 MB", 1_200_000),
        ("58,3\u00a0kB", 58_300),
        ("5 KiB", 5120),
        ("12M", 12 * 1024**2),
        ("1024", 1024),
        ("-", None),
        ("big", None),
        ("1 parsec", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert size_bytes(text) == size


@pytest.mark.parametrize(
    ("candidate", "installed", "newer"),
    [
        ("1.10", "1.9", True),
        ("1.9", "1.10", False),
        ("2.0", "2.0", False),
        ("1.2.1", "1.2", True),
        ("v3", "2.9", True),
        ("1.0-2", "1.0-1", True),
        ("1" + "0" * 39, "f" * 39 + "9", True),
        ("f" * 40, "f" * 40, False),
    ],
)
def test_newer_versions(candidate: str, installed: str, newer: bool) -> None:
    assert is_newer(candidate, installed) is newer


HOSTILE = (
    r"(a+)+$",
    r"(a|aa)+$",
    r"(.*)*x",
    r"^(\s*\S*)*$",
    r"a*a*a*b",
    r".*.*.*x",
    r"(x+x+)+y",
    r"(?:a?){25}a{25}",
    r"(.)\1",
    r"([^a]|A)+b",
    r"^a*a*a*b",
    r"(?:a{0,15}a{0,15})*",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(?=(a+)+)b",
    r"^(?:.a?)+$",
    "(" * 400 + "a" + ")" * 400,
    "a" * 1001,
)
HARMLESS = (
    r"^(?P<item>\S+) - update available: (?P<old>\S+)(?: \([^)]*\))? -> (?P<new>\S+)",
    r"^\d+(?:\.\d+)*$",
    r"^(?!Warning)(?P<item>\S+)\s+(?P<old>\S+)\s+(?P<new>\S+)$",
    r"(?:error|failed|fatal|E:)",
    r"foo.*bar",
    r"Inst (?P<item>\S+) (?:\[(?P<old>[^]]+)\] )?\((?P<new>\S+)",
)


@pytest.mark.parametrize("pattern", HOSTILE)
def test_patterns_that_may_take_for_ever_are_refused(pattern: str) -> None:
    with pytest.raises(UnsafePatternError):
        check_pattern(pattern)


@pytest.mark.parametrize("pattern", HARMLESS)
def test_patterns_that_people_write_are_accepted(pattern: str) -> None:
    check_pattern(pattern)
    assert re.compile(pattern).search("none of them is in here") is None


ATOM = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", "$", r"\b"])
QUANTIFIER = st.sampled_from(["*", "+", "?", "*?", "{0,3}", "{2}", "{1,20}"])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda one, two: one + two, inner, inner),
        st.builds(lambda one, two: f"(?:{one}|{two})", inner, inner),
        st.builds(lambda one, times: f"(?:{one}){times}", inner, QUANTIFIER),
    )


@given(
    st.recursive(ATOM, _grown, max_leaves=8),
    st.sampled_from(["", "^"]),
    st.sampled_from(["a", "b", "ab", "aab", "c"]),
)
def test_a_pattern_is_refused_or_quick(pattern: str, anchor: Literal["", "^"], unit: str) -> None:
    """A search that does not end fails the test by its time limit."""
    try:
        check_pattern(anchor + pattern + "!")
    except (UnsafePatternError, re.error):
        return
    line = (unit * MAX_LINE_CHARS)[: MAX_LINE_CHARS // 4]
    assert re.search(anchor + pattern + "!", line) is None
