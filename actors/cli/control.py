"""The process of a node that `enfilade zone run` started that carries out the requests of operators.

It is an ordinary process with a reserved name, and peers reach it as they reach any other: by the policy. A
pattern such as `*` among a peer's exports does not include it; only `control = true` does.
"""

from collections.abc import Callable
from pathlib import Path

from enfilade.actors.messages.errors import UpgradeFailed
from enfilade.actors.observing.listing import Listing
from enfilade.transport.policy import CONTROL

__all__ = ["CONTROL", "Control"]


class Control(Listing):
    """The control process.

    Args:
        order_stop: orders the node's shutdown, and returns at once.
    """

    __slots__ = ("_order_stop",)

    def __init__(self, order_stop: Callable[[], None]) -> None:
        self._order_stop = order_stop

    def stop(self) -> None:
        """Order the node's shutdown. The answer says that it was ordered, not that it is done."""
        self._order_stop()

    async def upgrade(self, name: str, module: str, timeout: float) -> str | None:
        """Move the guest of that name to another module; see `enfilade.actors.guests.upgrade_guest`.

        Args:
            name: the guest's registered name.
            module: the path of the new module, as this node sees it.
            timeout: seconds for it.

        Returns:
            why the guest goes on as it was, or None if it has moved.
        """
        from enfilade.actors.guests.upgrade import upgrade_guest

        node = self.process.node
        ref = node.whereis(name)
        if ref is None:
            return f"no process of this node has the name {name!r}"
        try:
            await upgrade_guest(ref, Path(module), timeout=timeout)
        except (UpgradeFailed, TypeError) as error:
            return str(error)
        return None
