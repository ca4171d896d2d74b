"""How a plugin reads on one line, in the live view as in plain lines. Pure."""

from __future__ import annotations

from update_all.ui.text import Marks, Style, bar, duration, size
from update_all.ui.view import Notice, PluginRow, State, StepRow

COLOURS = {
    State.FAILED: "red",
    State.RUNNING: "cyan",
    State.WAITING: "yellow",
    State.DONE: "green",
    State.SKIPPED: "dim",
    State.UP_TO_DATE: "green",
    State.BLOCKED: "yellow",
}

QUIET_SECONDS = 60.0


def mark(state: State, marks: Marks) -> str:
    """The one-column mark of a state."""
    return str(getattr(marks, state.name.lower()))


def row_mark(row: PluginRow, marks: Marks) -> str:
    """The mark of a row: that of its state, or that it asks something."""
    return marks.asks if any(step.asks for step in row.running) else mark(row.state, marks)


def wait_text(step: StepRow) -> str:
    """What a step waits for, and who has it."""
    if step.mutex:
        held = f" (held by {step.holder})" if step.holder else ""
        return f"waits for {step.mutex}{held}"
    if step.holder:
        return f"waits for {step.holder}" + (f": {step.wait_reason}" if step.wait_reason else "")
    return step.wait_reason or "waits for its turn"


def notice_text(notice: Notice) -> str:
    """A warning with where it belongs and what to do."""
    where = " ".join(name for name in (notice.plugin, notice.step) if name)
    return (f"{where}: " if where else "") + notice.message + (f" ({notice.hint})" if notice.hint else "")


def outcome(row: PluginRow, marks: Marks) -> str:
    """How a plugin ended: its failure, its changes, or why there were none."""
    if row.failures:
        return row.failures[0].message
    if row.changes:
        first = row.changes[0]
        versions = f" {marks.arrow} ".join(version for version in (first.old, first.new) if version)
        more = f", +{len(row.changes) - 1}" if len(row.changes) > 1 else ""
        return f"{first.item} {versions}".rstrip() + ("" if first.new else " removed") + more
    if row.state is State.UP_TO_DATE:
        return "up to date"
    if row.state is State.BLOCKED and row.interrupted:
        return row.reason or "interrupted"
    reasons = [step.reason for step in row.steps.values() if step.reason]
    if row.state in {State.SKIPPED, State.BLOCKED}:
        return row.reason or (reasons[0] if reasons else str(row.state))
    return "done"


def activity(step: StepRow, now: float, marks: Marks, room: int) -> str:
    """What a running step does in about `room` columns: bytes, per cent, message, last line, or silence."""
    if step.asks:
        return step.asks
    quiet = now - step.last_output if step.last_output is not None else 0.0
    if quiet > QUIET_SECONDS:
        return f"no output for {duration(quiet)}"
    words = step.message or step.tail.last_line
    if step.bytes_done is not None:
        amount = size(step.bytes_done) + (f"/{size(step.bytes_total)}" if step.bytes_total else "")
        if step.bytes_total and room >= 30:
            return f"{bar(step.bytes_done / step.bytes_total, 10, marks)} {amount}"
        return amount
    if step.percent is not None:
        return f"{step.percent:.0f}% {words}".rstrip()
    return words


def detail(row: PluginRow, now: float, style: Style, room: int) -> str:
    """The middle of a row of the live view."""
    step = row.current
    if row.state is State.RUNNING and step is not None:
        return style.text(activity(step, now, style.marks, room))
    if row.state is State.WAITING:
        return style.text(wait_text(step)) if step is not None else ""
    return style.text(outcome(row, style.marks))
