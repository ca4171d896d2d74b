"""The one border that text from outside crosses: control sequences out, invisible characters marked,
secrets redacted. Pure but for one thing: unless told otherwise, `clean` and `clean_line` know the secrets of
the environment that this process was started with.

Most commands clean a few plain lines, so patterns are compiled, and modules imported, when a text needs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache, cached_property, lru_cache

TYPE_CHECKING = False  # What `typing` says; see above.
if TYPE_CHECKING:
    from update_all.core.control_sequences import Stripper

REDACTED = "[redacted]"
SHORTEST_SECRET = 6
_LONGEST_PIECE = 2048
_PLAIN_ASCII = frozenset(range(0x20, 0x7F)) | {0x09, 0x0A}
_WORD_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_KINDS = bytes(0 if i not in _PLAIN_ASCII else ord("w") if i in _WORD_BYTES else ord(" ") for i in range(256))
"""NUL for a byte that needs cleaning, w for one of a word, else a space: one pass answers two questions."""


class _Token:
    """A credential that its beginning gives away: `literal`, then at least `minimum` of `characters`."""

    __slots__ = ("characters", "literal", "minimum", "shown")

    def __init__(self, literal: bytes, characters: bytes, minimum: int, shown: bytes = b"") -> None:
        self.literal = literal
        self.characters = characters
        self.minimum = minimum
        self.shown = shown

    @property
    def whole(self) -> bytes:
        return re.escape(self.literal) + b"[%b]{%d,}" % (self.characters, self.minimum)

    @property
    def cut_off(self) -> bytes:
        """What an end of text in the middle of it leaves."""
        starts = [re.escape(self.literal[:length]) for length in range(1, len(self.literal))]
        starts.append(re.escape(self.literal) + b"[%b]{0,%d}" % (self.characters, self.minimum - 1))
        return b"|".join(starts)


_ALNUM = b"A-Za-z0-9"
_BEARER = rb"A-Za-z0-9._~+/=\-"
_TOKENS = (
    _Token(b"Bearer ", _BEARER, 6, shown=b"Bearer "),
    _Token(b"bearer ", _BEARER, 6, shown=b"bearer "),
    *(_Token(b"gh%c_" % kind, _ALNUM, 20) for kind in b"pousr"),
    _Token(b"github_pat_", _ALNUM + b"_", 20),
    _Token(b"glpat-", _ALNUM + rb"_\-", 20),
    _Token(b"npm_", _ALNUM, 20),
    _Token(b"pypi-", _ALNUM + rb"_\-", 32),
    _Token(b"AKIA", b"A-Z0-9", 16),
)
_SHORTEST_WORD = b"w" * 24


@cache
def _word_patterns() -> list[re.Pattern[bytes]]:
    """Tokens of at least 24 word bytes: where no such word is, none of them needs a search."""
    return [re.compile(token.whole) for token in _TOKENS if len(token.literal) + token.minimum >= 24]


_USER = rb"[^\s/?#\"'<>:@]{0,255}"
_REST = rb"[^\s/?#\"'<>]"
_USERINFO = rb"://%b:%b{0,767}@" % (_USER, _REST)
_CUT_OFF_REACH = 1100


@cache
def _userinfo() -> re.Pattern[bytes]:
    return re.compile(_USERINFO)


@cache
def _cut_off() -> re.Pattern[bytes]:
    return re.compile(
        rb"(?::|:/|://%b{0,1023}+|%b)\Z" % (_REST, b"|".join(token.cut_off for token in _TOKENS))
    )


class _Rules:
    """What to redact: the forms of the known secrets, longest first, and one pattern for everything."""

    def __init__(self, secrets: frozenset[str]) -> None:
        found = {form for secret in secrets for form in _forms(secret)}
        self.forms = sorted(found, key=lambda form: (-len(form), form))
        self.last_bytes = frozenset(b"".join(self.forms))

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        parts = [re.escape(form) for form in self.forms]
        parts.append(b"(?P<userinfo>%b)" % _USERINFO)
        parts += [b"(?P<t%d>%b)" % (number, token.whole) for number, token in enumerate(_TOKENS)]
        return re.compile(b"|".join(parts))

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, secrets: frozenset[str]) -> _Rules:
        return cls(secrets)

    def may_match(self, text: bytes, kinds: bytes) -> bool:
        """Whether a search is worth its time; False is certain. `kinds` is `text` mapped by _KINDS."""
        return (
            (_SHORTEST_WORD in kinds and any(token.search(text) for token in _word_patterns()))
            or b"earer " in text
            or (b"K" in text and b"AKIA" in text)
            or (b"@" in text and _userinfo().search(text) is not None)
            or any(form in text for form in self.forms)
        )

    def cut_off_at(self, text: bytes, begin: int) -> int:
        """The first place from `begin` on where something to redact may begin that the end cuts off."""
        end = len(text)
        if end == begin:
            return end
        first = end
        if not text[-1:].isspace() or text.endswith(b" "):
            cut = _cut_off().search(text, max(begin, end - _CUT_OFF_REACH))
            first = cut.start() if cut else end
        if text[-1] in self.last_bytes:
            first = min(first, *(_cut_off_form(form, text, begin) for form in self.forms))
        return first


def _cut_off_form(form: bytes, text: bytes, begin: int) -> int:
    at = text.find(form[:1], max(begin, len(text) - len(form) + 1))
    while at >= 0 and not form.startswith(text[at:]):
        at = text.find(form[:1], at + 1)
    return at if at >= 0 else len(text)


def _forms(secret: str) -> Iterator[bytes]:
    """A secret as it may appear: itself, URL-quoted, within base64 at each of the three alignments."""
    import base64
    from urllib.parse import quote, quote_plus

    text = (secret if _is_plain(secret) else _stripper().feed(secret, final=True)).strip()
    if len(text) < SHORTEST_SECRET:
        return
    value = text.encode()
    yield from _pieces(value)
    for quoted in (quote(text, safe=""), quote(text), quote_plus(text)):
        yield from _pieces(quoted.encode())
    for shift, known_from in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * shift + value)
        partial = (shift + len(value)) % 3 != 0
        core = encoded.rstrip(b"=")[known_from : -1 if partial else None]
        for form in (core, encoded) if shift == 0 else (core,):
            yield from _pieces(form)
            yield from _pieces(form.replace(b"+", b"-").replace(b"/", b"_"))


def _pieces(form: bytes) -> Iterator[bytes]:
    """Equal parts that fit into what may be held back."""
    count = -(-len(form) // _LONGEST_PIECE)
    for number in range(count):
        yield form[len(form) * number // count : len(form) * (number + 1) // count]


class _Redactor:
    """Replaces secrets in a stream of clean bytes. Holds back what may be the beginning of one (≤ 2 KiB)."""

    def __init__(self, rules: _Rules) -> None:
        self._rules = rules
        self._tail = b""
        self._inside: _Token | None = None

    def feed(self, text: bytes, kinds: bytes | None = None, *, final: bool = False) -> bytes:
        if self._inside is not None:
            text = self._after_token(text, self._inside)
            kinds = None
        if self._tail:
            text, self._tail, kinds = self._tail + text, b"", None
        if not text:
            return text
        if not self._rules.may_match(text, text.translate(_KINDS) if kinds is None else kinds):
            cut = len(text) if final else self._rules.cut_off_at(text, 0)
            self._tail = text[cut:]
            return text[:cut] if self._tail else text
        return self._replace(text, final)

    def _after_token(self, text: bytes, token: _Token) -> bytes:
        rest = re.compile(b"[%b]*" % token.characters).match(text)
        text = text[rest.end() :] if rest else text
        if text:
            self._inside = None
        return text

    def _replace(self, text: bytes, final: bool) -> bytes:
        done: list[bytes] = []
        at = 0
        cut = len(text) if final else self._rules.cut_off_at(text, 0)
        while (match := self._rules.pattern.search(text, at)) and match.start() < cut:
            done += (text[at : match.start()], self._replacement(match))
            at = match.end()
            if at > cut:
                cut = self._rules.cut_off_at(text, at)
        self._tail = text[cut:]
        done.append(text[at:cut])
        return b"".join(done)

    def _replacement(self, match: re.Match[bytes]) -> bytes:
        group = match.lastgroup
        if group is None:
            return REDACTED.encode()
        if group == "userinfo":
            return b"://" + REDACTED.encode() + b"@"
        token = _TOKENS[int(group[1:])]
        if match.end() == len(match.string):
            self._inside = token
        return token.shown + REDACTED.encode()


class Cleaner:
    """Cleans a stream of bytes, however it is cut into chunks: the joined results are always the same.

    Removes escape sequences with their payload and control characters except newline and tab; makes `\\r\\n`
    and a lone `\\r` a newline; replaces bidi controls, zero-width and other format characters, line
    separators, surrogates and each byte that is not UTF-8 by U+FFFD; replaces `secrets` (values of at least
    6 characters, also URL-quoted and in base64) and well-known forms of credentials by `[redacted]`.
    Takes linear time; holds back at most 4 KiB; never raises. The results are UTF-8.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._stripper = _stripper()
        self._redactor = _Redactor(_Rules.of(frozenset(secrets)))
        self._idle = True

    def feed(self, chunk: bytes) -> bytes:
        """The clean form of what is certain so far; the rest comes with a later chunk or `finish`."""
        kinds = chunk.translate(_KINDS)
        if self._idle and 0 not in kinds:
            return self._redactor.feed(chunk, kinds)
        text = self._stripper.feed(self._decoder.decode(chunk))
        self._idle = self._stripper.idle and not self._decoder.getstate()[0]
        return self._redactor.feed(text.encode())

    def finish(self) -> bytes:
        """The clean form of what was held back. The cleaner can then be used for another stream."""
        text = self._stripper.feed(self._decoder.decode(b"", True), final=True)
        rest = self._redactor.feed(text.encode(), final=True)
        self._stripper = _stripper()
        self._redactor = _Redactor(self._redactor._rules)
        self._idle = True
        return rest


def _stripper() -> Stripper:
    from update_all.core.control_sequences import Stripper

    return Stripper()


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def clean(text: str, secrets: Collection[str] | None = None) -> str:
    """`text` as Cleaner would give it back: for names, messages, whole captured outputs.

    Without `secrets`, those of this process's environment are redacted.
    """
    if not _is_plain(text):
        text = _stripper().feed(text, final=True)
    rules = _Rules.of(_own_secrets() if secrets is None else frozenset(secrets))
    return _Redactor(rules).feed(text.encode(), final=True).decode()


def clean_line(text: str, width: int = 4096, secrets: Collection[str] | None = None) -> str:
    """`text` clean and as one line of at most `width` characters, cut with `…`; newline, tab → space."""
    line = clean(text, secrets).replace("\n", " ").replace("\t", " ")
    return line if len(line) <= width else line[: width - 1] + "…"


def last_rewrite(text: str) -> str:
    """What a terminal would show last of clean `text`: its last line that is not blank, "" without one."""
    return text.rstrip().rpartition("\n")[2]


_SECRET_NAME = re.compile("TOKEN|SECRET|PASS|KEY|AUTH|CREDENTIAL", re.IGNORECASE)
_PATH_NAME = re.compile("_(?:FILE|PATH|DIR|SOCK)$", re.IGNORECASE)
_ADDRESS_NAME = re.compile("_PROXY$|URL|INDEX", re.IGNORECASE)
_ADDRESS_USERINFO = re.compile(r"://([^\s/?#]+)@")


def secrets_of(environ: Mapping[str, str]) -> frozenset[str]:
    """What must not be shown of an environment, to be given to Cleaner.

    The values (≥ 8 characters) of variables named like a secret, unless the name says that it holds a path,
    and the user information of proxy and index addresses: the password, and a long user name (a token).
    """
    found: set[str] = set()
    for name, value in environ.items():
        if _ADDRESS_NAME.search(name):
            found.update(_address_secrets(value))
        holds_path = _PATH_NAME.search(name) and value.startswith(("/", "~"))
        if _SECRET_NAME.search(name) and not holds_path and len(value.strip()) >= 8:
            found.add(value.strip())
    return frozenset(found)


@lru_cache(maxsize=1)
def _own_secrets() -> frozenset[str]:
    return secrets_of(os.environ)


def _address_secrets(value: str) -> Iterator[str]:
    from urllib.parse import unquote

    for userinfo in _ADDRESS_USERINFO.findall(value):
        user, _, password = userinfo.partition(":")
        for part, shortest in ((password, SHORTEST_SECRET), (user, 16)):
            if len(part) >= shortest:
                yield part
                yield unquote(part)
