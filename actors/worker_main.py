"""The program of a worker: a node that is connected to its employer, until that ends."""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

from enfilade.actors.opening import open_node
from enfilade.actors.workers.family import STOP_SECONDS, WORD, FamilyPolicy
from enfilade.actors.workers.importable import Importable
from enfilade.transport.policy import Policy

__all__ = ["work"]


WATCH_SECONDS: Final = 1.0
"""Polling interval for the death of the parent process."""

PR_SET_PDEATHSIG: Final = 1
"""Names the signal that a process gets when its parent dies; see prctl(2)."""


def work(spec: Mapping[str, Any]) -> None:
    """Run a worker as `spec` describes it, which came by standard input."""
    employer = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)
    end = _End(employer, spec["directory"])
    threading.Thread(target=end.wait_for_it, daemon=True).start()
    try:
        trio.run(_work, spec, employer)
    except KeyboardInterrupt:
        pass
    finally:
        end.tidy_up()


async def _work(spec: Mapping[str, Any], employer: int) -> None:
    name = spec["name"]
    secret = None if spec["secret"] is None else bytes.fromhex(spec["secret"])
    same_user = Policy.same_user()  # siblings, to which refs were handed
    policy = FamilyPolicy(rules=same_user.rules, secret=secret, family=lambda: (employer,))
    async with open_node(
        name,
        zone=spec["zone"],
        listen=os.path.join(spec["directory"], f"{name}.door"),
        policy=policy,
        entries=Importable(),
    ) as node:
        await node.connect(spec["employer"])
        await trio.sleep_forever()


@attrs.define
class _End:
    """The end of a worker: notices when it is due, and removes files that are left."""

    employer: int
    directory: str
    is_orphaned: bool = False

    def wait_for_it(self) -> None:
        """Wait until the employer orders a stop or has died; stop in order, or at once if that takes long."""
        while not select.select([sys.stdin], [], [], WATCH_SECONDS)[0] and os.getppid() == self.employer:
            pass
        self.is_orphaned = os.getppid() != self.employer or os.read(sys.stdin.fileno(), 1) != WORD
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(STOP_SECONDS)
        self.tidy_up()
        os._exit(1)

    def tidy_up(self) -> None:
        """Remove the directory of the doors if the employer, which owned it, has died."""
        if self.is_orphaned:
            shutil.rmtree(self.directory, ignore_errors=True)
