"""Watches: processes that show one view to one observer.

At most one update of a watch is unacknowledged. What changes meanwhile is in the next one, so that nothing is
queued for an observer that is slow, and one that has lost its way gets the state, not a history.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from enfilade.actors.messages.errors import Refused
from enfilade.actors.messages.guarded import log
from enfilade.actors.messages.plain import plain
from enfilade.actors.messages.reasons import Reason
from enfilade.actors.messages.ref import Ref
from enfilade.actors.messages.safe_id import safe_id
from enfilade.actors.observing.protocol.views import LIMITS, Update, View, check_view
from enfilade.actors.observing.watches.shots import Picture, Pictures, Scene, Shot
from enfilade.actors.processes.actor import Actor

if TYPE_CHECKING:
    from enfilade.actors.processes.links import Down
    from enfilade.actors.processes.timers import Timer

__all__ = ["Watch"]

TICK: Final = "enfilade.observe.tick"

DEPTH: Final = 16
"""How deep the data of an update may be that is made plain."""

PATIENCE: Final = 0.05
"""Seconds after which a picture that takes long is given up, if another one is wanted, or none."""


class Watch(Actor):
    """A watch: shows a view to an observer, until that ends or lets go.

    Args:
        scene: what pictures are taken of.
        observer: the process that is sent the updates.
        view: what is shown.
        rights: the rights that the observer has shown by the process that it asked.
        pictures: what makes the pictures of each view that can be shown.
    """

    def __init__(
        self,
        scene: Scene,
        observer: Ref[Any],
        view: View,
        rights: frozenset[str],
        pictures: Pictures,
    ) -> None:
        self._scene = scene
        self._pictures = pictures
        self._observer = observer
        self._view = view
        self._rights = rights
        self._picture: Picture | None = None
        self._number = 0
        self._acknowledged = 0
        self._sent_at = scene.watching.now()
        self._is_full = True
        self._has_more = False
        self._due = 0  # the tick that counts: a change of the view makes those before it void
        self._timer: Timer | None = None

    async def on_start(self) -> None:
        """Begin with the whole of the view, at once."""
        self._scene.watching.opened(self.process.serial, self._observer.node_name)
        self.process.monitor(self._observer)
        self._begin()

    def _begin(self) -> None:
        """Show the present view from the beginning."""
        before, self._picture = self._picture, None
        self._picture = self._pictures[type(self._view)](self._scene, self._view)
        if before is not None:
            before.close()
        self._is_full = True
        self._next(0.0)

    def _next(self, seconds: float) -> None:
        """Take the next picture in so many seconds. A tick before it would only interrupt that."""
        if self._timer is not None:
            self._timer.cancel()
        self._due += 1
        self._timer = self.process.send_after(seconds, self.process.ref, (TICK, self._due))

    def ack(self, number: int) -> None:
        """Take note that the observer has taken in the update of that number, so that another may follow."""
        if number == self._number and self._acknowledged < number:
            self._acknowledged = number
            if self._has_more:
                self._next(0.0)

    def change(self, view: Any) -> int:
        """Show another view from now on. The next update has the whole of it, and does not wait.

        Returns:
            the number of the last update of the view before.

        Raises:
            Refused: it is not a view, goes beyond the limits, or needs another right.
        """
        before = self._view
        try:
            self._view = check_view(view, self._rights, self._pictures)
        except Refused as error:
            self.process.refuse(error)
            return 0
        if (type(before), getattr(before, "process", None)) != (type(view), getattr(view, "process", None)):
            self._scene.watching.looked(self._observer.node_name, self._scene.right, self._view)
        self._acknowledged = self._number  # what is under way is of the view before
        self._begin()
        return self._number

    def close(self) -> None:
        """End the watch."""
        self.process.stop()

    def on_down(self, down: Down) -> None:
        """The observer has ended, or its node is gone."""
        self.process.stop()

    def on_stop(self, reason: Reason) -> None:
        """Forget what is kept for the watch."""
        self._scene.watching.closed(self.process.serial)
        if self._picture is not None:
            self._picture.close()

    async def on_message(self, message: Any) -> None:
        """Make an update, if the one before has been acknowledged."""
        if message != (TICK, self._due):
            return
        watching = self._scene.watching
        now = watching.now()
        if self._acknowledged < self._number:
            if now - self._sent_at > LIMITS["unacknowledged_seconds"]:
                self.process.stop()
            else:
                self._next(self._scene.interval)
            return
        worked = watching.walker.seconds
        shot = await self._shot()
        if shot is None:
            self._next(0.0)  # after what has come
        else:
            self._send(shot, took=watching.walker.seconds - worked, began=now)

    async def _shot(self) -> Shot | None:
        """Take a picture; None if another view, or the end, has come meanwhile."""
        assert self._picture is not None
        shot = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leave, nursery.cancel_scope)
            shot = await self._picture.shot(is_full=self._is_full)
            nursery.cancel_scope.cancel()
        return shot

    async def _leave(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` when a message waits. It is no acknowledgement: the next picture follows that."""
        while not self.process.queue:  # noqa: ASYNC110 (which has no event)
            await trio.sleep(PATIENCE)
        scope.cancel()

    def _tell(self, update: Update) -> None:
        """Send an update; one that no frame can carry, because of a text of the program's, without that. To
        put it into bytes is work of the node's, too, for which the next walk rests. It wakes the observer,
        which takes the processor away on a machine with much to do: that is no work of the node's.
        """
        walker = self._scene.watching.walker
        began = walker.processor_time()
        try:
            self._observer.send(update)
        except Exception:
            self._observer.send(attrs.evolve(update, data=plain(update.data, safe_id, DEPTH)))
        finally:
            walker.worked(walker.processor_time() - began)

    def _send(self, shot: Shot, *, took: float, began: float) -> None:
        is_full, self._is_full = self._is_full or shot.is_new, False
        every = 0.0 if self._number == 0 else began - self._sent_at
        self._number += 1
        self._sent_at = self._scene.watching.now()
        self._has_more = shot.has_more
        try:
            update = Update(self._number, self._sent_at, took, every, is_full, shot.data, shot.missed)
            self._tell(update)
        except Exception as error:
            log(
                logging.WARNING, "%s ends: its observer cannot be sent an update: %s", self.process.ref, error
            )
            self.process.stop()
            return
        self._next(self._scene.interval)
