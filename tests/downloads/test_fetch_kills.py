"""A downloading process that is killed: what arrived is not fetched again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from update_all.downloads.cache import Cache
from update_all.downloads.part import BLOCK_BYTES
from update_all.downloads.spec import DownloadSpec

sys.path.insert(0, str(Path(__file__).parent))
from publisher import publisher

DATA = hashlib.shake_128(b"killed").digest(16 * 1024 * 1024)
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from update_all.downloads.cache import Cache
from update_all.downloads.fetch import fetch
from update_all.downloads.part import BLOCK_BYTES
from update_all.downloads.spec import DownloadSpec

async def main():
    spec = DownloadSpec.from_fact(json.loads(sys.argv[1]))
    async for _ in fetch(spec, Cache(Path(sys.argv[2]))):
        pass

asyncio.run(main())
"""


class Dam:
    """Lets a server send up to a byte of the file, and holds it there until it is opened."""

    def __init__(self, limit: int) -> None:
        self.limit, self.reached, self.open = limit, threading.Event(), threading.Event()

    def pass_or_hold(self, offset: int) -> None:
        if offset >= self.limit:
            self.reached.set()
            self.open.wait(60)


def await_size(path: Path, size: int) -> None:
    """Until the client has written what it was sent."""
    deadline = time.monotonic() + 60
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, "the client does not write"
        time.sleep(0.002)


@pytest.mark.parametrize("kills", [1, 6])
def test_killed_download_goes_on(tmp_path: Path, kills: int) -> None:
    cache = Cache(tmp_path / "cache")
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    with publisher() as server:
        spec = DownloadSpec(server.url("/tool.tar.gz"), "tool.tar.gz", digest, len(DATA))
        part = cache.root / f"{spec.key}.part"
        resource = server.add("/tool.tar.gz", DATA)
        argv = [sys.executable, "-c", PROGRAM, json.dumps(spec.to_fact()), str(cache.root)]
        for _ in range(kills):
            have = part.stat().st_size if part.exists() else 0
            dam = Dam(len(DATA) // (kills + 1))
            resource.on_slice = dam.pass_or_hold
            process = subprocess.Popen(argv)
            try:
                assert dam.reached.wait(60)
                await_size(part, have + dam.limit - 2 * BLOCK_BYTES)
            finally:
                process.kill()
                process.wait()
                dam.open.set()
        resource.on_slice = None
        subprocess.run(argv, check=True, timeout=60)
        assert len(server.requests) == kills + 1
        assert server.sent <= 1.05 * len(DATA) + kills * 4 * BLOCK_BYTES
        if kills == 1:
            assert server.sent <= 1.05 * len(DATA)
    assert asyncio.run(cache.verified(spec)).read_bytes() == DATA
