"""Subjects: where things are said in a mesh, made of names so that no name says more than itself.

A token is a name in UTF-8 in which everything but letters, digits, `-` and `_` of ASCII is written `=XX`. So
the dots, stars and spaces of a name mean nothing to a server. Every subject that another node acts on holds
the sender's token.
"""

import re
from functools import lru_cache
from typing import Final

import attrs

__all__ = ["ACCOUNT", "DISCONNECTED", "MOST_CHARACTERS", "Subjects", "from_token", "to_token"]

MOST_CHARACTERS: Final = 63
"""Characters of a node's name over a mesh: a subject has 255 bytes at most."""

ACCOUNT: Final = "mesh"
"""The account of nodes at servers that we configure."""

DISCONNECTED: Final = f"$SYS.ACCOUNT.{ACCOUNT}.DISCONNECT"
"""Where such servers say that a client of that account has left."""

MOST_TOKENS: Final = 4096
"""Tokens whose names are remembered: every message has the one of its sender."""

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_TOKEN: Final = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")


def to_token(name: str) -> str:
    """Write a name as one token of a subject.

    Raises:
        ValueError: it is empty.
    """
    if not name:
        raise ValueError("expected a name of at least 1 character, got ''")
    return "".join(chr(each) if each in _PLAIN else f"={each:02X}" for each in name.encode())


@lru_cache(maxsize=MOST_TOKENS)
def from_token(token: str) -> str:
    """Read a name that was written as a token.

    Raises:
        ValueError: `to_token` writes no name so.
    """
    if _TOKEN.fullmatch(token):
        first, *rest = token.split("=")
        try:
            raw = first.encode() + b"".join(bytes([int(part[:2], 16)]) + part[2:].encode() for part in rest)
            name = raw.decode()
        except UnicodeDecodeError:
            pass
        else:
            if to_token(name) == token:
                return name
    raise ValueError(f"expected a token of a subject, got {token!r}")


@attrs.frozen
class Subjects:
    """The subjects of one mesh, as one start of one node uses them.

    Attributes:
        mesh: the name of the mesh.
        node: the node's full name.
        incarnation: of this start.
    """

    mesh: str
    node: str
    incarnation: int
    prefix: str = attrs.field(init=False)
    token: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Compute the parts that all subjects share."""
        object.__setattr__(self, "prefix", f"enf.{to_token(self.mesh)}")
        object.__setattr__(self, "token", to_token(self.node))

    @property
    def inbox(self) -> str:
        """The subject of answers to this node's requests, without the number of the request."""
        return f"{self.prefix}.i.{self.token}.{self.incarnation:x}"

    @property
    def links(self) -> str:
        """The subject of batches for this start: the sender and the number of the inlet follow."""
        return f"{self.prefix}.l.{self.token}.{self.incarnation:x}"

    @property
    def meeting(self) -> str:
        """The subject of a Hello to this node: the caller's token follows."""
        return f"{self.prefix}.r.{self.token}"

    @property
    def probes(self) -> str:
        """The subject of questions whether this start lives: the token of the one who asks follows."""
        return f"{self.prefix}.p.{self.token}.{self.incarnation:x}"

    @property
    def beat(self) -> str:
        """The subject of this node's heart-beats."""
        return f"{self.prefix}.b.{self.token}"

    @property
    def announcement(self) -> str:
        """The subject of what this node tells of itself."""
        return f"{self.prefix}.d.{self.token}"

    @property
    def question(self) -> str:
        """The subject of this node's question to all others."""
        return f"{self.prefix}.q.{self.token}"

    @property
    def guard(self) -> str:
        """A subject of a node that cannot be: servers that keep nodes apart let nobody publish there."""
        return f"{self.prefix}.b.{to_token('guard check')}"

    def all_of(self, kind: str) -> str:
        """Return the subject under which all nodes publish things of a kind: `b`, `d` or `q`."""
        return f"{self.prefix}.{kind}.*"

    @property
    def all_changes(self) -> str:
        """The subject under which all nodes publish changes of their tables."""
        return f"{self.prefix}.g.>"

    @property
    def tables(self) -> str:
        """The subject of questions for this node's tables: scope and asking node follow."""
        return f"{self.prefix}.s.{self.token}"

    def change_of(self, scope: str) -> str:
        """Return where this node publishes changes of its table of a scope."""
        return f"{self.prefix}.g.{to_token(scope)}.{self.token}"

    def table_of(self, node: str, scope: str) -> str:
        """Return where this node asks for another node's table of a scope."""
        return f"{self.prefix}.s.{to_token(node)}.{to_token(scope)}.{self.token}"

    def inlet(self, node: str, incarnation: int, number: int) -> str:
        """Return where batches go that are for an inlet of one start of a node."""
        return f"{self.prefix}.l.{to_token(node)}.{incarnation:x}.{self.token}.{number:x}"

    def meeting_of(self, node: str) -> str:
        """Return where this node says Hello to another."""
        return f"{self.prefix}.r.{to_token(node)}.{self.token}"

    def probe_of(self, node: str, incarnation: int) -> str:
        """Return where this node asks whether a start of another lives."""
        return f"{self.prefix}.p.{to_token(node)}.{incarnation:x}.{self.token}"

    def beat_of(self, node: str) -> str:
        """Return where another node's heart-beats go."""
        return f"{self.prefix}.b.{to_token(node)}"
