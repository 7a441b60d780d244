"""What a message between two nodes of a mesh costs: how often tasks have a turn."""

from collections import Counter

import pytest
import trio

from enfilade.actors import Ref
from tests.transport.mesh.members import PATIENCE, Account, nodes, server
from tests.transport.mesh.servers import NatsServer, needs_server

__all__ = ["server"]

pytestmark = [pytest.mark.real, needs_server]

CALLS = 200


class _Steps(trio.abc.Instrument):
    """Counts the steps of tasks by their names."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name.rpartition(".")[2]] += 1


async def _call(account: Ref[Account], times: int) -> None:
    for number in range(times):
        assert await account.call(Account.give, number) == number


async def test_an_answer_is_taken_in_where_it_is_read(server: NatsServer) -> None:
    """No task of the node link has a turn between the socket and the process that calls or is called."""
    steps = _Steps()
    async with nodes(server.url, "a@east", "b@west") as (a, _):
        with trio.fail_after(PATIENCE):
            account: Ref[Account] = a.remote("account", "b@west").within(PATIENCE)
            await _call(account, 10)
            trio.lowlevel.add_instrument(steps)
            await _call(account, CALLS)
            trio.lowlevel.remove_instrument(steps)
    # Here and there: a call and its answer are read once each, by the connection's own task.
    assert steps.of["_read"] < 5 * CALLS
