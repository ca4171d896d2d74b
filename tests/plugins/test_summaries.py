"""The compiled listing: kept for the file that it was made of, and done without whenever it is doubtful."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from update_all.plugins.registry import discover
from update_all.plugins.sources import SearchPaths
from update_all.plugins.summaries import Summaries, Summary
from update_all.plugins.template import new_definition

STAMP = (1, 2, 3, 4)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
SUMMARIES = st.builds(
    Summary,
    enabled=st.booleans(),
    root=st.booleans(),
    command=st.none() | TEXTS,
    paths=st.lists(TEXTS, max_size=2),
    absent=st.lists(TEXTS, max_size=2),
    os_release=st.lists(TEXTS, max_size=2),
    place=TEXTS,
)


def fields(summary: Summary | None) -> dict[str, object] | None:
    return None if summary is None else {name: getattr(summary, name) for name in Summary.__slots__}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(summary=SUMMARIES)
def test_what_is_kept_is_found_again_by_another_process(tmp_path: Path, summary: Summary) -> None:
    first = Summaries(tmp_path / "cache")
    first.put("/a", STAMP, summary)
    first.save()
    second = Summaries(tmp_path / "cache")
    assert fields(second.get("/a", STAMP)) == fields(summary)
    assert second.get("/b", STAMP) is None


@pytest.mark.parametrize("place", range(4))
def test_another_file_of_the_name_is_not_known(tmp_path: Path, place: int) -> None:
    known = Summaries(None)
    known.put("/a", STAMP, Summary(enabled=True, root=False))
    first, second, third, fourth = (part + (index == place) for index, part in enumerate(STAMP))
    assert known.get("/a", (first, second, third, fourth)) is None
    assert known.get("/a", STAMP) is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(sorted({"stamp", *Summary.__slots__})), value=JSON, points=JSON)
def test_a_damaged_entry_is_no_entry(tmp_path: Path, key: str, value: object, points: object) -> None:
    kept = Summaries(tmp_path / "cache")
    kept.put("/a", STAMP, Summary(enabled=True, root=True, command="tool"))
    kept.put_points([("/site", 1)], [("name", "module:Class", "owner")])
    kept.save()
    path = tmp_path / "cache/plugins.json"
    data = json.loads(path.read_text())
    data["entries"]["/a"][key] = value
    data["points"]["found"] = points
    path.write_text(json.dumps(data))
    read = Summaries(tmp_path / "cache")
    found = read.get("/a", STAMP)
    assert found is None or {type(text) for text in (*found.paths, *found.absent)} <= {str}
    assert all(len(point) == 3 for point in read.points([("/site", 1)]) or [])


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b'{"writer": 1}', b"[" * 100_000, b"null"])
def test_a_damaged_file_is_no_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "plugins.json").write_bytes(data)
    assert Summaries(tmp_path).get("/a", STAMP) is None


def test_a_file_that_others_can_write_is_not_read(tmp_path: Path) -> None:
    kept = Summaries(tmp_path)
    kept.put("/a", STAMP, Summary(enabled=True, root=False))
    kept.save()
    (tmp_path / "plugins.json").chmod(0o666)
    assert Summaries(tmp_path).get("/a", STAMP) is None


def test_entry_points_are_looked_for_again_when_the_search_path_changes() -> None:
    kept = Summaries(None)
    kept.put_points([("/site", 1)], [("name", "module:Class", "owner")])
    assert kept.points([("/site", 1)]) == [("name", "module:Class", "owner")]
    assert kept.points([("/site", 2)]) is None
    assert kept.points([]) is None


def test_a_definition_that_changes_is_seen_from_afar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/other").write_text("#!/bin/sh\n")
    (tmp_path / "bin/other").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    directory = tmp_path / "plugins.d"
    directory.mkdir(mode=0o700)
    path = directory / "weather.toml"
    paths = SearchPaths(user=(directory,), cache=tmp_path / "cache")
    text = new_definition("weather")
    for program, present in (("weather", False), ("other", True)):
        path.write_text(text.replace('command = "weather"', f'command = "{program}"'))
        path.chmod(0o600)
        os.utime(path, ns=(0, 0))  # Not even the same time of change lets the old one stand.
        registry = discover(paths)
        seen = registry.glance("weather", {})
        registry.save_cache()
        assert seen is not None
        assert seen.present is present
