"""One HTTP request under our own rules for redirects, headers and failures."""

from __future__ import annotations

import email.utils
import math
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

from update_all.core.errors import DownloadError, DownloadRefusedError
from update_all.downloads.addresses import (
    MAX_REDIRECTS,
    Address,
    headers_for,
    public_form,
    redirect_target,
    require_address,
)
from update_all.downloads.spec import DownloadSettings

if TYPE_CHECKING:
    from httpx2 import AsyncClient, Response

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_OFFLINE_HINT = "is this machine online, and the address right?"
_STATUS_HINTS = {
    **dict.fromkeys((403, 429), "the server may limit how often it is asked: try again in an hour"),
    **dict.fromkeys((404, 410), "it may not be published in full yet: try again later"),
    **dict.fromkeys((500, 502, 503, 504), "the server has a fault of its own: try again later"),
}
_PORTAL_HINT = "open a web page in a browser: this network may want you to log in first"


class TransientError(DownloadError):
    """A failure that may pass: the download tries again. `retry_after` is the server's wish in seconds."""

    def __init__(self, message: str, *, hint: str = "", retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


def new_client(settings: DownloadSettings) -> AsyncClient:
    """A client that verifies certificates (`SSL_CERT_FILE` is honoured), TLS 1.2 or newer."""
    import httpx2

    return httpx2.AsyncClient(
        verify=_trusted(*(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))),
        timeout=httpx2.Timeout(settings.read_seconds, connect=settings.connect_seconds),
        follow_redirects=False,
        headers={"User-Agent": "update-all", "Accept-Encoding": "identity"},
    )


@lru_cache(maxsize=4)
def _trusted(*_paths: str | None) -> ssl.SSLContext:
    """Certificates are read once for all downloads of a process: it takes 30 ms, half of a small file."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@contextmanager
def _faults_of(url: str, settings: DownloadSettings) -> Iterator[None]:
    import httpx2

    where, hint = public_form(url), ""
    try:
        yield
    except httpx2.TransportError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise DownloadRefusedError(
                f"{where}: the server's certificate is not trusted: {error}", hint=_PORTAL_HINT
            ) from None
        match error:
            case httpx2.ConnectTimeout():
                text, hint = f"no connection within {settings.connect_seconds:g} s", _OFFLINE_HINT
            case httpx2.ConnectError():
                text, hint = f"no connection: {str(error) or type(error).__name__}", _OFFLINE_HINT
            case httpx2.TimeoutException():
                text = f"the server sent nothing for {settings.read_seconds:g} s"
            case httpx2.RemoteProtocolError():
                text = f"the connection broke off: {error}"
            case httpx2.UnsupportedProtocol() | httpx2.LocalProtocolError():
                raise DownloadError(f"{where}: {error}") from None
            case _:
                text = str(error) or type(error).__name__
        raise TransientError(f"{where}: {text}", hint=hint) from None
    except (httpx2.InvalidURL, httpx2.StreamError) as error:
        raise DownloadError(f"{where}: {error}") from None


@asynccontextmanager
async def open_response(
    client: AsyncClient, address: Address, settings: DownloadSettings, extra: dict[str, str] | None = None
) -> AsyncIterator[Response]:
    """The final response to a GET, with its body unread. Follows at most five redirects.

    `extra` headers (a range) go along to every host. Raises DownloadRefusedError for an address or redirect
    that the rules forbid, TransientError for what may pass, DownloadError for other answers than 2xx.
    """
    url = address.url
    require_address(url, address)
    for _ in range(MAX_REDIRECTS + 1):
        client.cookies.clear()
        with _faults_of(url, settings):
            request = client.build_request("GET", url, headers={**headers_for(url, address), **(extra or {})})
            response = await client.send(request, stream=True)
            try:
                if response.status_code not in _REDIRECTS:
                    _require_success(response, url)
                    yield response
                    return
            finally:
                await response.aclose()
        location = response.headers.get("location")
        if not location:
            raise DownloadError(f"{public_form(url)}: status {response.status_code} without an address")
        url = redirect_target(url, location, address)
    raise DownloadRefusedError(f"{public_form(address.url)}: more than {MAX_REDIRECTS} redirects")


def _require_success(response: Response, url: str) -> None:
    status = response.status_code
    if status in {200, 206, 416}:
        return
    where = public_form(url)
    if status == 511:
        raise DownloadError(f"{where}: the network wants a log-in first (status 511)", hint=_PORTAL_HINT)
    if status in _TRANSIENT:
        wait = retry_after(response.headers.get("retry-after", ""), time.time())
        hint = _STATUS_HINTS.get(status, "")
        raise TransientError(f"{where}: the server answered {status}", hint=hint, retry_after=wait)
    raise DownloadError(
        f"{where}: the server answered {status} {response.reason_phrase}".rstrip(),
        hint=_STATUS_HINTS.get(status, ""),
    )


def retry_after(value: str, now: float) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 section 10.2.3): a number or a date; None if neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            parsed = email.utils.parsedate_tz(value)
            seconds = math.nan if parsed is None else email.utils.mktime_tz(parsed) - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def looks_like_html(content_type: str, head: bytes) -> bool:
    """Whether a body is a web page: the mark of a captive portal where a file was asked for."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    declared = content_type.lower().startswith("text/html") and start[:1] in {b"<", b""}
    return declared or start.startswith((b"<!doctype html", b"<html"))


def portal_error(url: str) -> DownloadError:
    """The error for a web page where a file was expected."""
    return DownloadError(f"{public_form(url)}: a web page came instead of the file", hint=_PORTAL_HINT)
