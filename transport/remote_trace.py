"""Tracebacks for other nodes: where an error came about, without what is nobody's business there.

The paths of files tell where programs, users and mounts lie, and the lines of a source may hold secrets. So a
traceback that leaves the node has the name of each file without its directory, the line and the function.
"""

import traceback
from collections import deque
from types import TracebackType
from typing import Final

__all__ = ["places"]

MOST_CALLS: Final = 50
"""Calls in a traceback: the innermost."""


def places(trace: TracebackType | None) -> str:
    """Describe the calls of a traceback, one in a line, the innermost last."""
    calls = deque(traceback.walk_tb(trace), maxlen=MOST_CALLS)
    return "".join(
        f'  File "{_short(frame.f_code.co_filename)}", line {line}, in {_shown(frame.f_code.co_name)}\n'
        for frame, line in calls
    )


def _short(path: str) -> str:
    return _shown(path.replace("\\", "/").rpartition("/")[2])


def _shown(name: str) -> str:
    """At most some hundred characters of a name, each printable: what the name of a file holds that is not
    valid Unicode could not travel, and a line break would forge a line.
    """
    return repr(name[:100])[1:-1]
