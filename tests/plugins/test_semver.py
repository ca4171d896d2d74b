"""Precedence of semantic versions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from update_all.api import Change
from update_all.plugins.semver import is_newer, newer

# The examples of Semantic Versioning 2.0.0, clause 11, in ascending order.
ASCENDING = [
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
    "2.1.10",
]


@pytest.mark.parametrize(("lower", "higher"), list(itertools.combinations(ASCENDING, 2)))
def test_order_of_the_specification(lower: str, higher: str) -> None:
    assert is_newer(higher, lower)
    assert not is_newer(lower, higher)


numbers = st.integers(0, 10**6)
identifiers = st.one_of(numbers.map(str), st.from_regex(r"[A-Za-z-][0-9A-Za-z-]{0,5}", fullmatch=True))
versions = st.builds(
    lambda core, pre, build: ".".join(map(str, core)) + (f"-{'.'.join(pre)}" if pre else "") + build,
    st.tuples(numbers, numbers, numbers),
    st.lists(identifiers, max_size=3),
    st.sampled_from(["", "+build.5"]),
)


@given(versions, versions, versions)
def test_newer_is_a_strict_order(a: str, b: str, c: str) -> None:
    assert not is_newer(a, a)
    assert not (is_newer(a, b) and is_newer(b, a))
    if is_newer(a, b) and is_newer(b, c):
        assert is_newer(a, c)


@given(versions)
def test_build_metadata_does_not_count(version: str) -> None:
    plain = version.partition("+")[0]
    assert not is_newer(f"{plain}+zzz", plain)
    assert not is_newer(plain, f"{plain}+zzz")


@pytest.mark.parametrize("odd", ["", "git", "linked", "1.0", "1.0.0.0", "latest", "1.0.0\n2.0.0"])
def test_what_is_no_version_is_never_newer(odd: str) -> None:
    assert not is_newer(odd, "1.0.0")
    assert not is_newer("1.0.0", odd)


def test_what_has_a_newer_version_is_told_in_the_order_of_what_is_installed() -> None:
    installed = {"old": "1.9.0", "same": "2.0.0", "ahead": "3.0.0-rc.1", "gone": "1.0.0", "odd": "latest"}
    newest = {"odd": "9.0.0", "ahead": "2.9.9", "same": "2.0.0", "old": "1.10.0", "other": "1.0.0"}
    assert newer(installed, newest) == [Change("old", "1.9.0", "1.10.0")]
