"""Precedence of versions of npm packages, crates and Go modules (Semantic Versioning 2.0.0, clause 11)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from update_all.api import Change

_NUMBER = "([0-9]{1,18})"
_VERSION = re.compile(
    rf"v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-([0-9A-Za-z.-]{{1,256}}))?(?:\+[0-9A-Za-z.-]+)?"
)

_Identifier = tuple[int, int, str]


def _key(version: str) -> tuple[tuple[int, ...], bool, list[_Identifier]] | None:
    match = _VERSION.fullmatch(version)
    if match is None:
        return None
    major, minor, patch, suffix = match.groups()
    # Numbers come before words, and a release after its pre-releases.
    identifiers = [
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in (suffix or "").split(".") if part
    ]
    return (int(major), int(minor), int(patch)), suffix is None, identifiers


def is_newer(new: str, old: str) -> bool:
    """Whether `new` has the higher precedence. False where either is no semantic version."""
    new_key, old_key = _key(new), _key(old)
    return new_key is not None and old_key is not None and new_key > old_key


def newer(installed: Mapping[str, str], newest: Mapping[str, str]) -> list[Change]:
    """Of what is installed, what has a newer version; what has no newest version is left out."""
    return [
        Change(name, version, newest[name])
        for name, version in installed.items()
        if name in newest and is_newer(newest[name], version)
    ]
