"""Text for terminals: display width, cutting, durations, sizes, marks and colours. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from update_all.core.cleaning import clean_line


@dataclass(frozen=True, slots=True)
class Marks:
    """The characters that are not letters; each of the row marks is one column wide."""

    failed: str = "✖"
    running: str = "►"  # Unlike ⏵ and ▶ in WGL4, so in every font; never an emoji, never two columns.
    waiting: str = "◷"
    done: str = "✔"
    skipped: str = "⊘"
    up_to_date: str = "="
    blocked: str = "◌"
    warning: str = "⚠"
    asks: str = "⌨"
    usual: str = "∅"
    arrow: str = "→"
    ellipsis: str = "…"
    between: str = "·"
    within: str = "›"
    plus_minus: str = "±"
    bar_full: str = "━"
    bar_empty: str = "╌"
    sparks: str = "▁▂▃▄▅▆▇█"


UNICODE_MARKS = Marks()
ASCII_MARKS = Marks(
    failed="x",
    running=">",
    waiting="~",
    done="+",
    skipped="-",
    blocked="o",
    warning="!",
    asks="?",
    usual="~",
    arrow="->",
    ellipsis="...",
    between="|",
    within=">",
    plus_minus="+-",
    bar_full="#",
    bar_empty=".",
    sparks="_.-=*#",
)

_TO_ASCII = {
    "→": "->",
    "…": "...",
    "·": "|",
    "›": ">",
    "±": "+-",
    "–": "-",
    "—": "-",
    "’": "'",
    "“": '"',
    "”": '"',
}
_TRANSLATION = str.maketrans(_TO_ASCII)

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "cyan": 36, "dim": 2, "bold": 1}


@dataclass(frozen=True, slots=True)
class Style:
    """What a terminal can show: colours (SGR, ECMA-48 section 8.3.117) and characters beyond ASCII."""

    colour: bool = False
    unicode: bool = True
    marks: Marks = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "marks", UNICODE_MARKS if self.unicode else ASCII_MARKS)

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour of red, green, yellow, blue, cyan, dim, bold; unchanged without colours."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.colour and text else text

    def text(self, text: str) -> str:
        """Text from outside as one clean line that this terminal can encode."""
        line = clean_line(text)
        if self.unicode or line.isascii():
            return line
        return line.translate(_TRANSLATION).encode("ascii", "replace").decode()


@lru_cache(maxsize=4096)
def _character_width(character: str) -> int:
    # U+FE0F asks for the wide, coloured form of the character before it.
    if character == "\ufe0f":
        return 1
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def display_width(text: str) -> int:
    """Columns that clean `text` takes at most (UAX #11; ambiguous characters count as one)."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def cut(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` in at most `width` columns; where something is missing it ends in `ellipsis`."""
    if display_width(text) <= width:
        return text
    room = width - display_width(ellipsis)
    if room < 0:
        return ellipsis[: max(width, 0)]
    return _beginning(text, room) + ellipsis


def _beginning(text: str, width: int) -> str:
    used = 0
    for index, character in enumerate(text):
        used += _character_width(character)
        if used > width:
            return text[:index]
    return text


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """`text` cut or padded with spaces to exactly `width` columns."""
    short = cut(text, width, ellipsis)
    return short + " " * (width - display_width(short))


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """`text` in lines of at most `width` columns, broken between words, else within them."""
    room = max(2, width - len(indent))
    lines, line = [], ""
    for word in text.split():
        rest = word
        if line and display_width(line) + 1 + display_width(rest) <= room:
            line = f"{line} {rest}"
            continue
        if line:
            lines.append(line)
        while display_width(rest) > room:
            head = _beginning(rest, room)
            lines.append(head)
            rest = rest[len(head) :]
        line = rest
    return [indent + each for each in [*lines, line] if each]


def columns(rows: Iterable[Sequence[str]], width: int, indent: str = "  ", ellipsis: str = "…") -> list[str]:
    """Rows as a table with two spaces between columns; a line wider than `width` is cut."""
    table = [list(row) for row in rows]
    widths = [
        max(display_width(row[index]) for row in table if index < len(row))
        for index in range(max(map(len, table), default=0))
    ]
    return [cut((indent + "  ".join(map(fit, row, widths))).rstrip(), width, ellipsis) for row in table]


def duration(seconds: float, *, precise: bool = False) -> str:
    """`31s`, `1m35s`, `2h05m`, `3d04h`; with `precise` one decimal below ten seconds."""
    seconds = max(0.0, seconds)
    if precise and seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5) if precise else int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def size(count: int) -> str:
    """Bytes with decimal units: `512 B`, `48.3 MB`, `118 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        shown = f"{value:.0f}" if unit == "B" or value >= 99.95 else f"{value:.1f}"
        if float(shown) < 1000 or unit == "PB":
            return f"{shown} {unit}"
        value /= 1000
    raise AssertionError("unreachable: the last unit returns")


def bar(fraction: float, width: int, marks: Marks = UNICODE_MARKS) -> str:
    """A bar of exactly `width` columns, `fraction` (0 to 1) of it full."""
    full = int(min(1.0, max(0.0, fraction)) * width)
    return marks.bar_full * full + marks.bar_empty * (width - full)


def sparkline(values: Sequence[float], marks: Marks = UNICODE_MARKS) -> str:
    """One character for each value, from the lowest to the highest; "" for none."""
    if not values:
        return ""
    low, high = min(values), max(values)
    top = len(marks.sparks) - 1
    span = high - low
    return "".join(marks.sparks[round((value - low) / span * top) if span else 0] for value in values)


def plural(count: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
