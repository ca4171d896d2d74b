"""From spool to log: tail, patterns, the log file, and following a file that grows."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.core.cleaning import Cleaner
from update_all.core.output import (
    CHUNK_BYTES,
    LONGEST_LINE,
    TAIL_CHARACTERS,
    Follower,
    PatternMatcher,
    StepLog,
    Tail,
)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=3), st.integers(1, 90_000)), max_size=8))
def test_tail_is_the_end_of_everything(parts: list[tuple[str, int]]) -> None:
    tail = Tail()
    for text, times in parts:
        tail.add(text * times)

    assert tail.text() == "".join(text * times for text, times in parts)[-TAIL_CHARACTERS:]


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(edges)]


@given(
    st.lists(st.sampled_from(["ok", "E: broken", "error 7", ""]), max_size=12), st.lists(st.integers(0, 99))
)
def test_patterns_find_the_first_line_however_the_text_is_cut(lines: list[str], places: list[int]) -> None:
    matcher = PatternMatcher(["^E:", r"error \d+$"])
    for part in cut("\n".join(lines), places):
        matcher.feed(part)
    matcher.finish()

    assert matcher.found == next((line for line in lines if line.startswith("E:") or "error" in line), None)


def test_patterns_see_the_last_line_without_a_newline_only_at_the_end() -> None:
    matcher = PatternMatcher(["^done$"])
    matcher.feed("do")
    matcher.feed("ne")
    assert matcher.found is None
    matcher.finish()
    assert matcher.found == "done"


def test_patterns_are_found_in_a_line_of_any_length_across_its_parts() -> None:
    matcher = PatternMatcher(["needle"])
    hay = "x" * (LONGEST_LINE - 3)
    for part in (hay, hay, "nee", "dle", hay):
        matcher.feed(part)
    matcher.finish()

    assert matcher.found is not None
    assert len(matcher.found) <= LONGEST_LINE


def test_empty_log_makes_no_file(tmp_path: Path) -> None:
    log = StepLog(tmp_path / "log")
    log.write(b"")
    log.close()

    assert log.empty
    assert not (tmp_path / "log").exists()


def test_log_is_private_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "linked").symlink_to(tmp_path / "precious")
    linked, plain = StepLog(tmp_path / "linked"), StepLog(tmp_path / "plain")
    for log in (linked, plain):
        log.write(b"text\n")
        log.close()

    assert (tmp_path / "precious").read_text() == "kept"
    assert linked.broken
    assert (tmp_path / "plain").stat().st_mode & 0o777 == 0o600


def test_full_disk_ends_the_log_and_not_the_step() -> None:
    log = StepLog(Path("/dev/full"))
    log.write(b"text\n")
    log.write(b"more\n")

    assert log.broken
    log.close()


class Following:
    """A follower with what it has handed on."""

    def __init__(self, directory: Path, secrets: tuple[str, ...] = ()) -> None:
        self.spool = directory / "spool"
        self.path = directory / "log"
        self.log = StepLog(self.path, secrets)
        self.texts: list[str] = []
        self.follower = Follower(self.spool, self.log, self.texts.append)

    def write(self, data: bytes) -> None:
        with self.spool.open("ab") as file:
            file.write(data)

    def finish(self) -> None:
        while self.follower.poll():
            pass
        self.follower.finish()
        self.log.close()


def test_a_spool_that_is_not_there_yet_is_no_error(tmp_path: Path) -> None:
    following = Following(tmp_path)
    assert not following.follower.poll()
    following.write(b"now\n")
    following.finish()

    assert following.texts == ["now\n"]
    assert following.follower.position == 4


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_log_and_text_are_the_cleaned_output_however_it_came(
    tmp_path_factory: pytest.TempPathFactory, writes: list[bytes]
) -> None:
    following = Following(tmp_path_factory.mktemp("spool"))
    for data in writes:
        following.write(data)
        following.follower.poll()
    following.finish()

    whole = Cleaner()
    expected = whole.feed(b"".join(writes)) + whole.finish()
    assert (following.path.read_bytes() if following.path.exists() else b"") == expected
    assert "".join(following.texts) == expected.decode()
    assert all(text.endswith("\n") for text in following.texts[:-1])


@pytest.mark.parametrize("length", [LONGEST_LINE - 1, LONGEST_LINE + 1, CHUNK_BYTES + 7, 3 * CHUNK_BYTES])
def test_a_line_of_any_length_arrives_whole_in_parts(tmp_path: Path, length: int) -> None:
    following = Following(tmp_path)
    following.write(b"a" * length + b"\nend")
    following.finish()

    assert following.path.stat().st_size == length + 4
    assert "".join(following.texts) == "a" * length + "\nend"
    assert max(map(len, following.texts)) <= CHUNK_BYTES + LONGEST_LINE + 1


def test_secrets_are_redacted_in_log_and_text(tmp_path: Path) -> None:
    following = Following(tmp_path, ("s3cret-value",))
    following.write(b"token: s3cret-")
    following.follower.poll()
    following.write(b"value!\n")
    following.finish()

    assert following.path.read_text() == "token: [redacted]!\n"
    assert following.texts == ["token: [redacted]!\n"]


def test_progress_lines_become_lines(tmp_path: Path) -> None:
    following = Following(tmp_path)
    following.write(b" 1%\r50%\r")
    following.follower.poll()
    following.write(b"\ndone\n")
    following.finish()

    assert re.split(r"\n", following.path.read_text()) == [" 1%", "50%", "done", ""]
