"""The plan as a person reads it before it runs: what matters most first. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from update_all.cli.planned import Planned
from update_all.core.models import Change, ChangeKind
from update_all.core.planning import PluginPlan
from update_all.downloads.versions import version_key
from update_all.ui.text import Style, columns, cut, display_width, duration, plural, size, wrap

CHANGES_SHOWN = 3
FEWEST_CHANGE_COLUMNS = 40

Seconds = Mapping[tuple[str, str], float]
"""Plugin and step → how long it usually takes."""

_RESTARTS = re.compile(
    r"(?:linux-(?:image|generic|modules)|kernel(?:-core|-default)?$|linux(?:-lts|-zen|-hardened)?$)"
)
"""Packages whose update is in use only after a restart: the kernels of Debian, Fedora, SUSE and Arch."""

_VERSION = re.compile(r"[a-zA-Z]{0,3}(\d{1,18})(?:[.:~+_-]|$)")
"""What begins like a version number; a digest of a commit does not tell which is the newer one."""


def plan_lines(
    planned: Planned,
    width: int,
    style: Style,
    seconds: Seconds,
    *,
    expected: tuple[float, float] | None = None,
) -> list[str]:
    """The plan as a table: plugin, what changes, size, usual time, privilege; then the total.

    Plugins that remove something, mend security or get a new major version come first. `expected` is the
    range of seconds for the whole run. A size with `?` is a guess, of which a part is not known.
    """
    plans = sorted(planned.plans, key=lambda plan: not any(map(_matters, changes_of(plan))))
    lines = _table([_row(plan, style, seconds) for plan in plans], width, style)
    for name, reason in planned.unknown.items():
        lines.append(f"  {style.text(name)}  cannot know: {style.text(reason)}")
    lines += [f"  {style.text(item.name)}  broken: {style.text(item.reason)}" for item in planned.broken]
    return [*lines, "", *_total(planned, style, expected)] if lines else []


def heading(planned: Planned, style: Style) -> str:
    """How the checks went."""
    checked = len(planned.plans) + len(planned.up_to_date) + len(planned.unknown)
    parts = [f"Checked {plural(checked, 'plugin')} in {duration(planned.check_seconds, precise=True)}"]
    if planned.up_to_date:
        parts.append(f"{len(planned.up_to_date)} up to date")
    if planned.absent:
        parts.append(f"{len(planned.absent)} not installed here")
    return f" {style.marks.between} ".join(parts)


def detail_lines(planned: Planned, style: Style, seconds: Seconds) -> list[str]:
    """Every change of every plugin, and its steps with their usual times."""
    lines: list[str] = []
    for plan in planned.plans:
        lines.append(style.text(plan.name))
        lines += [f"  {_change_text(change, style)}" for change in sorted(changes_of(plan), key=_importance)]
        for step in plan.steps:
            usual = seconds.get((plan.name, step.name))
            parts = [style.text(f"{step.name}: {step.description}")]
            parts += [f"~{duration(usual)}"] if usual is not None else []
            parts += ["as root"] if step.needs_root else []
            lines.append(f"  {style.marks.within} " + "  ".join(parts))
    return lines


def changes_of(plan: PluginPlan) -> Sequence[Change]:
    """What a plugin's check has found."""
    return () if plan.check is None else plan.check.updates


def risky(planned: Planned) -> bool:
    """Whether something is removed, gets older or a new major version: then Enter is no consent."""
    changes = [change for plan in planned.plans for change in changes_of(plan)]
    return any(
        change.kind is ChangeKind.REMOVE or is_major(change) or is_downgrade(change) for change in changes
    )


def is_major(change: Change) -> bool:
    """Whether the first number of the version changes."""
    old, new = _VERSION.match(change.old or ""), _VERSION.match(change.new or "")
    return old is not None and new is not None and int(old[1]) != int(new[1])


def is_downgrade(change: Change) -> bool:
    """Whether the new version is an older one."""
    if not (change.old and change.new and _VERSION.match(change.old) and _VERSION.match(change.new)):
        return False
    return version_key(change.new) < version_key(change.old)


def _matters(change: Change) -> bool:
    return change.kind is ChangeKind.REMOVE or change.security or is_downgrade(change) or is_major(change)


def _importance(change: Change) -> tuple[bool, bool, bool, bool, str]:
    """Removals, downgrades, security and majors first."""
    return (
        change.kind is not ChangeKind.REMOVE,
        not is_downgrade(change),
        not change.security,
        not is_major(change),
        change.item,
    )


def _table(rows: Sequence[Sequence[str]], width: int, style: Style) -> list[str]:
    """The rows as columns; where they are too wide, what changes is cut and the rest is kept.

    On a narrow terminal too little would be left of it: there it stands below the rest.
    """
    if not rows:
        return []
    widths = [max(display_width(row[place]) for row in rows) for place in range(len(rows[0]))]
    others = sum(wide + 2 for place, wide in enumerate(widths) if place != 1) + 2
    room = width - others
    if room < min(widths[1], FEWEST_CHANGE_COLUMNS):
        heads = columns([[row[0], *row[2:]] for row in rows], width, ellipsis=style.marks.ellipsis)
        return [
            line
            for head, row in zip(heads, rows, strict=True)
            for line in (head, *wrap(row[1], width, "    "))
        ]
    cells = [[row[0], cut(row[1], room, style.marks.ellipsis), *row[2:]] for row in rows]
    return columns(cells, width, ellipsis=style.marks.ellipsis)


def _row(plan: PluginPlan, style: Style, seconds: Seconds) -> list[str]:
    changes = changes_of(plan)
    return [
        style.text(plan.name),
        _changes_text(changes, style) if changes else style.text(_unchecked_text(plan)),
        _size_text(changes),
        _usual_text(plan, seconds),
        "root" if any(step.needs_root for step in plan.steps) else "",
    ]


def _unchecked_text(plan: PluginPlan) -> str:
    reason = "" if plan.check is None else plan.check.reason
    return reason or plural(len(plan.steps), "step")


def _changes_text(changes: Sequence[Change], style: Style) -> str:
    shown = sorted(changes, key=_importance)[:CHANGES_SHOWN]
    more = f", +{len(changes) - CHANGES_SHOWN}" if len(changes) > CHANGES_SHOWN else ""
    return ", ".join(_change_text(change, style) for change in shown) + more


def _change_text(change: Change, style: Style) -> str:
    item, old, new = (style.text(each or "") for each in (change.item, change.old, change.new))
    match change.kind:
        case ChangeKind.REMOVE:
            return f"{item} removed"
        case ChangeKind.INSTALL:
            return f"{item} {new}"
        case _:
            flags = ["security"] if change.security else []
            flags += ["downgrade"] if is_downgrade(change) else ["major"] if is_major(change) else []
            return " ".join([f"{item} {old} {style.marks.arrow} {new}", *flags])


def _size_text(changes: Sequence[Change]) -> str:
    known = [change.size_bytes for change in changes if change.size_bytes is not None]
    if not known:
        return ""
    return size(sum(known)) + ("" if len(known) == len(changes) else "?")


def _usual_text(plan: PluginPlan, seconds: Seconds) -> str:
    known = [seconds[plan.name, step.name] for step in plan.steps if (plan.name, step.name) in seconds]
    return f"~{duration(sum(known))}" if known else ""


def _total(planned: Planned, style: Style, expected: tuple[float, float] | None) -> list[str]:
    steps = sum(len(plan.steps) for plan in planned.plans)
    parts = [f"{plural(len(planned.plans), 'plugin')}, {plural(steps, 'step')}"]
    changes = [change for plan in planned.plans for change in changes_of(plan)]
    if fetched := _size_text(changes):
        parts.append(f"{fetched} to fetch")
    if expected is not None:
        parts.append(_expected_text(*expected, style))
    if planned.needs_root:
        parts.append(f"root for {', '.join(planned.needs_root)}")
    restarts = sorted({change.item for change in changes if _RESTARTS.match(change.item)})
    if restarts:
        parts.append(f"restart likely ({style.text(restarts[0])})")
    return ["  " + f" {style.marks.between} ".join(parts)]


def _expected_text(low: float, high: float, style: Style) -> str:
    shortest, longest = duration(low), duration(high)
    if shortest == longest:
        return f"about {longest}"
    return f"about {duration((low + high) / 2)} ({shortest}{'–' if style.unicode else '-'}{longest})"
