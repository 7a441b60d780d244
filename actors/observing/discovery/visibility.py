"""The visibility of a node without a door: `ENFILADE_OBSERVE=1` in its environment gives it one.

Nothing of this happens without the variable. With it, a node that would listen nowhere listens at a door in
the user's runtime directory, lets the processes of the same user observe, inspect, trace and control it,
announces itself, and takes the signals for dumps if the program has no handlers for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import attrs

from enfilade.actors.messages.blocks import block
from enfilade.actors.observing.discovery.running_nodes import announced, file_stem, own_directory
from enfilade.actors.observing.dumps.signals import dumps_at_signals
from enfilade.transport.policy import Policy, Rights, Rule

if TYPE_CHECKING:
    from enfilade.actors.node.node import Node

__all__ = ["door_for_observers", "policy_for_observers", "visible"]

EVERYTHING: Final = Rights(observe=True, inspect=True, trace=True, control=True)


def door_for_observers(full_name: str) -> str:
    """The path of the door of a node of this process for those who observe it.

    Raises:
        OSError: the runtime directory belongs to somebody else, or cannot be made.
    """
    return os.path.join(own_directory(), f"{file_stem(full_name)}.door")


def policy_for_observers(policy: Policy | None) -> Policy:
    """A policy that lets the same user observe and control the node, beside what it had.

    With a policy of the node's own, that is so for operators, which have names of their own, alone.
    """
    own = frozenset({os.geteuid()})
    if policy is None:
        return Policy(rules=[Rule(uids=own, rights=EVERYTHING)])
    rule = Rule(nodes=("operator-*",), uids=own, rights=EVERYTHING)
    return attrs.evolve(policy, rules=(rule, *policy.rules))


@block
def visible(node: Node, door: str) -> Iterator[None]:
    """Announce a node that listens at `door_for_observers`, for the length of a block.

    Raises:
        OSError: the runtime directory belongs to somebody else, or cannot be written to.
    """
    place = own_directory() / f"{file_stem(node.full_name)}.dumps"
    with (
        dumps_at_signals(node, place) as takes_signals,
        announced(node.full_name, door=door, dumps=place if takes_signals else None),
    ):
        yield
