"""Small wrong versions of a module: one comparison, constant, statement or condition is another one. Pure."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

ORDER: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}  # fmt: skip
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
SHOWN = 100


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong version. `lines` are those of the original in which a test must have been to see it; none for
    what is done when the module is imported."""

    line: int
    lines: tuple[int, ...]
    statement: str
    change: str
    source: str


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of a tree: `do` makes it, `undo` takes it back; `statement` is the one that it removes."""

    text: str
    do: Callable[[], None]
    undo: Callable[[], None]
    statement: ast.stmt | None = None


def mutants(source: str) -> Iterator[Mutant]:
    """Every wrong version of the source, in the order of its lines.

    Left alone: docstrings, annotations, decorators, the texts of errors, names of types given to `cast`.
    """
    tree = ast.parse(source)
    found: list[Mutant] = []
    for node, statement, called in _places(tree, tree):
        for change in _changes(node):
            holder = change.statement or statement
            first = getattr(holder, "lineno", 1)
            called = called or isinstance(node, FUNCTIONS)
            lines = (getattr(change.statement or node, "lineno", first), first)
            head = "" if holder is tree else _text(holder)
            change.do()
            try:
                wrong = ast.unparse(ast.fix_missing_locations(tree))
            finally:
                change.undo()
            found.append(Mutant(lines[0], tuple({*lines}) if called else (), head, change.text, wrong))
    yield from sorted(found, key=lambda mutant: mutant.line)


def _text(node: ast.AST) -> str:
    """The node's first line, shortened."""
    line = ast.unparse(node).partition("\n")[0]
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def _places(
    node: ast.AST, statement: ast.AST, called: bool = False
) -> Iterator[tuple[ast.AST, ast.AST, bool]]:
    """Every node that may be changed, the statement that holds it, and whether it is in a function."""
    yield node, statement, called
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(node, ast.JoinedStr):
            continue
        within = called or (isinstance(node, FUNCTIONS) and name == "body")
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_text_only(node, child):
                continue
            yield from _places(child, child if isinstance(child, ast.stmt) else statement, within)


def _is_text_only(parent: ast.AST, child: ast.AST) -> bool:
    """A docstring, what an error says, the name of a type, or of a slot."""
    if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
        return True
    if isinstance(parent, ast.Raise) or ast.unparse(parent).startswith("__slots__"):
        return True
    called = isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name)
    return called and ast.unparse(parent).startswith(("cast(", "TypeVar("))


def _changes(node: ast.AST) -> Iterator[_Change]:
    match node:
        case ast.Compare():
            for index, operation in enumerate(node.ops):
                for other in ORDER[type(operation)]:
                    yield _item(node.ops, index, other(), f"{_text(node)} with {other.__name__}")
        case ast.BoolOp():
            other_word = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield _field(node, "op", other_word, f"{_text(node)} with {type(other_word).__name__}")
        case ast.BinOp() | ast.AugAssign() if type(node.op) in ARITHMETIC:
            other_sign = ARITHMETIC[type(node.op)]
            yield _field(node, "op", other_sign(), f"{_text(node)} with {other_sign.__name__}")
        case ast.Constant() if (value := _other_constant(node.value)) is not None:
            yield _field(node, "value", value, f"{_text(node)} is {value!r}")
        case ast.Return() if node.value is not None and not _is_none(node.value):
            yield _field(node, "value", ast.Constant(None), f"None for {_text(node.value)}")
    yield from _conditions(node)
    yield from _statements(node)


def _conditions(node: ast.AST) -> Iterator[_Change]:
    """The opposite of a test, where no changed operator says it."""
    if isinstance(node, ast.If | ast.While | ast.IfExp) and not _compares(node.test):
        yield _field(node, "test", ast.UnaryOp(ast.Not(), node.test), f"not: {_text(node.test)}")
    if isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            if not _compares(test):
                yield _item(node.ifs, index, ast.UnaryOp(ast.Not(), test), f"not: {_text(test)}")


def _statements(node: ast.AST) -> Iterator[_Change]:
    """The same block without one of its statements."""
    for block in ("body", "orelse", "finalbody"):
        held: object = getattr(node, block, None)
        if not isinstance(held, list):
            continue
        for index, statement in enumerate(held):
            if _has_effect(statement):
                yield replace(_item(held, index, ast.Pass(), "without it"), statement=statement)


def _has_effect(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Assign):
        return any(isinstance(target, ast.Attribute | ast.Subscript) for target in statement.targets)
    return isinstance(
        statement, ast.AugAssign | ast.Delete | ast.Raise | ast.Assert | ast.Break | ast.Continue
    )


def _compares(test: ast.expr) -> bool:
    """Its operator has a mutant that says the opposite."""
    return isinstance(test, ast.Compare) and len(test.ops) == 1


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _other_constant(value: object) -> object:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return "" if value else "other"
        case bytes():
            return b"" if value else b"other"
    return None


def _field(node: ast.AST, name: str, value: object, text: str) -> _Change:
    before = getattr(node, name)
    return _Change(text, lambda: setattr(node, name, value), lambda: setattr(node, name, before))


def _item(block: Sequence[ast.AST], index: int, value: ast.AST, text: str) -> _Change:
    held = cast("list[ast.AST]", block)
    before = held[index]
    return _Change(text, lambda: held.__setitem__(index, value), lambda: held.__setitem__(index, before))
