"""Life and death of the nodes that this one has node links with, from the heart-beats that it hears.

Beats come from a node's own loop, so they prove that it runs. A node is dead

* when it has been silent for `dead_after`;
* when another incarnation of it is heard, because two never live at a time;
* when it says goodbye;
* when there was a hint that it has gone, and three probes found nobody.

A *hint* is the word of a server that a client has left it, or that nobody hears what the node should hear. It
proves nothing: a node that moves to another server leaves one, too. So the node is probed, three times and
`PROBE_SECONDS` apart. An answer ends the doubt; three probes that nobody hears are its death; anything else
leaves it to the beats.

While this node has no server it hears nobody, and that says nothing of others: silence is counted from the
moment when there is a server again. When there has been none for `dead_after`, this node has lost the mesh,
and so everybody at once. While this node's own loop stands still it hears nobody either: silence is counted
anew when it goes on.

Nothing here does input or output, or looks at a clock.
"""

from typing import Final, NamedTuple

import attrs

__all__ = ["LOST", "PROBE_SECONDS", "Death", "Presence"]

PROBES: Final = 3
PROBE_SECONDS: Final = 0.1
"""Probes after a hint, and the seconds before each: a node that moves to another server is there by then."""

GONE: Final = "the server says that it has gone, and it does not answer"

LOST: Final = "this node has lost the mesh: no server answers"


class Death(NamedTuple):
    """The end of one start of a node.

    Attributes:
        node: its name.
        incarnation: of that start.
        reason: for whoever had a node link with it.
    """

    node: str
    incarnation: int
    reason: str


@attrs.define
class _Watched:
    incarnation: int
    heard_at: float
    is_doubted: bool = False
    probes: int = 0
    missed: int = 0


class Presence:
    """The nodes that are watched, and when each was last heard.

    Args:
        dead_after: seconds of silence after which a node is dead.
    """

    def __init__(self, dead_after: float) -> None:
        self._dead_after = dead_after
        self._watched: dict[str, _Watched] = {}
        self._down_since: float | None = None
        self.is_lost = False
        self._passed_at: float | None = None

    @property
    def watched(self) -> dict[str, int]:
        """The incarnations that are watched, by name."""
        return {node: each.incarnation for node, each in self._watched.items()}

    def watch(self, node: str, incarnation: int, now: float) -> list[Death]:
        """Watch a start of a node, which has just been heard. An earlier start of it is dead."""
        watched = self._watched.get(node)
        if watched is not None and watched.incarnation == incarnation:
            watched.heard_at = now
            return []
        deaths = self._bury(node, "another incarnation of it was heard")
        self._watched[node] = _Watched(incarnation, now)
        return deaths

    def forget(self, node: str, incarnation: int) -> None:
        """Stop watching a start of a node. Harmless when repeated."""
        watched = self._watched.get(node)
        if watched is not None and watched.incarnation == incarnation:
            del self._watched[node]

    def heard(self, node: str, incarnation: int, now: float) -> list[Death]:
        """Note a beat."""
        watched = self._watched.get(node)
        if watched is None:
            return []
        if watched.incarnation != incarnation:
            return self._bury(node, "another incarnation of it was heard")
        watched.heard_at = now
        return []

    def silence(self, node: str, now: float) -> float:
        """Return for how many seconds a node has not been heard; 0 for one that is not watched."""
        watched = self._watched.get(node)
        return 0.0 if watched is None else now - watched.heard_at

    def hinted(self, node: str, incarnation: int | None = None) -> bool:
        """Note a hint that a node, or one start of it, has gone; return whether that is a new doubt."""
        watched = self._watched.get(node)
        if watched is None or watched.is_doubted or incarnation not in (None, watched.incarnation):
            return False
        watched.is_doubted, watched.probes, watched.missed = True, 0, 0
        return True

    def due_probes(self) -> list[tuple[str, int]]:
        """Return the starts of nodes to probe now; `PROBE_SECONDS` later it is to be called again."""
        due = []
        for node, watched in self._watched.items():
            if watched.is_doubted:
                watched.probes += 1
                if watched.probes > PROBES:
                    watched.is_doubted = False
                else:
                    due.append((node, watched.incarnation))
        return due

    def probe_answered(self, node: str, incarnation: int, now: float) -> list[Death]:
        """Note that a start of a node lives."""
        watched = self._watched.get(node)
        if watched is not None and watched.incarnation == incarnation:
            watched.is_doubted = False
        return self.heard(node, incarnation, now)

    def probe_missed(self, node: str, incarnation: int) -> list[Death]:
        """Note that nobody hears a probe."""
        watched = self._watched.get(node)
        if watched is None or not watched.is_doubted or watched.incarnation != incarnation:
            return []
        watched.missed += 1
        return self._bury(node, GONE) if watched.missed == PROBES else []

    def server_lost(self, now: float) -> None:
        """Note that this node has no server."""
        if self._down_since is None:
            self._down_since = now

    def server_found(self, now: float) -> None:
        """Note that this node has a server again: silence is counted anew."""
        self._down_since, self.is_lost = None, False
        self._listen_anew(now)

    def _listen_anew(self, now: float) -> None:
        for watched in self._watched.values():
            watched.heard_at = now

    def pass_time(self, now: float) -> list[Death]:
        """Find out who is dead now. It is to be called several times in `dead_after`."""
        before, self._passed_at = self._passed_at, now
        if before is not None and now - before > self._dead_after / 2:
            self._listen_anew(now)  # this node stood still, and what was said meanwhile is heard next
        if self._down_since is not None:
            if self.is_lost or now - self._down_since < self._dead_after:
                return []  # who is watched from then on is to be heard when there is a server again
            self.is_lost = True
            return [death for node in list(self._watched) for death in self._bury(node, LOST)]
        return [
            death
            for node, watched in list(self._watched.items())
            if now - watched.heard_at >= self._dead_after
            for death in self._bury(node, f"silent for {self._dead_after:.1f} s")
        ]

    def _bury(self, node: str, reason: str) -> list[Death]:
        watched = self._watched.pop(node, None)
        return [] if watched is None else [Death(node, watched.incarnation, reason)]
