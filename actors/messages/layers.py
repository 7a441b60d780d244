"""Layers: functions that stand in the place of others while somebody wants to see what passes through them.

What every message goes through has no test for whoever watches. Who watches puts a layer over the function of
a class, a function that calls the one below it, and takes it off afterwards. Layers come and go in any order:
the function of the class is put together anew each time, and is the very same as before when the last one
has gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ["Layer", "are_on", "call_parts", "put_on", "take_off"]

Layer = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes the function that stands over the one that it is given."""

Place = tuple[type, str]

_LAYERS: Final[dict[Place, list[Layer]]] = {}
_PLAIN: Final[dict[Place, Any]] = {}
_CALLERS: Final[dict[Place, tuple[type, str, Layer]]] = {}
"""For a function that another one may do itself: a layer over that one, which calls it."""


def put_on(owner: type, name: str, layer: Layer) -> None:
    """Put a layer over the method `name` of a class, above those that are there. Not a checkpoint."""
    place = owner, name
    _PLAIN.setdefault(place, vars(owner)[name])
    _LAYERS.setdefault(place, []).append(layer)
    _renew(place)
    if place in _CALLERS:
        _put_below(*_CALLERS[place])


def _put_below(owner: type, name: str, caller: Layer) -> None:
    """Put a layer on below all others: it calls nothing that it stands over."""
    place = owner, name
    _PLAIN.setdefault(place, vars(owner)[name])
    _LAYERS.setdefault(place, []).insert(0, caller)
    _renew(place)


def take_off(owner: type, name: str, layer: Layer) -> None:
    """Take a layer off; without effect if it is not there. Not a checkpoint."""
    place = owner, name
    layers = _LAYERS.get(place, [])
    if layer in layers:
        layers.remove(layer)
        _renew(place)
        if place in _CALLERS:
            take_off(*_CALLERS[place])


def call_parts(owner: type, name: str, caller: Callable[..., Any], *parts: Place) -> None:
    """Put `caller` in for the method `name` of a class while there is a layer over one of its parts.

    Args:
        owner: the class.
        name: the method, which does itself what its parts do.
        caller: its twin, which calls them.
        parts: the class and the name of each.
    """

    def layer(_plain: Callable[..., Any]) -> Callable[..., Any]:
        return caller

    _CALLERS.update(dict.fromkeys(parts, (owner, name, layer)))


def are_on() -> bool:
    """Tell whether anybody wants to see what passes through any function. Not a checkpoint."""
    return bool(_LAYERS)


def _renew(place: Place) -> None:
    owner, name = place
    function = _PLAIN[place]
    for layer in _LAYERS[place]:
        function = layer(function)
    setattr(owner, name, function)
    if not _LAYERS[place]:
        del _LAYERS[place], _PLAIN[place]
