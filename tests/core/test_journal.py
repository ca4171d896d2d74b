"""The event journal of a run."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from update_all.core.journal import JOURNAL, KEPT_TEXT, JournalWriter, read_events
from update_all.core.streaming import OutputEvent, StepEndEvent, StepStartEvent, StreamEvent


def write(directory: Path, *events: StreamEvent) -> Path:
    journal = JournalWriter(directory)
    for event in events:
        journal.handle(event)
    journal.close()
    return directory / JOURNAL


def test_events_come_back_in_order(tmp_path: Path) -> None:
    events = [StepStartEvent(step_name="a"), OutputEvent(line="x\ny"), StepEndEvent(step_name="a")]
    path = write(tmp_path, *events)
    assert [event for event, _ in read_events(path)] == events
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_bytes().splitlines()) == 3


@settings(deadline=None, max_examples=50)
@given(lines=st.lists(st.text(st.characters() | st.sampled_from("\udcff\n\u2028"))), cut=st.integers(0))
def test_any_offset_goes_on_where_it_stopped(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], cut: int
) -> None:
    path = write(tmp_path_factory.mktemp("run"), *(OutputEvent(line=line) for line in lines))
    found = list(read_events(path))
    assert len(found) == len(lines)
    offsets = [0, *(offset for _, offset in found)]
    start = cut % len(offsets)
    assert list(read_events(path, offsets[start])) == found[start:]
    assert offsets[-1] == path.stat().st_size


def test_a_torn_last_line_is_left_until_it_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, OutputEvent(line="one"), OutputEvent(line="two"))
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    [(_, offset)] = read_events(path)
    path.write_bytes(data)
    [(event, _)] = read_events(path, offset)
    assert isinstance(event, OutputEvent)
    assert event.line == "two"


@pytest.mark.parametrize(
    "line",
    [b"", b"garbage", b"[]", b'{"v": 1}', b'{"v": 9, "event_type": "output"}', b"\xff\xfe", b"[" * 100_000],
)
def test_a_line_that_is_no_event_is_skipped(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path, OutputEvent(line="one"))
    path.write_bytes(line + b"\n" + path.read_bytes() + line + b"\n")
    assert [event.line for event, _ in read_events(path) if isinstance(event, OutputEvent)] == ["one"]


def test_a_resume_appends(tmp_path: Path) -> None:
    write(tmp_path, OutputEvent(line="one"))
    path = write(tmp_path, OutputEvent(line="two"))
    assert [event.line for event, _ in read_events(path) if isinstance(event, OutputEvent)] == ["one", "two"]


def test_a_long_text_keeps_its_end_and_says_how_much_is_left_out(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(2000))
    path = write(tmp_path, OutputEvent(line=text))
    data = json.loads(path.read_bytes())
    assert data["line"] == text[-KEPT_TEXT:]
    assert data["omitted"] == len(text) - KEPT_TEXT


def test_events_are_seen_at_the_flush_and_not_before(tmp_path: Path) -> None:
    journal = JournalWriter(tmp_path)
    journal.handle(OutputEvent(line="one"))
    assert (tmp_path / JOURNAL).read_bytes() == b""
    journal.flush()
    assert len(list(read_events(tmp_path / JOURNAL))) == 1
    journal.close()


def test_a_full_disk_ends_the_journal_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = JournalWriter(tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        journal.handle(OutputEvent(line="one"))
        journal.flush()
    journal.handle(OutputEvent(line="two"))
    journal.close()
    assert journal.broken
    assert (tmp_path / JOURNAL).read_bytes() == b""


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Exception, match=r"events\.jsonl cannot be written"):
        JournalWriter(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
