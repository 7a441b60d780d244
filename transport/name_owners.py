"""The owners of node names: a name is a claim, and the kernel only tells which user makes it.

A rule of the policy that names users says who may have a name. Where none does, the first user who connects
under it owns it from then on, as long as this node lives: whoever comes later under the same name, while the
owner is connected or when it has left, is another and is refused. A user whom a rule names takes a name from
an owner who merely came first. So does the node whose certificate is for the name; it can have no other.

What is remembered is bounded, and paid for by the user who claims: who claims too many names loses its own
oldest.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, TypeAlias

from enfilade.transport.carrier import Credentials
from enfilade.transport.policy import Identity, NotAdmitted, Policy

__all__ = ["NameOwners"]

MOST_OF_A_USER: Final = 1024
"""Names of one user."""

MOST: Final = 64 * 1024
"""Names of all users."""

User: TypeAlias = tuple[str | None, Hashable]
"""A user, in the zone that the kernel vouches for: the same number is another user in another zone. Or the
node of a certificate; or a process, if its user has no number here, for it may be any user's."""


class NameOwners:
    """The users that own the names of nodes.

    Args:
        policy: tells whom rules name.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._owners: dict[str, tuple[User, bool]] = {}
        self._names: dict[User, OrderedDict[str, None]] = {}

    def check(self, node: Identity) -> None:
        """Check that a node that the policy admits may have its name.

        Raises:
            NotAdmitted: its certificate is for another name; another user owns it; or no more names are
                remembered.
        """
        certified = node.credentials.node
        if certified is not None and certified != node.name:
            raise NotAdmitted(f"the certificate is for {certified}, the caller says {node.name!r}")
        name, user = node.name, _user(node.credentials)
        owner, was_named = self._owners.get(name, (user, False))
        if owner != user and not self._is_named(node):
            first = "who came first; a rule with `uids` can give it away"
            why = "to whom a rule gives it" if was_named else first
            raise NotAdmitted(f"the name {name!r} belongs to another user, {why}")
        if name not in self._owners and len(self._owners) >= MOST and user not in self._names:
            raise NotAdmitted(f"this node remembers the owners of {MOST} names, which is the limit")

    def check_successor(self, node: Identity, other: Credentials | None) -> None:
        """Check that a node may come in the place of another, which is connected or about to be.

        Raises:
            NotAdmitted: the other belongs to another user, who has the name by the same right.
        """
        assert other is not None, "a caller has credentials"
        owner, was_named = self._owners.get(node.name, (_user(other), False))
        if _user(other) == _user(node.credentials):
            return
        if not self._is_named(node) or (was_named and owner == _user(other)):
            raise NotAdmitted(f"the name {node.name!r} is in use by a node of another user")

    def claim(self, node: Identity) -> None:
        """Note that a node is about to be connected; raises what `check` does."""
        self.check(node)
        name, user = node.name, _user(node.credentials)
        before = self._owners.get(name)
        if before is not None and before[0] != user:
            self._forget(name)
        self._owners[name] = user, self._is_named(node)
        names = self._names.setdefault(user, OrderedDict())
        names[name] = None
        names.move_to_end(name)
        if len(names) > MOST_OF_A_USER or len(self._owners) > MOST:
            self._forget(next(iter(names)))

    def _is_named(self, node: Identity) -> bool:
        """Tell whether a rule, or a certificate, gives the node its name."""
        return node.credentials.node is not None or self._policy.names(node)

    def _forget(self, name: str) -> None:
        user, _ = self._owners.pop(name)
        names = self._names[user]
        del names[name]
        if not names:
            del self._names[user]


def _user(credentials: Credentials) -> User:
    return credentials.zone, credentials.owner
