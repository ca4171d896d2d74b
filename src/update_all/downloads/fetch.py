"""Downloads that resume, verify and never take more than was announced."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from update_all.core.errors import DownloadError, DownloadRefusedError, IntegrityError
from update_all.core.models import Phase
from update_all.core.streaming import ProgressEvent, StreamEvent, WarningEvent
from update_all.downloads.addresses import Address, public_form
from update_all.downloads.cache import Cache
from update_all.downloads.documents import fetch_bytes
from update_all.downloads.pace import Clock, SlowGuard, Throttle, Ticker, backoff
from update_all.downloads.part import Part
from update_all.downloads.spec import DownloadSettings, DownloadSpec, TrustLevel, require_trust
from update_all.downloads.transport import (
    TransientError,
    looks_like_html,
    new_client,
    open_response,
    portal_error,
)
from update_all.downloads.verify import SignatureStatus, same_digest, verify_signature

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

_GOOD_PROGRESS_BYTES = 1024 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


async def fetch(
    spec: DownloadSpec,
    cache: Cache,
    *,
    settings: DownloadSettings | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[StreamEvent, None]:
    """Bring a file into the cache, verified; `await cache.verified(spec)` is then its path.

    Yields ProgressEvents (at most ten a second; bytes, and the rate in the message) and a WarningEvent for
    what a person should know. An unfinished file is continued where the server has ranges; what breaks off is
    tried again with growing pauses. Raises DownloadRefusedError, IntegrityError or DownloadError; wrong bytes
    are deleted, unfinished ones kept for the next call.
    """
    settings = settings or DownloadSettings()
    require_trust(spec, settings)
    async with cache.exclusive(spec):
        path = await cache.lookup(spec) if spec.digest else None
        if path is not None:
            yield _progress(spec, path.stat().st_size, path.stat().st_size, "in the cache")
            return
        part = await asyncio.to_thread(cache.open_part, spec)
        with part:
            transfer = _Transfer(spec, cache, part, settings, clock or Clock())
            async with new_client(settings) as client, aclosing(transfer.run(client)) as events:
                async for event in events:
                    yield event


def _progress(spec: DownloadSpec, received: int, total: int | None, message: str) -> ProgressEvent:
    percent = min(100.0, 100.0 * received / total) if total else None
    return ProgressEvent(
        phase=Phase.DOWNLOAD,
        percent=percent,
        message=f"{spec.filename}: {message}",
        bytes_downloaded=received,
        bytes_total=total,
    )


class _Transfer:
    """One call of `fetch`: tries, until the part is whole, verified and kept."""

    def __init__(
        self, spec: DownloadSpec, cache: Cache, part: Part, settings: DownloadSettings, clock: Clock
    ) -> None:
        self.spec, self.cache, self.part = spec, cache, part
        self.settings, self.clock = settings, clock
        self.total = spec.size
        self.restarted = False
        self.throttle = Throttle(settings.bandwidth)

    async def run(self, client: AsyncClient) -> AsyncGenerator[StreamEvent, None]:
        tries, best = 1, self.part.size
        while True:
            try:
                async with aclosing(self._attempt(client)) as events:
                    async for event in events:
                        yield event
                digest = await self._require_digest()
                break
            except TransientError as error:
                gained = self.part.size - best >= _GOOD_PROGRESS_BYTES
                best = max(best, self.part.size)
                tries = 1 if gained else tries + 1
                if tries > self.settings.attempts:
                    message = f"{error.message} ({self.settings.attempts} tries)"
                    raise DownloadError(message, hint=error.hint) from None
                pause = backoff(
                    max(1, tries - 1), self.settings.backoff_seconds, self.clock.random(), error.retry_after
                )
                message = f"{error.message}; next try in {pause:.1f} s"
                yield _progress(self.spec, self.part.size, self.total, message)
                await self.clock.sleep(pause)
        warning = await self._check_signature()
        if warning is not None:
            yield warning
        await asyncio.to_thread(self.cache.keep, self.spec, self.part, digest)
        await asyncio.to_thread(self.cache.prune)
        yield _progress(self.spec, self.part.size, self.part.size, self._trust(warning))

    def _trust(self, warning: WarningEvent | None) -> str:
        if self.spec.trust is TrustLevel.TLS_ONLY:
            return "unverified"
        return f"verified ({'checksum only' if warning else self.spec.trust})"

    async def _attempt(self, client: AsyncClient) -> AsyncGenerator[StreamEvent, None]:
        part, spec = self.part, self.spec
        if part.size and part.size == spec.size:
            return
        address = Address(spec.url, spec.headers, spec.allowed_hosts, self._http_hosts())
        async with open_response(client, address, self.settings, self._range_headers()) as response:
            total, chunks = self._announced(response), response.aiter_raw()
            chunk = await anext(chunks, b"")
            self._begin(response, total, chunk)
            now = self.clock.now()
            ticker = Ticker(now, base=part.size)
            guard = SlowGuard(self.settings.slow_bytes, self.settings.slow_seconds)
            guard.too_slow(part.size, now)
            while chunk:
                self._require_room(chunk)
                await part.append(chunk)
                now = self.clock.now()
                if guard.too_slow(part.size, now):
                    raise TransientError(
                        f"{public_form(spec.url)}: less than {guard.minimum} bytes a second"
                        f" for {guard.seconds:g} s"
                    )
                if ticker.due(now):
                    rate = ticker.rate(part.size, now)
                    yield _progress(spec, part.size, self.total, f"{rate / 1e6:.1f} MB/s")
                if delay := self.throttle.delay(len(chunk), now):
                    await self.clock.sleep(delay)
                chunk = await anext(chunks, b"")
        if self.total is not None and part.size != self.total:
            raise TransientError(f"{public_form(spec.url)}: ended after {part.size} of {self.total} bytes")

    def _http_hosts(self) -> frozenset[str]:
        return self.settings.http_hosts if self.spec.digest else frozenset()

    def _range_headers(self) -> dict[str, str]:
        validator = self.cache.validator(self.spec)
        if self.part.size and validator is None and self.spec.digest is None:
            self.part.reset()
        if not self.part.size:
            return {}
        headers = {"Range": f"bytes={self.part.size}-"}
        return {**headers, "If-Range": validator} if validator else headers

    def _announced(self, response: Response) -> int | None:
        """The file's length, from the headers. Checks status, range, limit and free space."""
        part, spec, where = self.part, self.spec, public_form(str(response.url))
        if response.status_code == 416:
            part.reset()
            raise TransientError(f"{where}: the server has no such range, starting anew")
        if response.status_code == 206:
            if not part.size:
                raise DownloadError(f"{where}: a part (status 206) came where the whole file was asked for")
            total = _range_total(response.headers.get("content-range", ""), part.size, where)
        else:
            total = _number(response.headers.get("content-length"))
        if total is not None and spec.size is None and total > spec.limit:
            raise DownloadRefusedError(f"{where}: {total} bytes, more than the limit of {spec.limit}")
        self.total = spec.size if spec.size is not None else total
        if self.total is not None:
            self.cache.require_space(spec, self.total - part.size)
        return total

    def _begin(self, response: Response, total: int | None, first: bytes) -> None:
        """Refuse a web page and a wrong length; only then reset the part where the server starts anew: a
        log-in page must not cost what was fetched before.
        """
        part, spec = self.part, self.spec
        whole = response.status_code != 206
        wants_page = spec.filename.endswith((".html", ".htm"))
        content_type = response.headers.get("content-type", "")
        if whole and not wants_page and looks_like_html(content_type, first):
            raise portal_error(spec.url)
        if total is not None and spec.size is not None and total != spec.size:
            where = public_form(str(response.url))
            raise IntegrityError(f"{where}: wrong length: expected {spec.size} bytes, the server has {total}")
        if whole:
            part.reset()
        else:
            part.carried = part.size
        self.cache.note(spec, "validator", _strong_validator(response))

    def _require_room(self, chunk: bytes) -> None:
        """Refuse more bytes than were announced, before they are written."""
        part, spec = self.part, self.spec
        if part.size + len(chunk) > spec.limit:
            part.reset()
            raise IntegrityError(
                f"{public_form(spec.url)}: wrong length: expected at most {spec.limit} bytes, more came"
            )

    async def _require_digest(self) -> str:
        part, spec = self.part, self.spec
        found = await part.finish()
        if spec.digest is None or same_digest(found, spec.digest):
            return found
        continued, self.restarted = part.carried and not self.restarted, True
        part.reset()
        if continued:
            raise TransientError(f"{spec.filename}: what was continued does not match, starting anew")
        part.delete()
        raise IntegrityError(f"{spec.filename}: wrong checksum: expected {spec.digest}, got {found}")

    async def _check_signature(self) -> WarningEvent | None:
        """Raise IntegrityError for a bad signature; a warning where nothing vouches for the file, or where
        gpgv is missing but a digest matched.
        """
        signature = self.spec.signature
        if self.spec.trust is TrustLevel.TLS_ONLY:
            return WarningEvent(
                message=f"{self.spec.filename} is unverified: its publisher offers no checksum, no signature",
                code="unverified",
            )
        if signature is None:
            return None
        allowed = self.spec.allowed_hosts
        data = await fetch_bytes(
            signature.url, allowed_hosts=allowed, settings=self.settings, clock=self.clock
        )
        with self.cache.scratch(self.spec, "signature", data) as path:
            check = await verify_signature(self.part.path, path, signature.keyring)
        if check.good:
            return None
        if check.status is SignatureStatus.NO_TOOL and self.spec.digest is not None:
            return WarningEvent(
                message=f"{self.spec.filename}: gpgv is not installed, only the checksum was verified",
                code="signature-unchecked",
                hint="install gpgv",
            )
        self.part.delete()
        raise IntegrityError(
            f"{self.spec.filename}: the signature is not good: expected a key of {signature.keyring.name},"
            f" got {check.status}",
            hint=f"if the publisher has a new key, put it into {signature.keyring}",
        )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _range_total(header: str, offset: int, where: str) -> int | None:
    """The file's length from a Content-Range (RFC 9110 section 14.4) that must begin at `offset`."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is None or int(match[1]) != offset:
        raise DownloadError(
            f"{where}: wrong range: asked for the bytes from {offset}, the server answered {header!r}"
        )
    total = _number(match[3])
    if total is not None and int(match[2]) != total - 1:
        raise DownloadError(f"{where}: wrong range: {header!r} does not reach the end of the file")
    return total


def _strong_validator(response: Response) -> str | None:
    """An ETag that is not weak: what If-Range may hold (RFC 9110 section 13.1.5)."""
    etag = response.headers.get("etag", "")
    return str(etag) if etag.startswith('"') else None
