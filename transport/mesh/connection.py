"""A node's connection to the servers of its mesh: one at a time, and another when that one fails.

What is published leaves in the publisher's own step, as far as the socket takes it. What comes is handed to
the handlers of its subscription in the reader's step. When a server closes, falls silent or says nonsense,
the next one is tried: the others at once, after a short pause at random, and then all of them with growing
pauses. Subscriptions are made anew there. What was on its way through the lost server may be lost: see
`resuming_link`.

A server must be one that this client understands, or the first attempt fails with a `MeshError` that says
why.
"""

import logging
import math
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

import trio

from enfilade.transport.mesh.introduction import check_introduction, shown
from enfilade.transport.mesh.protocol import (
    MESSAGE_LIMIT,
    PING,
    PONG,
    Event,
    Failure,
    Info,
    Message,
    Parser,
    Ping,
    Pong,
    ProtocolError,
    encode_connect,
    encode_publish,
    encode_subscribe,
    encode_unsubscribe,
)
from enfilade.transport.mesh.session import Session
from enfilade.transport.mesh.settings import MeshError, Server
from enfilade.transport.mesh.stream import Dial, Stream, dial, receive, received, secured, send_all
from enfilade.transport.mesh.watcher import Watcher

__all__ = ["USER", "Connection", "Handler", "NoResponders"]

logger = logging.getLogger("enfilade.mesh")

Handler: TypeAlias = Callable[[Message], None]
"""Takes a message. It runs in the reader's step, and must neither block nor raise."""

USER: Final = "enfilade"
"""The user as whom clients with a token come."""

CONNECT_SECONDS: Final = 2.0
"""Time for a server to take a connection and to introduce itself."""

SILENCE: Final = 2.0
"""Silence after which a server is given up, unless another time is given."""

TICKS: Final = 5
PING_TICKS: Final = 2
"""The parts of that time, and those after which the server is asked for a sign of life."""

JITTER: Final = 0.05
JITTER_EACH: Final = 0.001
"""Longest pause before another server is tried, and its share for each node of the mesh: many nodes must not
come at once, and few need not wait for one another.
"""

LAST_PAUSE: Final = 2.0
"""Longest pause between attempts when no server answers."""

HIGH_WATER: Final = 8 * 1024 * 1024
"""Unsent bytes above which the connection is not ready for more batches."""


HELD_SECONDS: Final = 1.0
"""Lateness of this node's own loop after which a server that leaves it may have had enough of it."""

COMPLAINT_SECONDS: Final = 1.0
"""Seconds between lines of the log with what a server complains of."""

MOST_EVENTS: Final = 512
"""Events that are taken in before others have a turn."""


class NoResponders(Exception):
    """Nobody has subscribed to the subject of a request."""


class Connection:
    """One node's connection to the servers of its mesh.

    Args:
        servers: of one cluster.
        name: of the client, for the servers' logs.
        inbox: the subject of answers to this node's requests, without their number.
        watcher: is told of losses.
        entropy: makes so many bytes that nobody can guess: the numbers of requests.
        random: draws a float from 0 to 1: the jitter of pauses.
        token: what the servers want to be shown; None for nothing.
        silence: seconds after which a silent server is given up.
        tls: makes the settings of TLS, for each connection anew: a renewed certificate is used at the next
            one. None to go without.
        guard: a subject under which the servers must not let this client publish; empty to try none.
        owner: the user of this machine whose process a server must be; None for any.
        dial: connects to a server.

    Attributes:
        where: the server of this moment, or the last one, as logs show it: its name and its address.
        round_trip: seconds that it took to answer the last time that it was asked; None before that.
        reconnects: times that another session took the place of a lost one.
        cuts: times that a server left this node, whose loop had been held.
        nodes: returns how many nodes may come to the next server when this one is lost.
        messages_in, messages_out, bytes_in, bytes_out: the traffic so far.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        name: str,
        inbox: str,
        watcher: Watcher,
        entropy: Callable[[int], bytes],
        random: Callable[[], float],
        token: str | None = None,
        silence: float = SILENCE,
        tls: Callable[[], ssl.SSLContext] | None = None,
        guard: str = "",
        owner: int | None = None,
        dial: Dial = dial,
    ) -> None:
        self._owner = owner
        self._dial = dial
        self._tls = tls
        self._guard = guard
        self._silence = silence
        self._servers = deque(servers)
        self._name = name
        self._inbox = inbox
        self._watcher = watcher
        self._entropy = entropy
        self._random = random
        self._token = token
        self._session: Session | None = None
        self._numbers = 0
        self._subscriptions: dict[int, tuple[str, Handler]] = {}
        self._answers: dict[str, Callable[[Message], None]] = {}
        self._is_quenched = False
        self._lost_at = math.inf
        self.nodes: Callable[[], int] = lambda: 1
        self.where = ""
        self.round_trip: float | None = None
        self.reconnects = self.cuts = 0
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self.subscribe(f"{inbox}.*", self._answered)

    def __repr__(self) -> str:
        """Return a description without the token."""
        where = "down" if self._session is None else f"up at {self._session.server}"
        return f"<Connection {self._name} {where}>"

    @property
    def server(self) -> Server | None:
        """The server of this moment; None when there is none."""
        return None if self._session is None else self._session.server

    @property
    def is_up(self) -> bool:
        """True while there is a server."""
        return self._session is not None

    @property
    def is_ready(self) -> bool:
        """True while there is a server, and little waits to be sent to it."""
        return self._session is not None and not self._is_quenched

    @property
    def down_for(self) -> float:
        """Seconds since the last server was lost; 0 while there is one."""
        return 0.0 if self.is_up else max(0.0, trio.current_time() - self._lost_at)

    @property
    def unsent(self) -> int:
        """Bytes that the socket has yet to take."""
        session = self._session
        return 0 if session is None else session.unsent_bytes + session.stream.pending

    # What is said.

    def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> bool:
        """Publish a message; return false when there is no server, and it went nowhere. Never raises."""
        return self.publish_encoded(encode_publish(subject, payload, reply, headers))

    def publish_encoded(self, message: bytes) -> bool:
        """Publish what `encode_publish` has made; as `publish`."""
        if self._session is None:
            return False
        self.messages_out += 1
        self._write(self._session, message)
        return True

    def subscribe(self, subject: str, handler: Handler) -> int:
        """Have a handler take what is published under a subject, at this server and those after it.

        Returns:
            The number of the subscription.
        """
        self._numbers += 1
        self._subscriptions[self._numbers] = subject, handler
        if self._session is not None:
            self._write(self._session, encode_subscribe(subject, self._numbers))
        return self._numbers

    def unsubscribe(self, number: int) -> None:
        """End a subscription. Harmless when repeated."""
        if self._subscriptions.pop(number, None) is not None and self._session is not None:
            self._write(self._session, encode_unsubscribe(number))

    def ask(
        self,
        subject: str,
        payload: bytes,
        then: Callable[[Message], None],
        headers: Mapping[str, str] | None = None,
    ) -> Callable[[], None]:
        """Publish a request, and have the answers given to `then`, until the function returned is called."""
        number = self._entropy(8).hex()
        self._answers[number] = then
        self.publish(subject, payload, self.reply_subject(number), headers)
        return lambda: self._answers.pop(number, None) and None

    def reply_subject(self, number: str) -> str:
        """Return the subject of the answers to a request."""
        return f"{self._inbox}.{number}"

    async def request(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> Message:
        """Publish a request, and wait for the first answer. The caller bounds the time.

        Raises:
            NoResponders: nobody hears it.
        """
        answered = trio.Event()
        answers: list[Message] = []

        def then(message: Message) -> None:
            answers.append(message)
            answered.set()

        forget = self.ask(subject, payload, then, headers)
        try:
            await answered.wait()
        finally:
            forget()
        if answers[0].has_no_responders:
            raise NoResponders(subject)
        return answers[0]

    async def settled(self) -> None:
        """Wait until the server has carried out what was said before, or is lost. A checkpoint."""
        session = self._session
        if session is None:
            await trio.lowlevel.checkpoint()
        else:
            await self._send_ping(session).wait()

    async def flush(self, seconds: float) -> None:
        """Wait until the server has all that was published, for so long at most. A checkpoint."""
        with trio.move_on_after(seconds), trio.CancelScope(shield=True):
            await trio.lowlevel.checkpoint()
            while self.unsent:  # noqa: ASYNC110 - at the end of a node, once
                await trio.sleep(0.005)

    # Sessions.

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Stay connected until cancelled. It has started when a server has answered.

        Raises:
            MeshError: none does, or it is none that this client understands.
        """
        session = await self._begin()
        while True:
            self._session = session
            self._is_quenched = False
            self.where = session.where
            if self._lost_at < math.inf:
                self.reconnects += 1
                self._watcher.connection_resumed(session.server, trio.current_time() - self._lost_at)
            else:
                self._watcher.connection_made()
                task_status.started()
            self._watcher.connection_ready()
            try:
                await self._serve(session)
            finally:
                self._session = None
                session.stream.close()
                for answered, _ in session.pings:
                    answered.set()
            if session.cut_after:
                self._cut_off(session)
            self._lost_at = trio.current_time()
            self._servers.rotate(-1)
            logger.warning("server %s is lost: %s; trying %s", session.where, session.end, self._servers[0])
            self._watcher.connection_lost(session.server, session.end)
            session = await self._begin_again()

    async def _begin(self) -> Session:
        """Connect to the first server that answers, or say why none does."""
        troubles = []
        for server in list(self._servers):
            try:
                return await self._connect(server)
            except (OSError, ProtocolError) as error:
                troubles.append(f"{server}: {error}")
                self._servers.rotate(-1)
        raise MeshError(f"no server of the mesh answers as it should; tried {'; '.join(troubles)}")

    async def _begin_again(self) -> Session:
        """Connect to whichever server answers, the lost one last."""
        pause = JITTER
        jitter = min(JITTER, JITTER_EACH * self.nodes())
        known: set[str] = set()
        for attempt in range(10**9):
            await trio.sleep(jitter * self._random() if attempt < len(self._servers) else pause)
            if attempt >= len(self._servers):
                pause = min(LAST_PAUSE, 2 * pause)
            server = self._servers[0]
            try:
                return await self._connect(server)
            except (OSError, ProtocolError) as error:
                if isinstance(error, MeshError | ProtocolError) and str(error) not in known:
                    known.add(str(error))
                    logger.warning("server %s does not answer as it should: %s", server, error)
                self._servers.rotate(-1)
                if attempt == len(self._servers) - 1:
                    self._watcher.servers_missed(sorted(map(str, self._servers)))
        raise AssertionError("the attempts do not end")

    async def _connect(self, server: Server) -> Session:
        """Connect to a server, and say what this client is and wants to hear."""
        try:
            with trio.fail_after(CONNECT_SECONDS):
                stream = await self._dial(server)
                try:
                    return await self._introduce(server, stream)
                except BaseException:
                    stream.close()
                    raise
        except trio.TooSlowError:
            raise MeshError(f"it has sent nothing for {CONNECT_SECONDS:g} s") from None

    async def _introduce(self, server: Server, stream: Stream) -> Session:
        session = Session(server, stream, Parser())
        early: list[Event] = []
        while not early:
            early += session.parser.feed(await receive(session.stream))
        if not isinstance(early[0], Info):
            raise ProtocolError("a server must introduce itself first")
        if self._owner is not None and (found := stream.owner()) != self._owner:
            raise MeshError(
                f"it belongs to user {found}, not to {self._owner}, and was not shown the token: end it"
            )
        check_introduction(early[0].fields, has_tls=self._tls is not None)
        session.where = shown(early[0].fields, server)
        if self._tls is not None:
            if len(early) > 1:
                raise ProtocolError("a server must say nothing more before TLS")
            session.stream = await secured(stream, self._tls(), server)
        session.parser.message_limit = min(MESSAGE_LIMIT, early[0].fields["max_payload"] + 4096)
        introduction: dict[str, Any] = {
            "verbose": False,
            "pedantic": False,
            "echo": False,
            "headers": True,
            "no_responders": True,
            "lang": "enfilade",
            "version": "1",
            "protocol": 1,
            "name": self._name,
        }
        if self._token is not None:
            introduction |= {"user": USER, "pass": self._token}
        lines = [encode_connect(introduction)]
        lines += [encode_subscribe(subject, number) for number, (subject, _) in self._subscriptions.items()]
        if self._guard:
            lines.append(encode_publish(self._guard, b""))
        await send_all(session.stream, b"".join([*lines, PING]))
        asked_at = trio.current_time()
        del early[0]
        is_known, is_guarded = False, not self._guard
        while True:
            for event in early:
                match event:
                    case Pong():
                        is_known = True
                        self.round_trip = trio.current_time() - asked_at
                    case Failure(text) if self._guard and "publish" in text.lower() and self._guard in text:
                        is_guarded = True
                    case Failure(text):
                        raise MeshError(f"it refuses this client: {text}{self._advice(text)}")
                    case Message():
                        self._take(session, event)
                        self._watcher.messages_read()
            if is_known and not is_guarded:
                raise MeshError(
                    "it lets nodes speak under each other's names: give each the permissions that "
                    "`enfilade mesh permissions` prints, or run it by `enfilade mesh up`"
                )
            if is_known:
                return session
            early = session.parser.feed(await receive(session.stream))

    def _advice(self, refusal: str) -> str:
        """Say what a server means that knows no more to say."""
        if self._tls is None or not refusal.startswith("Authorization Violation"):
            return ""
        return ": its certificate is not on the list of nodes, which `enfilade mesh ca list` shows"

    async def _serve(self, session: Session) -> None:
        with session.scope:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._read, session)
                tasks.start_soon(self._send_unsent, session)
                tasks.start_soon(self._ping, session)

    def _lose(self, session: Session, why: str) -> None:
        """Give up a session, at once for whoever publishes."""
        if self._session is session:
            self._session = None
        if not session.end:
            session.end = why
            session.scope.cancel()

    def _left_by(self, session: Session, error: Exception) -> None:
        """Take note that the server has ended a session: it may be because this node stood still."""
        now = trio.current_time()
        late, seen_at = session.held
        held = max(now - session.due, late if now - seen_at < self._silence else 0.0)
        if held >= HELD_SECONDS:
            session.cut_after = held
        self._lose(session, str(error) or type(error).__name__)

    def _cut_off(self, session: Session) -> None:
        """Say that the server has cut this node off: once, when all was read that the server had to say."""
        self.cuts += 1
        why = ", which gave no sign of life" if "stale" in session.complaint else " as a slow consumer"
        logger.warning(
            "server %s cut this node off%s: its loop was held for %.1f s",
            session.where,
            why,
            session.cut_after,
        )

    async def _read(self, session: Session) -> None:
        while True:
            # Asking whether there is more before waiting for it would cost a turn of the loop.
            await session.stream.wait_readable()
            try:
                data = received(session.stream)
                if not data:
                    continue
                session.has_spoken = True
                self.bytes_in += len(data)
                for place, event in enumerate(session.parser.feed(data), 1):
                    self._take(session, event)
                    if place % MOST_EVENTS == 0:
                        self._watcher.messages_read()
                        await trio.lowlevel.checkpoint()
                self._watcher.messages_read()
                if session.is_pong_due:
                    session.is_pong_due = False
                    self._write(session, PONG)  # one, however often it has asked
            except (OSError, ProtocolError) as error:
                self._left_by(session, error)

    def _take(self, session: Session, event: Event) -> None:
        if type(event) is Message:
            self.messages_in += 1
            subscription = self._subscriptions.get(event.number)
            if subscription is not None:
                self._hand_on(subscription[1], event)
            return
        match event:
            case Ping():
                session.is_pong_due = True
            case Pong():
                if session.pings:
                    answered, asked_at = session.pings.popleft()
                    self.round_trip = trio.current_time() - asked_at
                    answered.set()
            case Failure(text):
                session.complaint = text.lower()
                self._complained(session, text)
            case Info():
                pass  # of servers that came or went; those of the settings are enough

    def _hand_on(self, handler: Handler, message: Message) -> None:
        """Give a message to its handler. A mistake of ours there costs this message, and not the node."""
        try:
            handler(message)
        except Exception:
            with suppress(Exception):  # a log handler may fail
                logger.exception("failed to take in a message under %s", ascii(message.subject[:200]))

    def _complained(self, session: Session, text: str) -> None:
        """Pass on what a server complains of, not more often than somebody reads it."""
        now = trio.current_time()
        if now - session.complained_at < COMPLAINT_SECONDS:
            session.complaints += 1
            return
        before = f"; {session.complaints} more before that" if session.complaints else ""
        session.complained_at, session.complaints = now, 0
        logger.warning("server %s reported an error: %s%s", session.server, text, before)

    def _answered(self, message: Message) -> None:
        then = self._answers.get(message.subject.rpartition(".")[2])
        if then is not None:
            then(message)

    async def _ping(self, session: Session) -> None:
        silent = 0
        while True:
            session.due = trio.current_time() + self._silence / TICKS
            await trio.sleep_until(session.due)
            now = trio.current_time()
            if now - session.due >= HELD_SECONDS:
                session.held = now - session.due, now
            silent = 0 if session.has_spoken else silent + 1
            session.has_spoken = False
            if silent >= TICKS:
                self._lose(session, f"it said nothing for {self._silence:g} s")
            elif silent >= PING_TICKS:
                self._send_ping(session)

    def _send_ping(self, session: Session) -> trio.Event:
        """Ask the server for a sign of life; the event is set when it comes, or the server is lost."""
        answered = trio.Event()
        session.pings.append((answered, trio.current_time()))
        self._write(session, PING)
        return answered

    def _write(self, session: Session, data: bytes) -> None:
        """Send, as far as the socket takes it now; the rest follows."""
        size = len(data)
        self.bytes_out += size
        sent = 0
        if not session.unsent:
            try:
                sent = session.stream.send(data)
            except BlockingIOError:
                pass
            except OSError as error:
                self._left_by(session, error)
                return
            if sent == size and not session.stream.pending:
                return
        if sent < size:
            session.unsent.append(memoryview(data)[sent:])
            session.unsent_bytes += size - sent
        session.has_unsent.set()
        if session.unsent_bytes > HIGH_WATER:
            self._is_quenched = True

    async def _send_unsent(self, session: Session) -> None:
        while True:
            await session.has_unsent.wait()
            await session.stream.wait_writable()
            try:
                session.stream.flush()
                while session.unsent:
                    sent = session.stream.send(session.unsent[0])
                    session.unsent_bytes -= sent
                    rest = session.unsent.popleft()[sent:]
                    if rest:
                        session.unsent.appendleft(rest)
            except BlockingIOError:
                pass
            except OSError as error:
                self._left_by(session, error)
                continue
            if not session.unsent and not session.stream.pending:
                session.has_unsent = trio.Event()
            if self._is_quenched and session.unsent_bytes <= HIGH_WATER // 2 and self._session is session:
                self._is_quenched = False
                self._watcher.connection_ready()
