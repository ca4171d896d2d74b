"""The confined child that unpacks one archive. Started by `archives.extract`, never imported by it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from update_all.core.errors import ArchiveError
from update_all.downloads import confine
from update_all.downloads.inflate import Reader, compression_of, in_thread, inflated, load_zstd
from update_all.downloads.members import Kind, Limits, Manifest, Member
from update_all.downloads.tarball import read_tar
from update_all.downloads.tree import Tree
from update_all.downloads.zipball import read_zip


@dataclass(frozen=True, slots=True)
class Request:
    """What the parent wants. `archive` and `target` are open descriptors, `user` the uid to become."""

    archive: int
    target: int
    top: str
    must_have: tuple[str, ...]
    limits: Limits
    user: int | None

    @classmethod
    def from_json(cls, text: str) -> Request:
        data = json.loads(text)
        data["limits"] = Limits(**data["limits"])
        data["must_have"] = tuple(data["must_have"])
        return cls(**data)

    def to_json(self) -> str:
        data = {name: getattr(self, name) for name in self.__slots__}
        data["limits"] = {name: getattr(self.limits, name) for name in Limits.__slots__}
        return json.dumps(data)


def _confine(request: Request) -> list[str]:
    """Raise all walls that this system has; root without either of the strong ones is refused."""
    walls = ["rlimits", "no_new_privs"]
    confine.limit_resources(request.limits)
    if request.user is not None:
        confine.become(request.user)
        walls.append(f"uid {request.user}")
    confine.forbid_new_privileges()
    if confine.landlock_to(request.target):
        walls.append("landlock")
    elif os.geteuid() == 0:
        raise ArchiveError(
            "archives are not unpacked as root, and this system offers neither another user nor Landlock",
            hint="run update-all as a normal user",
        )
    return walls


def _entries(
    file: BinaryIO, compression: str, limits: Limits
) -> Iterator[tuple[Member, Iterable[bytes | memoryview]]]:
    if compression == "zip":
        yield from read_zip(file, limits)
    else:
        blocks = inflated(file, compression, limits)
        yield from read_tar(Reader(in_thread(blocks) if compression else blocks))


def unpack(file: BinaryIO, compression: str, request: Request) -> Manifest:
    """Write every entry; symbolic links last, when all of them are known to stay inside."""
    manifest = Manifest(request.limits, request.top)
    with closing(Tree(request.target)) as tree:
        for member, pieces in _entries(file, compression, request.limits):
            parts = manifest.admit(member)
            match member.kind:
                case Kind.DIRECTORY:
                    tree.directory(parts)
                case Kind.FILE:
                    tree.write(parts, member, pieces)
                case Kind.HARDLINK:
                    tree.link(parts, manifest.link_source(member), manifest)
        manifest.require_links_inside()
        manifest.require_files(request.must_have)
        for parts, target in manifest.symlinks.items():
            tree.symlink(parts, target)
    return manifest


def main() -> int:
    """Read the request from the first argument, answer in one line of JSON."""
    request = Request.from_json(sys.argv[1])
    answer: dict[str, object]
    try:
        compression = compression_of(os.pread(request.archive, 8, 0))
        if compression == "zst":
            load_zstd()
        with os.fdopen(request.archive, "rb") as file:
            walls = _confine(request)
            manifest = unpack(file, compression, request)
        answer = {"entries": manifest.entries, "bytes": manifest.bytes, "walls": walls}
    except ArchiveError as error:
        answer = {"error": error.message, "hint": error.hint}
    except MemoryError:
        answer = {"error": f"unpacking needs more than {request.limits.memory_bytes} bytes of memory"}
    except OSError as error:
        answer = {"error": f"cannot unpack: {error.strerror}"}
    sys.stdout.write(json.dumps(answer))
    sys.stdout.flush()
    os._exit(0)
