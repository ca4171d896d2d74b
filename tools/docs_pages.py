"""The pages of the documentation site that derive from the program itself, as Markdown. Pure but for reading
the shipped schemas."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module, resources

from generate import ENVIRONMENT, EXIT_CODES, FILES_OF_A_USER, build_parser, children, help_of, metavar, usage

from update_all.cli.explain import codes, page
from update_all.cli.main import COMMANDS
from update_all.core.config_schema import Key, keys, limit_key, plain, plugin_keys


def commands_page() -> str:
    """Every command with its arguments, from the parsers."""
    parsers = next(filter(None, map(children, build_parser()._actions)))
    lines = ["# Commands", "", "`update-all` alone means `update-all run`.", ""]
    for name, text in COMMANDS.items():
        command = parsers[name]
        lines += [f"## {name}", "", f"    update-all {name}{usage(command)}", "", sentence(text), ""]
        lines += _arguments(command)
    for title, rows in (("Exit codes", EXIT_CODES), ("Environment", ENVIRONMENT), ("Files", FILES_OF_A_USER)):
        lines += [
            f"## {title}",
            "",
            *_table((title, "means"), [(f"`{term}`", text) for term, text in rows]),
            "",
        ]
    return "\n".join(lines)


def _arguments(command: argparse.ArgumentParser) -> Iterator[str]:
    rows: list[tuple[str, ...]] = []
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        helps = {choice.dest: choice.help for choice in getattr(action, "_choices_actions", ())}
        for name, child in children(action).items():
            rows.append((f"`{name}{usage(child)}`", helps.get(name) or ""))
            rows += [(f"`{name}` {term}", text) for term, text in _options(child)]
        if not children(action):
            rows += _options_of(action)
    if rows:
        yield from (*_table(("argument", "means"), rows), "")


def _options(command: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    for action in command._actions:
        if not isinstance(action, argparse._HelpAction):
            yield from _options_of(action)


def _options_of(action: argparse.Action) -> Iterator[tuple[str, str]]:
    if text := help_of(action):
        names = ", ".join(action.option_strings)
        value = "" if names and action.nargs == 0 else metavar(action)
        yield f"`{' '.join(filter(None, (names, value)))}`", text


def configuration_page() -> str:
    """Every key of the configuration, from its declaration."""
    tables: dict[str, list[Key]] = {}
    for key in keys().values():
        tables.setdefault(".".join(key.path[:-1]), []).append(key)
    tables["limits"] = [limit_key("MUTEX")]
    tables["plugin.NAME"] = list(plugin_keys("NAME").values())
    lines = [_CONFIGURATION]
    for table, members in tables.items():
        lines += [f"## `[{table}]`" if table else "## At the top of the file", ""]
        if table == "plugin.NAME":
            lines += ["Besides these two keys, each plugin has its own: `update-all explain NAME`.", ""]
        rows = [
            (f"`{key.path[-1]}`", key.doc, key.wanted.replace("|", "or"), _default(key)) for key in members
        ]
        lines += [*_table(("key", "means", "may be", "default"), rows), ""]
    return "\n".join(lines)


def _default(key: Key) -> str:
    return "" if key.default is None else f"`{json.dumps(plain(key.default))}`"


_CONFIGURATION = """# Configuration

`~/.config/update-all/config.toml`, drop-ins in `config.d/*.toml` beside it, `/etc/update-all/` for the whole
machine. `update-all config show` lists every key with its value and where that was set,
`update-all config edit` opens the file, `update-all config set KEY VALUE` changes one key and keeps your
comments. An unknown key or a bad value stops the run and names file, line and the nearest known key.
"""


def documents_page() -> str:
    """The documents of `--json`, from their schemas."""
    lines = [_DOCUMENTS]
    folder = resources.files("update_all").joinpath("schemas")
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".schema.json"):
            lines += _document(file.name, json.loads(file.read_text("utf-8")))
    return "\n".join(lines)


def _document(file: str, schema: Mapping[str, object]) -> Iterator[str]:
    name = file.removesuffix(".schema.json")
    yield from (f"## {name}", "", f"Schema: `update_all/schemas/{file}`. {schema.get('description', '')}", "")
    if title := schema.get("title"):
        yield from (f"    {title}", "")
    yield from _fields(schema)
    parts = schema.get("$defs")
    for part, described in parts.items() if isinstance(parts, dict) else ():
        if rows := list(_fields(described)):
            yield from (f"**{part}**:", "", *rows)


def _fields(schema: Mapping[str, object]) -> Iterator[str]:
    if rows := list(_rows(schema)):
        yield from (*_table(("field", "is", "there", "means"), rows), "")


def _rows(schema: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """The fields of an object, and those of the objects within it that have no name of their own."""
    properties, required = schema.get("properties"), schema.get("required")
    always = required if isinstance(required, list) else []
    for key, value in properties.items() if isinstance(properties, dict) else ():
        if isinstance(value, dict):
            there = "always" if key in always else "may be missing"
            yield f"`{prefix}{key}`", _type(value), there, value.get("description", "")
            if isinstance(items := value.get("items"), dict):
                yield from _rows(items, f"{prefix}{key}[].")
            yield from _rows(value, f"{prefix}{key}.")


def _type(schema: Mapping[str, object]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if isinstance(reference := schema.get("$ref"), str):
        return reference.rpartition("/")[2]
    if isinstance(values := schema.get("enum"), list):
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    if isinstance(several := schema.get("type"), list):
        return " or ".join(map(str, several))
    if isinstance(items := schema.get("items"), dict):
        return f"list of {_type(items)}"
    return str(schema.get("type", ""))


_DOCUMENTS = """# JSON documents

With `--json` a command writes exactly one document on standard output, and nothing else there. Each names
its schema and version in `schema`. Fields may be added within a version: ignore what you do not know. A field
that is renamed or removed raises the version. What a run says while it lasts are [events](events.md).
"""


def errors_page() -> str:
    """All codes of errors and warnings, with the first sentence of each page."""
    rows = [(f"[{code}](errors/{code}.md)", _first_paragraph(page(code))) for code in codes()]
    return "\n".join([_ERRORS, *_table(("code", "means"), rows), "", "```{toctree}", ":hidden:", ":glob:", "",
                      "errors/*", "```", ""])  # fmt: skip


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[1].split())


_ERRORS = """# Errors

Errors and warnings have stable codes, shown in brackets. `update-all explain CODE` shows the page.
"""


def api_page() -> str:
    """The reference of `update_all.api`: one entry for each of its names, from the docstrings."""
    api = import_module("update_all.api")
    groups: dict[str, list[str]] = {"Classes": [], "Functions": [], "Types": []}
    for name in sorted(api.__all__):
        value = getattr(api, name)
        kind = "Classes" if inspect.isclass(value) else "Functions" if inspect.isroutine(value) else "Types"
        groups[kind].append(name)
    lines = ["# API reference", "", "Everything that a plugin imports comes from `update_all.api`.", ""]
    for title, directive, module in (
        ("Classes", "autoclass", "update_all.api"),
        ("Functions", "autofunction", "update_all.api"),
        ("Types", "autodata", "update_all.core.models"),
    ):
        lines += [f"## {title}", "", "```{eval-rst}"]
        lines += [f".. {directive}:: {module}.{name}" for name in groups[title]]
        lines += ["```", ""]
    return "\n".join(lines)


def sentence(text: str) -> str:
    """A help text as a sentence."""
    return text[0].upper() + text[1:] + "."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in row)} |"
