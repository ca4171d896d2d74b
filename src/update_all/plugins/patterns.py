"""Regular expressions of a definition: proven, before they are used, to be quick on every line.

Python's engine backtracks, and a hostile pattern can keep it busy for years. A pattern is accepted only if
its structure proves that a search takes a number of steps that is at most quadratic in the length of the
line, times a small constant. Everything else is refused with the reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import cast

MAX_PATTERN_CHARS = 1000
MAX_DEGREE = 2
"""Of the polynomial in the length of the line that bounds the steps of a search."""
MAX_CHOICES = 16
"""How many ways the alternatives and bounded repeats of a pattern may be combined."""
MAX_LINE_CHARS = 2048
"""Longer lines are not searched: no table has them, and the square of their length is large."""

_LONG = 16
"""A repeat whose number of rounds may differ by this much counts as unbounded."""
_END = ""
"""Stands for the end of the line: what `$` matches instead of a character."""
_SAMPLES = frozenset(map(chr, range(256))) | frozenset("\u0661\u2003\u2028\u2192\u4e2d\ud7ff\U0001f600")
"""One character at least of each kind that the categories of `re` tell apart."""
_CATEGORIES = {
    c.CATEGORY_DIGIT: re.compile(r"\d"),
    c.CATEGORY_NOT_DIGIT: re.compile(r"\D"),
    c.CATEGORY_SPACE: re.compile(r"\s"),
    c.CATEGORY_NOT_SPACE: re.compile(r"\S"),
    c.CATEGORY_WORD: re.compile(r"\w"),
    c.CATEGORY_NOT_WORD: re.compile(r"\W"),
}
_REPEATS = (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT)
_CHARACTERS = (c.LITERAL, c.NOT_LITERAL, c.ANY, c.IN)
_STARTS = ((c.AT, c.AT_BEGINNING), (c.AT, c.AT_BEGINNING_STRING))

_Node = tuple[object, object]
_Tree = Sequence[_Node]


class UnsafePatternError(ValueError):
    """A pattern that is too long, cannot be bounded, or may take too long; the message says which."""


def check_pattern(pattern: str) -> None:
    """Raise UnsafePatternError, or re.error where it is no regular expression at all."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise UnsafePatternError(f"is longer than {MAX_PATTERN_CHARS} characters")
    try:
        re.compile(pattern)
    except (OverflowError, RecursionError) as error:
        raise UnsafePatternError(f"is beyond what can be searched: {error}") from None
    tree: _Tree = parser.parse(pattern)
    try:
        cost = _Analysis(tree).prepend(tree, _NOTHING)
    except RecursionError:
        raise UnsafePatternError("is nested too deeply") from None
    if cost.choices > MAX_CHOICES:
        raise UnsafePatternError(f"has more than {MAX_CHOICES} ways to match the same text")
    anchored = bool(len(tree)) and tree[0] in _STARTS
    if cost.degree + (0 if anchored else 1) > MAX_DEGREE:
        raise UnsafePatternError(
            "may take too long, since several of its repeats can match the same characters: "
            "begin it with ^ and use sets that stop at the next character, such as [^,]* before a comma"
        )


@dataclass(frozen=True, slots=True)
class _Suffix:
    """What a part of the pattern is followed by: the characters that may come next, and the cost.

    `empty`: it may match nothing at all. `sure`: it cannot fail. `degree`: the exponent of the cost of
    matching it from a given place. `choices`: in how many ways that do not depend on the length of the line.
    `ambiguous`: a repeat in it may stop at more than one place.
    """

    first: frozenset[str] = frozenset()
    empty: bool = True
    sure: bool = False
    degree: int = 0
    choices: int = 1
    ambiguous: bool = False

    def ambiguous_after(self, chars: frozenset[str]) -> bool:
        """Whether a repeat of `chars` before this may stop at more than one place."""
        return not self.sure and (self.empty or bool(chars & self.first))


_NOTHING = _Suffix(sure=True)
_ANYTHING = _Suffix()


class _Analysis:
    """Reads a pattern from its end to its beginning. Sets of characters are samples, widened by case."""

    def __init__(self, tree: _Tree) -> None:
        self._samples = _SAMPLES | frozenset(map(chr, _codes(tree)))

    def prepend(self, tree: _Tree, suffix: _Suffix) -> _Suffix:
        for node in reversed(list(tree)):
            suffix = self._prepend_node(node, suffix)
        return suffix

    def _prepend_node(self, node: _Node, suffix: _Suffix) -> _Suffix:
        operator, argument = node
        if operator in _CHARACTERS:
            return replace(suffix, first=self._widened(node), empty=False, sure=False)
        if operator in _REPEATS:
            low, high, body = cast("tuple[int, int, _Tree]", argument)
            if (low, high) == (0, 1):
                return self._alternatives([body, []], suffix)
            return self._repeat(low, int(high), body, suffix)
        if operator is c.SUBPATTERN:
            return self.prepend(cast("_Tree", cast("tuple[object, ...]", argument)[-1]), suffix)
        if operator is c.ATOMIC_GROUP:
            return self.prepend(cast("_Tree", argument), suffix)
        if operator is c.BRANCH:
            return self._alternatives(cast("tuple[object, list[_Tree]]", argument)[1], suffix)
        if operator is c.AT:
            if argument in (c.AT_END, c.AT_END_STRING):
                return replace(suffix, first=frozenset({_END}), empty=False, sure=False)
            return replace(suffix, sure=False)
        if operator in (c.ASSERT, c.ASSERT_NOT):
            return self._look_around(cast("tuple[int, _Tree]", argument)[1], suffix)
        raise UnsafePatternError(f"uses {str(operator).lower()}, whose cost cannot be bounded")

    def _repeat(self, low: int, high: int, body: _Tree, suffix: _Suffix) -> _Suffix:
        start = self.prepend(body, _ANYTHING)
        if start.empty:
            raise UnsafePatternError("repeats a part that may match nothing")
        again = _Suffix(start.first | suffix.first, suffix.empty, suffix.sure)
        inner = self.prepend(body, again)
        if inner.ambiguous or inner.choices > 1:
            raise UnsafePatternError("repeats a part that matches the same text in several ways, as in (a+)+")
        degree, choices = suffix.degree, suffix.choices
        ambiguous = suffix.ambiguous_after(start.first)
        if high - low >= _LONG or _varies(body):
            degree = degree + 1 if ambiguous else max(1, degree)
        elif ambiguous:
            choices = min(choices * (high - low + 1), MAX_CHOICES + 1)
        first = start.first | suffix.first if low == 0 else start.first
        empty = suffix.empty and low == 0
        return _Suffix(first, empty, empty and suffix.sure, degree, choices, suffix.ambiguous or ambiguous)

    def _alternatives(self, ways: Sequence[_Tree], suffix: _Suffix) -> _Suffix:
        costs = [self.prepend(way, suffix) for way in ways]
        first = frozenset[str]().union(*(cost.first for cost in costs))
        alike = max(Counter(char for cost in costs for char in cost.first).values(), default=1)
        alike += sum(cost.empty for cost in costs)
        choices = max(1, min(alike, len(ways))) * max(cost.choices for cost in costs)
        return _Suffix(
            first,
            any(cost.empty for cost in costs),
            any(cost.sure for cost in costs),
            max(cost.degree for cost in costs),
            min(choices, MAX_CHOICES + 1),
            any(cost.ambiguous for cost in costs),
        )

    def _look_around(self, body: _Tree, suffix: _Suffix) -> _Suffix:
        if any(operator not in _CHARACTERS and operator is not c.AT for operator, _ in body):
            raise UnsafePatternError("has a look-around that holds more than plain characters")
        return replace(suffix, sure=False)

    def _widened(self, node: _Node) -> frozenset[str]:
        exact = self._chars(node)
        return exact | {form for char in exact for form in (char.lower(), char.upper()) if len(form) == 1}

    def _chars(self, node: _Node) -> frozenset[str]:
        operator, argument = node
        if operator is c.ANY:
            return self._samples
        if operator is c.IN:
            parts = cast("list[_Node]", argument)
            negated = parts[0][0] is c.NEGATE
            union = frozenset[str]().union(*(self._chars(part) for part in parts[negated:]))
            return self._samples - union if negated else union
        if operator is c.CATEGORY:
            return frozenset(filter(_CATEGORIES[argument].match, self._samples))
        if operator is c.RANGE:
            low, high = cast("tuple[int, int]", argument)
            return frozenset(char for char in self._samples if low <= ord(char) <= high)
        literal = frozenset({chr(cast("int", argument))})
        return self._samples - literal if operator is c.NOT_LITERAL else literal


def _codes(value: object) -> Iterator[int]:
    """Every number in the tree that may be a character, and its neighbours: the borders of all sets."""
    if isinstance(value, int):
        yield from (code for code in (value - 1, value, value + 1) if 0 <= code < 0x110000)
    elif isinstance(value, list | tuple | parser.SubPattern):
        for part in value:
            yield from _codes(part)


def _varies(body: _Tree) -> bool:
    """Whether the part can match texts of different lengths."""
    low, high = parser.SubPattern(parser.State(), list(body)).getwidth()
    return bool(low != high)
