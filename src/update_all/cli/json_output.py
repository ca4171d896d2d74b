"""JSON on standard output: what `--json` asks for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from update_all.core.cleaning import clean


def write_json(document: Mapping[str, object]) -> None:
    """One JSON document on standard output, its texts clean, in characters that it can take."""
    ascii_only = not sys.stdout.encoding.lower().startswith("utf")
    sys.stdout.write(json.dumps(_clean(document), indent=2, ensure_ascii=ascii_only) + "\n")


def _clean(value: object) -> object:
    """The same document with each text clean: what a plugin says may hold secrets."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): _clean(item) for key, item in value.items()}
    return [_clean(item) for item in value] if isinstance(value, list | tuple) else value
