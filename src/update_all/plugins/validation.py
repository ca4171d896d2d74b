"""What the types of a definition cannot say: contradictions, unknown names, patterns, paths. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import msgspec.inspect as inspect

from update_all.core import facts
from update_all.core.errors import StepOrderError
from update_all.core.models import NAME
from update_all.core.order import topological_order
from update_all.plugins.definition import Definition, Detect, Fact, Parser, Probe, Query, Sample, Step
from update_all.plugins.detection import VARIABLE
from update_all.plugins.parsers import FIELDS, json_path
from update_all.plugins.patterns import check_pattern

EACH = ("item", "old", "new")
"""Templates of a `for-each` step."""
FOR_EACH = {
    "outdated": (("outdated", "available"), EACH),
    "installed": (("installed",), ("item", "old")),
    "unfinished": (("unfinished",), ("item",)),
}
"""What a `for-each` step goes through → the queries that tell, one of which is needed; what they fill in."""
QUERIES = ("installed", "outdated", "available", "unfinished")
VERSION_QUERIES = ("installed", "available")
"""Those whose records are items with the version that is there."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A contradiction at a TOML path."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def problems(definition: Definition) -> Iterator[Problem]:
    """Everything that is wrong with a definition that fits the schema, in the order of the file."""
    yield from _name("$.name", definition.name)
    if not definition.description.strip():
        yield Problem("$.description", "must not be empty")
    yield from _detect(definition.detect)
    for name in QUERIES:
        query: Query | None = getattr(definition, name)
        if query is not None:
            yield from _query(f"$.{name}", query, needs_version=name in VERSION_QUERIES)
    if definition.outdated is not None and definition.available is not None:
        yield Problem("$.available", "contradicts `outdated`: give one of the two")
    if definition.available is not None and definition.installed is None:
        yield Problem("$.available", "needs `installed` to be compared with")
    for index, fact in enumerate(definition.fact):
        yield from _fact(f"$.fact[{index}]", fact, definition)
    for index, step in enumerate(definition.step):
        yield from _step(f"$.step[{index}]", step, definition)
    yield from _order(definition)
    yield from _unique("$.fact", [fact.name for fact in definition.fact])
    yield from _unique("$.mutex", [mutex.name for mutex in definition.mutex])
    for index, sample in enumerate(definition.sample):
        yield from _sample(f"$.sample[{index}]", sample, definition)


def _name(path: str, name: str) -> Iterator[Problem]:
    if NAME.fullmatch(name) is None:
        yield Problem(path, f"{name!r} must be letters, digits and ._+@-, not beginning with a sign")


def _unique(path: str, names: Sequence[str]) -> Iterator[Problem]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(path, f"{name!r} is declared more than once")


def _detect(detect: Detect) -> Iterator[Problem]:
    if detect.command is None and not detect.paths and not detect.os_release:
        yield Problem("$.detect", "must give `command`, `paths` or `os-release`")
    if detect.command is not None:
        yield from _program("$.detect.command", detect.command)
    for index, path in enumerate(detect.paths):
        yield from _absolute(f"$.detect.paths[{index}]", path)
    for index, path in enumerate(detect.absent):
        yield from _absolute(f"$.detect.absent[{index}]", path)
    if detect.identity is not None:
        yield from _probe("$.detect.identity", detect.identity)


def _absolute(path: str, value: str) -> Iterator[Problem]:
    rooted = value.startswith(("/", "~/", "${")) or value == "~"
    if not rooted or "\0" in value or ".." in value.split("/"):
        yield Problem(path, f"{value!r} must be absolute (/…, ~/… or ${{NAME}}/…) and without ..")


def _program(path: str, program: str) -> Iterator[Problem]:
    if not program:
        yield Problem(path, "must begin with a program")
    elif "/" in program and not program.startswith("{"):
        yield from _absolute(path, program)


def _command(path: str, owner: Probe | Query | Fact | Step, argv: Sequence[str]) -> Iterator[Problem]:
    yield from _program(f"{path}[0]", argv[0])
    if any("\0" in part for part in (*argv, *owner.env, *owner.env.values())):
        yield Problem(path, "must not hold NUL characters")
    for name in owner.env:
        if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is None:
            yield Problem(path, f"{name!r} is no name of an environment variable")
    if owner.cwd is not None and not owner.cwd.startswith("{"):
        yield from _absolute(f"{path.rpartition('.')[0]}.cwd", owner.cwd)


def _pattern(path: str, pattern: str | None) -> Iterator[Problem]:
    if pattern is None:
        return
    try:
        check_pattern(pattern)
    except re.error as error:
        yield Problem(path, f"{pattern!r} is no regular expression: {error}")
    except (ValueError, OverflowError) as error:
        yield Problem(path, f"the pattern {pattern[:80]!r} {error}")


def _patterns(path: str, patterns: Sequence[str]) -> Iterator[Problem]:
    for index, pattern in enumerate(patterns):
        yield from _pattern(f"{path}[{index}]", pattern)


def _probe(path: str, probe: Probe, known: Sequence[str] = ()) -> Iterator[Problem]:
    yield from _command(f"{path}.cmd", probe, probe.cmd)
    yield from _templates(f"{path}.cmd", [*probe.cmd, *probe.env.values(), probe.cwd or ""], known)
    yield from _pattern(f"{path}.regex", probe.regex)


def _query(path: str, query: Query, *, needs_version: bool) -> Iterator[Problem]:
    yield from _command(f"{path}.cmd", query, query.cmd)
    yield from _templates(f"{path}.cmd", [*query.cmd, *query.env.values(), query.cwd or ""], ())
    yield from _patterns(f"{path}.error-patterns", query.error_patterns)
    yield from _patterns(f"{path}.offline-patterns", query.offline_patterns)
    if query.probe is not None:
        yield from _probe(f"{path}.probe", query.probe)
    if query.fresh is not None:
        yield from _absolute(f"{path}.fresh.path", query.fresh.path)
    yield from _parser(path, query, needs="version" if needs_version else "item")


def _parser(path: str, parser: Parser, *, needs: str) -> Iterator[Problem]:
    given = [name for name in ("regex", "json", "columns") if getattr(parser, name) is not None]
    if len(given) != 1:
        yield Problem(path, f"must have one of regex, json, columns; it has {' and '.join(given) or 'none'}")
        return
    yield from _pattern(f"{path}.regex", parser.regex)
    yield from _patterns(f"{path}.ignore-patterns", parser.ignore_patterns)
    yield from _patterns(f"{path}.nothing-patterns", parser.nothing_patterns)
    if parser.json is None and (parser.fields or parser.where or parser.json_lines):
        yield Problem(path, "`fields`, `where` and `json-lines` go with `json` only")
    if parser.columns is None and parser.separator is not None:
        yield Problem(path, "`separator` goes with `columns` only")
    yield from _json(f"{path}.json", parser.json)
    for name, at in parser.fields.items():
        yield from _json(f"{path}.fields.{name}", at)
    for at, pattern in parser.where.items():
        yield from _json(f"{path}.where", at)
        yield from _pattern(f"{path}.where", pattern)
    yield from _fields(path, parser, needs)


def _json(path: str, value: str | None) -> Iterator[Problem]:
    if value is None:
        return
    try:
        json_path(value)
    except ValueError as error:
        yield Problem(path, str(error))


def _fields(path: str, parser: Parser, needs: str) -> Iterator[Problem]:
    """Whether the records will hold what is needed: a version, or anything that tells items apart."""
    found: set[str]
    if parser.regex is not None:
        try:
            found = set(re.compile(parser.regex).groupindex)
        except (re.error, ValueError, OverflowError, RecursionError):
            return  # Told by _pattern.
    elif parser.json is not None:
        found = set(parser.fields)
    else:
        found = {name for name in parser.columns or () if name}
    for name in sorted(found - set(FIELDS)):
        yield Problem(path, f"{name!r} is not one of {', '.join(FIELDS)}", _near(name, FIELDS))
    if needs == "version" and "version" not in found:
        yield Problem(path, "must find a `version`")
    if needs == "item" and not found & {"item", "old", "new"}:
        yield Problem(path, "must find an `item`, or `old` and `new`")


def _template_names(text: str) -> set[str]:
    return facts.names(VARIABLE.sub("", text))


def _templates(path: str, parts: Sequence[str], known: Sequence[str]) -> Iterator[Problem]:
    for name in sorted({name for part in parts for name in _template_names(part)}):
        if name not in known:
            yield Problem(
                path,
                f"the template {{{name}}} is no fact that is known here",
                _near(name, known) or "write {{ and }} for plain braces",
            )


def _fact(path: str, fact: Fact, definition: Definition) -> Iterator[Problem]:
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", fact.name) is None or fact.name in EACH:
        yield Problem(f"{path}.name", f"{fact.name!r} must be a word, and not item, old or new")
    yield from _command(f"{path}.cmd", fact, fact.cmd)
    if (fact.regex is None) == (fact.json is None):
        yield Problem(path, "must have exactly one of regex, json")
    yield from _pattern(f"{path}.regex", fact.regex)
    yield from _json(f"{path}.json", fact.json)
    steps = [step.name for step in definition.step]
    if fact.after is not None and fact.after not in steps:
        yield Problem(f"{path}.after", f"there is no step {fact.after!r}", _near(fact.after, steps))
    yield from _templates(f"{path}.cmd", [*fact.cmd, *fact.env.values(), fact.cwd or ""], ())


def _step(path: str, step: Step, definition: Definition) -> Iterator[Problem]:
    yield from _name(f"{path}.name", step.name)
    if not step.description.strip():
        yield Problem(f"{path}.description", "must not be empty")
    yield from _work(path, step)
    known = [fact.name for fact in definition.fact]
    if step.for_each is not None:
        queries, each = FOR_EACH[step.for_each]
        if all(getattr(definition, query) is None for query in queries):
            wanted = " or ".join(f"[{query}]" for query in queries)
            yield Problem(f"{path}.for-each", f"needs an {wanted} query")
        known += each
    for where, argv in commands(step, path):
        yield from _command(where, step, argv)
        yield from _templates(where, argv, known)
    yield from _templates(f"{path}.env", list(step.env.values()), known)
    yield from _templates(f"{path}.cwd", [step.cwd or ""], known)
    yield from _patterns(f"{path}.ok-patterns", step.ok_patterns)
    yield from _patterns(f"{path}.error-patterns", step.error_patterns)
    if step.check is not None:
        yield from _probe(f"{path}.check", step.check, [fact.name for fact in definition.fact])
    if step.changes is not None:
        yield from _parser(f"{path}.changes", step.changes, needs="item")
    if not step.idempotent and step.check is None and not step.reason:
        yield Problem(path, "is not idempotent and has no `check`: give one, or say why not in `reason`")
    for name in (*step.mutexes,):
        yield from _name(f"{path}.mutexes", name)


def _work(path: str, step: Step) -> Iterator[Problem]:
    if sum(one is not None for one in (step.cmd, step.cmds, step.fast_forward)) != 1:
        yield Problem(path, "must have exactly one of cmd, cmds, fast-forward")
    if step.fast_forward is not None:
        yield from _absolute(f"{path}.fast-forward", step.fast_forward)
        if step.sudo or step.for_each is not None:
            yield Problem(path, "`sudo` and `for-each` go with commands, not with `fast-forward`")


def commands(step: Step, path: str = "$") -> list[tuple[str, tuple[str, ...]]]:
    """The commands of a step, each with its TOML path; `fast-forward` has none."""
    if step.cmd is not None:
        return [(f"{path}.cmd", step.cmd)]
    return [(f"{path}.cmds[{index}]", argv) for index, argv in enumerate(step.cmds or ())]


def fact_step(name: str) -> str:
    """The name of the step that finds a fact."""
    return f"find-{name}"


def dependencies(definition: Definition) -> dict[str, list[str]]:
    """Step → what it depends on, for all steps, those that find facts first."""
    found = {fact_step(fact.name): [fact.after] if fact.after else [] for fact in definition.fact}
    known = [fact.name for fact in definition.fact]
    for step in definition.step:
        check = step.check.cmd if step.check else ()
        texts = [step.cwd or "", *step.env.values(), *check]
        texts += [part for _, argv in commands(step) for part in argv]
        used = {name for text in texts for name in _template_names(text)}
        found[step.name] = [*step.depends_on, *(fact_step(name) for name in known if name in used)]
    return found


def _order(definition: Definition) -> Iterator[Problem]:
    names = [*(fact_step(fact.name) for fact in definition.fact), *(step.name for step in definition.step)]
    try:
        topological_order(names, dependencies(definition))
    except StepOrderError as error:
        yield Problem("$.step", error.message, error.hint)


def _sample(path: str, sample: Sample, definition: Definition) -> Iterator[Problem]:
    known = [name for name in QUERIES if getattr(definition, name) is not None]
    known += [step.name for step in definition.step if step.changes is not None]
    if sample.of not in known:
        yield Problem(
            f"{path}.of", f"{sample.of!r} is no query or step with `changes`", _near(sample.of, known)
        )


def _near(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else ""


_AT = re.compile(r" - at `(?:key` in `)?(?P<path>\$[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<name>.*)`")
_TYPES = re.compile(r"[Ee]xpected '([^']*)', got '([^']*)'")
_TOML_NAMES = {
    "array": "a list",
    "bool": "true or false",
    "float": "a number",
    "int": "a whole number",
    "object": "a table",
    "str": "a text",
}
_ENUM = re.compile(r"^Invalid enum value '?(?P<name>.*?)'?$")


def explained(error: str) -> tuple[str, str]:
    """A message of msgspec as (TOML path and message, hint with the nearest known key or value)."""
    at = _AT.search(error)
    path = at["path"] if at else "$"
    text = error[: at.start()] if at else error
    kind = _type_at(path)
    if unknown := _UNKNOWN.match(text):
        known = [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []
        hint = _near(unknown["name"], known) or (f"known keys: {', '.join(sorted(known))}" if known else "")
        return f"{path}.{unknown['name']}: unknown key", hint
    if enum := _ENUM.match(text):
        values = [str(value) for value in kind.values] if isinstance(kind, inspect.LiteralType) else []
        hint = _near(enum["name"], values) or (f"one of: {', '.join(values)}" if values else "")
        return f"{path}: {enum['name']!r} is not known", hint
    text = text.replace("Object missing required field", "lacks the key").replace("`", "'")
    text = _TYPES.sub(lambda types: f"expected {_in_toml(types[1])}, got {_in_toml(types[2])}", text)
    return f"{path}: {text[:1].lower()}{text[1:]}", ""


def _in_toml(types: str) -> str:
    """Types of msgspec in the words of TOML; an optional key is never null there."""
    names = [_TOML_NAMES.get(one, one) for one in types.split(" | ") if one != "null"]
    return " or ".join(names)


def _type_at(path: str) -> inspect.Type:
    kind: inspect.Type = inspect.type_info(Definition)
    for key, index in re.findall(r"\.([A-Za-z0-9-]+)|(\[[^]]*\])", path):
        kind = _inner(kind, key, bool(index))
    return _concrete(kind)


def _inner(kind: inspect.Type, key: str, item: bool) -> inspect.Type:
    kind = _concrete(kind)
    if isinstance(kind, inspect.StructType):
        for field in kind.fields:
            if field.encode_name == key:
                return field.type
    if isinstance(kind, inspect.VarTupleType) and item:
        return kind.item_type
    if isinstance(kind, inspect.DictType):
        return kind.value_type
    return inspect.AnyType()


def _concrete(kind: inspect.Type) -> inspect.Type:
    """Without metadata and without the `None` of an optional key."""
    if isinstance(kind, inspect.Metadata):
        return _concrete(kind.type)
    if isinstance(kind, inspect.UnionType):
        return _concrete(next(one for one in kind.types if not isinstance(one, inspect.NoneType)))
    return kind
