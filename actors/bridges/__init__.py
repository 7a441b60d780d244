"""Ways between trio, which nodes run on, and programs and libraries that are written for asyncio."""

from enfilade.actors.bridges.event_loop_thread import EventLoopThread
from enfilade.actors.bridges.trio_run import TrioRun

__all__ = ["EventLoopThread", "TrioRun"]
