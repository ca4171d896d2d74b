"""After a run, ask the tool: what changed, and is what was planned there? (system.md section 8)."""

from __future__ import annotations

from collections.abc import Mapping

from update_all.core.cleaning import clean_line
from update_all.core.errors import StepError
from update_all.core.models import Change
from update_all.core.planning import PluginPlan


class NotUpdatedError(StepError):
    """The tool said that all went well, and a planned version is not there."""

    code = "not-updated"


def difference(
    before: Mapping[str, str], after: Mapping[str, str], planned: tuple[Change, ...] = ()
) -> list[Change]:
    """What changed between two answers of a tool, by item; sizes and flags from the plan. Pure."""
    known = {change.item: change for change in planned}
    changes = []
    for item in sorted(before.keys() | after.keys()):
        old, new = before.get(item), after.get(item)
        if old != new:
            plan = known.get(item)
            changes.append(
                Change(
                    item=item,
                    old=old,
                    new=new,
                    size_bytes=None if plan is None else plan.size_bytes,
                    security=plan is not None and plan.security,
                )
            )
    return changes


def missing(planned: tuple[Change, ...], after: Mapping[str, str]) -> list[Change]:
    """Planned changes that did not happen: the old version is still there, or the item is gone. Pure."""
    lost = []
    for change in planned:
        now = after.get(change.item)
        if change.new is None:
            happened = now is None
        else:
            happened = now is not None and (now == change.new or now != change.old)
        if not happened:
            lost.append(change)
    return lost


def clean_versions(versions: Mapping[str, str]) -> dict[str, str]:
    """Items and versions that can be shown and kept, as the plan has them."""
    return {clean_line(item): clean_line(version) for item, version in versions.items()}


async def verify(plan: PluginPlan) -> tuple[list[Change], NotUpdatedError | None]:
    """What the tool says has changed, in clean texts, and an error when a planned version is not there."""
    before = plan.versions_before or {}
    planned = () if plan.check is None else plan.check.updates
    try:
        said = await plan.plugin.installed_versions()
        after = None if said is None else clean_versions(said)
    except StepError as error:
        return [], NotUpdatedError(f"the installed versions cannot be asked for: {error.message}")
    except Exception as error:  # noqa: BLE001 - a plugin's bug fails that plugin and nothing else
        bug = f"{type(error).__name__}: {error}"
        return [], NotUpdatedError(f"the installed versions cannot be asked for: {bug}")
    if after is None:
        return [], None
    lost = missing(planned, after)
    problem = None
    if lost:
        names = ", ".join(
            f"{change.item} {after.get(change.item, 'is gone')} (planned {change.new})" for change in lost[:5]
        )
        more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
        problem = NotUpdatedError(
            f"the tool reported success, but not everything was updated: {names}{more}",
            hint=f"update-all run {plan.name}",
        )
    return difference(before, after, planned), problem
