"""Download: from loopback, with checksum, against curl and sha256sum one after the other."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.context import Context
from benchmarks.measuring import Argv, Contestant, Sample, interleave, run, with_value
from benchmarks.rows import Row, at_most

TOPIC = "Download"
MIB = 1024 * 1024

_CURL = """
set -e
while read -r url digest size; do
  curl -sS -o "$1/${url##*/}" "$url"
  echo "$digest  $1/${url##*/}" | sha256sum --quiet -c -
done < "$2"
"""


def bench(context: Context) -> Iterator[Row]:
    if not context.has("curl", "sha256sum"):
        return
    large, small = (8 * MIB, MIB) if context.quick else (1024 * MIB, 10 * MIB)
    folder = context.directory("download")
    files = folder / "files"
    files.mkdir()
    digests = {"large": _file(files / "large", large)}
    digests |= {name: _file(files / name, small) for name in (f"small{number:02}" for number in range(20))}
    with _published(context, files) as address:
        lists = {
            f"{large // MIB:,} MiB": _listed(folder / "one", address, files, digests, ["large"]),
            f"20 × {small // MIB} MiB": _listed(folder / "many", address, files, digests, list(digests)[1:]),
        }
        peaks: dict[str, list[Sample]] = {}
        for work, listed in lists.items():
            contestants = _contestants(context, folder, work, listed, peaks)
            results = interleave(contestants, context.rounds(5))
            yield Row(TOPIC, work, "curl, then sha256sum", results["ours"], results["curl"], at_most(1.0))
    one, many = peaks.values()
    title = "peak memory, one large file"
    yield Row(TOPIC, title, "the small ones", one, many, at_most(1.1), unit="bytes")


def _contestants(
    context: Context, folder: Path, work: str, listed: Path, peaks: dict[str, list[Sample]]
) -> dict[str, Contestant]:
    env = context.environment(folder)

    def ours() -> Sample:
        cache = context.directory("cache")
        argv: Argv = [sys.executable, "-m", "benchmarks.fetching", cache, listed]
        finished = run(argv, env=env, keep_output=True)
        peaks.setdefault(work, []).append(with_value(finished.sample, float(finished.output)))
        return finished.sample

    def curl() -> Sample:
        return run(["sh", "-c", _CURL, "sh", context.directory("curl"), listed], env=env).sample

    return {"ours": ours, "curl": curl}


def _file(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            block = os.urandom(MIB)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _listed(path: Path, address: str, files: Path, digests: dict[str, str], names: list[str]) -> Path:
    lines = [f"{address}/{name} {digests[name]} {(files / name).stat().st_size}" for name in names]
    path.write_text("\n".join(lines) + "\n")
    return path


@contextmanager
def _published(context: Context, files: Path) -> Iterator[str]:
    argv: Argv = [sys.executable, "-m", "benchmarks.publisher", str(files)]
    env = context.environment(files.parent)
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.kill()
