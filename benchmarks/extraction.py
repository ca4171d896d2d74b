"""Extraction: a tree of 12,000 files in a .tar.gz, all safety rules kept and the tree flushed."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.context import Context
from benchmarks.measuring import Contestant, Sample, interleave, run
from benchmarks.rows import Row, at_most

TOPIC = "Extraction"

_OURS = """
import asyncio, sys
from pathlib import Path
from update_all.downloads.archives import extract
asyncio.run(extract(Path(sys.argv[1]), Path(sys.argv[2]), expect_top="tree"))
"""


def bench(context: Context) -> Iterator[Row]:
    if not context.has("tar"):
        return
    count, size = (120, 21_000) if context.quick else (12_000, 21_000)
    folder = context.directory("extraction")
    archive = _archive(folder, count, size)
    env = context.environment(folder)

    def ours() -> Sample:
        target = context.directory("ours") / "unpacked"
        return run([sys.executable, "-c", _OURS, archive, target], env=env).sample

    def tar() -> Sample:
        return run(["tar", "-xzf", archive, "-C", context.directory("tar")], env=env).sample

    def flushed() -> Sample:
        script = 'tar -xzf "$1" -C "$2" && sync -f "$2"'
        return run(["sh", "-c", script, "sh", archive, context.directory("tar")], env=env).sample

    contestants: dict[str, Contestant] = {"ours": ours, "tar -xzf": tar, "tar -xzf, then sync -f": flushed}
    results = interleave(contestants, context.rounds(3))
    work = f"{count:,} files, {count * size // 1_000_000} MB"
    yield Row(TOPIC, work, "tar -xzf", results["ours"], results["tar -xzf"], at_most(1.5))
    peer = "tar -xzf, then sync -f"
    yield Row(TOPIC, work, peer, results["ours"], results[peer])


def _archive(folder: Path, count: int, size: int) -> Path:
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz_(){}=", k=9)) for _ in range(4_000)]
    text = " ".join(chance.choices(words, k=400_000))
    tree = folder / "tree"
    for number in range(count):
        place = tree / f"d{number // 100:03}"
        place.mkdir(parents=True, exist_ok=True)
        start = chance.randrange(len(text) - size)
        (place / f"f{number:05}").write_text(text[start : start + size])
    archive = folder / "tree.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", folder, "tree"], check=True)
    shutil.rmtree(tree)
    return archive
