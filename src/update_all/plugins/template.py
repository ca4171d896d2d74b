"""The text that `plugins new NAME` writes: a definition that is valid as it stands."""

from __future__ import annotations

from update_all.core.errors import InvalidDefinitionError
from update_all.core.models import NAME

_TEXT = """\
schema = 1
name = "{name}"
description = "What {name} keeps up to date"

[detect]
command = "{name}"
# Another program may have the same name: how is the right one told?
# identity = {{ cmd = ["{name}", "--version"], regex = '^{name} \\d' }}

# What could be updated. Without it, every run runs the steps.
# [outdated]
# cmd = ["{name}", "outdated"]
# regex = '^(?P<item>\\S+) (?P<old>\\S+) -> (?P<new>\\S+)$'
# offline-patterns = ["could not connect"]

[[step]]
name = "update"
description = "Update everything that {name} installed"
cmd = ["{name}", "update", "--yes"]
mutexes = ["{name}", "network"]
# sudo = true
# uninterruptible = true    # a transaction that must not be stopped half-way

[[mutex]]
name = "{name}"
reason = "two of them would write the same files"

# Paste real output beside what it means; `update-all plugins check` compares.
# [[sample]]
# of = "outdated"
# output = '''
# hello 1.0 -> 2.0
# '''
# expect = [{{ item = "hello", old = "1.0", new = "2.0" }}]
"""


def new_definition(name: str) -> str:
    """A definition to begin with. Raises InvalidDefinitionError for a name that no plugin can have."""
    if NAME.fullmatch(name) is None:
        raise InvalidDefinitionError(
            f"{name!r} is no plugin name", hint="letters, digits and ._+@-, not beginning with a sign"
        )
    return _TEXT.format(name=name)
