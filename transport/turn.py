"""A peer's turn of the loop: how much of what it sent is taken in before others have theirs.

A batch has at most 64 KiB, but these can be ten frames or thirty thousand, and a frame can be as good as free
or ask for a process to be started. So a batch is divided into parts, and after each of them others have a
turn. How many frames make a part follows from the time that the last ones took.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from enfilade.transport.attachment import Attachment
from enfilade.transport.wire import Frame, files_of

__all__ = ["MOST", "SECONDS", "Part", "Turn"]

Part: TypeAlias = tuple[Sequence[Frame], Sequence[Attachment]]
"""Frames that are carried out in one turn, and the handles that came with them."""

MOST: Final = 512
"""Frames in one turn."""

SECONDS: Final = 0.005
"""A turn should not take longer."""


class Turn:
    """The turns of one peer.

    Args:
        clock: seconds that never go back.

    Attributes:
        frames: how many are carried out in one turn now.
    """

    __slots__ = ("_clock", "frames")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.frames = MOST

    def is_over(self, began: float) -> bool:
        """Tell whether the frames since `began` have taken the time of a turn."""
        return self._clock() - began > SECONDS

    def end(self, count: int, began: float) -> None:
        """Note that so many frames have been carried out since `began`, and learn from the time it took."""
        if self._clock() - began > SECONDS:
            self.frames = max(1, min(self.frames, count) // 2)
        elif self.frames < MOST:
            self.frames = min(MOST, 2 * self.frames)

    def divide(self, frames: Sequence[Frame], handles: Sequence[Attachment], parts: deque[Part]) -> None:
        """Divide a batch into parts of so many frames; handles end a part, because they may bring much.

        A batch whose frames do not name the handles that came is left whole, to be refused as a whole. Where
        none came, nobody counts: the first frame that names some is refused when its turn comes.
        """
        if len(frames) <= self.frames and len(handles) <= 1:
            parts.append((frames, handles))
            return
        if not handles:
            most = self.frames
            parts.extend((frames[first : first + most], ()) for first in range(0, len(frames), most))
            return
        counts = [files_of(frame) for frame in frames]
        if sum(counts) != len(handles):
            parts.append((frames, handles))
            return
        first = used = 0
        for place, count in enumerate(counts, 1):
            if count or place - first >= self.frames or place == len(frames):
                dealt = sum(counts[first:place])
                parts.append((frames[first:place], handles[used : used + dealt]))
                first, used = place, used + dealt
