"""Ask all plugins at once what could be updated."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from update_all.core.cleaning import clean_line
from update_all.core.errors import StepError, UpdateAllError
from update_all.core.models import CheckResult, CheckStatus
from update_all.core.streaming import CheckEvent, StreamEvent, WarningEvent
from update_all.core.verification import clean_versions
from update_all.plugins.base import BasePlugin

CHECK_SECONDS = 60.0
CHECKS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Checked:
    """A plugin with its answer, and the versions it has now where it can tell."""

    plugin: BasePlugin
    result: CheckResult
    versions: Mapping[str, str] | None = None


async def check_all(
    plugins: Sequence[BasePlugin], sink: Callable[[StreamEvent], None], *, with_versions: bool = False
) -> list[Checked]:
    """The answers in the order of the plugins; each is told to `sink` as it comes."""
    slots = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def one(plugin: BasePlugin) -> Checked:
        async with slots:
            began = time.monotonic()
            result = await check_one(plugin)
            shown = cleaned(result)
            sink(
                CheckEvent(
                    plugin_name=plugin.name,
                    status=shown.status.value,
                    updates=shown.updates,
                    reason=shown.reason,
                    duration_seconds=time.monotonic() - began,
                )
            )
            wanted = with_versions and result.status is not CheckStatus.UP_TO_DATE

            def warn(message: str) -> None:
                sink(WarningEvent(plugin_name=plugin.name, code="no-versions", message=message))

            return Checked(plugin, result, await versions_of(plugin, warn) if wanted else None)

    return list(await asyncio.gather(*(one(plugin) for plugin in plugins)))


def cleaned(answer: CheckResult) -> CheckResult:
    """An answer whose texts can be shown and kept: no control characters, no secrets.

    A plugin plans with its answer as it was: an item may be an address with a password in it.
    """
    updates = tuple(
        dataclasses.replace(
            change, item=clean_line(change.item), old=_cleaned(change.old), new=_cleaned(change.new)
        )
        for change in answer.updates
    )
    return dataclasses.replace(answer, updates=updates, reason=clean_line(answer.reason))


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean_line(text)


async def check_one(plugin: BasePlugin) -> CheckResult:
    """One answer; whatever goes wrong is "cannot know", never "up to date"."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await plugin.check()
    except TimeoutError:
        return CheckResult.cannot_know(f"no answer within {CHECK_SECONDS:g} s")
    except UpdateAllError as error:
        return CheckResult.cannot_know(error.described)
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; its bug is its answer
        return CheckResult.cannot_know(f"its check failed: {type(error).__name__}: {error}")


async def versions_of(plugin: BasePlugin, on_bug: Callable[[str], None]) -> Mapping[str, str] | None:
    """What the tool has installed, in clean texts; None where it cannot say. `on_bug` is told of a bug."""
    try:
        versions = await plugin.installed_versions()
    except (StepError, OSError, ValueError):
        return None
    except Exception as error:  # noqa: BLE001 - a plugin of anybody; its bug must not end what others do
        bug = f"{type(error).__name__}: {error}"
        on_bug(clean_line(f"what it changes cannot be told: its installed versions: {bug}"))
        return None
    return None if versions is None else clean_versions(versions)
