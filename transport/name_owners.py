"""The owners of node names: a name is a claim, and the kernel only tells which user makes it.

A rule of the policy that names users says who may have a name. Where none does, the first user who connects
under it owns it from then on, as long as this node lives: whoever comes later under the same name, while the
owner is connected or when it has left, is another and is refused. A user whom a rule names takes a name from
an owner who merely came first.

What is remembered is bounded, and paid for by the user who claims: who claims too many names loses its own
oldest.
"""

from collections import OrderedDict
from typing import Final, TypeAlias

from enfilade.transport.carrier import Credentials
from enfilade.transport.policy import NotAdmitted

__all__ = ["NameOwners"]

MOST_OF_A_USER: Final = 1024
"""Names of one user."""

MOST: Final = 64 * 1024
"""Names of all users."""

User: TypeAlias = tuple[str | None, int]
"""A user, in the zone that the kernel vouches for: the same number is another user in another zone."""


class NameOwners:
    """The users that own the names of nodes."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[User, bool]] = {}
        self._names: dict[User, OrderedDict[str, None]] = {}

    def check(self, name: str, claimant: Credentials, *, is_named: bool) -> None:
        """Check that a user may have a name.

        Args:
            name: the node's name.
            claimant: who claims it.
            is_named: whether the rule that admits the claimant names users or groups.

        Raises:
            NotAdmitted: another user owns it; or no more names are remembered.
        """
        user = _user(claimant)
        owner, was_named = self._owners.get(name, (user, False))
        if owner != user and not is_named:
            why = (
                "to whom a rule gives it"
                if was_named
                else "who came first; a rule with `uids` can give it away"
            )
            raise NotAdmitted(f"the name {name!r} belongs to another user, {why}")
        if name not in self._owners and len(self._owners) >= MOST and user not in self._names:
            raise NotAdmitted(f"this node remembers the owners of {MOST} names, which is the limit")

    def may_replace(self, name: str, owner: Credentials, claimant: Credentials, *, is_named: bool) -> bool:
        """Tell whether a user may take a name from another who is connected under it.

        It may when it is the same user; or a rule names it, and none named the other.
        """
        known, was_named = self._owners.get(name, (_user(owner), False))
        return _user(owner) == _user(claimant) or (is_named and not (was_named and known == _user(owner)))

    def claim(self, name: str, claimant: Credentials, *, is_named: bool) -> None:
        """Note that a user connects under a name; raises what `check` does."""
        self.check(name, claimant, is_named=is_named)
        user = _user(claimant)
        before = self._owners.get(name)
        if before is not None and before[0] != user:
            self._forget(name)
        self._owners[name] = user, is_named
        names = self._names.setdefault(user, OrderedDict())
        names[name] = None
        names.move_to_end(name)
        if len(names) > MOST_OF_A_USER or len(self._owners) > MOST:
            self._forget(next(iter(names)))

    def _forget(self, name: str) -> None:
        user, _ = self._owners.pop(name)
        names = self._names[user]
        del names[name]
        if not names:
            del self._names[user]


def _user(credentials: Credentials) -> User:
    return credentials.zone, credentials.uid
