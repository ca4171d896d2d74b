"""A downloading process that is killed: what arrived is not fetched again."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from update_all.downloads.cache import Cache
from update_all.downloads.spec import DownloadSpec

sys.path.insert(0, str(Path(__file__).parent))
from publisher import publisher

DATA = hashlib.shake_128(b"killed").digest(16 * 1024 * 1024)
PROGRAM = """
import asyncio, json, sys
from pathlib import Path
from update_all.downloads.cache import Cache
from update_all.downloads.fetch import fetch
from update_all.downloads.spec import DownloadSpec

async def main():
    spec = DownloadSpec.from_fact(json.loads(sys.argv[1]))
    async for _ in fetch(spec, Cache(Path(sys.argv[2]))):
        pass

asyncio.run(main())
"""


@pytest.mark.parametrize("kills", [1, 6])
def test_killed_download_goes_on(tmp_path: Path, kills: int) -> None:
    import json

    cache = Cache(tmp_path / "cache")
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    reached, allowed = threading.Event(), threading.Event()
    points = [len(DATA) * (n + 1) // (kills + 1) for n in range(kills)]
    with publisher() as server:
        spec = DownloadSpec(server.url("/tool.tar.gz"), "tool.tar.gz", digest, len(DATA))
        part = cache.root / f"{spec.key}.part"

        def hold(_offset: int) -> None:
            """Send no further than the next point, and only as fast as the client writes."""
            have = part.stat().st_size if part.exists() else 0
            sent = server.requests[-1].sent + int(server.requests[-1].headers.get("range", "=0-")[6:-1] or 0)
            if points and sent >= points[0]:
                reached.set()
                allowed.wait(20)
            while sent - have > 512 * 1024 and not reached.is_set():
                have = part.stat().st_size if part.exists() else 0

        server.add("/tool.tar.gz", DATA).on_slice = hold
        argv = [sys.executable, "-c", PROGRAM, json.dumps(spec.to_fact()), str(cache.root)]
        for _ in range(kills):
            reached.clear()
            allowed.clear()
            process = subprocess.Popen(argv)
            assert reached.wait(60)
            process.kill()
            process.wait()
            points.pop(0)
            allowed.set()
        reached.clear()
        subprocess.run(argv, check=True, timeout=60)
        assert len(server.requests) == kills + 1
        assert server.sent <= 1.05 * len(DATA)
    assert asyncio.run(cache.verified(spec)).read_bytes() == DATA
