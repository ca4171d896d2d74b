"""What happens around a run: hooks of the user's own, notifications, and what is left to do afterwards.

Nothing here fails a run: what goes wrong is returned as text, to be shown as a warning.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from update_all.core.aftermath import Aftermath, look
from update_all.core.cleaning import clean_line, secrets_of
from update_all.core.config_schema import Config, NotifyConfig
from update_all.core.models import JsonValue
from update_all.ui.text import Style
from update_all.ui.view import RunView

HOOK_SECONDS = 60.0
NOTIFY_SECONDS = 2.0

Document = Mapping[str, JsonValue]


async def before_run(config: Config, document: Document) -> list[str]:
    """Run `hooks.before` with the plan on standard input; what went wrong."""
    return await _hook("before", config.hooks.before, document)


async def after_run(config: Config, document: Document, view: RunView) -> list[str]:
    """Run `hooks.after` with the result on standard input, then notify; what went wrong."""
    problems = await _hook("after", config.hooks.after, document)
    return problems + await notify(config.notify, view)


async def _hook(when: str, argv: Sequence[str], document: Document) -> list[str]:
    if not argv:
        return []
    problem = await run_hook(argv, document)
    return [f"the hook hooks.{when} ({clean_line(argv[0], 200)}) {problem}"] if problem else []


async def run_hook(argv: Sequence[str], document: Document, *, timeout: float = HOOK_SECONDS) -> str:
    """Run a program with a JSON document on standard input. "" when it passed, else what it did instead.

    `~` in the program's path is the home directory. The program gets files, not pipes, so that it may leave
    the input unread and children behind; its process group is killed after `timeout` seconds.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(json.dumps(document).encode() + b"\n")
        given.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                _program(argv[0]), *argv[1:], stdin=given, stdout=said, stderr=said, process_group=0
            )
        except OSError as error:
            return f"could not be started: {error.strerror}"
        try:
            async with asyncio.timeout(timeout):
                code = await process.wait()
        except TimeoutError:
            return f"was ended after {timeout:g} s"
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return "" if code == 0 else f"exited with {code}{_last_line(said)}"


def _program(name: str) -> str:
    return str(Path(name).expanduser()) if name.startswith("~") else name


def _last_line(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - 4096))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return f": {clean_line(lines[-1], 300, secrets_of(os.environ))}" if lines else ""


async def notify(settings: NotifyConfig, view: RunView) -> list[str]:
    """Tell the desktop and ntfy about a run that took long enough, each within 2 seconds."""
    if view.elapsed(view.ended or 0.0) < settings.after_seconds:
        return []
    title, text = notification(view)
    problems: list[str] = []
    if settings.desktop:
        problems += await _notify_desktop(title, text)
    if settings.ntfy:
        problems += await _notify_ntfy(settings.ntfy, title, text)
    return problems


def notification(view: RunView) -> tuple[str, str]:
    """Title (ASCII) and text of a notification. Pure."""
    from update_all.ui.summary import summary

    names = sorted({failure.plugin for failure in view.failures})
    if view.interrupted:
        title = "update-all was interrupted"
    elif names:
        title = "update-all: some steps failed"
    elif view.exit_code:
        title = "update-all: not everything was done"
    else:
        title = "update-all is done"
    text = summary(view, 1000, Style())[0]
    if names:
        text += f"\nFailed: {', '.join(names)}."
    return title, text + ("\nGo on with: update-all resume" if names or view.exit_code else "")


async def _notify_desktop(title: str, text: str) -> list[str]:
    program = shutil.which("notify-send")
    if program is None:
        return ["no desktop notification: notify-send is not installed"]
    argv = [program, "--app-name=update-all", "--", title, text]
    problem = await run_hook(argv, {}, timeout=NOTIFY_SECONDS)
    return [f"no desktop notification: notify-send {problem}"] if problem else []


async def _notify_ntfy(address: str, title: str, text: str) -> list[str]:
    """One POST as in ntfy's documentation, /publish/: the text is the body, the title a header."""
    from urllib.parse import urlsplit

    import httpx2

    try:
        # Raises ValueError for a port that no connection could be made to.
        _ = urlsplit(address).port
        async with asyncio.timeout(NOTIFY_SECONDS), httpx2.AsyncClient(follow_redirects=False) as client:
            answer = await client.post(address, content=text.encode(), headers={"Title": title})
    except TimeoutError:
        return [f"no ntfy notification: no answer within {NOTIFY_SECONDS:g} s"]
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        return [f"no ntfy notification: {clean_line(str(error) or type(error).__name__, 300)}"]
    return [] if answer.is_success else [f"no ntfy notification: the server answered {answer.status_code}"]


def left_to_do(view: RunView, root: Path = Path("/")) -> Aftermath:
    """What this machine needs after a run; nothing is asked for where nothing has changed."""
    if not any(row.changes for row in view.plugins.values()):
        return Aftermath()
    return look(root)
