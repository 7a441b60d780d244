"""Messages and calls of peers to whom is not there: found out before anything of theirs is decoded.

What nobody takes costs this node no decoding. There is one exception: whoever subscribes to dead letters is
to see the message itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from enfilade.actors.messages.errors import Restarting
from enfilade.actors.messages.reasons import NO_PROCESS, Reason
from enfilade.actors.messages.safe_text import safe_str
from enfilade.actors.processes.links import Alias
from enfilade.actors.processes.local_ref import process_of
from enfilade.actors.processes.mailbox import is_kept
from enfilade.transport.attachment import Attachment
from enfilade.transport.file_descriptor import close_all

if TYPE_CHECKING:
    from enfilade.actors.messages.ref import Ref
    from enfilade.actors.node.node import Node
    from enfilade.transport import wire

__all__ = ["Undecoded", "absence", "is_gone", "is_lost"]


@attrs.frozen
class Undecoded:
    """Stands in the log for a message of `size` bytes that nobody took and nobody wanted to see."""

    size: int


def is_gone(node: Node, to: wire.Target, ref: Ref[Any] | None) -> bool:
    """Tell whether nobody would take a message.

    Args:
        node: this node.
        to: the address in the message.
        ref: the process that was found for it.
    """
    if ref is None:
        left = node.restarting_names.get(to) if isinstance(to, str) else None
        return left is None or not node.keeps_mailbox(left)
    process = process_of(ref)
    if process is None:
        return False
    if isinstance(ref, Alias) and not ref.active:
        return True
    return process.ended is not None and not is_kept(process)


def is_lost(
    node: Node, to: wire.Target, ref: Ref[Any] | None, payload: Any, files: Sequence[Attachment]
) -> bool:
    """Deal with a message that nobody would take; return false when it must be decoded all the same.

    It becomes a dead letter, except that what is sent to an alias that was taken back vanishes.
    """
    if not is_gone(node, to, ref):
        return False
    is_alias = isinstance(ref, Alias) and not ref.active
    if len(node.dead_letters) and not is_alias:
        return False
    close_all(files)
    if not is_alias:
        node.dead_letters.publish(Undecoded(len(payload)), ref or node.ref, NO_PROCESS)
    return True


def absence(node: Node, to: wire.Target, ref: Ref[Any] | None) -> Restarting | Reason | None:
    """Return what a call to nobody fails with; None when there is somebody."""
    if ref is None:
        return Restarting(safe_str(to)) if to in node.restarting_names else NO_PROCESS
    if not is_gone(node, to, ref):
        return None
    process = process_of(ref)
    return Restarting(ref) if process is not None and process.restarting else NO_PROCESS
