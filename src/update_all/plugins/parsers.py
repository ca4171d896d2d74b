"""Output of a tool → records → changes and versions. Pure. What is not understood is never "nothing"."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from update_all.core.errors import StepError
from update_all.core.models import Change, JsonValue
from update_all.plugins.definition import Parser, Query
from update_all.plugins.patterns import MAX_LINE_CHARS

FIELDS = ("item", "old", "new", "version", "size", "security")
MAX_RECORDS = 100_000
MAX_EFFORT = 500_000_000
"""Sum of the squares of the lengths of all lines: what an accepted pattern may cost (plugins.patterns)."""

Record = dict[str, str]

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_SIZE = re.compile(r"(?P<number>\d{1,15}(?:[.,]\d{1,6})?)\s{0,3}(?P<unit>[A-Za-z]*)")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_UNITS = {"": 1, "b": 1, "byte": 1, "bytes": 1}
_UNITS |= {f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)}
_UNITS |= {f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)}
_UNITS |= {prefix: 1024**power for power, prefix in enumerate("kmgt", 1)}


class NoAnswerError(StepError):
    """No answer: the tool failed, its index is unreachable, or its output is not understood."""

    code = "no-answer"


class UnreadableError(NoAnswerError):
    """The tool answered, and its output is not understood."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a JSON path: a key, `*` for all members, or an index."""

    key: str | None = None
    index: int | None = None


_SEGMENT = re.compile(r"""\.?(?:(?P<key>[^.\[\]"']+)|"(?P<quoted>[^"]*)"|\[(?P<index>\*|\d{1,6})\])""")


def json_path(text: str) -> tuple[Segment, ...]:
    """`data.packages[*]`, `Releases[0].Version`, `*`, `"a.b".c`; empty or `@` is the value itself.

    Raises ValueError where it is no path.
    """
    if text in ("", "@"):
        return ()
    segments: list[Segment] = []
    position = 0
    while position < len(text):
        match = _SEGMENT.match(text, position)
        if match is None or (position == 0 and text[0] == "."):
            raise ValueError(f"{text!r} is no JSON path: it goes wrong at {text[position : position + 10]!r}")
        if match["index"] is not None and match["index"] != "*":
            segments.append(Segment(index=int(match["index"])))
        elif match["index"] == "*" or match["key"] == "*":
            segments.append(Segment())
        else:
            segments.append(Segment(key=match["key"] if match["key"] is not None else match["quoted"]))
        position = match.end()
    return tuple(segments)


def select(value: JsonValue, path: Sequence[Segment], key: str = "") -> Iterator[tuple[str, JsonValue]]:
    """The values at a path, each with the innermost key that led to it. What is not there gives nothing."""
    if not path:
        yield key, value
        return
    head, rest = path[0], path[1:]
    if head.index is not None:
        if isinstance(value, list) and head.index < len(value):
            yield from select(value[head.index], rest, key)
    elif head.key is not None:
        if isinstance(value, dict) and head.key in value:
            yield from select(value[head.key], rest, head.key)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from select(member, rest, str(number))
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from select(member, rest, name)


def scalar(value: JsonValue) -> str | None:
    """A JSON value as text, as JSON writes it; None for null, lists and objects."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        return None
    return json.dumps(value)


def read_records(parser: Parser, text: str, aside: str = "") -> list[Record]:
    """The records in the output of a tool; in `aside` (its stderr) only `nothing-patterns` are looked for.

    Raises NoAnswerError: no JSON where JSON is expected, a row with too few columns, a line that is neither
    a record nor ignored (where `ignore-patterns` says what may be there), or no record and no line that says
    so (where `nothing-patterns` says how the tool puts it).
    """
    records = _text_records(parser, text, aside) if parser.json is None else _json_records(parser, text)
    found = [record for record in _capped(records) if not (parser.changed_only and _unchanged(record))]
    if not parser.repeated_only:
        return found
    times = Counter(record.get("item") for record in found)
    return [record for record in found if times[record.get("item")] > 1]


def _unchanged(record: Record) -> bool:
    return "new" in record and record.get("old") == record["new"]


def _text_records(parser: Parser, text: str, aside: str) -> Iterator[Record]:
    lines = _ESCAPES.sub("", text).splitlines()[parser.skip_lines :]
    said = [*lines, *aside.splitlines()] or [""]
    if sum(len(line) ** 2 for line in lines if len(line) <= MAX_LINE_CHARS) > MAX_EFFORT:
        raise NoAnswerError("its output is too long to be searched")
    nothing = _compiled(parser.nothing_patterns)
    rest = [line for line in lines if line.strip() and not _found(nothing, line)]
    records = _capped(_columns(parser, rest) if parser.columns is not None else _matches(parser, rest))
    if not records and nothing and not any(_found(nothing, line) for line in said):
        raise NoAnswerError("its output does not say that there is nothing to update")
    yield from records


def _capped(records: Iterator[Record]) -> list[Record]:
    found: list[Record] = []
    for record in records:
        found.append(record)
        if len(found) > MAX_RECORDS:
            raise NoAnswerError(f"it lists more than {MAX_RECORDS} items")
    return found


def _compiled(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    return [re.compile(pattern) for pattern in patterns]


def _found(patterns: Sequence[re.Pattern[str]], line: str) -> bool:
    return any(pattern.search(line[:MAX_LINE_CHARS]) for pattern in patterns)


def _refuse_unexpected(line: str, expected: Sequence[re.Pattern[str]]) -> None:
    if expected and not _found(expected, line):
        raise NoAnswerError(f"its output holds a line that is not understood: {line[:200]!r}")


def _matches(parser: Parser, lines: Sequence[str]) -> Iterator[Record]:
    pattern = re.compile(parser.regex or "")
    ignored = _compiled(parser.ignore_patterns)
    for line in lines:
        match = pattern.search(line) if len(line) <= MAX_LINE_CHARS else None
        if match is None:
            _refuse_unexpected(line, ignored)
            continue
        yield {name: value.strip() for name, value in match.groupdict().items() if value}


def _columns(parser: Parser, lines: Sequence[str]) -> Iterator[Record]:
    names = parser.columns or ()
    ignored = _compiled(parser.ignore_patterns)
    for line in lines:
        if _found(ignored, line):
            continue
        cells = line.split(parser.separator)
        if len(cells) < len(names):
            raise NoAnswerError(f"its output holds a row with too few columns: {line[:200]!r}")
        yield {name: cell.strip() for name, cell in zip(names, cells, strict=False) if name and cell.strip()}


def _json_records(parser: Parser, text: str) -> Iterator[Record]:
    path = json_path(parser.json or "")
    fields: dict[str, str | tuple[Segment, ...]] = {
        name: at if at == "@key" else json_path(at) for name, at in parser.fields.items()
    }
    where = [(json_path(at), re.compile(pattern)) for at, pattern in parser.where.items()]
    for document in _documents(parser, text):
        if not parser.json_lines and not _reaches(document, path):
            raise NoAnswerError(f"its output has no {parser.json!r}")
        for key, value in select(document, path):
            if not all(_holds(value, at, pattern) for at, pattern in where):
                continue
            record = {name: found for name, at in fields.items() if (found := _field(key, value, at))}
            if not record or (set(record) == {"item"} and len(fields) > 1):
                raise NoAnswerError(f"its output holds an entry that is not understood: {key!r}")
            yield record


def _reaches(document: JsonValue, path: Sequence[Segment]) -> bool:
    """Whether the fixed beginning of a path is there, and what follows can be a list of members."""
    members = next((number for number, part in enumerate(path) if part == Segment()), len(path))
    found = [value for _, value in select(document, path[:members])]
    return bool(found) and (members == len(path) or isinstance(found[0], list | dict))


def _documents(parser: Parser, text: str) -> Iterator[JsonValue]:
    if not text.strip() and _found(_compiled(parser.nothing_patterns), ""):
        return
    try:
        if not parser.json_lines:
            yield json.loads(text)
            return
        for line in text.splitlines():
            if line.strip():
                yield json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError(f"its output is not JSON: {error}") from None


def _holds(value: JsonValue, path: Sequence[Segment], pattern: re.Pattern[str]) -> bool:
    texts = [scalar(found) or "" for _, found in select(value, path)] or [""]
    return any(pattern.search(text[:MAX_LINE_CHARS]) for text in texts)


def _field(key: str, value: JsonValue, at: str | tuple[Segment, ...]) -> str | None:
    if isinstance(at, str):
        return key
    return next((text for _, found in select(value, at) if (text := scalar(found)) is not None), None)


def read_answer(query: Query, code: int, stdout: str, stderr: str) -> list[Record]:
    """The records of a query that ended with `code`. Raises NoAnswerError with the reason in words."""
    program = query.cmd[0]
    lines = [*stderr.splitlines(), *stdout.splitlines()]
    offline = _compiled(query.offline_patterns)
    if code in query.offline_codes or any(_found(offline, line) for line in lines):
        raise NoAnswerError(f"{program} cannot reach its index: {_last(stderr) or _last(stdout) or code}")
    errors = _compiled(query.error_patterns)
    if (bad := next((line for line in lines if _found(errors, line)), None)) is not None:
        raise NoAnswerError(f"{program} says: {bad.strip()[:200]}")
    if code not in query.ok_codes:
        raise NoAnswerError(f"{program} ended with {code}: {_last(stderr) or _last(stdout) or 'no output'}")
    try:
        return read_records(query, stdout, stderr)
    except NoAnswerError as problem:
        raise UnreadableError(f"{program}: {problem}") from None


def _last(text: str) -> str:
    """The line that says most: the first that speaks of an error, else the last."""
    lines = [line.strip() for line in _ESCAPES.sub("", text).splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("error", "fatal", "e:"))]
    return (errors or lines[-1:] or [""])[0][:200]


def to_changes(records: Sequence[Mapping[str, str]], default_item: str) -> list[Change]:
    """Changes, in the order of the records. A record without an item is about `default_item`."""
    return [
        Change(
            item=record.get("item", default_item),
            old=record.get("old"),
            new=record.get("new", record.get("version")),
            size_bytes=size_bytes(record["size"]) if "size" in record else None,
            security=record.get("security", "false").lower() not in ("", "0", "no", "false", "none"),
        )
        for record in records
    ]


def to_versions(records: Sequence[Mapping[str, str]], default_item: str) -> dict[str, str]:
    """Item → version. Records without a version are left out."""
    return {record.get("item", default_item): record["version"] for record in records if "version" in record}


def size_bytes(text: str) -> int | None:
    """`361 bytes`, `1.2 MB` (decimal), `5 KiB`, `12M` (binary, as GNU tools mean it), `1024`; else None."""
    match = _SIZE.fullmatch(text.strip().replace("\u00a0", " "))
    if match is None or match["unit"].lower() not in _UNITS:
        return None
    return round(float(match["number"].replace(",", ".")) * _UNITS[match["unit"].lower()])


def is_newer(candidate: str, installed: str) -> bool:
    """Whether a version is higher, number by number; where they differ in words only, a difference counts.

    Commits have no order: there, any difference counts.
    """
    if candidate == installed:
        return False
    if _COMMIT.fullmatch(candidate) and _COMMIT.fullmatch(installed):
        return True
    ours, theirs = _numbers(installed), _numbers(candidate)
    return theirs > ours or theirs == ours


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d{1,18}", version.partition("+")[0].split("-")[0])]
