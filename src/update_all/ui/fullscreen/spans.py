"""Rows of text with looks: what the panes are made of, before a library puts them on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from update_all.ui.text import cut, display_width


class Span(NamedTuple):
    """Clean text of one look: colours and bold, dim, reverse, separated by spaces."""

    text: str
    look: str = ""


Row = tuple[Span, ...]


def row(*parts: str | Span) -> Row:
    """A row of texts and spans."""
    return tuple(part if isinstance(part, Span) else Span(part) for part in parts)


def width_of(spans: Row) -> int:
    """Columns that a row takes."""
    return sum(display_width(span.text) for span in spans)


def fitted(spans: Row, width: int, ellipsis: str) -> Row:
    """The row in exactly `width` columns: cut with `ellipsis`, or filled with spaces."""
    left = width
    if width_of(spans) > width:
        shown: list[Span] = []
        for span in spans:
            used = display_width(span.text)
            # The ellipsis needs its place, here or in a later span.
            if used > left - display_width(ellipsis):
                room = cut(span.text + " " * (left + 1), left, ellipsis)
                shown.append(Span(room, span.look))
                left -= display_width(room)
                break
            shown.append(span)
            left -= used
        spans = tuple(shown)
    else:
        left -= width_of(spans)
    return (*spans, Span(" " * left)) if left > 0 else spans


def spread(left: Row, right: Row, width: int, ellipsis: str) -> Row:
    """Both at their sides of `width` columns; the right one only if it leaves at least eight to the left."""
    room = width - width_of(right)
    if not right or room < 8:
        return fitted(left, width, ellipsis)
    return fitted((*fitted(left, room - 1, ellipsis), Span(" "), *right), width, ellipsis)


def beside(left: Row, right: Row, width: int, ellipsis: str) -> Row:
    """Both at their sides of `width` columns; the right one only if both fit."""
    room = width - width_of(right)
    if width_of(left) >= room:
        return fitted(left, width, ellipsis)
    return (*fitted(left, room, ellipsis), *right)


def folded(line: str, width: int) -> list[str]:
    """A line in parts of at most `width` columns; at least one."""
    line = line.expandtabs(8)
    width = max(width, 2)
    if line.isascii():
        return [line[begin : begin + width] for begin in range(0, len(line), width)] or [""]
    parts: list[str] = []
    while line:
        part = cut(line, width, "")
        parts.append(part)
        line = line[len(part) :]
    return parts or [""]


def plain(rows: Sequence[Row]) -> list[str]:
    """The rows as text alone."""
    return ["".join(span.text for span in each).rstrip() for each in rows]
