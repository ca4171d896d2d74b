"""The full screen at work without a terminal: every key, at every size, on a run that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from full_scenes import Asked, Wheel, told
from stories import LATER, hostile_run, middle_of_a_run, output, start, viewed, whole_run
from textual.pilot import Pilot

from update_all.core.streaming import CheckEvent, StreamEvent
from update_all.ui.fullscreen import Reason, Steering
from update_all.ui.fullscreen.actions import ACTIONS
from update_all.ui.fullscreen.app import MOST_COPIED, FullScreenApp
from update_all.ui.fullscreen.position import Focus, Place, Tab
from update_all.ui.text import Style

SIZES = [(40, 10), (80, 24), (200, 60)]
Act = Callable[[FullScreenApp, Pilot[Reason]], Awaitable[None]]


def visit(
    act: Act,
    events: Sequence[StreamEvent] = (),
    *,
    steering: Steering | None = None,
    size: tuple[int, int] = (80, 24),
    logs: Callable[[str, str], Path | None] = lambda _plugin, _step: None,
) -> FullScreenApp:
    """Open the full screen, `act` on it, and give back the app as it was left."""
    events = events or middle_of_a_run()

    async def visited() -> FullScreenApp:
        view, style = viewed(list(events)), Style()
        app = FullScreenApp(view, told(events), steering, logs, style, clock=lambda: LATER)
        async with app.run_test(size=size) as pilot:
            await act(app, pilot)
        return app

    return asyncio.run(visited())


def pressing(*keys: str, seen: list[str] | None = None) -> Act:
    """Press keys; `seen` gets the lines of the screen that follows."""

    async def press(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        await pilot.press(*keys)
        if seen is not None:
            seen.extend(app.screen_text())

    return press


def last_line(*keys: str, steering: Steering | None = None, events: Sequence[StreamEvent] = ()) -> str:
    seen: list[str] = []
    visit(pressing(*keys, seen=seen), events, steering=steering)
    return seen[-1]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_composed_is_what_the_terminal_gets(size: tuple[int, int]) -> None:
    async def look(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        for key in ("1", "2", "3", "4", "question_mark"):
            await pilot.press(key)
            strips = app.screen._compositor.render_strips()
            assert ["".join(part.text for part in strip).rstrip() for strip in strips] == app.screen_text()

    visit(look, size=size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("steering", [None, Wheel(consoles={"apt:install": Asked()})])
@pytest.mark.parametrize("events", [middle_of_a_run(), hostile_run()], ids=["middle", "hostile"])
def test_no_key_breaks_the_screen(
    events: list[StreamEvent], steering: Wheel | None, size: tuple[int, int]
) -> None:
    async def press_all(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        for action in ACTIONS:
            for key in action.keys if action.name not in {"back", "live", "leave"} else ():
                await pilot.press(key)
                app.position.prompt = None
                assert len(app.screen_text()) == size[1], key

    assert visit(press_all, events, steering=steering, size=size).broken == ""


@pytest.mark.parametrize(("key", "reason"), [("t", Reason.BACK), ("q", Reason.LEFT), ("escape", Reason.BACK)])
def test_leaving(key: str, reason: Reason) -> None:
    assert visit(pressing(key)).return_value is reason


def test_escape_narrows_less_before_it_leaves() -> None:
    app = visit(pressing("tab", "enter", "question_mark", "escape", "escape", "escape"))
    assert app.return_value is None
    assert (app.position.helping, app.position.zoomed, app.position.focus) == (False, False, Focus.TREE)
    assert visit(pressing("tab", "escape", "escape")).return_value is Reason.BACK


def test_moving_in_the_tree() -> None:
    assert visit(pressing("g")).position.place == Place("apt")
    assert visit(pressing("g", "j", "down")).position.place == Place("apt", "download")
    assert visit(pressing("g", "j", "k", "up")).position.place == Place("apt")
    assert visit(pressing("G")).position.place == Place("npm")
    assert visit(pressing("g", "e")).position.place == Place("texlive", "update")


def test_tabs_are_turned_by_number_and_in_turn() -> None:
    assert visit(pressing("3")).position.tab is Tab.TIMELINE
    assert visit(pressing("l")).position.tab is Tab.GRAPH
    assert visit(pressing("left")).position.tab is Tab.CHANGES
    assert visit(pressing("4", "f")).position.tab is Tab.LOG


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "texlive:update.log"
    path.write_text("".join(f"[red]line[/red] {number}\n" for number in range(10_000)))
    return path


def test_markup_of_a_tool_is_text(log: Path) -> None:
    seen: list[str] = []
    visit(pressing(seen=seen), logs=lambda _plugin, _step: log)
    assert seen[-2].endswith("│[red]line[/red] 9999")


def test_scrolling_a_log_stops_following_until_its_end(log: Path) -> None:
    async def scroll(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        await pilot.press("tab", "k")
        top = app.position.top
        assert top is not None
        with log.open("a") as file:
            file.write("more\n" * 100)
        await pilot.press("k")
        assert app.position.top == top - 1
        assert "more" not in "".join(app.screen_text())
        await pilot.press("g")
        assert app.screen_text()[4].endswith("│[red]line[/red] 5100"), "older lines are not kept"
        await pilot.press("pagedown", "pageup", "G")
        assert app.position.top is None
        assert app.screen_text()[-2].endswith("│more")
        await pilot.press("pageup", "f")
        assert app.position.top is None

    visit(scroll, logs=lambda _plugin, _step: log)


def test_the_screen_follows_the_run() -> None:
    async def follow(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        await pilot.press("g", "j", "j", "j")
        app._view.apply(output("apt", "install", "something new"))
        deadline = 100
        while not any("something new" in line for line in app.screen_text()):
            deadline -= 1
            assert deadline
            await pilot.pause(0.05)
        assert any(
            "something new" in "".join(part.text for part in strip)
            for strip in app.screen._compositor.render_strips()
        )

    visit(follow)


@pytest.mark.parametrize(
    ("keys", "place"),
    [((), Place("apt", "refresh")), (("g",), Place("adb")), (("question_mark",), Place("apt", "refresh"))],
)
def test_what_begins_first_is_selected_unless_the_person_was_faster(
    keys: Sequence[str], place: Place
) -> None:
    """The screen is open before any step has begun; a plugin without a log stands above."""
    checked = CheckEvent(plugin_name="adb", status="up-to-date")
    announced, *_ = middle_of_a_run()

    async def follow(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        app.draw()
        app._view.apply(announced)
        app.draw()
        assert app.position.place == Place("apt", "refresh"), "it will begin first"
        await pilot.press(*keys)
        app._view.apply(start("apt", "refresh"))
        app.draw()
        app._view.apply(start("apt", "install"))
        app.draw()

    assert visit(follow, [checked]).position.place == place


def test_a_filter_narrows_as_it_is_typed_and_escape_lifts_it() -> None:
    seen: list[str] = []
    app = visit(pressing("slash", *"snap", seen=seen))
    assert seen[1].startswith(" Steps /snap")
    assert seen[-1] == "/snap_"
    assert app.position.place == Place("snap")
    assert visit(pressing("slash", *"snap", "enter")).position.filters[Focus.TREE] == "snap"
    assert visit(pressing("slash", *"snap", "escape")).position.filters[Focus.TREE] == ""
    assert visit(pressing("slash", *"sx", "backspace", "enter")).position.filters[Focus.TREE] == "s"
    assert visit(pressing("slash", *"sx", "ctrl+u", "enter")).position.filters[Focus.TREE] == ""


def test_keys_are_text_while_a_line_is_typed() -> None:
    app = visit(pressing("slash", *"qt"))
    assert app.return_value is None
    assert app.position.filters[Focus.TREE] == "qt"


def test_the_filter_of_the_pane_is_its_own(log: Path) -> None:
    seen: list[str] = []
    app = visit(pressing("tab", "slash", *"9998", "enter", seen=seen), logs=lambda _plugin, _step: log)
    assert app.position.filters == {Focus.TREE: "", Focus.PANE: "9998"}
    assert [line for line in seen if "│[red]" in line] == [seen[4]]


def test_the_run_is_steered() -> None:
    wheel = Wheel()
    seen: list[str] = []
    visit(pressing("s", "r", "ctrl+c", "p", seen=seen), steering=wheel)
    assert wheel.done == ["skip texlive:update", "retry texlive:update", "stop"]
    assert wheel.paused
    assert seen[-1] == "paused: nothing new starts; p goes on"
    assert "paused" in seen[0]
    assert last_line("p", "p", steering=Wheel()) == "going on"


def test_what_the_run_refuses_is_said() -> None:
    wheel = Wheel(refuses="is a transaction that must not be ended")
    assert last_line("s", steering=wheel) == "texlive update is a transaction that must not be ended"


@pytest.mark.parametrize("key", ["r", "s", "p", "i", "ctrl+c"])
def test_a_run_of_another_terminal_is_not_steered(key: str) -> None:
    shown = "ctrl-c" if key == "ctrl+c" else key
    assert last_line(key) == f"{shown}: this run belongs to another terminal: it is only watched here"


@pytest.mark.parametrize(
    ("key", "events", "reason"),
    [
        ("s", whole_run(), "s: the run has ended"),
        ("i", middle_of_a_run(), "i: no step takes input"),
        ("o", middle_of_a_run(), "o: update has no log: it has printed nothing"),
        ("e", middle_of_a_run()[:4], "e: no step has failed"),
        ("x", middle_of_a_run(), "x does nothing: ? shows the keys"),
    ],
)
def test_a_key_that_cannot_act_says_why(key: str, events: list[StreamEvent], reason: str) -> None:
    assert last_line(key, steering=Wheel(), events=events) == reason


def test_an_answer_is_typed_and_sent() -> None:
    wheel = Wheel(consoles={"apt:install": Asked()})
    seen: list[str] = []
    app = visit(pressing("i", *"yes", seen=seen), steering=wheel)
    assert seen[-1] == "answer for apt install: yes_"
    assert any("asks for an answer" in line for line in seen)
    assert app.position.place == Place("apt", "install")
    assert last_line("i", *"yes", "enter", steering=wheel) == "sent"
    assert wheel.done == ["answer apt:install yes"]
    assert last_line(steering=wheel) == "apt:install asks something: i to answer"


def test_a_secret_answer_is_hidden_and_a_failed_one_said() -> None:
    wheel = Wheel(consoles={"apt:install": Asked(hidden=True)}, refuses="it takes no input any more")
    assert last_line("i", *"s3cret", steering=wheel) == "answer for apt install: ******_"
    assert last_line("i", *"s3cret", "enter", steering=wheel) == "not sent: it takes no input any more"


def test_the_palette_finds_an_action_and_does_it() -> None:
    seen: list[str] = []
    visit(pressing("colon", *"timel", seen=seen))
    assert seen[1] == " Actions"
    assert "timeline" in seen[2]
    assert visit(pressing("colon", *"timel", "enter")).position.tab is Tab.TIMELINE
    assert last_line("colon", *"zzz", "enter") == "nothing is called zzz"
    assert last_line("colon", *"skip", "enter").startswith("s: this run belongs")
    assert visit(pressing("colon", "escape")).position.prompt is None


def test_help_lists_the_keys_and_scrolls() -> None:
    seen: list[str] = []
    visit(pressing("question_mark", seen=seen))
    assert seen[1] == " Keys"
    seen.clear()
    visit(pressing("question_mark", "G", seen=seen))
    assert any("back to the live view" in line for line in seen)
    app = visit(pressing("question_mark", "question_mark"))
    assert app.position.top is None, "the log is followed again"


def test_copying_takes_the_log_but_not_without_end(log: Path) -> None:
    app = visit(pressing("y"), logs=lambda _plugin, _step: log)
    assert app.clipboard.endswith("[red]line[/red] 9999")
    assert len(app.clipboard) == MOST_COPIED
    app = visit(pressing("4", "y"))
    assert "stable  1.97.0 → 1.98.0" in app.clipboard


def test_the_end_of_the_run_is_said_over_everything_else() -> None:
    async def end(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        await pilot.press("x")
        for event in whole_run()[len(middle_of_a_run()) :]:
            app._view.apply(event)
        app.draw()
        assert app.screen_text()[-1].startswith("The run was interrupted. q or esc: leave")
        assert app.return_value is None

    visit(end, steering=Wheel())


def test_a_warning_of_the_run_is_shown() -> None:
    async def warn(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        for event in hostile_run():
            app._view.apply(event)
        app._view.ended = None
        app.draw()
        assert app.screen_text()[-1].startswith("⚠ e")

    visit(warn)


def test_a_window_that_changes_its_size_is_filled() -> None:
    async def resize(app: FullScreenApp, pilot: Pilot[Reason]) -> None:
        for width, height in [(40, 10), (200, 60), (20, 3), (80, 24)]:
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            assert len(app.screen_text()) == height
            assert max(map(len, app.screen_text())) <= width

    visit(resize)


def test_an_error_of_the_screen_ends_it_and_shows_no_values(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(_plugin: str, _step: str) -> Path | None:
        secret = "hunter2"
        raise ZeroDivisionError(len(secret))

    async def opened() -> FullScreenApp:
        app = FullScreenApp(viewed(middle_of_a_run()), told([]), None, broken, Style())
        await app.run_async(headless=True, size=(80, 24))
        return app

    app = asyncio.run(opened())
    assert app.broken == "ZeroDivisionError: 7"
    assert app.return_value is None
    assert "hunter2" not in "".join(capfd.readouterr())
