"""A state with a journal that is only looked at, and a journal that begins anew."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from test_state_journal import journaled

from update_all.core import paths
from update_all.core.state import StateStore
from update_all.core.transitions import start_record

__all__ = ["journaled"]


def test_who_only_looks_is_told_of_a_damaged_journal_and_leaves_it(journaled: StateStore) -> None:
    journal = journaled.path("apt").with_suffix(".journal")
    journal.write_bytes(journal.read_bytes() + b"[]\n")
    before = sorted(path.name for path in journal.parent.iterdir())
    with pytest.raises(ValueError, match="its journal is damaged: record must be an object"):
        StateStore(journaled.directory.parent).peek("apt")
    assert sorted(path.name for path in journal.parent.iterdir()) == before


def test_after_it_was_folded_a_journal_begins_with_the_next_record(
    journaled: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file, so that its directory is flushed too."""
    news: list[bool] = []
    append = paths.append_durable

    def noted(path: Path, data: bytes, *, first: bool) -> None:
        news.append(first)
        append(path, data, first=first)

    monkeypatch.setattr(paths, "append_durable", noted)
    journal = journaled.path("apt").with_suffix(".journal")
    journaled.fold("apt")
    assert not journal.exists()
    whole = journaled.path("apt").read_bytes()
    for number in (2, 3):
        journaled.record("apt", start_record("c", number, 1))
        journaled.commit()
        assert journal.read_bytes().count(b"\n") == number - 1
        assert journaled.path("apt").read_bytes() == whole
    assert news == [True, False]
