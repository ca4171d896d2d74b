"""The last line of the live view: what a person can do, or is asked. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from update_all.ui.text import Style, cut, display_width, plural

KEYS = (
    ("?", "keys"),
    ("p", "pause"),
    ("s", "skip"),
    ("q", "stop after running steps"),
    ("i", "input"),
    ("t", "full screen"),
)
FEWEST_COLUMNS, FEWEST_ROWS = 60, 20
MOST_CHOICES = 9


@dataclass(frozen=True, slots=True)
class Footer:
    """What the footer is about.

    `question` is one that waits for a key, with numbered `choices` or a yes; `note` answers the last key.
    """

    paused: bool = False
    ending: bool = False
    answers_wanted: int = 0
    takes_input: bool = False
    question: str = ""
    choices: tuple[str, ...] = field(default=())
    note: str = ""
    all_keys: bool = False


def footer_line(footer: Footer, width: int, height: int, style: Style) -> str:
    """One line of at most `width` columns; "" where the terminal is small and nothing is to be said."""
    ellipsis = style.marks.ellipsis
    if footer.question:
        return cut(style.text(_question(footer)), width, ellipsis)
    said = [footer.note] if footer.note else _state(footer)
    roomy = width >= FEWEST_COLUMNS and height >= FEWEST_ROWS
    if not said and not roomy and not footer.all_keys:
        return ""
    parts = [style.text(part) for part in said]
    for key, does in KEYS:
        if (key == "i" and not footer.takes_input) or (key == "p" and footer.ending):
            continue
        text = f"{key} {'go on' if key == 'p' and footer.paused else does}"
        if parts and display_width("   ".join([*parts, text])) > width:
            break
        if roomy or footer.all_keys:
            parts.append(text)
    return style.paint(cut("   ".join(parts), width, ellipsis), "dim")


def _question(footer: Footer) -> str:
    if not footer.choices:
        return f"{footer.question}  [y/N]"
    shown = footer.choices[:MOST_CHOICES]
    numbered = "  ".join(f"{number} {choice}" for number, choice in enumerate(shown, 1))
    return f"{footer.question}  {numbered}  (esc: none)"


def _state(footer: Footer) -> list[str]:
    said = []
    if footer.answers_wanted:
        said.append(f"{plural(footer.answers_wanted, 'step')} need{_s(footer)} an answer: i")
    if footer.ending:
        said.append("ends after the running steps")
    elif footer.paused:
        said.append("paused: nothing new starts")
    return said


def _s(footer: Footer) -> str:
    return "s" if footer.answers_wanted == 1 else ""
