"""Hostile inputs grown from real ones: an endless, reproducible stream of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

PIECES = [
    b"", b"\n", b"\r\n", b"\0", b" ", b"\t", b'"', b"'", b"\\", b"{", b"}", b"[", b"]", b",", b":", b"=",
    b"-", b"{}", b"[]", b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9" * 5000, b"1.2.3", b"v0",
    b"-rc.1", b"+", b"[" * 1000, b'{"a":' * 1000, b"=" * 300, b"(", b"$(id)", b"../", b"\x1b]0;x\x07",
    b"\x1b[2J", b"\x9b1m", b"\xff", b"\xc3", b"\xed\xa0\x80", b'"\\ud800"', "\u202e\u200b\u2028".encode(),
    "\u0665\u0661\u00b2".encode(), b"1" * 20, b"a" * 3000, b"[[step]]", b"name", b"type", b'"hello"',
    b"://u:p@h",
]  # fmt: skip


def mutants(seeds: Sequence[bytes], number: int, seed: int = 0) -> Iterator[bytes]:
    """`number` inputs: the seeds themselves first, then seeds with up to eight wounds each."""
    yield from seeds[:number]
    chance = random.Random(seed)  # noqa: S311 - test data
    for _ in range(number - len(seeds)):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 8)):
            _wound(data, chance, seeds)
        yield bytes(data)


def _wound(data: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    begin = chance.randint(0, len(data))
    end = min(len(data), begin + chance.choice((0, 1, 1, 4, 16, 64, 1024)))
    match chance.randrange(6):
        case 0:
            del data[begin:end]
        case 1:
            data[begin:begin] = data[begin:end] * chance.choice((1, 2, 50))
        case 2:
            data[begin:end] = chance.randbytes(chance.randint(1, 4))
        case 3:
            other = chance.choice(seeds)
            at = chance.randint(0, len(other))
            data[begin:end] = other[at : at + chance.choice((4, 32, 256))]
        case _:
            data[begin:end] = chance.choice(PIECES)
