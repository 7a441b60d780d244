"""A service that does jobs: a pool of workers, a state machine for each job, retries, and a status page.

docs/examples/job-service.md tells the story. Run it:

    $ python docs/examples/job_service.py
"""

from __future__ import annotations

import html
import logging
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import trio

from enfilade import (
    Actor,
    CallError,
    Child,
    DynamicSupervisor,
    Machine,
    Node,
    Pool,
    Process,
    ProcessDied,
    Ref,
    Supervisor,
    Worker,
    open_node,
)
from enfilade.actors import after, enter, when

WORKERS = 3
ATTEMPTS = 3
PAUSE = 0.05
"""Seconds between two attempts at a job."""


class Thumbnailer(Worker):
    """Makes a thumbnail. A picture that is broken crashes it."""

    async def work(self, picture: str) -> str:
        await trio.sleep(0.01)
        if "broken" in picture:
            raise ValueError(f"{picture} is not a picture")
        return picture.replace(".png", "-small.png")


@attrs.frozen
class Row:
    """A job, as the status page shows it."""

    number: int
    picture: str
    state: str
    attempts: int
    outcome: str


class Job(Machine):
    """One job: it runs, waits for its next attempt, and is done or given up at last."""

    states = ("running", "waiting", "done", "given up")
    initial = "running"

    def __init__(self, number: int, picture: str) -> None:
        self.number = number
        self.picture = picture
        self.attempts = 0
        self.outcome = ""

    def row(self) -> Row:
        return Row(self.number, self.picture, str(self.state), self.attempts, self.outcome)

    def finished(self, outcome: str) -> None:
        """The worker has answered. Late, if the job is not running."""

    def failed(self, why: str) -> None:
        """The worker has crashed. Late, if the job is not running."""

    @enter("running")
    def _begin(self) -> None:
        self.attempts += 1
        self.process.spawn_soon(attempt, self.process.ref, self.picture, link=True)

    @when("running", finished)
    def _finish(self, outcome: str) -> None:
        self.outcome = outcome
        self.become("done")

    @when("running", failed)
    def _fail(self, why: str) -> None:
        self.outcome = why
        self.become("waiting" if self.attempts < ATTEMPTS else "given up")

    @after(PAUSE, "waiting")
    def _again(self) -> None:
        self.become("running")


async def attempt(me: Process, job: Ref[Job], picture: str) -> None:
    """Have the pool try once. A process of its own waits for that, so that the job can be asked meanwhile."""
    try:
        outcome = await me.node.named("pool").within(60).call(Pool.submit, picture)
    except ProcessDied as died:
        job.cast(Job.failed, str(died.reason).partition("\n")[0])
    except CallError as error:  # the pool is being restarted, say, or has not answered in time
        job.cast(Job.failed, str(error))
    else:
        job.cast(Job.finished, outcome)


class Desk(Actor):
    """Takes jobs in, and knows them by number."""

    def __init__(self) -> None:
        self.jobs: list[Ref[Job]] = []

    async def submit(self, picture: str) -> int:
        """Begin a job; its number."""
        number = len(self.jobs) + 1
        jobs: Ref[DynamicSupervisor] = self.process.node.named("jobs")
        job = await jobs.call(DynamicSupervisor.start_child, Child(Job, number, picture, restart="transient"))
        assert isinstance(job, Ref)
        self.jobs.append(job)
        return number

    async def rows(self) -> list[Row]:
        """All jobs, as they stand."""
        return [await job.call(Job.row) for job in self.jobs]


def page(rows: list[Row]) -> bytes:
    """The status page. What a job says is text, never markup."""
    cells = "".join(
        f"<tr><td>{row.number}<td>{html.escape(row.picture)}<td>{row.state}<td>{row.attempts}"
        f"<td>{html.escape(row.outcome)}\n"
        for row in rows
    )
    body = f"<!doctype html><title>Jobs</title><table>\n{cells}</table>\n".encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


async def answer(node: Node, stream: trio.SocketStream) -> None:
    """Send the page to whoever asks, however he asks; leave one who says nothing after five seconds.

    A browser that goes away, or a desk that is being restarted, costs this connection and no other.
    """
    with suppress(CallError, trio.BrokenResourceError), trio.move_on_after(5):
        async with stream:
            await stream.receive_some(4096)
            await stream.send_all(page(await node.named("desk").call(Desk.rows)))


async def status_page(me: Process, listener: trio.SocketListener) -> None:
    """Serve the page until the process is stopped. The socket is its parent's, and outlives a restart."""
    await trio.serve_listeners(partial(answer, me.node), [listener])


def tree(listener: trio.SocketListener) -> list[Child]:
    """The service. If the pool is lost the jobs are, too, and so is what knows them; the page stays."""
    jobs: list[Child] = [
        Child(Pool, Thumbnailer, kwargs={"size": WORKERS, "intensity": 100}, id="pool", name="pool"),
        Child(DynamicSupervisor, id="jobs", name="jobs"),
        Child(Desk, id="desk", name="desk"),
    ]
    return [
        Child(Supervisor, jobs, kwargs={"strategy": "rest_for_one"}, id="service"),
        Child(status_page, listener, id="page"),
    ]


async def fetch(port: int) -> str:
    """The status page, as a browser gets it."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b"".join([chunk async for chunk in stream])
    return received.partition(b"\r\n\r\n")[2].decode()


async def finished(desk: Ref[Desk]) -> list[Row]:
    """All jobs, once none of them is under way."""
    while True:
        rows = await desk.call(Desk.rows)
        if all(row.state in ("done", "given up") for row in rows):
            return rows
        await trio.sleep(PAUSE / 5)


async def main() -> None:
    logging.getLogger("enfilade").setLevel(logging.CRITICAL)  # workers crash on purpose here
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener, open_node("jobs") as node:
        node.root = await node.spawn(Supervisor, tree(listener))
        desk: Ref[Desk] = node.named("desk")
        for picture in ("cat.png", "dog.png", "broken.png", "<b>.png"):
            await desk.call(Desk.submit, picture)
        for row in await finished(desk):
            print(f"{row.number} {row.picture:<10} {row.state:<8} after {row.attempts}: {row.outcome}")
        port: Any = listener.socket.getsockname()[1]
        print(await fetch(port))


if __name__ == "__main__":
    trio.run(main)
