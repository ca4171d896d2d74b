"""Whether anything is configured at all: where nothing is, the configuration need not be imported."""

from __future__ import annotations

import os
from collections.abc import Mapping

from update_all.core.paths import Directories


def is_configured(found: Directories, environ: Mapping[str, str]) -> bool:
    """False where `load_config` could make nothing but the defaults of it; it may be True without need."""
    if any(name.startswith("UPDATE_ALL_") for name in environ):
        return True
    for directory in (found.system_config, found.config):
        try:
            names = os.listdir(directory)  # noqa: PTH208 - names only
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            return True
        if not {"config.toml", "config.d"}.isdisjoint(names):
            return True
    return False
