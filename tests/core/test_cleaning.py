"""The cleaning border: nothing dangerous passes, nothing ordinary is lost, however the bytes are cut."""

from __future__ import annotations

import base64
import hashlib
import sys
import tracemalloc
import unicodedata
from itertools import pairwise
from time import process_time
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from update_all.core.cleaning import Cleaner, clean, clean_line, last_rewrite, secrets_of

SECRET = "s3cr3t/Va+lue&1"


def cleaned(*chunks: bytes, secrets: tuple[str, ...] = ()) -> str:
    cleaner = Cleaner(secrets)
    return (b"".join(cleaner.feed(chunk) for chunk in chunks) + cleaner.finish()).decode()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b[?25l\x1b[2K\x1b[1Gx", "x"),
        (b"\x1b[38:2::1:2:3mx\x1b[ q", "x"),
        (b"\x1b]0;title\x07x", "x"),
        (b"\x1b]0;\xe2\x9c\x93 done\x1b\\x", "x"),
        (b"\x1b]52;c;cm0gLXJm\x07x", "x"),
        (b"\x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bPq#0;2;0\nsixel\x1b\\x", "x"),
        (b"\x1b_apc\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\x", "x"),
        (b"\x1b(B\x1b)0\x1b#8\x1b7\x1b8\x1bc\x1b=x", "x"),
        (b"\x9b31mx\x9d0;t\x9cy\x90q\x9cz", "xyz"),
        (b"\xc2\x9b31mx\xc2\x9d0;t\xc2\x9cy\xc2\x90q\xc2\x9cz", "xyz"),
        (b"\xc2\x85\xc2\x84x", "x"),
        (b"\x1b\x1b[31mx", "x"),
        (b"\x1b[31\nx", "\nx"),
        (b"\x1b]0;t\x18x", "x"),
        (b"\x1b]0;t\x1b[31mx", "x"),
        (b"a\x00b\x07c\x08d\x0b\x0c\x0e\x7fe", "abcde"),
        (b"a\tb\nc", "a\tb\nc"),
        (b"a\r\nb\rc\r", "a\nb\nc\n"),
        (b"10%\r\x1b[K\n", "10%\n"),
        (b"a\xffb\xc3", "a\ufffdb\ufffd"),
        ("a\u202eb\u2066c\u200bd\u2028e\u2029f\ufeffg\u00adh".encode(), "a�b�c�d�e�f�g�h"),
        ("naïve 日本語 ✓ 👍".encode(), "naïve 日本語 ✓ 👍"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
    ],
)
def test_clean_known_sequences(raw: bytes, expected: str) -> None:
    assert cleaned(raw) == expected
    assert cleaned(*(raw[i : i + 1] for i in range(len(raw)))) == expected


def test_clean_marks_every_format_character_and_surrogate() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1)]
    hidden = [one for one in characters if unicodedata.category(one) == "Cf" or one in "\u2028\u2029"]
    assert clean("".join(f"<{one}>" for one in hidden)) == "<\ufffd>" * len(hidden)
    assert clean("<\ud800>") == "<\ufffd>"
    kept = "".join(one for one in characters if unicodedata.category(one)[0] in "LMNPS")
    assert clean(kept) == kept


ENDS = "\x07\x18\x1a\x1b\x9c"
ENCODED = base64.b64encode(b"a:" + SECRET.encode())
FRAGMENTS = st.sampled_from(
    [
        *(
            b"\x1b",
            b"[",
            b"]",
            b"P",
            b"\\",
            b"\x07",
            b"\x18",
            b"\x9b",
            b"\x9c",
            b"\x9d",
            b"\xc2",
            b"\xe2",
            b"\x80",
        ),
        *(b"31m", b";", b" ", b"\r", b"\n", b"0" * 300, b"y" * 5000, b"text", "日本".encode()),
        *(
            SECRET.encode(),
            b"s3cr3t",
            b"/Va",
            b"+lue&1",
            ENCODED,
            ENCODED[:9],
            quote(SECRET, safe="").encode(),
        ),
        *(b"Bearer ", b"abcdef", b"ghp_", b"A" * 20, b"-", b"://", b"user:", b"pass", b"@", b"AKIA"),
    ]
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=6), max_size=25).map(b"".join)


@settings(deadline=None, max_examples=150)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 10_000), max_size=12))
@example(stream=b"\x1b]" + b"y" * 5000 + b"\ntext\x07", cuts=[4000])
@example(stream=b"://user:" + b"y" * 3000 + b"@", cuts=[1000, 1040])
def test_output_is_the_same_for_every_chunking(stream: bytes, cuts: list[int]) -> None:
    at = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[begin:end] for begin, end in pairwise(at)]
    secrets = (SECRET, "s3cr3tabc", "text\ns3cr3t")
    assert cleaned(*chunks, secrets=secrets) == cleaned(stream, secrets=secrets)


@settings(deadline=None, max_examples=150)
@given(stream=STREAMS)
def test_output_holds_no_control_or_format_character(stream: bytes) -> None:
    text = cleaned(stream, secrets=(SECRET,))
    assert not [one for one in text if unicodedata.category(one) in {"Cf", "Cs", "Zl", "Zp"}]
    assert not [one for one in text if unicodedata.category(one) == "Cc" and one not in "\n\t"]
    assert SECRET not in text
    assert clean(text) == text


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_ordinary_text_is_unchanged(text: str) -> None:
    assert cleaned(text.encode(), secrets=("no such secret",)) == text


@given(payload=st.text(st.characters(exclude_categories=["Cs"], exclude_characters=ENDS), max_size=300))
@pytest.mark.parametrize("opening", ["\x1b]", "\x1bP", "\x1b_", "\x1b^", "\x1bX", "\x9d", "\x90"])
def test_string_payload_never_shows(opening: str, payload: str) -> None:
    assert cleaned(f"a{opening}{payload}\x1b\\b".encode()) == "ab"


def test_unterminated_string_ends_with_its_line_after_4_kib_and_keeps_no_memory() -> None:
    cleaner = Cleaner()
    tracemalloc.start()
    for _ in range(200):
        assert cleaner.feed(b"\x1b]" + b"x" * 50_000) == b""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
    assert cleaner.feed(b"still hidden\nseen") + cleaner.finish() == b"\nseen"
    assert cleaned(b"\x1b]short\nhidden, too\x07seen") == "seen"


@pytest.mark.parametrize("alignment", range(3))
def test_secrets_are_redacted_in_all_their_forms(alignment: int) -> None:
    form = base64.b64encode(b"u" * alignment + b":" + SECRET.encode()).decode()
    text = f"a {SECRET} {quote(SECRET, safe='')} {form} b"
    output = cleaned(text.encode(), secrets=(SECRET,))
    assert output.startswith("a [redacted] [redacted] ")
    assert output.endswith(" b")
    assert not any(form[i : i + 10] in output for i in range(4, len(form) - 14))
    assert clean(text, [SECRET]) == output


def test_secret_is_found_through_colours_and_in_two_pieces() -> None:
    assert cleaned(b"x s3cr3t\x1b[0m/Va", b"+lue&1 y", secrets=(SECRET,)) == "x [redacted] y"
    assert cleaned(b"x s3cr3t/Va", b"+ no", secrets=(SECRET,)) == "x s3cr3t/Va+ no"


def test_longest_secret_wins_and_short_ones_are_ignored() -> None:
    secrets = ("abcdef", "abcdefghij", "short")
    assert cleaned(b"abcdefgh", b"ij abcdefgh short", secrets=secrets) == "[redacted] [redacted]gh short"


def test_secret_of_many_kib_leaves_nothing_behind() -> None:
    secret = "".join(hashlib.sha256(bytes([number])).hexdigest() for number in range(141))[:9_001]
    output = cleaned(*(f"<{secret}>".encode()[i : i + 700] for i in range(0, 9_003, 700)), secrets=(secret,))
    assert output.startswith("<[redacted]")
    assert set(output) <= set("<>[]redacted")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:pa@ss@host/x", "https://[redacted]@host/x"),
        ("ssh://git@host:22/x", "ssh://git@host:22/x"),
        ("see http://host:80/a, mail b@c", "see http://host:80/a, mail b@c"),
        ("Authorization: Bearer abc.DEF-123", "Authorization: Bearer [redacted]"),
        ("curl -H 'authorization: bearer abc123'", "curl -H 'authorization: bearer [redacted]'"),
        ("t=ghp_" + "a1" * 18 + ".", "t=[redacted]."),
        ("github_pat_" + "A_" * 20, "[redacted]"),
        ("glpat-" + "a-" * 10, "[redacted]"),
        ("npm_" + "Z" * 36, "[redacted]"),
        ("npm_config_registry npm_lifecycle_event", "npm_config_registry npm_lifecycle_event"),
        ("pypi-AgEIcHlwaS5vcmc" + "x" * 60, "[redacted]"),
        ("pypi-publish", "pypi-publish"),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
        ("AKIA only", "AKIA only"),
    ],
)
def test_credentials_are_redacted_by_their_form(text: str, expected: str) -> None:
    assert clean(text) == expected
    assert cleaned(*(text[i : i + 1].encode() for i in range(len(text)))) == expected


def test_a_prompt_without_newline_is_not_held_back() -> None:
    assert Cleaner((SECRET,)).feed(b"Proceed? [Y/n] ") == b"Proceed? [Y/n] "


def test_cleaner_is_reusable_after_finish() -> None:
    cleaner = Cleaner()
    assert cleaner.feed(b"a\x1b]0;cut") + cleaner.finish() == b"a"
    assert cleaner.feed(b"b\n") + cleaner.finish() == b"b\n"
    for rest in (b"a\x1b]0;cut", b"a\x1b[3", b"a\xe2\x80", b"a\r", f"ghp_{'a' * 20}".encode(), b"://a:b"):
        assert cleaner.feed(rest) + cleaner.finish()
        assert cleaner.feed("aüber\x1b[0m\n".encode()) + cleaner.finish() == "aüber\n".encode()


def test_what_follows_a_token_is_shown() -> None:
    token = f"ghp_{'a' * 20}"
    assert cleaned(*(part.encode() for part in (token, "aaa. b", "ccc", "ddd"))) == "[redacted]. bcccddd"


def test_a_return_at_the_end_of_a_text_is_the_end_of_a_line() -> None:
    assert clean("10%\r") == "10%\n"


def test_a_secret_of_many_kib_is_not_held_back_whole() -> None:
    secret = "".join(f"{number:04d}" for number in range(2_500))
    cleaner = Cleaner((secret,))
    sent, held = b"", b""
    for begin in range(0, len(secret), 500):
        held += secret[begin : begin + 500].encode()
        if shown := cleaner.feed(secret[begin : begin + 500].encode()):
            assert shown == b"[redacted]"
            held = b""
        assert len(held) <= 4096
        sent += shown
    assert sent
    assert sent + cleaner.finish() == b"[redacted]" * 5


@pytest.mark.parametrize(
    "unit",
    [b"x", b"\x1b[", b"\x9d", b"\xc2\x9d", b"://", b"://a:", b"Bearer ", b"\x1b]", b"\r", b"ghp_", b"\xff"],
)
def test_time_is_linear(unit: bytes) -> None:
    def seconds(size: int) -> float:
        data = unit * (size // len(unit))
        begin = process_time()
        cleaned(data)
        return process_time() - begin

    small = min(seconds(50_000) for _ in range(3))
    large = min(seconds(400_000) for _ in range(2))
    assert large < 8 * 4 * small + 0.02


def test_clean_line_is_one_line_and_cut() -> None:
    assert clean_line("a\nb\tc\x1b[31m") == "a b c"
    assert clean_line("x" * 50, 10) == "x" * 9 + "…"
    assert clean_line("x" * 10, 10) == "x" * 10
    assert clean_line("x" * 4096) == "x" * 4096
    assert clean_line("x" * 4097) == "x" * 4095 + "…"
    assert clean_line("token " + SECRET, secrets=[SECRET]) == "token [redacted]"


@pytest.mark.parametrize(
    ("text", "expected"), [("", ""), ("\n\n", ""), ("10%\n20%\n  \n", "20%"), ("one", "one"), ("a\nb", "b")]
)
def test_last_rewrite(text: str, expected: str) -> None:
    assert last_rewrite(text) == expected


def test_secrets_of_names_and_addresses() -> None:
    environ = {
        "GITHUB_TOKEN": "token-value",
        "db_password": "hunter2hunter2",
        "MY_KEY": "short",
        "GOOGLE_APPLICATION_CREDENTIALS_FILE": "/home/me/key.json",
        "HTTPS_PROXY": "http://me:pa%2Fssword@proxy:3128",
        "PIP_EXTRA_INDEX_URL": "https://a:first-pass@x/ https://0123456789abcdef0123@y/",
        "UV_INDEX": "https://z/simple",
        "EDITOR": "vim-with-a-long-name",
    }
    assert secrets_of(environ) == {
        "token-value", "hunter2hunter2", "pa%2Fssword", "pa/ssword", "first-pass", "0123456789abcdef0123",
    }  # fmt: skip
