"""An upgrade of Go that is killed, or gets wrong bytes: there is a Go that runs at every instant.

UPDATE_ALL_TEST_GO_KILLS sets how many random moments are tried.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from update_all.core.errors import DownloadError
from update_all.core.models import PluginConfig
from update_all.downloads.part import BLOCK_BYTES
from update_all.plugins.go_runtime import GoRuntimePlugin

sys.path.insert(0, str(Path(__file__).parent.parent / "downloads"))
sys.path.insert(0, str(Path(__file__).parent.parent / "plugins"))
from publisher import publisher
from publishers import GoSite, go_tree, noise, plant, tarball
from release_steps import Machine, configure, machine_at, printed

KILLS = int(os.environ.get("UPDATE_ALL_TEST_GO_KILLS", "10"))
FLIPS = int(os.environ.get("UPDATE_ALL_FAULT_FLIPS", "200"))
"""The full tier turns 1,000 bits."""
MIB = 1024 * 1024
OLD, NEW = "1.20", "1.21.5"
ARCHIVE = tarball(go_tree(NEW, padding=8 * MIB))


def says(directory: Path) -> str:
    """The version that the installed program tells."""
    return printed(directory / "bin/go", "version").split()[2].removeprefix("go")


class Watch(threading.Thread):
    """Somebody who uses Go all the time. `faults`: what went wrong; `seen`: the versions in their order."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.directory, self.over = directory, threading.Event()
        self.faults: list[str] = []
        self.seen: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            try:
                version = says(self.directory)
            except Exception as error:  # noqa: BLE001 - whatever a user of Go meets is the finding
                self.faults.append(repr(error))
            else:
                self.seen += [version] if self.seen[-1:] != [version] else []
            self.over.wait(0.005)


@contextmanager
def watched(directory: Path) -> Iterator[Watch]:
    watch = Watch(directory)
    watch.start()
    try:
        yield watch
    finally:
        watch.over.set()
        watch.join()


def fresh(machine: Machine, site: GoSite) -> Path:
    """The old Go as a plain directory, and nothing of an earlier try."""
    directory = configure(machine, "go-runtime", machine.root / "apps/go", site.options)
    for path in (directory.parent, machine.root / "state", machine.root / "cache"):
        shutil.rmtree(path, ignore_errors=True)
    directory.parent.mkdir()
    return plant(directory, go_tree(OLD))


def kill_after(machine: Machine, seconds: float, *arguments: str) -> float | None:
    """Start the program and end it with KILL after so long; how long it took where it ended before that."""
    began = time.monotonic()
    process = machine.start(*arguments)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    else:
        return time.monotonic() - began
    finally:
        process.communicate()
    return None


@pytest.mark.timeout(60 + 20 * KILLS)
def test_killed_at_random_moments(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - instants of kills
    chance = random.Random(seed)  # noqa: S311 - instants of kills
    print(f"seed {seed}")
    with publisher() as server, machine_at(tmp_path) as machine:
        site = GoSite(server)
        site.publish(NEW, data=ARCHIVE)
        directory = fresh(machine, site)
        began = time.monotonic()
        assert machine.run("run", "go-runtime", "--yes").code == 0
        usual = time.monotonic() - began
        left = {OLD: 0, NEW: 0}
        while sum(left.values()) < KILLS:
            directory = fresh(machine, site)
            with watched(directory) as watch:
                ended = kill_after(machine, chance.triangular(0, usual, usual), "run", "go-runtime", "--yes")
                if ended is not None:
                    usual = ended
                    assert says(directory) == NEW
                    continue
                left[says(directory)] += 1
                resumed = machine.run("resume")
                assert resumed.code == 0, resumed.err
                if "nothing to resume" in resumed.out:
                    assert machine.run("run", "go-runtime", "--yes").code == 0
                assert says(directory) == NEW
            assert watch.faults == []
            assert watch.seen in ([OLD, NEW], [NEW])
        print(f"left behind by {KILLS} kills: {left}; undisturbed {usual:.2f} s")
        assert machine.run("check", "go-runtime").code == 0


def test_killed_during_the_download_it_fetches_hardly_more(tmp_path: Path) -> None:
    """What the server sent and the client had not read when it was killed is not the client's to keep."""
    half, go_on = threading.Event(), threading.Event()

    def hold(offset: int) -> None:
        if offset >= len(data) // 2:
            half.set()
            go_on.wait(60)

    with publisher() as server, machine_at(tmp_path) as machine:
        site = GoSite(server)
        data = tarball(go_tree(NEW, padding=16 * MIB))
        resource = site.publish(NEW, data=data)
        resource.on_slice = hold
        directory = fresh(machine, site)
        process = machine.start("run", "go-runtime", "--yes")
        assert half.wait(60)
        await_part(machine, len(data) // 2 - 4 * BLOCK_BYTES)
        process.kill()
        process.communicate()
        go_on.set()
        resource.on_slice = None
        assert machine.run("resume").code == 0
        assert says(directory) == NEW
        fetched = sum(request.sent for request in server.requests if request.path.startswith("/go/"))
        assert fetched <= 1.05 * len(data)


def await_part(machine: Machine, size: int) -> None:
    """Until so much of the unfinished download is written."""
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size for path in machine.root.glob("cache/*/downloads/*.part")) < size:
        assert time.monotonic() < deadline, "the client does not write"
        time.sleep(0.005)


def test_a_killed_rollback_leaves_a_go_that_runs(tmp_path: Path) -> None:
    chance = random.Random(1)  # noqa: S311 - instants of kills
    with publisher() as server, machine_at(tmp_path) as machine:
        site = GoSite(server)
        site.publish(NEW)
        directory = fresh(machine, site)
        assert machine.run("run", "go-runtime", "--yes").code == 0
        began = time.monotonic()
        assert machine.run("rollback", "go-runtime").code == 0
        usual = time.monotonic() - began
        with watched(directory) as watch:
            for _ in range(max(3, KILLS // 5)):
                assert machine.run("run", "go-runtime", "--yes").code == 0
                kill_after(machine, chance.uniform(usual / 2, usual), "rollback", "go-runtime")
                assert says(directory) in {OLD, NEW}
                assert machine.run("rollback", "go-runtime").code == 0
                assert says(directory) == OLD
        assert watch.faults == []


@pytest.mark.timeout(300)
def test_one_flipped_bit_anywhere_is_refused(tmp_path: Path) -> None:
    """In the file, its digest or its size: refused before anything is unpacked, the old version runs."""
    chance = random.Random(2)  # noqa: S311 - places of bits
    directory = plant(tmp_path / "go", go_tree(OLD))
    with publisher() as server:
        site = GoSite(server)
        resource = site.publish(NEW, data=noise(2000))
        plugin = GoRuntimePlugin(PluginConfig(options={"directory": str(directory), **site.options}))
        good = resource.data
        release = asyncio.run(plugin.newest_release()).download
        plugin.facts = {"version": NEW, "installed": OLD}

        fault = {
            "file": r"wrong checksum: expected sha256:\w+, got sha256:\w+",
            "digest": r"wrong checksum: expected sha256:\w+, got sha256:\w+",
            "size": r"wrong length: expected \d+ bytes, the server has \d+|needs \d+ bytes, \d+ are free",
        }

        async def refused(place: str) -> bool:
            resource.data = good
            size, digest = release.size or 0, bytearray.fromhex(str(release.digest).removeprefix("sha256:"))
            if place == "file":
                resource.data = flipped(good, chance)
            elif place == "digest":
                digest[:] = flipped(digest, chance)
            else:
                size ^= 1 << chance.randrange(31)
            fact = {**release.to_fact(), "size": size, "digest": f"sha256:{digest.hex()}"}
            plugin.facts["download"] = fact
            try:
                async for _ in plugin.download():
                    pass
            except DownloadError as error:
                return bool(re.search(fault[place], error.message)) and not await plugin.is_downloaded()
            return False

        async def flip_all() -> list[str]:
            places = [chance.choice(["file", "digest", "size"]) for _ in range(FLIPS)]
            return [place for place in places if not await refused(place)]

        assert asyncio.run(flip_all()) == []
    assert says(directory) == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["go"]


def flipped(data: bytes | bytearray, chance: random.Random) -> bytes:
    """The bytes with one bit turned over."""
    changed = bytearray(data)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)
