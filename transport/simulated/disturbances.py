"""Disturbances: values of a record's attributes that hold for a while, and may overlap."""

from collections.abc import Callable
from typing import Any

__all__ = ["Disturbances"]


class Disturbances:
    """The disturbances of one record: of several the latest holds, and each ends by itself.

    Args:
        record: has the attributes.
    """

    def __init__(self, record: object) -> None:
        self._record = record
        self._own: dict[str, Any] = {}
        self._open: list[dict[str, Any]] = []

    def set(self, name: str, value: Any) -> None:
        """Give an attribute a value of its own; where it is disturbed it counts afterwards."""
        if name in self._own:
            self._own[name] = value
            self._settle(name)
        else:
            setattr(self._record, name, value)

    def begin(self, values: dict[str, Any]) -> Callable[[], None]:
        """Let attributes have values until what is returned is called."""
        disturbance = dict(values)
        self._open.append(disturbance)
        for name in disturbance:
            self._own.setdefault(name, getattr(self._record, name))
            self._settle(name)

        def end() -> None:
            if any(each is disturbance for each in self._open):
                self._open = [each for each in self._open if each is not disturbance]
                for name in disturbance:
                    self._settle(name)

        return end

    def end(self) -> None:
        """End all of them: each attribute has its own value again."""
        self._open.clear()
        for name in self._own:
            self._settle(name)

    def _settle(self, name: str) -> None:
        values = [each[name] for each in self._open if name in each]
        setattr(self._record, name, values[-1] if values else self._own[name])
