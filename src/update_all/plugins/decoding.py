"""From the text of a TOML file to a definition, or to what is wrong with it and where.

An unknown key, a wrong type or a contradiction is an error that names the file, the place in it and the
nearest known key.
"""

from __future__ import annotations

import tomllib

from msgspec import ValidationError, convert

from update_all.core.errors import InvalidDefinitionError
from update_all.plugins.definition import SCHEMA_VERSION, Definition
from update_all.plugins.validation import explained, problems


def parse_definition(text: str, source: str) -> Definition:
    """The definition in `text`; `source` (a file name) leads each message.

    Raises InvalidDefinitionError: no TOML, a table that does not fit the schema, or a contradiction
    (plugins.validation).
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidDefinitionError(f"{source}: is not TOML: {error}") from None
    version = tables.get("schema")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InvalidDefinitionError(
            f"{source}: $.schema: version {version} is newer than {SCHEMA_VERSION}, the newest known here",
            hint="update update-all itself",
        )
    try:
        definition = convert(tables, Definition)
    except ValidationError as error:
        message, hint = explained(str(error))
        raise InvalidDefinitionError(f"{source}: {message}", hint=hint) from None
    found = list(problems(definition))
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InvalidDefinitionError(f"{source}: {found[0]}{more}", hint=found[0].hint)
    return definition
