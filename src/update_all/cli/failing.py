"""How an error reaches the user: a message on standard error, a document where JSON was asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from update_all.core.cleaning import clean
from update_all.core.errors import UpdateAllError
from update_all.core.models import JsonValue


def tell(error: UpdateAllError) -> None:
    """What happened, and what to type next."""
    sys.stderr.write(f"update-all: {clean(error.message)} [{error.code}]\n")
    if error.hint:
        sys.stderr.write(f"  {clean(error.hint)}\n")


def error_to(error: UpdateAllError) -> dict[str, JsonValue]:
    """An error as the documents hold it."""
    return {"code": error.code, "message": clean(error.message), "hint": clean(error.hint)}


def error_document(error: UpdateAllError) -> dict[str, JsonValue]:
    """`update-all.error/1`: the document of a command that could not do what it was asked for."""
    return {"schema": "update-all.error/1", "exit_code": error.exit_code, "errors": [error_to(error)]}


def warn(problems: Sequence[str]) -> None:
    """What went wrong around a run, and stopped nothing."""
    for problem in problems:
        sys.stderr.write(f"update-all: {clean(problem)}\n")
