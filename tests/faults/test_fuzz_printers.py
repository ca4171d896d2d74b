"""Hostile texts without end through every printer and into the page of a run: nothing of them gets through.

UPDATE_ALL_FAULT_PRINTED sets the number of texts (default 1,000; the full tier uses 1,000,000).
"""

from __future__ import annotations

import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "ui"))
from mutation import mutants
from stories import BEGIN, HOSTILE, START, end, output, plan, start
from test_printers import OWN_SEQUENCES
from test_report import PAYLOADS, Page

from update_all.core.models import Change
from update_all.core.streaming import RunEndEvent, RunStartEvent, StepEndEvent, StreamEvent, WarningEvent
from update_all.ui.printers import make_printer
from update_all.ui.report import Record, page

TEXTS = int(os.environ.get("UPDATE_ALL_FAULT_PRINTED", "1000"))
PARTS = 2
BATCH = 50
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
SEEDS = [
    HOSTILE.encode(), *(payload.encode() for payload in PAYLOADS), b"\x1b]8;;x\x07b\x1b]8;;\x07",
    b"\x1bPq#0\x1b\\", b"\x9b31m\x9d0;t\x9c", b"\xc2\x9b2J", b"\x1b[?1049h\x1b[2J\x1b[H",
    "\u2066\u202e\u061c\ufeff\U000e0041".encode(), b"\x1b[6n\x1b[c\x1b]52;c;eA==\x07", b"\xcc\x80" * 40,
]  # fmt: skip


def batches(number: int, seed: int) -> Iterator[list[str]]:
    texts = (data.decode("utf-8", "surrogateescape") for data in mutants(SEEDS, number, seed=seed))
    while batch := list(islice(texts, BATCH)):
        yield batch


def a_run(texts: Sequence[str]) -> list[StreamEvent]:
    """A run that says each text once: as output, as name, as warning, as error, as what has changed."""
    name, step = texts[0], texts[-1]
    events: list[StreamEvent] = [
        RunStartEvent(run_id=name, plugins=plan((name, {step: 3}), ("p", {name: 1}))), start(name, step, 1, 2)
    ]  # fmt: skip
    for number, text in enumerate(texts):
        match number % 5:
            case 0 | 1 | 2:
                events.append(output(name, step, text))
            case 3:
                events.append(WarningEvent(plugin_name=name, step_name=step, message=text, hint=text))
            case _:
                events.append(end("p", text, 1.0, Change(text, text, text)))
    events += [
        StepEndEvent(plugin_name=name, step_name=step, success=False, error_message=name, reason=step),
        RunEndEvent(run_id=name, exit_code=1),
    ]
    for number, event in enumerate(events):
        event.timestamp = BEGIN + timedelta(seconds=number)
    return events


def printed(mode: str, events: Sequence[StreamEvent]) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    printer = make_printer(mode, stream, environ={"FORCE_COLOR": "1"})
    for number, event in enumerate(events):
        printer.handle(event)
        if number % 25 == 3:
            printer.tick(START + number)
    printer.close()
    return raw.getvalue().decode()


def passed(mode: str, text: str) -> set[str]:
    """The characters of a printer's output that could do something to a terminal."""
    left = text if mode == "jsonl" else OWN_SEQUENCES.sub("", text)
    return {one for one in set(left) - {"\n", "\r"} if unicodedata.category(one) in HIDDEN}


@pytest.mark.timeout(60 + TEXTS // 50)
@pytest.mark.parametrize("part", range(PARTS))
def test_no_text_gets_through(part: int, record_property: Callable[[str, object], None]) -> None:
    number = -(-TEXTS // PARTS)
    for texts in batches(number, part):
        events = a_run(texts)
        for mode in ("live", "plain", "jsonl"):
            assert passed(mode, printed(mode, events)) == set(), (mode, texts)
        made = page(Record(events), {texts[0]: texts[-1]})
        assert passed("jsonl", made) <= {"\t"}, texts
        Page(made)
    record_property("cases", number)


def test_without_cleaning_the_same_texts_would_come_out() -> None:
    for texts in batches(4 * BATCH, 0):
        assert passed("plain", "".join(texts))
