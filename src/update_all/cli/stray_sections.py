"""`[plugin.NAME]` for a plugin that does not exist: what is written there would silently have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from update_all.core.config import config_file
from update_all.core.config_schema import PLUGIN_TABLE, dotted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from update_all.cli.workspace import Workspace


class Stray(NamedTuple):
    """A section that has no effect: where it is, and what to type."""

    message: str
    hint: str


def stray_sections(workspace: Workspace) -> list[Stray]:
    """The sections for plugins that do not exist, with the nearest names that do.

    A plugin of an installed package that is not trusted does exist.
    """
    unknown = {path[1]: path for path in workspace.loaded.sections if path[1] not in workspace.registry}
    if not unknown:
        return []
    untrusted = workspace.registry.not_trusted(frozenset(workspace.config.plugins.trusted))
    known = sorted({*workspace.registry.names(), *(found.name for found in untrusted)})
    own = str(config_file(workspace.directories))
    return [
        _stray(name, workspace.loaded.sections[path](path), own, known)
        for name, path in unknown.items()
        if name not in known
    ]


def warn_of_strays(workspace: Workspace) -> None:
    """Tell of the sections on standard error; they stop nothing."""
    if strays := stray_sections(workspace):
        from update_all.cli.failing import warn

        warn([f"{stray.message}\n  {stray.hint}" for stray in strays])


def _stray(name: str, place: str, own: str, known: Sequence[str]) -> Stray:
    """`place` is FILE:LINE; `own` is the file that `config edit` opens."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1, cutoff=0.5)
    meant = (
        f"did you mean [{dotted((PLUGIN_TABLE, *near))}]?" if near else "all names: update-all plugins list;"
    )
    file = place.rpartition(":")[0]
    return Stray(
        f"{place}: [{dotted((PLUGIN_TABLE, name))}] has no effect: there is no plugin {name!r}",
        f"{meant} mend it {'with: update-all config edit' if file == own else f'in {file}'}",
    )
