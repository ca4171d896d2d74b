"""The one import for plugin authors: re-exports, no code."""

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
from update_all.plugins.base import BasePlugin

__all__ = [
    "BasePlugin",
    "Change",
    "ChangeKind",
    "CheckResult",
    "CheckStatus",
    "Detection",
    "Facts",
    "JsonValue",
    "OutputEvent",
    "Phase",
    "PluginConfig",
    "ProgressEvent",
    "QueryOutput",
    "StepError",
    "StepResult",
    "StreamEvent",
    "UpToDate",
    "UpdateCommand",
    "UpdateEstimate",
    "UpdateStep",
    "VersionInfo",
    "WarningEvent",
]
