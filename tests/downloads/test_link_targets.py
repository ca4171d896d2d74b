"""Where the target of a link leads, in all the ways to write it."""

from __future__ import annotations

import pytest

from update_all.downloads.members import Limits, Manifest


@pytest.mark.parametrize(
    ("target", "place"),
    [
        ("c", ("a", "b", "c")),
        ("./c", ("a", "b", "c")),
        (".//c/.", ("a", "b", "c")),
        ("c//d/", ("a", "b", "c", "d")),
        ("../c", ("a", "c")),
        (".././../c", ("c",)),
        ("../..", ()),
        ("../../..", None),
        ("../../../a/b", None),
        ("c/../../../..", None),
    ],
)
def test_the_place_that_a_target_names(target: str, place: tuple[str, ...] | None) -> None:
    assert Manifest(Limits(), "").resolve(("a", "b"), target) == place
