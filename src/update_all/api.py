"""The one import for plugin authors: re-exports, and the code that loads the bulk of the downloads late."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from update_all.core.errors import StepError, UpToDate
from update_all.core.models import (
    Change,
    ChangeKind,
    CheckResult,
    CheckStatus,
    Detection,
    Facts,
    JsonValue,
    Phase,
    PluginConfig,
    StepResult,
    UpdateCommand,
    UpdateEstimate,
    UpdateStep,
    VersionInfo,
)
from update_all.core.queries import QueryOutput
from update_all.core.streaming import OutputEvent, ProgressEvent, StreamEvent, WarningEvent
from update_all.downloads.spec import DownloadSettings, DownloadSpec, Signature, TrustLevel
from update_all.downloads.verify import digest_from_sums
from update_all.downloads.versions import HighestSeen, version_key
from update_all.plugins.base import BasePlugin
from update_all.plugins.releases import Release, ReleasePlugin

if TYPE_CHECKING:
    from update_all.downloads.archives import extract
    from update_all.downloads.cache import Cache
    from update_all.downloads.documents import fetch_json, fetch_text
    from update_all.downloads.fetch import fetch
    from update_all.downloads.generations import Generations
    from update_all.downloads.members import Limits

__all__ = [
    "BasePlugin",
    "Cache",
    "Change",
    "ChangeKind",
    "CheckResult",
    "CheckStatus",
    "Detection",
    "DownloadSettings",
    "DownloadSpec",
    "Facts",
    "Generations",
    "HighestSeen",
    "JsonValue",
    "Limits",
    "OutputEvent",
    "Phase",
    "PluginConfig",
    "ProgressEvent",
    "QueryOutput",
    "Release",
    "ReleasePlugin",
    "Signature",
    "StepError",
    "StepResult",
    "StreamEvent",
    "TrustLevel",
    "UpToDate",
    "UpdateCommand",
    "UpdateEstimate",
    "UpdateStep",
    "VersionInfo",
    "WarningEvent",
    "digest_from_sums",
    "extract",
    "fetch",
    "fetch_json",
    "fetch_text",
    "version_key",
]

if not TYPE_CHECKING:
    _LATE = {
        "Cache": "cache",
        "Generations": "generations",
        "Limits": "members",
        "extract": "archives",
        "fetch": "fetch",
        "fetch_json": "documents",
        "fetch_text": "documents",
    }

    def __getattr__(name):
        """Most plugins download nothing, and every run starts with importing them all (PEP 562)."""
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"update_all.downloads.{_LATE[name]}"), name)
