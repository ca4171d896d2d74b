"""The report: everything in it is escaped, nothing in it loads or runs, and it is complete."""

from __future__ import annotations

import dataclasses
import re
from datetime import timedelta
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import BEGIN, end, hostile_run, plan, start, whole_run

from update_all.core.models import Change
from update_all.core.streaming import (
    EVENT_CLASSES,
    CompletionEvent,
    PlannedPlugin,
    PlannedStep,
    RunEndEvent,
    RunStartEvent,
    StepEndEvent,
    StreamEvent,
)
from update_all.ui.report import POLICY, Record, page
from update_all.ui.report_svg import MOST_TICKS, tick_seconds
from update_all.ui.view import State

VOID = {"meta"}
NEVER = {
    "script",
    "iframe",
    "object",
    "embed",
    "link",
    "base",
    "form",
    "img",
    "image",
    "use",
    "animate",
    "input",
}
# fmt: off
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "name", "href", "class", "id", "aria-labelledby",
    "aria-label", "aria-hidden", "tabindex", "role", "scope", "height", "width", "x", "y",
    "x1", "x2", "y1", "y2", "rx", "text-anchor", "viewbox", "preserveaspectratio", "points",
}
# fmt: on


class Page(HTMLParser):
    """Reads a page strictly: elements nest, no element or attribute is there that the report never uses."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.counts: dict[str, int] = {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in NEVER
        self.counts[tag] = self.counts.get(tag, 0) + 1
        for name, value in attrs:
            assert name in ATTRIBUTES, (tag, name)
            assert name != "href" or str(value).startswith("#")
            self.ids += [str(value)] if name == "id" else []
            self.links += [str(value)[1:]] if name == "href" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


PAYLOADS = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>", "</style><script>x",
    "</title><script>x</script>", "</pre><script>x</script>", "</svg><script>x</script>", "'><script>x",
    '"><script>alert(1)</script>', '" onmouseover="alert(1)', "' onmouseover='alert(1)", "` onmouseover=`x",
    "<!--<script>", "--><script>x</script>", "<![CDATA[<script>x</script>]]>", "]]><script>x</script>",
    "<iframe src=javascript:alert(1)>", "<a href=javascript:alert(1)>x</a>", "<body onload=alert(1)>",
    "<style>*{background:url(//x)}</style>", "<link rel=stylesheet href=//x>", "<base href=//x>",
    "<meta http-equiv=refresh content='0;url=//x'>", "<form action=//x><input>", "<object data=//x>",
    "<embed src=//x>", "<math><mtext><script>x", "<template><script>x",
    "<noscript><p title='</noscript><img>'>",
    "<details open ontoggle=alert(1)>", "<video><source onerror=alert(1)>", "<xmp><script>x", "<plaintext>",
    "<textarea><script>x</textarea>", "<select><script>x", "<image href=x onerror=alert(1)>",
    "<use href='data:image/svg+xml,x#x'>", "<animate onbegin=alert(1)>", "<set attributeName=href to=x>",
    "<foreignObject><script>x", "&lt;script&gt;", "&#60;script&#62;", "&#x3c;script>", "&quot;><script>",
    "%3Cscript%3E", "\\u003cscript>", "\x00<script>", "<scr\x00ipt>", "<scr\u200bipt>", "\u202e<script>",
    "\x1b[31m<script>", "\x1b]8;;javascript:x\x07<b>", "＜script＞", "<ſcript>", "<SCRIPT>x</SCRIPT>",
    "<script\n>x</script\n>", "<script/x>x</script>", "<<script>x", "<a\thref='x'>", "x\r\n\r\n<script>",
    "{{7*7}}", "${alert(1)}", "javascript:alert(1)", "data:text/html,<script>x</script>",
]  # fmt: skip


def everywhere(payload: str) -> list[StreamEvent]:
    """A run in which every text field of every kind of event, and of what they hold, is the payload."""
    events: list[StreamEvent] = []
    nested = {
        "plugins": (PlannedPlugin(payload, (PlannedStep(payload, payload, (payload,)),), (payload,)),),
        "changes": (Change(payload, payload, payload), Change(payload + "r", payload, None)),
        "updates": (Change(payload, None, payload),),
    }
    order: list[type[StreamEvent]] = [
        RunStartEvent,
        *(kind for kind in EVENT_CLASSES.values() if kind is not RunStartEvent),
    ]
    for number, kind in enumerate(dict.fromkeys(order)):
        event = kind()
        for field in dataclasses.fields(kind):
            if field.name in nested:
                setattr(event, field.name, nested[field.name])
            elif "str" in str(field.type) and field.name not in {"event_type", "phase"}:
                setattr(event, field.name, payload)
        if hasattr(event, "success"):
            event.success = False
        event.timestamp = BEGIN + timedelta(seconds=number)
        events.append(event)
    return events


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_payload_in_any_field_becomes_markup(payload: str) -> None:
    plain = Page(page(Record(everywhere("plain")), {"plain": "plain"}))
    hostile = Page(page(Record(everywhere(payload)), {payload: payload}))
    assert hostile.counts == plain.counts


def test_control_characters_reach_no_page() -> None:
    text = page(Record(hostile_run()), {})
    Page(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e]", text)


@given(st.text())
def test_any_text_survives_as_text(name: str) -> None:
    read = Page(page(Record([]), {"x": name}))
    assert "script" not in read.counts


def test_it_loads_nothing_and_says_so() -> None:
    text = page(Record(whole_run()), {})
    assert f'content="{POLICY.replace(chr(39), "&#x27;")}"' in text
    assert "url(" not in text
    assert not re.search(r"(src|href)=\"(?!#)", text)
    assert not re.search(r"\son\w+=", text)


def test_links_lead_somewhere_and_ids_are_unique() -> None:
    read = Page(page(Record(whole_run()), {"System": "Debian"}))
    assert len(read.ids) == len(set(read.ids))
    assert set(read.links) <= set(read.ids)


def test_it_tells_what_happened() -> None:
    text = " ".join(Page(page(Record(whole_run()), {"System": "Debian"})).text)
    for part in (
        "interrupted", "11 items", "openssl", "security", "removed", "texlive › update",
        "tlmgr exited with 1",
        "Remote repository is newer", "update-all explain step-failed", "update-all resume texlive",
        "texlive.update.log", "snapd is not running", "a repository is unreachable", "pacman", "Debian",
    ):  # fmt: skip
        assert part in text, part


def resumed() -> list[StreamEvent]:
    plugins = plan(("apt", {"one": None, "two": None}))
    timed: list[tuple[float, StreamEvent]] = [
        (0, RunStartEvent(run_id="r", plugins=plugins)),
        (0, start("apt", "one")),
        (5, end("apt", "one", 5.0, Change("bash", "1", "2"))),
        (5, CompletionEvent(plugin_name="apt")),
        (5, RunEndEvent(run_id="r", exit_code=1, duration_seconds=5.0)),
        (9000, RunStartEvent(run_id="r", plugins=plugins, resumed=True)),
        (9000, start("apt", "two")),
        (9002, end("apt", "two", 2.0, Change("bash", "2", "3"), Change("curl", "7", "8"))),
        (9002, CompletionEvent(plugin_name="apt", success=True)),
        (9002, RunEndEvent(run_id="r", exit_code=0, duration_seconds=2.0)),
    ]
    for seconds, event in timed:
        event.timestamp = BEGIN + timedelta(seconds=seconds)
    return [event for _, event in timed]


def test_a_resumed_run_counts_all_its_parts_and_not_the_time_between() -> None:
    record = Record(resumed())
    assert record.changes == {"apt": [Change("bash", "1", "3"), Change("curl", "7", "8")]}
    assert record.seconds == 7.0
    read = Page(page(record, {}))
    assert read.counts["details"] == 2
    assert "Resumed" in " ".join(read.text)


def test_a_step_that_somebody_skipped_has_not_failed() -> None:
    ended = StepEndEvent(plugin_name="p", step_name="a", success=False, error_code="skipped")
    events = [start("p", "a"), ended, CompletionEvent(plugin_name="p", exit_code=1), RunEndEvent(exit_code=1)]
    record = Record([RunStartEvent(run_id="r"), *events])
    assert record.verdict == ("not finished", State.BLOCKED)
    assert [span.state for part in record.parts for span in part.spans] == [State.SKIPPED]


def test_a_run_that_was_killed_is_not_finished() -> None:
    record = Record(resumed()[:3])
    assert record.verdict[0] == "not finished"
    Page(page(record, {}))


@given(st.floats(0.001, 1e7))
def test_ticks_are_few_and_within(seconds: float) -> None:
    ticks = tick_seconds(seconds)
    assert ticks[0] == 0
    assert len(ticks) <= MOST_TICKS
    assert ticks[-1] <= seconds
