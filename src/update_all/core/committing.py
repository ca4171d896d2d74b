"""Group commit: transitions recorded in one turn of the event loop share their flushes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from update_all.core.errors import StateError
from update_all.core.state import StateStore


class Committer:
    """Makes recorded transitions durable, and tells those who wait for it."""

    def __init__(self, store: StateStore, on_failure: Callable[[StateError], None]) -> None:
        self._store = store
        self._on_failure = on_failure
        self._waiting: list[asyncio.Future[None]] = []
        self.failure: StateError | None = None

    def durable(self) -> asyncio.Future[None]:
        """A future that is done when everything recorded by now is durable; it raises StateWriteError."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._commit)
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        return future

    def check(self) -> None:
        """Raise what made the last commit fail: nothing may start any more."""
        if self.failure is not None:
            raise self.failure

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self.check()
            self._store.commit()
        except StateError as error:
            if self.failure is None:
                self.failure = error
                self._on_failure(error)
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # Whoever waited for it may be gone.
        else:
            for future in waiting:
                if not future.done():
                    future.set_result(None)
