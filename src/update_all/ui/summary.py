"""What a run has done, for a person to read once: changes first, failures last. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice

from update_all.core.models import Change, ChangeKind
from update_all.ui import rows
from update_all.ui.text import Style, columns, cut, display_width, duration, plural, wrap
from update_all.ui.view import Failure, PluginRow, RunView, State

CHANGES_SHOWN = 5
FAILURE_LINES = 12
INTERRUPTED = "interrupted"
"""The error code of a step that was ended with its run (core.supervision): it did not fail."""

_ERROR_LINE = re.compile(
    r"\b(?:error|fatal|failed|failure|cannot|can't|could not|couldn't|unable|denied|not found|no such"
    r"|unmet|conflict|refused|timed out|exception|panicked|abort(?:ed|ing)?)\b|^E:|\berr!",
    re.IGNORECASE,
)


def summary(
    view: RunView,
    width: int,
    style: Style,
    *,
    advice: Sequence[tuple[str, str]] = (),
    undo: Sequence[str] = (),
    changes_shown: int = CHANGES_SHOWN,
) -> list[str]:
    """The summary as lines of at most `width` columns; only log paths and commands may be longer.

    `advice` holds (label, text) pairs to show after the changes: ("Restart needed", "kernel 6.8.0-90 …").
    `undo` names the plugins that can go back; where all went well, it is said how, and where to read more.
    Of more than `changes_shown` changes of one plugin the rest is counted. Failures come last, each with the
    lines around its error, whether anything was changed, its log and the command that resumes it.
    """
    blocks = [
        wrap(_headline(view, style), width),
        _changes(view, width, style, changes_shown),
        _labelled(advice, width, style),
        _skipped(view, width, style),
        _warnings(view, width, style),
        _ended(view, width, style),
        _next(view),
        _afterwards(view, undo, style),
        *(_failure(failure, width, style) for failure in _real_failures(view)),
    ]
    lines: list[str] = []
    for block in filter(None, blocks):
        lines += ["", *block] if lines else block
    return lines


def chosen_lines(lines: Sequence[str], message: str, limit: int = FAILURE_LINES) -> list[str]:
    """At most `limit` lines around the error: the last line quoted in `message`, else the last that reads
    like an error; the last `limit` lines where there is no such line.
    """
    indices = [index for index, line in enumerate(lines) if len(line) > 8 and line.strip() in message]
    indices = indices or [index for index, line in enumerate(lines) if _ERROR_LINE.search(line)]
    if not indices:
        return list(lines[-limit:])
    begin = max(0, min(indices[-1] - limit * 2 // 3, len(lines) - limit))
    return list(lines[begin : begin + limit])


def merged(changes: Iterable[Change]) -> list[Change]:
    """One change for each item, from its first old to its last new version; security, then removals first."""
    found: dict[str, Change] = {}
    for change in changes:
        before = found.get(change.item)
        old = before.old if before else change.old
        security = change.security or (before is not None and before.security)
        found[change.item] = Change(change.item, old, change.new, change.size_bytes, security)
    return sorted(
        found.values(), key=lambda change: (not change.security, change.kind is not ChangeKind.REMOVE)
    )


def _headline(view: RunView, style: Style) -> str:
    items = sum(len(merged(row.changes)) for row in view.plugins.values())
    took = duration(view.elapsed(view.ended or view.started or 0.0), precise=True)
    failed = len({failure.plugin for failure in _real_failures(view)})
    up_to_date = len(view.rows(State.UP_TO_DATE))
    ended = len(view.rows(State.FAILED)) - failed
    skipped = view.rows(State.SKIPPED)
    if items:
        first = f"Updated {plural(items, 'item')} in {took}"
    elif view.interrupted or failed or view.rows(State.BLOCKED) or any(map(_by_hand, skipped)):
        first = f"Nothing was updated in {took}"
    elif view.rows(State.DONE):
        first = f"Done in {took}, no changes reported"
    else:
        first = f"Nothing to do ({took})"
    counts = (
        (failed, "failed"),
        (len(view.rows(State.BLOCKED, State.WAITING, State.RUNNING)) + ended, "not finished"),
        (len(skipped), "skipped"),
        (up_to_date, "up to date"),
        (len(view.absent), "not installed here"),
    )
    parts = [first, *(["interrupted"] if view.interrupted else [])]
    parts += [f"{count} {what}" for count, what in counts if count]
    return f" {style.marks.between} ".join(parts) + _predicted(view, style)


def _predicted(view: RunView, style: Style) -> str:
    low, high = view.expected_low, view.expected_high
    if low is None or high is None:
        return ""
    shortest, longest = duration(low), duration(high)
    return (
        f" (predicted {shortest}{'–' if style.unicode else '-'}{longest})"
        if low < high
        else f" (predicted {longest})"
    )


def _changes(view: RunView, width: int, style: Style, shown: int) -> list[str]:
    changes = {row.name: merged(row.changes) for row in view.plugins.values() if row.changes}
    limit = max(8, (width - 8) // 3)
    cells = [
        _cells(name if index == 0 else "", change, limit, style)
        for name, made in changes.items()
        for index, change in enumerate(made[:shown])
    ]
    table = iter(columns(cells, width, ellipsis=style.marks.ellipsis))
    indent = " " * (4 + max((display_width(row[0]) for row in cells), default=0))
    lines: list[str] = []
    for made in changes.values():
        lines += islice(table, min(shown, len(made)))
        if len(made) > shown:
            more = f"{indent}{style.marks.ellipsis} {len(made) - shown} more   (update-all report)"
            lines.append(cut(more, width, style.marks.ellipsis))
    return lines


def _cells(name: str, change: Change, limit: int, style: Style) -> tuple[str, str, str, str]:
    """Plugin, item, versions, remark; long names are cut so that the versions still fit."""
    return (
        cut(style.text(name), limit // 2 + 4, style.marks.ellipsis),
        cut(style.text(change.item), limit, style.marks.ellipsis),
        _versions(change, style),
        "security" if change.security else "",
    )


def _versions(change: Change, style: Style) -> str:
    old, new = (style.text(version) if version else None for version in (change.old, change.new))
    if change.kind is ChangeKind.REMOVE:
        return f"{old} removed" if old else "removed"
    return f"{old} {style.marks.arrow} {new}" if old else f"{new} (new)"


def _labelled(pairs: Sequence[tuple[str, str]], width: int, style: Style) -> list[str]:
    lines: list[str] = []
    for label, text in pairs:
        lines += _paragraph(f"{style.text(label)}: {style.text(text)}", width)
    return lines


def _paragraph(text: str, width: int, indent: str = "  ") -> list[str]:
    first, *rest = wrap(text, width) or [""]
    return [first, *wrap(" ".join(rest), width, indent)] if rest else [first]


def _skipped(view: RunView, width: int, style: Style) -> list[str]:
    lines: list[str] = []
    for row in view.plugins.values():
        if _by_hand(row):
            continue
        if row.state in {State.SKIPPED, State.BLOCKED}:
            lines += _paragraph(
                _with_mark(row.state, f"{row.name}: {rows.outcome(row, style.marks)}", style), width
            )
            continue
        for step in row.steps.values():
            if step.state is State.BLOCKED and step.reason and row.state is State.DONE:
                lines += _paragraph(
                    _with_mark(step.state, f"{row.name} {step.name}: {step.reason}", style), width
                )
    return lines


def _with_mark(state: State, text: str, style: Style) -> str:
    return f"{rows.mark(state, style.marks)} {style.text(text)}"


def _warnings(view: RunView, width: int, style: Style) -> list[str]:
    lines: list[str] = []
    for notice in dict.fromkeys(view.warnings):
        lines += _paragraph(f"{style.marks.warning} {style.text(rows.notice_text(notice))}", width)
    return lines


def _real_failures(view: RunView) -> list[Failure]:
    return [failure for failure in view.failures if failure.code != INTERRUPTED]


def _by_hand(row: PluginRow) -> bool:
    return any(step.by_hand for step in row.steps.values())


def _ended(view: RunView, width: int, style: Style) -> list[str]:
    """Steps that somebody has ended or left out: a paragraph for each reason names them all."""
    ended = [f"{one.plugin} {one.step}" for one in view.failures if one.code == INTERRUPTED]
    left = [(row, step) for row in view.plugins.values() for step in row.steps.values() if step.by_hand]
    cut_off = [f"{row.name} {step.name}" for row, step in left if step.started is not None]
    never = [f"{row.name} {step.name}" for row, step in left if step.started is None]
    lines: list[str] = []
    for state, reason, names in (
        (State.BLOCKED, "ended by the interruption", ended),
        (State.SKIPPED, "skipped while it ran", cut_off),
        (State.SKIPPED, "skipped before it ran", never),
    ):
        if names:
            lines += _paragraph(_with_mark(state, f"{reason}: {', '.join(names)}", style), width)
    return lines


def _failure(failure: Failure, width: int, style: Style) -> list[str]:
    marks = style.marks
    where = f" {marks.within} ".join(style.text(name) for name in (failure.plugin, failure.step) if name)
    after = f" after {duration(failure.seconds, precise=True)}" if failure.seconds else ""
    head, *rest = _paragraph(f"{marks.failed} {where} failed{after}: {style.text(failure.message)}", width)
    lines = [style.paint(head[:1], "red") + head[1:], *rest]
    for line in chosen_lines(failure.lines, failure.message):
        lines.append(cut("    " + style.text(line), width, marks.ellipsis))
    changed = (
        f"{plural(failure.changed, 'change')} made before it" if failure.changed else "No change was reported"
    )
    lines += wrap(f"{changed}.", width, "  ")
    if failure.code:
        lines.append(f"  Why     update-all explain {style.text(failure.code)}")
    if failure.log:
        lines.append(f"  Log     {style.text(failure.log)}")
    lines.append(f"  Resume  update-all resume {style.text(failure.plugin)}")
    return lines


def _next(view: RunView) -> list[str]:
    """How to go on with what has neither failed nor finished."""
    unfinished = view.rows(State.BLOCKED, State.WAITING, State.RUNNING)
    skipped = any(map(_by_hand, view.plugins.values()))
    if view.interrupted or skipped or (unfinished and not view.failures):
        return ["Go on with: update-all resume"]
    return []


def _afterwards(view: RunView, undo: Sequence[str], style: Style) -> list[str]:
    """Where to read what was done, and how to undo it."""
    if view.failures or _next(view) or not any(row.changes for row in view.plugins.values()):
        return []
    lines = ["Report  update-all report", *(f"Undo    update-all rollback {name}" for name in undo)]
    return [style.paint(style.text(line), "dim") for line in lines]
