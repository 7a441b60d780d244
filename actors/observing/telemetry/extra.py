"""The packages of the extra `telemetry`, which is optional."""

from __future__ import annotations

import importlib
from typing import Any, Final

__all__ = ["SCHEMA", "MissingExtra", "of_the_extra"]

SCHEMA: Final = "https://opentelemetry.io/schemas/1.39.0"
"""The release of OpenTelemetry's conventions by which instruments, spans and their attributes are named."""


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
