"""Files through our downloads: `python -m benchmarks.fetching CACHE LIST`.

The list has lines of URL, SHA-256 and size. As many at a time as the configuration has by default. Prints
the peak memory in bytes.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from benchmarks.observed import peak_bytes
from update_all.core.config_schema import NetworkConfig
from update_all.downloads.cache import Cache
from update_all.downloads.fetch import fetch
from update_all.downloads.spec import DownloadSpec


async def main(cache: Cache, lines: list[str]) -> None:
    room = asyncio.Semaphore(NetworkConfig().downloads)

    async def one(line: str) -> None:
        url, digest, size = line.split()
        spec = DownloadSpec(url, url.rpartition("/")[2], f"sha256:{digest}", int(size))
        async with room:
            async for _ in fetch(spec, cache):
                pass
            if await cache.verified(spec) is None:
                raise SystemExit(f"{url} did not arrive")

    async with asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(one(line))


if __name__ == "__main__":
    asyncio.run(main(Cache(Path(sys.argv[1])), Path(sys.argv[2]).read_text().splitlines()))
    print(peak_bytes())
