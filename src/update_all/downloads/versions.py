"""The order of version numbers, and a memory of the highest one seen."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from update_all.core.errors import DownloadRefusedError, IntegrityError, StateError

_TOKEN = re.compile(r"[0-9]+|[a-z]+")
_PRE_RELEASE = {"dev": 0, "nightly": 0, "snapshot": 0, "alpha": 1, "a": 1, "beta": 2, "b": 2}
_PRE_RELEASE |= {"preview": 3, "pre": 3, "rc": 4, "c": 4}
_FINAL, _LETTER, _NUMBER = 5, 6, 7
_LONE_LETTERS = {"a", "b", "c"}
Key = tuple[tuple[int, int, str], ...]


def version_key(version: str) -> Key:
    """A key that sorts versions as people mean them: 1.9 < 1.10rc1 < 1.10 = 1.10.0 < 1.10p1.

    A leading word ("go1.22", "v3") and build metadata after "+" (Semantic Versioning section 10) are
    ignored. "a", "b", "c" are pre-releases before a number, else later letters (1.0.2 < 1.0.2a).
    """
    text = re.sub(r"^[^0-9]+", "", version.strip().lower().partition("+")[0])
    tokens = _TOKEN.findall(text)
    key: list[tuple[int, int, str]] = []
    for token, following in zip_longest(tokens, tokens[1:], fillvalue=""):
        if token.isdigit():
            # By length, then digit by digit: a number of any length, which int() would refuse.
            digits = token.lstrip("0")
            key.append((_NUMBER, len(digits), digits))
        elif token in _PRE_RELEASE and (token not in _LONE_LETTERS or following.isdigit()):
            key.append((_PRE_RELEASE[token], 0, ""))
        else:
            key.append((_LETTER, 0, token))
    return _without_zeros(key)


def _without_zeros(key: list[tuple[int, int, str]]) -> Key:
    """Drop zeros at the end of each run of numbers, so that 1.0 equals 1; mark the end of the version."""
    kept: list[tuple[int, int, str]] = []
    for part in [*key, (_FINAL, 0, "")]:
        if part[0] != _NUMBER:
            while kept and kept[-1] == (_NUMBER, 0, ""):
                kept.pop()
        kept.append(part)
    return tuple(kept)


@dataclass(frozen=True, slots=True)
class HighestSeen:
    """A JSON file: name → highest version seen, and its digest where one is known.

    A replayed old feed and a release whose bytes were exchanged are both noticed by it. Raises StateError
    when the file cannot be read; it is never silently started afresh.
    """

    path: Path

    def _load(self) -> dict[str, dict[str, str]]:
        try:
            data = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            raise StateError(f"cannot read {self.path}: {error}", hint=f"look at {self.path}") from None
        if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
            raise StateError(f"{self.path} does not hold the versions seen", hint=f"rm {self.path}")
        return {str(name): {str(k): str(v) for k, v in entry.items()} for name, entry in data.items()}

    def highest(self, name: str) -> str | None:
        """The highest version recorded under `name`."""
        return self._load().get(name, {}).get("version")

    def require(
        self, name: str, version: str, *, digest: str | None = None, allow_downgrade: bool = False
    ) -> None:
        """Raise DownloadRefusedError for a version below the highest seen, IntegrityError for the same
        version with another digest. Changes nothing.
        """
        seen = self._load().get(name, {})
        highest, known = seen.get("version"), seen.get("digest")
        if highest is None:
            return
        if version_key(version) < version_key(highest) and not allow_downgrade:
            raise DownloadRefusedError(
                f"the publisher now offers {name} {version}, which is older than {highest}, offered before",
                hint=f"to accept it: update-all run {name} --allow-downgrade",
            )
        comparable = known and digest and known.partition(":")[0] == digest.partition(":")[0]
        if version == highest and comparable and known != digest:
            raise IntegrityError(
                f"{name} {version} was exchanged by its publisher: expected {known}, got {digest}",
                hint=f"compare both with the publisher's page; to accept the new one: rm {self.path}",
            )

    def record(
        self, name: str, version: str, digest: str | None = None, *, allow_downgrade: bool = False
    ) -> None:
        """Remember a version that was accepted, if it is the highest; a lower one where the user allows it:
        the permission is needed only once. Durable, one writer at a time, for the owner only.
        """
        data = self._load()
        highest = data.get(name, {}).get("version")
        if highest is not None and version_key(version) < version_key(highest) and not allow_downgrade:
            return
        known = data.get(name, {}).get("digest") if version == highest else None
        kept = digest or known
        data[name] = {"version": version, **({"digest": kept} if kept else {})}
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}-new")
        temporary.unlink(missing_ok=True)
        with open(temporary, "x", encoding="utf-8", opener=_owner_only) as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
