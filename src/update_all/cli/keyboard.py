"""What the keys of the live view do; the terminal is as it was when somebody else has it, and at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence

from update_all.cli.aside import Screen
from update_all.cli.attachment import Attachment
from update_all.core.steering import Steering
from update_all.ui.footer import MOST_CHOICES, Footer
from update_all.ui.keys import ENTER, in_foreground, keys_in, single_keys
from update_all.ui.live import LivePrinter
from update_all.ui.view import RunView, State

Chosen = Callable[[str], None]


class Keyboard:
    """Reads the keys of `terminal` while it is awake; a context manager of the run's event loop."""

    def __init__(
        self,
        steering: Steering,
        printer: LivePrinter,
        screen: Screen,
        full_screen: Callable[[], Awaitable[object]],
        terminal: int = 0,
    ) -> None:
        self._steering = steering
        self._printer = printer
        self._screen = screen
        self._full_screen = full_screen
        self._terminal = terminal
        self._awake = contextlib.ExitStack()
        self._is_awake = False
        self._asides = 0
        self._attachment: Attachment | None = None
        self._visit: asyncio.Future[object] | None = None
        self._ending = False
        self._note = ""
        self._all_keys = False
        self._question = ""
        self._choices: tuple[str, ...] = ()
        self._chosen: Chosen = lambda _: None

    def __enter__(self) -> Keyboard:
        loop = asyncio.get_running_loop()
        self._screen.keyboard = self.aside
        self._printer.footer = self.footer
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        loop.add_signal_handler(signal.SIGCONT, self._wake)
        self._wake()
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTSTP)
        loop.remove_signal_handler(signal.SIGCONT)
        self._screen.keyboard = contextlib.nullcontext
        self._asides += 1
        self._leave_attachment()
        if self._visit is not None:
            self._visit.cancel()
        self._rest()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Leave the terminal to somebody else."""
        self._asides += 1
        self._leave_attachment()
        self._rest()
        try:
            yield
        finally:
            self._asides -= 1
            self._wake()

    def footer(self) -> Footer:
        """What the last line of the live view is about now."""
        takes = self._steering.wants_input()
        return Footer(
            paused=self._steering.paused,
            ending=self._ending,
            answers_wanted=sum(map(self._steering.waits, takes)),
            takes_input=bool(takes),
            question=self._question,
            choices=self._choices,
            note=self._note,
            all_keys=self._all_keys,
        )

    def press(self, key: str) -> None:
        """Do what a key is for."""
        self._note, self._all_keys = "", False
        if self._question:
            self._answer(key)
            return
        acts = {
            "p": self._pause,
            "s": self._skip,
            "q": self._finish,
            "i": self._input,
            "t": self._look,
            "?": self._show_keys,
            ENTER: self._show_keys,
        }
        act = acts.get(key)
        if act is not None:
            act()

    def _pause(self) -> None:
        if not self._ending:
            self._steering.pause(not self._steering.paused)

    def _finish(self) -> None:
        self._ending = True
        self._steering.finish()
        self._note = "Nothing new starts; what runs goes on to its end. Ctrl-C ends it sooner."

    def _skip(self) -> None:
        def skip(step_id: str) -> None:
            self._note = self._steering.skip(step_id) or f"{step_id} is skipped"

        self._choose("Skip", may_skip(self._printer.view), skip, sure=False)

    def _input(self) -> None:
        takes = self._steering.wants_input()
        if takes:
            self._choose("Answer", takes, self._attach, sure=True)
        else:
            self._note = "no step takes input now"

    def _look(self) -> None:
        self._begin(self._full_screen())

    def _show_keys(self) -> None:
        self._all_keys = True

    def _choose(self, verb: str, steps: Sequence[str], chosen: Chosen, *, sure: bool) -> None:
        """Ask which one, unless there is only one and it is `sure`."""
        if not steps:
            self._note = f"there is no step to {verb.lower()}"
        elif len(steps) == 1 and sure:
            chosen(steps[0])
        elif len(steps) == 1:
            self._question, self._choices = f"{verb} {steps[0]}?", ()
            self._chosen = lambda key: chosen(steps[0]) if key in {"y", "Y"} else None
        else:
            self._question, self._choices = f"{verb} which?", tuple(steps[:MOST_CHOICES])
            self._chosen = lambda key: _numbered(key, steps[:MOST_CHOICES], chosen)

    def _answer(self, key: str) -> None:
        chosen = self._chosen
        self._question, self._choices = "", ()
        chosen(key)

    def _attach(self, step_id: str) -> None:
        self._begin(self._answer_step(step_id))

    def _begin(self, visit: Awaitable[object]) -> None:
        self._visit = asyncio.ensure_future(visit)

    async def _answer_step(self, step_id: str) -> None:
        borrower = self._steering.borrower(step_id)
        if borrower is not None:
            with self._screen.step_aside(f"--- {step_id} reads this terminal; ctrl-z comes back ---"):
                self._note = await borrower.borrow()
            return
        console = self._steering.console(step_id)
        if console is None:
            return
        with self._screen.step_aside(f"--- {step_id}: keys go to it; ctrl-] comes back to the live view ---"):
            self._attachment = Attachment(console, self._terminal)
            try:
                await self._attachment.run(lambda: self._steering.console(step_id) is console)
            except OSError as error:
                self._note = f"{step_id} cannot be reached: {error.strerror}"
            finally:
                self._attachment = None

    def _leave_attachment(self) -> None:
        if self._attachment is not None:
            self._attachment.leave()

    def _wake(self) -> None:
        """Read keys again, if the terminal is ours and nobody else uses it."""
        if self._is_awake or self._asides or not in_foreground(self._terminal):
            return
        with contextlib.suppress(OSError):
            self._awake.enter_context(single_keys(self._terminal))
            loop = asyncio.get_running_loop()
            loop.add_reader(self._terminal, self._read)
            self._awake.callback(loop.remove_reader, self._terminal)
            self._is_awake = True

    def _rest(self) -> None:
        self._is_awake = False
        self._awake.close()

    def _read(self) -> None:
        if not in_foreground(self._terminal):
            # SIGCONT tells when it is ours again.
            self._rest()
            return
        try:
            data = os.read(self._terminal, 1024)
        except OSError:
            data = b""
        if not data:
            self._rest()
        for key in keys_in(data):
            self.press(key)

    def _stop(self) -> None:
        """Ctrl-Z: stop like any program, the terminal as it was."""
        if self._asides == 0:
            self._printer.suspend()
        self._rest()
        loop = asyncio.get_running_loop()
        loop.remove_signal_handler(signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGTSTP)
        loop.add_signal_handler(signal.SIGTSTP, self._stop)
        self._wake()


def may_skip(view: RunView) -> list[str]:
    """The steps that run, and the next one of each plugin that waits, as ids."""
    running: list[str] = []
    waiting: list[str] = []
    for plugin, row in view.plugins.items():
        states = {name: step.state for name, step in row.steps.items()}
        running += [f"{plugin}:{name}" for name, state in states.items() if state is State.RUNNING]
        following = [name for name, state in states.items() if state is State.WAITING]
        if row.state is State.WAITING and following:
            waiting.append(f"{plugin}:{following[0]}")
    return running + waiting


def _numbered(key: str, steps: Sequence[str], chosen: Chosen) -> None:
    if key.isdecimal() and 0 < int(key) <= len(steps):
        chosen(steps[int(key) - 1])
