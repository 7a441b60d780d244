"""Numbers that options of the command take."""

import math
from typing import Any

import typer

__all__ = ["number"]


def number(*names: str, **how: Any) -> Any:
    """An option that takes a float, as `typer.Option`, but no NaN: that is within every range."""
    return typer.Option(*names, callback=_checked, **how)


def _checked(value: float | None) -> float | None:
    if value is not None and math.isnan(value):
        raise typer.BadParameter("expected a number, got nan")
    return value
