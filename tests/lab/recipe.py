"""What the lab knows about a tool: how to have it outdated, cut off and interrupted, and how to ask it."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol, TypeVar

from room import Room

from update_all.core.models import Change


class Stoppable(Protocol):
    """A server on loopback."""

    def stop(self) -> None: ...


Server = TypeVar("Server", bound=Stoppable)


class Recipe(ABC):
    """One tool with a tiny repository of its own. `close` ends its servers."""

    plugin: ClassVar[str]
    """Name of the plugin that is put to the test."""
    programs: ClassVar[tuple[str, ...]]
    """What has to be on this machine: names for PATH, or absolute paths."""
    quick: ClassVar[bool] = False
    """Each of its tests takes less than 5 s."""
    tells_updates: ClassVar[bool] = True
    """Whether the tool can be asked what is outdated; else a run always runs, and changes nothing."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._servers: list[Stoppable] = []
        self.mark = room.folder / "interrupt-now"

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be tried here; empty where it can."""
        absent = [name for name in cls.programs if shutil.which(name) is None]
        return f"needs {', '.join(absent)}" if absent else ""

    @property
    def pause(self) -> str:
        """Shell commands for the middle of an upgrade: say that it is reached, and stay there, once."""
        return f"[ -e {self.mark} ] || {{ : > {self.mark}; sleep 60; }}"

    @property
    def interrupted(self) -> bool:
        """Whether the upgrade that `outdate(pausing=True)` prepared is in its middle."""
        return self.mark.exists()

    @abstractmethod
    def version(self) -> str:
        """Version of the tool."""

    @abstractmethod
    def prepare(self) -> None:
        """Publish version 1 and install it."""

    @abstractmethod
    def outdate(self, *, pausing: bool) -> frozenset[Change]:
        """Publish version 2; what `check` has to say then. `pausing`: its installation stops at `pause`."""

    @abstractmethod
    def installed(self) -> Mapping[str, str]:
        """Item → version, as the tool or the installed program itself says, in the words of `outdate`."""

    @abstractmethod
    def cut(self) -> None:
        """Make the index unreachable."""

    @abstractmethod
    def complaint(self) -> str:
        """What the tool's own consistency check finds wrong; empty if nothing."""

    def open(self, server: Server) -> Server:
        """Have a server ended with the recipe."""
        self._servers.append(server)
        return server

    def close(self) -> None:
        """End the servers."""
        for server in self._servers:
            server.stop()
