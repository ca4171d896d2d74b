"""The samples of every definition that is shipped are read as they say, and no two definitions overlap."""

from __future__ import annotations

from pathlib import Path

import pytest

from update_all.plugins.builtin import CATALOGUE
from update_all.plugins.decoding import parse_definition
from update_all.plugins.definition import Definition
from update_all.plugins.lint import check_together, sample_problem
from update_all.plugins.validation import QUERIES

FILES = sorted(CATALOGUE.glob("*.toml"))


def definition(path: Path) -> Definition:
    return parse_definition(path.read_text("utf-8"), path.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_query_has_samples_and_each_sample_its_source(path: Path) -> None:
    found = definition(path)
    for name in QUERIES:
        if getattr(found, name) is not None:
            assert any(sample.of == name for sample in found.sample)
    for sample in found.sample:
        assert sample.source
        assert sample_problem(found, sample) == ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_definition_has_where_to_read_more(path: Path) -> None:
    found = definition(path)
    assert found.url.startswith("https://")
    assert found.tags


def test_no_two_definitions_run_a_tool_without_a_common_mutex() -> None:
    assert check_together([definition(path) for path in FILES]) == []
