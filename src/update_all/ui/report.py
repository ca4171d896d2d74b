"""A run as one HTML page: no network, no script, nothing that is not in the file. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from update_all.core.models import Change, ChangeKind
from update_all.core.streaming import RunStartEvent, StreamEvent
from update_all.ui import rows
from update_all.ui.markup import Markup, join, tag, text
from update_all.ui.report_style import STYLE
from update_all.ui.report_svg import gantt, load
from update_all.ui.summary import chosen_lines, merged
from update_all.ui.text import UNICODE_MARKS, duration, plural, size
from update_all.ui.timeline import Part, parts_of
from update_all.ui.view import Failure, RunView, State

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Content Security Policy Level 3: the page may load and run nothing, and send nothing."""

FAILURE_LINES = 40
SHARES_SHOWN = 5
_SECTIONS = (
    ("failures", "Failures"),
    ("changes", "Changes"),
    ("timeline", "Timeline"),
    ("waits", "Mutexes and waits"),
    ("plugins", "Plugins"),
    ("environment", "Environment"),
)


class Record:
    """What a report tells of a run, folded from its events."""

    def __init__(self, events: Iterable[StreamEvent]) -> None:
        kept = list(events)
        self.view = RunView()
        self.changes: dict[str, list[Change]] = {}
        for event in kept:
            if isinstance(event, RunStartEvent):
                # A resume begins a new view of its plugins; what they changed before still counts.
                self._keep_changes()
            self.view.apply(event)
        self._keep_changes()
        self.parts: list[Part] = parts_of(kept)

    def _keep_changes(self) -> None:
        for name, row in self.view.plugins.items():
            if row.changes:
                self.changes[name] = merged([*self.changes.get(name, ()), *row.changes])

    @property
    def seconds(self) -> float:
        """How long the run took, without the time between it and its resumes."""
        return sum(part.seconds for part in self.parts)

    @property
    def verdict(self) -> tuple[str, State]:
        """The outcome in words, and the state whose colour it gets."""
        view = self.view
        if view.exit_code is None:
            return "not finished", State.RUNNING
        if view.interrupted:
            return "interrupted", State.BLOCKED
        if view.exit_code == 0:
            return "done", State.DONE
        return ("failed", State.FAILED) if view.failures else ("not finished", State.BLOCKED)


def page(record: Record, environment: Mapping[str, str]) -> str:
    """The page. `environment` holds what to show of the machine, label → value."""
    sections = {
        "failures": _failures(record.view),
        "changes": _changes(record.changes),
        "timeline": _timeline(record.parts),
        "waits": _waits(record.parts),
        "plugins": _plugins(record.view),
        "environment": _facts(environment),
    }
    shown = [(key, title, sections[key]) for key, title in _SECTIONS if sections[key]]
    links = [tag("a", title, href=f"#{key}") for key, title, _ in shown]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"update-all: run {record.view.run_id}"),
        tag("style", Markup(STYLE)),
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", class_="skip"),
        _header(record, links),
        tag(
            "main",
            *(_section(key, title, content) for key, title, content in shown),
            id="content",
        ),
        tag("footer", tag("p", "Written by update-all report. This page loads nothing and sends nothing.")),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _section(key: str, title: str, content: Markup) -> Markup:
    return tag(
        "section", tag("h2", title, id=f"{key}-title"), content, id=key, aria_labelledby=f"{key}-title"
    )


def _header(record: Record, links: Sequence[Markup]) -> Markup:
    view = record.view
    verdict, state = record.verdict
    started = "" if view.started is None else _moment(record.parts[0].begin if record.parts else view.started)
    steps = sum(1 for _ in view.steps)
    items = sum(map(len, record.changes.values()))
    tiles = [
        ("Outcome", _state(state, verdict)),
        ("Changed", text(plural(items, "item"))),
        ("Failed", text(plural(len(view.failures), "step"))),
        ("Took", text(duration(record.seconds, precise=True))),
        ("Plan", text(f"{plural(len(view.plugins), 'plugin')}, {plural(steps, 'step')}")),
    ]
    if view.expected_high is not None:
        tiles.insert(4, ("Predicted", text(_predicted(view))))
    return tag(
        "header",
        tag("h1", f"Run {view.run_id}"),
        tag("p", f"Started {started}" if started else "It never started", class_="dim"),
        tag(
            "dl", *(tag("div", tag("dt", label), tag("dd", value)) for label, value in tiles), class_="tiles"
        ),
        tag("nav", *links, aria_label="Sections"),
    )


def _predicted(view: RunView) -> str:
    low, high = duration(view.expected_low or 0), duration(view.expected_high or 0)
    return high if low == high else f"{low}–{high}"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def _state(state: State, words: str = "") -> Markup:
    shown = words or state.value.replace("-", " ")
    return tag("span", f"{rows.mark(state, UNICODE_MARKS)} {shown}", class_=f"state {state.value}")


def _failures(view: RunView) -> Markup:
    return join([_failure(failure) for failure in view.failures])


def _failure(failure: Failure) -> Markup:
    where = " › ".join(name for name in (failure.plugin, failure.step) if name)
    after = f" after {duration(failure.seconds, precise=True)}" if failure.seconds else ""
    changed = (
        plural(failure.changed, "change") + " made before it" if failure.changed else "No change reported"
    )
    facts = {"Changed": text(f"{changed}.")}
    if failure.code:
        facts["Why"] = tag("code", f"update-all explain {failure.code}")
    if failure.log:
        facts["Log"] = tag("code", failure.log)
    facts["Resume"] = tag("code", f"update-all resume {failure.plugin}")
    lines = chosen_lines(failure.lines, failure.message, FAILURE_LINES)
    return tag(
        "article",
        tag("h3", where),
        tag("p", tag("span", f"failed{after}: ", class_="state failed"), failure.message),
        tag("pre", "\n".join(lines), tabindex="0", role="region", aria_label=f"Log of {where}")
        if lines
        else Markup(),
        _pairs(facts),
    )


def _facts(pairs: Mapping[str, str]) -> Markup:
    return _pairs({label: text(value) for label, value in pairs.items()}) if pairs else Markup()


def _pairs(pairs: Mapping[str, Markup]) -> Markup:
    cells = [part for label, value in pairs.items() for part in (tag("dt", label), tag("dd", value))]
    return tag("dl", *cells, class_="facts")


def _table(head: Sequence[str], body: Sequence[Markup], caption: str = "") -> Markup:
    return tag(
        "table",
        tag("caption", caption) if caption else Markup(),
        tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))),
        tag("tbody", *body),
    )


def _changes(changes: Mapping[str, Sequence[Change]]) -> Markup:
    tables = [
        _table(
            ("Item", "Version"),
            [tag("tr", _item(change), _versions(change)) for change in made],
            caption=f"{plugin}: {plural(len(made), 'item')}",
        )
        for plugin, made in changes.items()
    ]
    return tag("div", *tables, class_="changes") if tables else Markup()


def _item(change: Change) -> Markup:
    badges = [tag("span", "security", class_="badge security")] if change.security else []
    return tag("td", change.item, *(part for badge in badges for part in (" ", badge)))


def _versions(change: Change) -> Markup:
    weight = tag("span", f" {size(change.size_bytes)}", class_="weight") if change.size_bytes else Markup()
    match change.kind:
        case ChangeKind.REMOVE:
            return tag("td", f"{change.old or ''} ", tag("span", "removed", class_="badge"))
        case ChangeKind.INSTALL:
            new = tag("span", change.new or "", class_="new")
            return tag("td", new, " ", tag("span", "new", class_="badge"), weight)
        case _:
            return tag("td", f"{change.old} → ", tag("span", change.new or "", class_="new"), weight)


def _timeline(parts: Sequence[Part]) -> Markup:
    drawn = [part for part in parts if part.spans or part.waits]
    return join([_part(part, number) for number, part in enumerate(drawn, 1)])


def _part(part: Part, number: int) -> Markup:
    what = "Resumed" if part.resumed else "Started"
    title = (
        f"{what} {_moment(part.begin)}, {duration(part.seconds, precise=True)}, {plural(part.jobs, 'job')}"
    )
    keys = [(span.state.value, span.state.value) for span in part.spans]
    if part.waits:
        keys.append(("wait", "waiting (dashed)"))
    legend = [tag("li", tag("span", class_=f"key {name}"), words) for name, words in dict.fromkeys(keys)]
    steps = (
        f"{plural(len(part.spans), 'step')} and {plural(len(part.waits), 'wait')}; the table below has all"
    )
    return join(
        [
            tag("h3", title),
            tag("ul", *legend, class_="legend"),
            load(part, f"Steps that run and that wait over {duration(part.seconds, precise=True)}"),
            gantt(part, f"Timeline of {steps}"),
            tag("details", tag("summary", "All steps as a table"), _steps(part, number)),
        ]
    )


def _steps(part: Part, number: int) -> Markup:
    body = []
    for span in sorted(part.spans, key=lambda span: span.begin):
        waited = sum(w.seconds for w in part.waits if (w.plugin, w.step) == (span.plugin, span.step))
        note = " · ".join(
            words
            for words in (
                span.note,
                "as root" if span.sudo else "",
                f"holds {', '.join(span.mutexes)}" if span.mutexes else "",
                plural(span.attempts, "attempt") if span.attempts > 1 else "",
            )
            if words
        )
        cells = [
            tag("td", f"{span.plugin} › {span.step}"),
            tag("td", _state(span.state)),
            tag("td", "+" + duration(span.begin - part.begin, precise=True), class_="num"),
            tag("td", duration(span.seconds, precise=True), class_="num"),
            tag("td", duration(waited, precise=True) if waited else "", class_="num"),
            tag("td", note),
        ]
        body.append(tag("tr", *cells))
    table = _table(("Step", "Result", "Start", "Took", "Waited", "Remarks"), body)
    return tag("div", table, class_="scroll", tabindex="0", role="region", aria_label=f"Steps, part {number}")


def _waits(parts: Sequence[Part]) -> Markup:
    held: dict[str, dict[str, float]] = {}
    waited: dict[str, dict[str, float]] = {}
    for part in parts:
        for span in part.spans:
            for mutex in span.mutexes:
                _add(held, mutex, f"{span.plugin} › {span.step}", span.seconds)
        for wait in part.waits:
            _add(waited, wait.mutex or wait.reason, f"{wait.plugin} › {wait.step}", wait.seconds)
    names = sorted({*held, *waited}, key=lambda name: (-sum(waited.get(name, {}).values()), name))
    body = [
        tag(
            "tr",
            tag("td", name),
            tag("td", _shares(held.get(name, {}))),
            tag("td", _shares(waited.get(name, {}))),
        )
        for name in names
    ]
    return _table(("Mutex", "Held by", "Waited for by"), body) if body else Markup()


def _add(table: dict[str, dict[str, float]], mutex: str, step: str, seconds: float) -> None:
    steps = table.setdefault(mutex, {})
    steps[step] = steps.get(step, 0.0) + seconds


def _shares(steps: Mapping[str, float]) -> str:
    ordered = sorted(steps.items(), key=lambda item: -item[1])
    shown = [f"{step} {duration(seconds, precise=True)}" for step, seconds in ordered[:SHARES_SHOWN]]
    more = len(ordered) - len(shown)
    total = f"{duration(sum(steps.values()), precise=True)} in all: " if len(ordered) > 1 else ""
    return total + ", ".join([*shown, *([f"{more} more"] if more else [])])


def _plugins(view: RunView) -> Markup:
    body = [
        tag(
            "tr",
            tag("td", row.name),
            tag("td", _state(row.state)),
            tag("td", rows.outcome(row, UNICODE_MARKS) if row.state.ended else "not finished"),
        )
        for row in view.plugins.values()
    ]
    body += [
        tag("tr", tag("td", name), tag("td", "not here", class_="dim"), tag("td", reason))
        for name, reason in view.absent.items()
    ]
    parts = [_table(("Plugin", "State", "Outcome"), body)] if body else []
    notices = list(dict.fromkeys(view.warnings))
    if notices:
        parts.append(tag("h3", "Warnings"))
        parts.append(tag("ul", *(tag("li", rows.notice_text(notice)) for notice in notices)))
    return join(parts)
