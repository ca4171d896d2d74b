"""All printers: which one a stream gets, and that hostile text never reaches the stream."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import unicodedata

import pytest
from stories import START, hostile_run, viewed, whole_run

from update_all.core.streaming import StreamEvent
from update_all.ui.jsonlines import JsonLinesPrinter
from update_all.ui.live import LivePrinter
from update_all.ui.plain import PlainPrinter
from update_all.ui.printers import Progress, SilentPrinter, make_printer
from update_all.ui.summary import summary
from update_all.ui.terminal import style_of
from update_all.ui.text import Style

OWN_SEQUENCES = re.compile(r"\x1b\[(?:\d*m|\?(?:2026|7|25)[hl]|2K|J|\d+A)")


def shown(mode: str, events: list[StreamEvent], encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    printer = make_printer(mode, stream, environ={"FORCE_COLOR": "1"})
    for number, event in enumerate(events):
        printer.handle(event)
        printer.tick(START + 0.5 + number / 5)
    printer.close()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("mode", ["live", "plain", "jsonl"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_hostile_text_is_harmless(mode: str, encoding: str) -> None:
    text = shown(mode, hostile_run(), encoding)
    left = OWN_SEQUENCES.sub("", text) if mode != "jsonl" else text
    assert len(left) > 100
    bad = {one for one in left if unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert bad <= {"\n", "\r"}
    assert mode == "jsonl" or "owned" not in left


def test_hostile_text_is_harmless_in_the_summary() -> None:
    for style in (Style(), Style(colour=True), Style(unicode=False)):
        lines = summary(viewed(hostile_run()), 80, style, advice=[("Re\x1b[2Jstart", "\u202ex")])
        left = OWN_SEQUENCES.sub("", "".join(lines))
        assert not {unicodedata.category(one) for one in left} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
        assert "owned" not in left


def test_json_lines_hold_every_event() -> None:
    events = [*whole_run(), *hostile_run()]
    lines = shown("jsonl", events, "ascii").splitlines()
    assert [StreamEvent.from_dict(json.loads(line)) for line in lines] == events


def test_none_shows_nothing() -> None:
    assert shown("none", whole_run()) == ""


@pytest.mark.parametrize(
    ("mode", "environ", "expected"),
    [
        ("auto", {"TERM": "xterm"}, LivePrinter),
        ("auto", {"TERM": "xterm", "CI": "true"}, PlainPrinter),
        ("auto", {"TERM": "dumb"}, PlainPrinter),
        ("auto", {}, PlainPrinter),
        ("live", {}, LivePrinter),
        ("plain", {"TERM": "xterm"}, PlainPrinter),
        (Progress.JSONL, {}, JsonLinesPrinter),
        ("none", {}, SilentPrinter),
    ],
)
def test_printer_for_a_terminal(mode: str, environ: dict[str, str], expected: type) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        assert type(make_printer(mode, stream, environ=environ)) is expected
    os.close(ours)


def test_printer_for_a_pipe_is_plain_and_an_unknown_mode_is_an_error() -> None:
    assert type(make_printer("auto", io.StringIO(), environ={"TERM": "xterm"})) is PlainPrinter
    with pytest.raises(ValueError, match="colourful"):
        make_printer("colourful", io.StringIO())


@pytest.mark.parametrize(
    ("environ", "color", "expected"),
    [
        ({"TERM": "xterm"}, "auto", True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, "auto", False),
        ({"TERM": "xterm", "NO_COLOR": ""}, "auto", True),
        ({"TERM": "dumb"}, "auto", False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, "auto", True),
        ({"TERM": "xterm"}, "never", False),
        ({"NO_COLOR": "1"}, "always", True),
    ],
)
def test_colours(environ: dict[str, str], color: str, expected: bool) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        style = style_of(stream, environ, color)
    os.close(ours)
    assert style == Style(colour=expected, unicode=True)


def test_characters_follow_the_encoding() -> None:
    assert not style_of(io.TextIOWrapper(io.BytesIO(), encoding="iso-8859-1"), {}).unicode
    assert style_of(io.TextIOWrapper(io.BytesIO(), encoding="UTF-8"), {}).unicode


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"LC_ALL": "C"}, False),
        ({"LANG": "POSIX"}, False),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_CTYPE": "C", "LANG": "de_DE.UTF-8"}, False),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ({"LC_CTYPE": "de_DE.UTF-8", "LANG": "C"}, True),
        ({"LC_ALL": "", "LANG": "de_DE.UTF-8"}, True),
    ],
)
def test_the_c_locale_gets_ascii_although_python_writes_utf_8(
    environ: dict[str, str], expected: bool
) -> None:
    assert style_of(io.TextIOWrapper(io.BytesIO(), encoding="UTF-8"), environ).unicode is expected


def test_a_closed_pipe_stops_the_printer_and_nothing_else() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    printer = PlainPrinter(stream, Style())
    for event in whole_run():
        printer.handle(event)
    printer.close()
    assert printer.view.exit_code == 130
    with pytest.raises(BrokenPipeError):
        stream.close()
