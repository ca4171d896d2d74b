"""Which addresses may be asked, and where a redirect may lead. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urljoin, urlsplit

from update_all.core.errors import DownloadRefusedError

MAX_REDIRECTS = 5
_KEPT_ABROAD = frozenset({"accept", "user-agent", "range", "if-range", "accept-encoding"})


@dataclass(frozen=True, slots=True)
class Address:
    """One request: where, with what, and what bounds it. `headers` never leave the first origin."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allowed_hosts: Sequence[str] = ()
    http_hosts: frozenset[str] = frozenset()


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1, and the name localhost (RFC 6761 section 6.3)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def public_form(url: str) -> str:
    """The URL without user name, query and fragment, which may hold secrets."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise DownloadRefusedError(f"{url!r} is no valid address") from None
    if any(ord(character) <= 32 or ord(character) == 127 for character in url) or "\\" in url:
        raise DownloadRefusedError(f"{url!r} holds blanks or control characters")
    return parts


def _host_allowed(host: str, allowed: Sequence[str]) -> bool:
    return any(host.endswith(name[1:]) if name.startswith("*.") else host == name for name in allowed)


def require_address(url: str, address: Address) -> None:
    """Raise DownloadRefusedError unless `url` may be asked on behalf of `address`."""
    parts = _split(url)
    host = parts.hostname or ""
    if parts.scheme not in {"https", "http"} or not host:
        raise DownloadRefusedError(f"{public_form(url)}: only https addresses are fetched")
    if parts.username is not None or parts.password is not None:
        raise DownloadRefusedError(f"{public_form(url)}: the address holds a user name or password")
    if parts.scheme == "http" and not is_loopback(host) and host not in address.http_hosts:
        raise DownloadRefusedError(
            f"{public_form(url)}: plain http is refused",
            hint="use the https address; to allow this host for files whose checksum is known:"
            f" update-all config set downloads.allow_http {host}",
        )
    if address.allowed_hosts and not _host_allowed(host, address.allowed_hosts):
        raise DownloadRefusedError(
            f"{public_form(url)}: {host} is none of the hosts allowed for this download:"
            f" {', '.join(address.allowed_hosts)}"
        )


def redirect_target(current: str, location: str, address: Address) -> str:
    """The next address. Raises DownloadRefusedError for a downgrade or a place that must not be asked.

    Also refuses to be led from a public host to this machine.
    """
    try:
        url = urljoin(current, location)
    except ValueError:
        raise DownloadRefusedError(f"{public_form(current)} redirects to {location!r}: no address") from None
    before, after = _split(current), _split(url)
    if before.scheme == "https" and after.scheme != "https":
        raise DownloadRefusedError(
            f"{public_form(current)} redirects to {public_form(url)}: https must not become {after.scheme}"
        )
    if is_loopback(after.hostname or "") and not is_loopback(before.hostname or ""):
        raise DownloadRefusedError(f"{public_form(current)} redirects to this machine: {public_form(url)}")
    require_address(url, address)
    return url


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def headers_for(url: str, address: Address) -> dict[str, str]:
    """The caller's headers; abroad (another scheme, host or port) only those that cannot hold a secret."""
    if _origin(url) == _origin(address.url):
        return dict(address.headers)
    return {name: value for name, value in address.headers.items() if name.lower() in _KEPT_ABROAD}
