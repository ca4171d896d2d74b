"""Strict reading of JSON from disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.json_reading import Reader, loads
from update_all.core.models import JsonValue

READER = Reader(
    {
        "text": "a",
        "number": 3,
        "float": 2.5,
        "flag": True,
        "null": None,
        "list": ["a", 1],
        "names": ["a", "b"],
        "table": {"x": 1},
        "time": "2026-11-23T02:00:00+00:00",
    },
    "state",
)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"nul",
        b"{} {}",
        b"NaN",
        b'{"a": Infinity}',
        b"[-Infinity]",
        b"1e999",
        b"[-1e999]",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b"\xff\xfe\xfd",
        b'"\xc3\x28"',
        b"[" * 65 + b"]" * 65,
        b"[" * 200_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b"9" * 5000,
    ],
)
def test_what_is_no_strict_json_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is that of the parser
        loads(text)


def test_sixty_four_levels_are_read() -> None:
    assert loads(b"[" * 64 + b"]" * 64) is not None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_we_write_is_read_back(value: JsonValue) -> None:
    assert loads(json.dumps(value).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = loads(data)
    except ValueError:
        return
    assert loads(json.dumps(value).encode()) == value


def test_fields_of_the_right_type() -> None:
    assert READER.get("text", str) == "a"
    assert READER.get("number", int) == 3
    assert READER.get("number", float) == 3
    assert READER.get("flag", bool) is True
    assert READER.get("missing", int, 7) == 7
    assert READER.optional("null", str) is None
    assert READER.optional("missing", int) is None
    assert READER.optional("number", int) == 3
    assert READER.time("time") == datetime(2026, 11, 23, 2, tzinfo=UTC)
    assert READER.time("null") is None
    assert READER.strings("names") == ["a", "b"]
    assert READER.strings("missing") == []
    assert READER.items("list") == ["a", 1]
    assert READER.table_of("table", int) == {"x": 1}
    assert READER.table("missing") == {}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: READER.get("text", int), "state.text must be int, got 'a'"),
        (lambda: READER.get("missing", str), "state.missing must be str, got None"),
        (lambda: READER.get("null", str, "x"), "state.null must be str"),
        (lambda: READER.get("flag", int), "state.flag must be int, got True"),
        (lambda: READER.get("flag", float), "state.flag must be float"),
        (lambda: READER.get("number", bool), "state.number must be bool"),
        (lambda: READER.get("float", int), "state.float must be int"),
        (lambda: READER.optional("number", str), "state.number must be str"),
        (lambda: READER.time("text"), "state.text"),
        (lambda: READER.time("number"), "state.number must be str"),
        (lambda: READER.items("table"), "state.table must be a list"),
        (lambda: READER.strings("list"), "state.list must hold strings"),
        (lambda: READER.table("list"), "state.list must be an object"),
        (lambda: READER.table_of("table", str), "state.table.x must be str, got 1"),
        (lambda: Reader([], "record"), "record must be an object, got list"),
        (lambda: Reader(None, "record"), "record must be an object, got NoneType"),
    ],
)
def test_a_wrong_type_names_the_field(read: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        read()


def test_a_long_wrong_value_does_not_flood_the_message() -> None:
    with pytest.raises(ValueError, match="must be int") as caught:
        Reader({"a": "x" * 10_000}, "state").get("a", int)
    assert len(str(caught.value)) < 120
