"""What speaks against a run just now is said before it, or refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from update_all.cli.workspace import Workspace
from update_all.core.planning import PluginPlan
from update_all.core.streaming import StreamEvent, WarningEvent

SYSTEM_PLACES = (Path("/"), Path("/var"), Path("/boot"))
"""What updates of packages write to."""


async def guard(workspace: Workspace, plans: Sequence[PluginPlan]) -> list[StreamEvent]:
    """The warnings for a run of these plans. Raises GuardError where it is refused."""
    from update_all.core.guards import look

    root = any(step.needs_root for plan in plans for step in plan.steps)
    found = workspace.directories
    places = [found.state, found.cache, *(SYSTEM_PLACES if root else ())]
    notices = await look(workspace.config.guards, places, root=root)
    return [WarningEvent(message=item.message, code=item.code, hint=item.hint) for item in notices]
