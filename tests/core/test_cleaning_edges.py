"""The edges of cleaning: every form of a secret alone in its text, and strings without end in any pieces."""

from __future__ import annotations

import base64
from itertools import product

import pytest

from update_all.core.cleaning import Cleaner, clean, secrets_of
from update_all.core.control_sequences import STRING_LIMIT, Stripper

SECRETS = ["~~?>>>~~???>>>abc", "~~?>>>~~???>>>abcd", "~~?>>>~~???>>>abcde"]
"""Their base64 has `+` and `/`; their lengths leave every remainder of three."""


@pytest.mark.parametrize(
    ("secret", "before", "after", "encode"),
    list(product(SECRETS, ["", "u", "us"], ["", "x", "xyz"], [base64.b64encode, base64.urlsafe_b64encode])),
)
def test_a_secret_within_base64_is_not_shown(secret: str, before: str, after: str, encode: object) -> None:
    assert callable(encode)
    text = encode(f"{before}{secret}{after}".encode()).decode()
    begin, end = -(-8 * len(before) // 6), 8 * (len(before) + len(secret)) // 6
    rest = "" if before == after == "" else text[end:]
    assert clean(text, [secret]) == f"{text[:begin]}[redacted]{rest}"


@pytest.mark.parametrize(
    ("token", "shortest"),
    [(f"gh{kind}_", 20) for kind in "pousr"]
    + [("github_pat_", 20), ("glpat-", 20), ("npm_", 20), ("pypi-", 32), ("AKIA", 16), ("Bearer ", 6)],
)
def test_a_token_of_any_length_is_known_by_its_beginning(token: str, shortest: int) -> None:
    for length in (shortest, shortest + 1, shortest + 30):
        assert "A" * shortest not in clean(f"x {token}{'A' * length}", [])
    assert clean(f"x {token}{'A' * (shortest - 1)}", []) == f"x {token}{'A' * (shortest - 1)}"


REPEATING = ["aab-aac-aad", "abababac", "a.a.a.a.b", "  spaced out", "zzzzzzzz", "begins-end", "end-begins"]
"""Secrets whose beginning comes again within them, or in another, or is what a text often ends in."""

TOKENS = [
    *(f"gh{kind}_{'a1' * 10}" for kind in "pousr"),
    *("github_pat_" + "A_" * 10, "glpat-" + "_-" * 10, "npm_" + "Z" * 20, "pypi-" + "_-" * 16),
    *("AKIA" + "A7" * 8, "Bearer a.b-c_d~e+f/g=", "bearer a.b-c_d~e+f/g="),
    *("https://user:pa@ss@host/", "://:@"),
]


def in_pieces(secrets: list[str], *pieces: str) -> str:
    cleaner = Cleaner(secrets)
    return (b"".join(cleaner.feed(piece.encode()) for piece in pieces) + cleaner.finish()).decode()


@pytest.mark.parametrize("secret", [*REPEATING, "begins-end-begins", *TOKENS])
def test_a_secret_is_redacted_wherever_the_text_is_cut(secret: str) -> None:
    befores = ["", "x", "a", "aa", "ax", "aab-", "abab", "a.", " ", "z", "\n", "://"]
    for before, after in product(befores, ["", ".", "\n"]):
        text = f"{before}{secret}{after}"
        whole = clean(text, REPEATING)
        assert "[redacted]" in whole
        assert secret.strip() not in whole
        for cut in range(len(text) + 1):
            assert in_pieces(REPEATING, text[:cut], text[cut:]) == whole
        assert in_pieces(REPEATING, *text) == whole


@pytest.mark.parametrize("secret", ["abc\r\ndefgh", "abc\x1b[1mdefgh", "\tabcdefgh\r"])
def test_a_secret_that_is_no_plain_text_is_redacted_as_it_would_be_shown(secret: str) -> None:
    assert clean(f"<{secret}>", [secret]).strip("\t\n <>") == "[redacted]"


@pytest.mark.parametrize("token", [token for token in TOKENS if "@" not in token])
def test_a_token_is_redacted_to_its_end_and_no_further(token: str) -> None:
    kind = token[:7] if token.lower().startswith("bearer ") else ""
    assert clean(f"{token}@", []) == f"{kind}[redacted]@"


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("API_KEY", "abcdefgh", True),
        ("API_KEY", "abcdefg", False),
        ("API_KEY", "/abcdefgh", True),
        ("API_KEY_FILE", "/abcdefgh", False),
        ("API_KEY_FILE", "~/abcdefgh", False),
        ("API_KEY_FILE", "abcdefgh", True),
        ("EDITOR", "abcdefgh", False),
        ("EDITOR", "https://user:abcdefgh@host/", False),
    ],
)
def test_what_of_an_environment_is_secret(name: str, value: str, secret: bool) -> None:
    assert secrets_of({name: value}) == (frozenset({value}) if secret else frozenset())


@pytest.mark.parametrize(("length", "secret"), [(15, False), (16, True), (17, True)])
def test_a_long_user_name_of_an_address_is_a_token(length: int, secret: bool) -> None:
    assert secrets_of({"INDEX_URL": f"https://{'u' * length}@h/"}) == (
        frozenset({"u" * length}) if secret else frozenset()
    )


def stripped(*pieces: str) -> str:
    stripper = Stripper()
    return "".join(stripper.feed(piece) for piece in pieces) + stripper.feed("", final=True)


@pytest.mark.parametrize("opening", ["\x1b]", "\x90", "\udc90"])
@pytest.mark.parametrize("length", [0, 1, 2, 300, *range(STRING_LIMIT - 3, STRING_LIMIT + 4), 9000])
def test_a_string_without_end_hides_as_much_in_pieces_as_in_one(opening: str, length: int) -> None:
    """Newlines end a raw one, and any other once it is longer than the limit."""
    rest = "a" * length + "\nshown\n"
    ends = opening == "\udc90" or length > STRING_LIMIT
    expected = {"\nshown\n"} if ends else {"", "\n"}
    for size in (1, 7, 1000, STRING_LIMIT - 1, STRING_LIMIT, STRING_LIMIT + 1, 20_000):
        pieces = [rest[at : at + size] for at in range(0, len(rest), size)]
        said = stripped(opening, *pieces)
        assert said in expected or abs(length - STRING_LIMIT) <= 1, size
        assert "a" not in said
