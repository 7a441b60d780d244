"""The handles of a batch, dealt out to its frames: each is owned once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from enfilade.transport import wire
from enfilade.transport.attachment import Attachment
from enfilade.transport.file_descriptor import close_all

__all__ = ["check_claims", "take"]


def check_claims(frames: Sequence[wire.Frame], came: int) -> None:
    """Refuse a batch whose frames name more or fewer handles than came with it, before any is dealt out.

    Raises:
        MalformedBatch: the sum is not the number of handles.
    """
    claimed = sum(map(wire.files_of, frames))
    if claimed != came:
        raise wire.MalformedBatch(f"the frames name {claimed} handles, and {came} came with them")


def take(rest: Iterator[Attachment], count: int) -> Sequence[Attachment]:
    """Deal the next `count` handles out to a frame, whose own they are from here on.

    Raises:
        MalformedBatch: there are not so many.
    """
    taken = list(islice(rest, count))
    if len(taken) < count:
        close_all(taken)
        raise wire.MalformedBatch(f"a frame names {count} handles, and {len(taken)} came for it")
    return taken
