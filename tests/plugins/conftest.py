"""What the tests of the plugin contract share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from update_all.core.models import UpdateStep
from update_all.core.streaming import StreamEvent
from update_all.plugins.base import BasePlugin


@pytest.fixture
def create_step_plugin() -> Callable[[list[UpdateStep]], BasePlugin]:
    """The helper of the plan's appendix, as a fixture."""

    def create_step_plugin(steps: list[UpdateStep]) -> BasePlugin:
        """Create a test plugin with the given steps."""

        class TestStepPlugin(BasePlugin):
            @property
            def name(self) -> str:
                return "test-step-plugin"

            @property
            def command(self) -> str:
                return "echo"

            def get_update_steps(self) -> list[UpdateStep]:
                return steps

            async def _execute_update(self, _config: object) -> tuple[str, str | None]:
                return "", None

        return TestStepPlugin()

    return create_step_plugin


@pytest.fixture
def collect() -> Callable[[AsyncIterator[StreamEvent]], list[StreamEvent]]:
    """Runs an event stream to its end."""

    def collect(stream: AsyncIterator[StreamEvent]) -> list[StreamEvent]:
        async def events() -> list[StreamEvent]:
            return [event async for event in stream]

        return asyncio.run(events())

    return collect
