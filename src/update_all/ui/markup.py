"""HTML and SVG that cannot be injected into: text is escaped unless it is Markup, which only `tag` makes."""

from __future__ import annotations

from html import escape

from update_all.core.cleaning import clean

_VOID = frozenset({"meta", "rect", "line", "polygon"})


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Any text from outside, cleaned and escaped for content and attributes alike."""
    return value if isinstance(value, Markup) else Markup(escape(clean(value), quote=True))


def join(parts: list[Markup]) -> Markup:
    """Markup, one piece after another."""
    return Markup("".join(parts))


def tag(name: str, /, *children: str, **attributes: str | None) -> Markup:
    """An element. Names lose a last underscore and turn the others to hyphens (`class_`, `aria_label`);
    an attribute of None is left out. Children and values are escaped unless they are Markup.
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{shown}/>")
    return Markup(f"<{name}{shown}>{''.join(map(text, children))}</{name}>")
