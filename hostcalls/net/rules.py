"""Rules of the network policy as text: in zone files, module specifications and on the command line.

A rule for listeners is `ADDRESS`, `ADDRESS:PORTS` or `DOMAIN@ADDRESS:PORTS`; one for connections is
`TARGET` or `TARGET:PORTS`, where the target is a name, `*.` and a name, `*`, an address or a network. PORTS
is one port or two with a dash between them; without it, a rule is for all ports. An IPv6 address is in
brackets when ports follow it: `[::1]:443`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs

from enfilade.hostcalls.net.policy import Bind, Network, Reach

Rule = TypeVar("Rule", Bind, Reach)

NOWHERE = "none"
"""In place of a list of rules: none at all."""

_BRACKETS = re.compile(r"\[([^]]*)\](?::(.*))?")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def network_of(bind: Iterable[str] | None, connect: Iterable[str] | None) -> Network:
    """The policy that texts describe.

    Args:
        bind: rules for listeners; `none` alone for no rule; None for those of the default policy.
        connect: rules for connections; likewise.

    Raises `ValueError` when a text is no rule; it says which, and how to write one.
    """
    policy = Network.loopback()
    if bind is not None:
        policy = attrs.evolve(policy, bind=_rules(bind, bind_rule))
    if connect is not None:
        policy = attrs.evolve(policy, connect=_rules(connect, connect_rule))
    return policy


def _rules(texts: Iterable[str], parse: Callable[[str], Rule]) -> tuple[Rule, ...]:
    given = list(texts)
    return () if given == [NOWHERE] else tuple(parse(text) for text in given)


def bind_rule(text: str) -> Bind:
    """A rule for listeners. Raises `ValueError`."""
    domain, at, place = text.strip().rpartition("@")
    address, ports = _split(place)
    try:
        return Bind(address, ports, (domain,) if at else None)
    except ValueError as error:
        raise _bad(text, error, "127.0.0.1:8000-8099") from None


def connect_rule(text: str) -> Reach:
    """A rule for connections. Raises `ValueError`."""
    target, ports = _split(text.strip())
    try:
        return Reach(target, ports)
    except ValueError as error:
        raise _bad(text, error, "api.example.com:443") from None


def _split(text: str) -> tuple[str, range | None]:
    brackets = _BRACKETS.fullmatch(text)
    if brackets:
        target, ports = brackets.groups()
    elif text.count(":") == 1:
        target, _, ports = text.partition(":")
    else:
        target, ports = text, None
    if ports is None:
        return target, None
    found = _PORTS.fullmatch(ports)
    if found is None:
        raise ValueError(f"expected a port or two with a dash between them after the colon, got {text!r}")
    first = int(found[1])
    last = int(found[2]) if found[2] else first
    if not 1 <= first <= last <= 65535:
        raise ValueError(f"expected ports from 1 to 65535, the lower one first, got {text!r}")
    return target, range(first, last + 1)


def _bad(text: str, error: ValueError, example: str) -> ValueError:
    return ValueError(f"{text!r} is not a network rule: {error}; write it like {example!r}")
