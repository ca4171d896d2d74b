"""Control sequences and invisible characters out of text.

Sequences as in ECMA-48 section 5.4 (CSI) and 5.6 (strings), in their 7-bit, 8-bit and UTF-8 forms.
"""

from __future__ import annotations

import re

STRING_LIMIT = 4096
"""Characters after which an unterminated control string may also end at a newline."""

_STRING_END = "\\x07\\x18\\x1a\\x1b\\x9c\\udc9c"
_STOP = "(?:[\\x07\\x9c\\udc9c]|(?!\\Z))"

# Bytes that are not UTF-8 are decoded to U+DC80..U+DCFF (PEP 383), so \udc9b is a raw 8-bit CSI. A raw
# string introducer may well be text in another encoding, therefore such a string ends with its line.
_ESCAPE = re.compile(
    f"(?:\\x1b\\[|[\\x9b\\udc9b])[0-?]{{0,256}}+[ -/]{{0,8}}+(?:[@-~]|(?!\\Z))"
    f"|(?:\\x1b[\\]PX^_]|[\\x90\\x98\\x9d-\\x9f])[^{_STRING_END}]{{0,{STRING_LIMIT}}}+[^{_STRING_END}\\n]*+{_STOP}"
    f"|[\\udc90\\udc98\\udc9d-\\udc9f][^{_STRING_END}\\n]*+{_STOP}"
    f"|\\x1b(?![\\[\\]PX^_])[ -/]{{0,2}}+(?:[0-~]|(?!\\Z))"
    "|([\\x1b\\x90\\x98\\x9b\\x9d-\\x9f\\udc90\\udc98\\udc9b\\udc9d-\\udc9f].*)",
    re.DOTALL,
)
"""Every escape sequence; group 1 is one that the end of the text cuts off."""

_OPENING = re.compile("[\\x1b\\x90\\x98\\x9b\\x9d-\\x9f\\udc90\\udc98\\udc9b\\udc9d-\\udc9f]")
_STRING_OPENING = re.compile("\\x1b[\\]PX^_]|[\\x90\\x98\\x9d-\\x9f]|([\\udc90\\udc98\\udc9d-\\udc9f])")
_AT_STRING_END = re.compile(f"[{_STRING_END}]")
_AT_STRING_OR_LINE_END = re.compile(f"[{_STRING_END}\\n]")
_CONTROL = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]")

# General category Cf (UnicodeData.txt), line and paragraph separator, surrogates.
_INVISIBLE = re.compile(
    "[\\xad\\u0600-\\u0605\\u061c\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u180e\\u200b-\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000110bd\\U000110cd\\U00013430-\\U0001343f"
    "\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e007f]"
)


class Stripper:
    """Removes control sequences from a stream of decoded text. Holds back less than 300 characters."""

    def __init__(self) -> None:
        self._tail = ""
        self._return = ""
        self._string_budget: int | None = None

    @property
    def idle(self) -> bool:
        return not self._tail and not self._return and self._string_budget is None

    def feed(self, text: str, *, final: bool = False) -> str:
        if self._string_budget is not None:
            text = self._after_string(text, self._string_budget)
        text, self._tail = self._tail + text, ""
        ascii_only = text.isascii()
        if "\x1b" in text or not (ascii_only or _OPENING.search(text) is None):
            text = self._without_escapes(text)
        text = self._return + _CONTROL.sub("", text)
        self._return = ""
        if text.endswith("\r") and not final:
            text, self._return = text[:-1], "\r"
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text if ascii_only else _INVISIBLE.sub("\ufffd", text)

    def _without_escapes(self, text: str) -> str:
        """The text, which has the beginning of a sequence, without it."""
        parts = _ESCAPE.split(text)
        tail = parts[-2]
        if tail is not None:
            opening = _STRING_OPENING.match(tail)
            if opening is None:
                self._tail = tail
            else:
                limit = 0 if opening[1] else STRING_LIMIT
                self._string_budget = max(0, limit - (len(tail) - opening.end()))
        return "".join(parts[::2])

    def _after_string(self, text: str, budget: int) -> str:
        end = _AT_STRING_END.search(text, 0, budget)
        if end is None:
            end = _AT_STRING_OR_LINE_END.search(text, budget)
        if end is None:
            self._string_budget = max(0, budget - len(text))
            return ""
        self._string_budget = None
        return text[end.end() if end[0] in "\x07\x9c\udc9c" else end.start() :]
