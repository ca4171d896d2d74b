"""Names in the configuration that no plugin has: what is written for them would silently have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from update_all.core.config import config_file
from update_all.core.config_schema import PLUGIN_TABLE, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from update_all.cli.workspace import Workspace

LISTS = (("plugins", "enabled"), ("plugins", "order"), ("exclude",), ("downloads", "allow_unverified"))
"""The keys whose values name plugins."""


class Stray(NamedTuple):
    """What has no effect and where it is, and what to type."""

    message: str
    hint: str


class _Use(NamedTuple):
    """A name where the configuration has it: FILE:LINE or a variable. `key` is None for a section."""

    name: str
    place: str
    key: str | None

    def written(self, name: str) -> str:
        return dotted((PLUGIN_TABLE, name)).join("[]") if self.key is None else repr(name)

    @property
    def message(self) -> str:
        if self.key is None:
            return f"{self.written(self.name)} has no effect: there is no plugin {self.name!r}"
        return f"{self.key} names {self.name!r}, which is no plugin"


def stray_names(workspace: Workspace) -> list[Stray]:
    """The names that no plugin has, each with the nearest one that does.

    A plugin of an installed package that is not trusted does exist.
    """
    unknown = [use for use in _uses(workspace) if use.name not in workspace.registry]
    if not unknown:
        return []
    untrusted = workspace.registry.not_trusted(frozenset(workspace.config.plugins.trusted))
    known = sorted({*workspace.registry.names(), *(found.name for found in untrusted)})
    own = str(config_file(workspace.directories))
    return [_stray(use, own, known) for use in unknown if use.name not in known]


def warn_of_strays(workspace: Workspace) -> None:
    """Tell of these names on standard error; they stop nothing."""
    if strays := stray_names(workspace):
        from update_all.cli.failing import warn

        warn([f"{stray.message}\n  {stray.hint}" for stray in strays])


def _uses(workspace: Workspace) -> Iterator[_Use]:
    """All names of plugins in the configuration. `@tag` is none."""
    for path, locate in workspace.loaded.sections.items():
        yield _Use(path[1], locate(path), None)
    for path in LISTS:
        value, locate = workspace.loaded.sources.get(path, ((), str))
        for name in value if isinstance(value, list | tuple) else ():
            if not name.startswith("@"):
                yield _Use(name, locate(path), dotted(path))


def _stray(use: _Use, own: str, known: Sequence[str]) -> Stray:
    """`own` is the file that `config edit` opens."""
    from difflib import get_close_matches

    near = get_close_matches(use.name, known, n=1, cutoff=0.5)
    meant = f"did you mean {use.written(near[0])}?" if near else "all names: update-all plugins list;"
    where = use.place.rpartition(":")[0] or "the environment"
    mended = "with: update-all config edit" if where == own else f"in {where}"
    return Stray(f"{use.place}: {use.message}", f"{meant} mend it {mended}")
