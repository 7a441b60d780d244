"""Numbers that options of the command take."""

from typing import Any

import typer

from enfilade.fields import is_nan

__all__ = ["number"]


def number(*names: str, **how: Any) -> Any:
    """An option that takes a float, as `typer.Option`, but no NaN: that is within every range."""
    return typer.Option(*names, callback=_checked, **how)


def _checked(value: float | None) -> float | None:
    if is_nan(value):
        raise typer.BadParameter("expected a number, got nan")
    return value
