"""The packages of the extra `telemetry`, which is optional."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["MissingExtra", "of_the_extra"]


class MissingExtra(ImportError):
    """A package of the extra `telemetry` is not installed."""


def of_the_extra(module: str) -> Any:
    """Import a module of a package of the extra.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{module} needs the extra \"telemetry\": pip install 'enfilade[telemetry]'"
        ) from error
