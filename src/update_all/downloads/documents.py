"""Small documents: feeds, lists of checksums, signatures. The same rules as for files, in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from update_all.core.errors import DownloadError, DownloadRefusedError
from update_all.core.models import JsonValue
from update_all.downloads.addresses import Address, public_form
from update_all.downloads.pace import Clock, SlowGuard, backoff
from update_all.downloads.spec import DownloadSettings
from update_all.downloads.transport import (
    TransientError,
    looks_like_html,
    new_client,
    open_response,
    portal_error,
)

if TYPE_CHECKING:
    from httpx2 import AsyncClient

METADATA_BYTES = 5 * 1024 * 1024
"""The most that a document may be (the figure of The Update Framework's client)."""


async def fetch_bytes(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    allowed_hosts: Sequence[str] = (),
    max_bytes: int = METADATA_BYTES,
    settings: DownloadSettings | None = None,
    clock: Clock | None = None,
) -> bytes:
    """A small document (feed, checksums, signature) under the same rules. Raises DownloadError."""
    settings, clock = settings or DownloadSettings(), clock or Clock()
    address = Address(url, headers or {}, allowed_hosts)
    async with new_client(settings) as client:
        for tries in range(1, settings.attempts + 1):
            try:
                return await _read_small(client, address, settings, clock, max_bytes)
            except TransientError as error:
                if tries == settings.attempts:
                    raise DownloadError(f"{error.message} ({tries} tries)", hint=error.hint) from None
                await clock.sleep(backoff(tries, settings.backoff_seconds, clock.random(), error.retry_after))
    raise AssertionError("attempts must be positive")


async def _read_small(
    client: AsyncClient, address: Address, settings: DownloadSettings, clock: Clock, max_bytes: int
) -> bytes:
    data = bytearray()
    guard = SlowGuard(settings.slow_bytes, settings.slow_seconds)
    guard.too_slow(0, clock.now())
    async with open_response(client, address, settings) as response:
        if response.status_code != 200:
            raise DownloadError(f"{public_form(address.url)}: the server answered {response.status_code}")
        async for chunk in response.aiter_raw():
            data += chunk
            if len(data) > max_bytes:
                raise DownloadRefusedError(f"{public_form(address.url)}: more than {max_bytes} bytes")
            if guard.too_slow(len(data), clock.now()):
                raise TransientError(f"{public_form(address.url)}: the server is too slow")
        if looks_like_html(response.headers.get("content-type", ""), bytes(data[:64])):
            raise portal_error(address.url)
    return bytes(data)


async def fetch_text(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    allowed_hosts: Sequence[str] = (),
    settings: DownloadSettings | None = None,
) -> str:
    """A small text document, UTF-8. Raises DownloadError."""
    data = await fetch_bytes(url, headers=headers, allowed_hosts=allowed_hosts, settings=settings)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise DownloadError(f"{public_form(url)}: not text in UTF-8") from None


async def fetch_json(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    allowed_hosts: Sequence[str] = (),
    settings: DownloadSettings | None = None,
) -> JsonValue:
    """A JSON document of at most 5 MiB. Raises DownloadError; the caller checks its shape."""
    text = await fetch_text(url, headers=headers, allowed_hosts=allowed_hosts, settings=settings)
    try:
        return cast("JsonValue", json.loads(text))
    except (ValueError, RecursionError):
        raise DownloadError(
            f"{public_form(url)}: not the expected JSON", hint="is a log-in needed?"
        ) from None
