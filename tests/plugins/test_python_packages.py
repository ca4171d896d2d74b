"""Output of pip, and folders of Python packages."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change, StepError
from update_all.plugins.python_packages import (
    canonical,
    installed_in,
    leftovers_in,
    parse_index_versions,
    parse_outdated,
)

# pip 23.2.1 with spaces, uv 0.13.9 through pipx without.
PIP = '[{"name": "Ua.Lab_inj", "version": "1.0", "latest_version": "2.0", "latest_filetype": "wheel"}]\n'
UV = '[{"name":"ua-lab-inj","version":"1.0","latest_version":"2.0","latest_filetype":"wheel"}]\n'

# pip 23.2.1, `pip index versions ua-lab-main`.
INDEX = "ua-lab-main (2.0)\nAvailable versions: 2.0, 1.0\n  INSTALLED: 1.0\n  LATEST:    2.0\n"


@pytest.mark.parametrize("text", [PIP, UV])
def test_outdated_packages_under_their_normalised_names(text: str) -> None:
    assert parse_outdated(text) == [Change("ua-lab-inj", "1.0", "2.0")]


@pytest.mark.parametrize("text", ["", "null", "{}", "[1]", '[{"name": "x"}]', "Traceback (most recent call"])
def test_garbage_is_no_answer(text: str) -> None:
    with pytest.raises(StepError):
        parse_outdated(text)


@given(st.text(max_size=200))
def test_any_text_is_an_answer_or_a_step_error(text: str) -> None:
    with contextlib.suppress(StepError):
        assert not parse_outdated(text)


def test_newest_version_of_an_index() -> None:
    assert parse_index_versions(INDEX) == "2.0"
    assert parse_index_versions("") is None
    assert parse_index_versions("ERROR: No matching distribution found for x (from versions: none)") is None


@pytest.mark.parametrize("name", ["Ua.Lab_inj", "ua-lab-inj", "ua__lab..inj", "UA-LAB-INJ"])
def test_canonical_names(name: str) -> None:
    assert canonical(name) == "ua-lab-inj"


def test_site_packages_with_what_a_killed_pip_left(tmp_path: Path) -> None:
    for folder in (
        "ua_lab_one-1.0.dist-info",
        "Ua.Two-2.1.dist-info",
        "~a_lab_one-0.9.dist-info",
        "ua_lab_one",
    ):
        (tmp_path / folder).mkdir()
    lost = tmp_path / "~ost-3.0.dist-info"
    lost.mkdir()
    (lost / "METADATA").write_text("Metadata-Version: 2.1\nName: Lost\nVersion: 3.0\n\nName: of the text\n")
    assert installed_in(tmp_path) == {"ua-lab-one": "1.0", "ua-two": "2.1"}
    assert leftovers_in(tmp_path) == {lost: "lost"}
    assert installed_in(tmp_path / "missing") == {}
