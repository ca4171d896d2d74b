"""The texts that `plugins new NAME` writes: plugins that are valid as they stand."""

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


_SCRIPT = """\
#!/bin/sh
# A plugin of update-all in its protocol 1: describe, check, run STEP.
set -eu

hello() {{ echo '{{"type": "hello", "protocol": 1}}'; }}

case ${{1:-}} in
describe)
    hello
    cat <<'JSON'
{{"type": "plugin", "name": "{name}", "description": "What {name} keeps up to date", \
"detect": {{"command": "{name}"}}, "steps": [{{"name": "update", \
"description": "Update everything that {name} installed", "mutexes": ["network"]}}]}}
JSON
    echo '{{"type": "end"}}'
    ;;
check)
    hello
    # For each update, a line such as {{"type": "update", "item": "hello", "old": "1.0", "new": "2.0"}},
    # and "updates" as the status; "up-to-date" only where the index was reached.
    echo '{{"type": "end", "status": "cannot-know", "message": "{name} is not asked yet"}}'
    ;;
run)
    hello
    if {name} update --yes >&2; then
        echo '{{"type": "end", "status": "done"}}'
    else
        echo '{{"type": "end", "status": "failed", "message": "{name} update failed"}}'
        exit 1
    fi
    ;;
*)
    echo "usage: $0 describe | check | run STEP" >&2
    exit 2
    ;;
esac
"""


def new_definition(name: str) -> str:
    """A definition to begin with. Raises InvalidDefinitionError for a name that no plugin can have."""
    return _TEXT.format(name=_checked(name))


def new_executable(name: str) -> str:
    """A shell script to begin with. Raises InvalidDefinitionError for a name that no executable can have."""
    if "." in name:
        raise InvalidDefinitionError(
            f"{name!r} is no name for an executable", hint="the name ends at the first dot of the file name"
        )
    return _SCRIPT.format(name=_checked(name))


def _checked(name: str) -> str:
    if NAME.fullmatch(name) is None:
        raise InvalidDefinitionError(
            f"{name!r} is no plugin name", hint="letters, digits and ._+@-, not beginning with a sign"
        )
    return name
