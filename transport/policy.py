"""The rules by which a node admits peers, and what a peer may reach there.

A policy is a list of rules, tried in order; the first that fits the peer decides, and a peer that none fits
is refused. A rule looks at what the kernel vouches for (zone, user, group) and at what the peer claims (its
name). It grants rights: which registered names the peer can see, which of them it may end, which entries it
may spawn, and how much it may ask of the node. Whatever a rule does not export, the peer can reach only
through a ref that it was sent.

With a secret, both sides also prove that they know it before anything else is read.
"""

import fnmatch
import os
from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs

from enfilade.fields import an_int, are_texts, as_texts, as_tuple, by_annotation, instance_of, shown, tuple_of
from enfilade.transport.carrier import Credentials

__all__ = [
    "CONTROL",
    "INSPECT",
    "OBSERVE",
    "TRACE",
    "Identity",
    "Limits",
    "NotAdmitted",
    "Policy",
    "Rights",
    "Rule",
]


class NotAdmitted(Exception):
    """One node refused the other; the message says which, and why."""


@attrs.frozen
class Identity:
    """A node that wants to connect: what it claims to be, beside what the kernel says.

    Attributes:
        name: the full name that it claims, `name@zone`.
        zone: the zone that it claims.
        incarnation: which start of the node this is, as it claims.
        credentials: what the kernel, or the certificate of a mesh, says of it.
    """

    name: str
    zone: str
    incarnation: int
    credentials: Credentials


def _positive(_: object, attribute: "attrs.Attribute[Any]", value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0, got {value!r}")


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class Limits:
    """Bounds on what one peer may ask of this node.

    Attributes:
        backlog: bytes of frames that may wait here for the peer, and of long payloads beside them, before
            another may not; then the node link is closed.
        bulk: bytes of long payloads that may wait to leave for the peer where they travel in chunks, as they
            do over a mesh; what would be more fails where it is sent.
        references: refs of this node that the peer may hold at a time.
        pending: calls, monitors and spawns of the peer that may be open here at a time, of each; and groups
            of a scope whose members it may tell.
        pending_bytes: bytes of the arguments of its open calls.
        links: links between its processes and those of this node that it may set up.
        processes: processes that it has started here and that have not ended, whatever became of the node
            link meanwhile.
        payload: bytes of one payload, its memory files included.
        decoding: seconds that decoding one payload may take, estimated from the number and kinds of the
            values in it: 0.04 for a million numbers, 0.3 for a hundred thousand records.
        rate: frames a second that the peer may send on average over a second; None for no limit.
        silence: seconds of silence after which the peer is dead, in the place of the period that the two
            nodes have agreed on; `math.inf` where the kernel tells of its death. None for that period.
    """

    backlog: int = attrs.field(default=64 * 1024 * 1024, validator=_positive)
    bulk: int = attrs.field(default=256 * 1024 * 1024, validator=_positive)
    references: int = attrs.field(default=1_000_000, validator=_positive)
    pending: int = attrs.field(default=100_000, validator=_positive)
    pending_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_positive)
    links: int = attrs.field(default=10_000, validator=_positive)
    processes: int = attrs.field(default=10_000, validator=_positive)
    payload: int = attrs.field(default=32 * 1024 * 1024, validator=_positive)
    decoding: float = attrs.field(default=0.2, validator=_positive)
    rate: float | None = attrs.field(default=None, validator=_positive)
    silence: float | None = attrs.field(default=None, validator=_positive)


UNKNOWN: Final = -1
"""The number of a user, or a group, that has none here. No rule is for it."""


def _optional(value: Iterable[int] | None) -> frozenset[int] | None:
    return frozenset(value) - {UNKNOWN} if isinstance(value, Iterable) else value


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


OBSERVE: Final = "enfilade.observe"
INSPECT: Final = "enfilade.inspect"
TRACE: Final = "enfilade.trace"
CONTROL: Final = "enfilade.control"
"""The names that the rights `observe`, `inspect`, `trace` and `control` open."""

_RESERVED: Final = "enfilade."

WAYS: Final = ("doors", "mesh", "any")
"""The ways over which a rule may let a peer come."""

_ARE_LIMITS: Final = instance_of(Limits, "enfilade.transport.Limits, such as Limits(references=1000)")


@attrs.frozen(kw_only=True, field_transformer=by_annotation)
class Rights:
    """The rights of an admitted peer. None includes another, and by default it has none.

    Attributes:
        exports: shell patterns of the registered names that the peer may send to, call, watch and look up.
        ends: shell patterns of the registered or global names whose holders the peer may end: by an exit
            signal, by an order to stop, by a link. It may end what it started itself, and processes without a
            name whose refs it was sent, without this right.
        entries: shell patterns of the spawn entries that it may start.
        groups: shell patterns of the scopes whose process groups the two nodes share: each tells the other
            its members.
        kinds: shell patterns of the kinds whose keyed actors the peer may send to, call and watch. It may end
            those of kinds that `ends` has, too.
        observe: whether it may look at the node's processes: structure and numbers, names and types; no
            pattern in `exports` includes that.
        inspect: whether it may see what holds data: states, texts of errors and reasons; no pattern in
            `exports` includes that.
        trace: whether it may trace processes: what messages contain; no pattern in `exports` includes that.
        control: whether it may control the node, and stop it; no pattern in `exports` includes that.
        trace_context: whether what it sends goes on in the traces that it names. Otherwise traces begin here,
            and are linked to those.
        limits: how much it may ask.
    """

    exports: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    ends: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    entries: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    groups: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    kinds: tuple[str, ...] = attrs.field(default=(), converter=as_texts, validator=are_texts)
    observe: bool = False
    inspect: bool = False
    trace: bool = False
    control: bool = False
    trace_context: bool = False
    limits: Limits = attrs.field(default=Limits(), validator=_ARE_LIMITS)

    def sees(self, name: str) -> bool:
        """Tell whether the registered name `name` is exported to the peer."""
        if name.startswith(_RESERVED):
            opened = {
                OBSERVE: self.observe,
                INSPECT: self.inspect,
                TRACE: self.trace,
                CONTROL: self.control,
            }
            return opened.get(name, False)
        return _matches(name, self.exports)

    def may_end(self, name: str) -> bool:
        """Tell whether the peer may end the process that holds the registered name `name`."""
        return not name.startswith(_RESERVED) and _matches(name, self.ends)

    def may_spawn(self, entry: str) -> bool:
        """Tell whether the peer may start a process from `entry`."""
        return _matches(entry, self.entries)

    def uses(self, kind: str) -> bool:
        """Tell whether the peer may use the keyed actors of `kind`."""
        return _matches(kind, self.kinds)

    def shares(self, scope: str) -> bool:
        """Tell whether the process groups of `scope` are shared with the peer."""
        return _matches(scope, self.groups)


def _is_way(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if value not in WAYS:
        raise ValueError(f"{attribute.name} must be one of {', '.join(map(repr, WAYS))}, got {shown(value)}")


_ARE_IDS: Final = attrs.validators.optional(
    attrs.validators.deep_iterable(an_int, instance_of(frozenset, "integers, or None for any"))
)
_IS_RIGHTS: Final = instance_of((Rights, type(None)), "Rights, or None to refuse the peer")


@attrs.frozen(kw_only=True)
class Rule:
    """One line of a policy: a peer that fits all that is given gets the rights.

    Attributes:
        nodes: shell patterns of node names.
        zones: shell patterns of zone names. Where the kernel tells the caller's zone, that is what counts.
        uids: effective users; None for any. A user without a number in our user namespace is none of them.
        gids: groups, effective or supplementary; None for any.
        over: how the peer must come: over "doors", over the "mesh", or "any" way. Users and groups mean
            nothing on other machines: a rule that names some never fits a node with a certificate.
        rights: what the peer may do then; None refuses it.
    """

    nodes: tuple[str, ...] = attrs.field(default=("*",), converter=as_texts, validator=are_texts)
    zones: tuple[str, ...] = attrs.field(default=("*",), converter=as_texts, validator=are_texts)
    uids: frozenset[int] | None = attrs.field(default=None, converter=_optional, validator=_ARE_IDS)
    gids: frozenset[int] | None = attrs.field(default=None, converter=_optional, validator=_ARE_IDS)
    over: Literal["doors", "mesh", "any"] = attrs.field(default="doors", validator=_is_way)
    rights: Rights | None = attrs.field(default=Rights(), validator=_IS_RIGHTS)

    def fits(self, peer: Identity) -> bool:
        """Tell whether the rule applies to `peer`."""
        credentials = peer.credentials
        if self.over != "any" and (self.over == "mesh") != (credentials.mesh is not None):
            return False
        if credentials.node is not None and not (self.uids is None and self.gids is None):
            return False
        zone = peer.zone if credentials.zone is None else credentials.zone
        return (
            _matches(peer.name, self.nodes)
            and _matches(zone, self.zones)
            and (self.uids is None or credentials.uid in self.uids)
            and (self.gids is None or not self.gids.isdisjoint({credentials.gid, *credentials.groups}))
        )


# A converter has a type of its own: for a type variable, type checkers would ask for `Iterable[T]`.
def _rules(value: Iterable[Rule]) -> tuple[Rule, ...]:
    return as_tuple(value)


_ARE_RULES: Final = tuple_of(Rule, "Rule objects")


def _is_bytes(_: object, attribute: "attrs.Attribute[Any]", value: object) -> None:
    if not (value is None or isinstance(value, bytes)):
        raise TypeError(f"{attribute.name} must be bytes, got {type(value).__name__}")  # and not its value


@attrs.frozen(kw_only=True)
class Policy:
    """The nodes that may connect.

    Attributes:
        rules: tried in order.
        secret: what both nodes must know, or None to rely on the kernel's credentials alone.
    """

    rules: tuple[Rule, ...] = attrs.field(converter=_rules, validator=_ARE_RULES)
    secret: bytes | None = attrs.field(default=None, repr=False, validator=_is_bytes)

    @classmethod
    def same_user(
        cls,
        *,
        exports: Iterable[str] | str = (),
        ends: Iterable[str] | str = (),
        entries: Iterable[str] | str = (),
        groups: Iterable[str] | str = (),
        limits: Limits | None = None,
    ) -> "Policy":
        """Admit the processes of this user, in any zone, and nobody else. Their trace contexts are taken.

        In a user namespace where this user has no number, which the kernel does not tell from others, that is
        nobody.

        Args:
            exports: shell patterns of the names that they may reach; none by default.
            ends: shell patterns of the names whose holders they may end; none by default.
            entries: shell patterns of the spawn entries that they may start; none by default.
            groups: shell patterns of the group scopes that are shared with them; none by default.
            limits: how much each may ask.
        """
        rights = Rights(
            exports=exports,
            ends=ends,
            entries=entries,
            groups=groups,
            trace_context=True,
            limits=limits or Limits(),
        )
        return cls(rules=(Rule(uids=(os.geteuid(),), rights=rights),))

    @classmethod
    def same_mesh(
        cls,
        *,
        exports: Iterable[str] | str = (),
        ends: Iterable[str] | str = (),
        entries: Iterable[str] | str = (),
        groups: Iterable[str] | str = (),
        kinds: Iterable[str] | str = (),
        limits: Limits | None = None,
    ) -> "Policy":
        """Admit every node of the mesh that this node is in, and nobody who comes through a door.

        Args:
            exports, ends, entries, groups, limits: as of `same_user`.
            kinds: shell patterns of the kinds of keyed actors that they may use; none by default.
        """
        rights = Rights(
            exports=exports,
            ends=ends,
            entries=entries,
            groups=groups,
            kinds=kinds,
            limits=limits or Limits(),
        )
        return cls(rules=(Rule(over="mesh", rights=rights),))

    @property
    def lets_observe(self) -> bool:
        """True if a rule lets anybody observe the node, or inspect, trace or control it."""
        given = [rule.rights for rule in self.rules if rule.rights is not None]
        return any(each.observe or each.inspect or each.trace or each.control for each in given)

    def rule_for(self, peer: Identity) -> Rule | None:
        """Return the first rule that fits `peer`; None when none does."""
        return next((rule for rule in self.rules if rule.fits(peer)), None)

    def names(self, peer: Identity) -> bool:
        """Tell whether the rule that fits `peer` says which users, or groups, it is for."""
        rule = self.rule_for(peer)
        return rule is not None and (rule.uids is not None or rule.gids is not None)

    def admit(self, peer: Identity) -> Rights:
        """Decide about `peer`.

        Returns:
            Its rights.

        Raises:
            NotAdmitted: no rule fits it, or the one that does refuses it.
        """
        rule = self.rule_for(peer)
        if rule is not None and rule.rights is not None:
            return rule.rights
        credentials = peer.credentials
        if credentials.mesh is None:
            how = f"with uid {credentials.uid}, gid {credentials.gid}"
        else:
            how = f"over mesh {credentials.mesh!r}"
        raise NotAdmitted(
            f"the policy does not admit node {peer.name!r} of zone {credentials.zone or peer.zone!r} {how}"
        )
