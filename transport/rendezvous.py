"""The meeting place of nodes: an inlet with a name, the handshake, and the node links that come of it.

The handshake is a conversation of frames, each in a batch of its own. The caller makes an inlet that will be
its side of the node link and sends Hello, with that inlet, to the other's rendezvous. Every answer comes
through that inlet, so that nobody ever waits inside a server procedure, and a silent caller costs a timer and
no thread::

    caller                               answerer
    Hello + its inlet  -> rendezvous     the policy looks at the name and at the kernel's credentials
    (its inlet)        <- Challenge + an inlet for this caller alone, only when there is a secret
    Prove              -> that inlet
    (its inlet)        <- Welcome + that inlet, unless the Challenge brought it; or Refused
    Ready              -> that inlet     up at the caller when sent, at the answerer when it comes

Both nodes may call each other at the same moment. Then each answers the other, and when a Welcome tells a
caller that it has itself answered the same node, the call of the node with the lower name stands and the
other is dropped. Since nothing but Ready follows a Welcome, a dropped attempt has carried no message.

A node that comes back has the same name and a new incarnation. Its old node link is declared dead, and
everybody told, before the new one is accepted.
"""

import contextlib
import logging
import math
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import attrs
import trio

from enfilade.transport.carrier import (
    Arrival,
    Carrier,
    CarrierError,
    Credentials,
    Handle,
    Inlet,
    Outlet,
    Status,
    hand_over,
)
from enfilade.transport.node_link import BATCH_LIMIT, NodeLink
from enfilade.transport.peer import Host, Peer
from enfilade.transport.policy import Identity, NotAdmitted, Policy, Rights, is_proof, make_nonce, prove
from enfilade.transport.wire import (
    FRAME_LIMIT,
    VERSION,
    Bye,
    Challenge,
    Frame,
    Hello,
    MalformedBatch,
    Prove,
    Ready,
    Refused,
    Welcome,
    decode_batch,
    encode_batch,
    encode_frame,
)

__all__ = ["HandshakeFailed", "Rendezvous", "Settings"]

logger = logging.getLogger("enfilade.transport")

HELLO_LIMIT: Final = 64 * 1024
"""Bytes of a batch that is sent to a rendezvous; it brings one handle."""

MOST_CALLERS: Final = 256
"""Handshakes that may be going on at a time; further callers are refused."""

FIRST_PAUSE: Final = 0.001
LAST_PAUSE: Final = 0.064
"""Seconds between calls to a node that still has the last node link with us; doubled each time."""


class HandshakeFailed(Exception):
    """The other end did not complete the handshake as a node does."""


@attrs.frozen(kw_only=True)
class Settings:
    """Times and sizes of a node's node links; times are in seconds.

    Attributes:
        period: silence after which a peer is dead. Of two nodes' periods the shorter holds for both.
        window: bytes of frames that may be under way from one peer to this node and not yet taken in.
        handshake: longest time for a handshake.
        goodbye: longest time for an orderly goodbye.
        first_retry: the first pause between attempts to reconnect.
        last_retry: the longest such pause; each is twice the one before, less up to a half at random.
    """

    period: float = 15.0
    window: int = 1024 * 1024
    handshake: float = 5.0
    goodbye: float = 1.0
    first_retry: float = 0.1
    last_retry: float = 10.0


class _Conversation:
    """One side of a handshake that is going on: our inlet, and the peer's once we have an outlet to it."""

    def __init__(self, carrier: Carrier, inlet: Inlet, outlet: Outlet | None = None) -> None:
        self.inlet = inlet
        self.scope = trio.CancelScope()
        """Around the wait for Ready; cancelled when another conversation with the same node takes over."""
        self._carrier = carrier
        self._outlet = outlet
        self._arrivals: deque[Arrival] = deque()
        self.credentials: Credentials | None = None

    @property
    def outlet(self) -> Outlet:
        """The way to the peer.

        Raises:
            HandshakeFailed: it has not sent one.
        """
        if self._outlet is None:
            raise HandshakeFailed("the node at the other end sent no inlet to answer through")
        return self._outlet

    def take_rest(self) -> Sequence[Arrival]:
        """Hand over what came after the frames that were heard; it is the caller's own from here on."""
        rest, self._arrivals = self._arrivals, deque()
        return rest

    async def say(self, frame: Frame, handles: Sequence[Handle] = ()) -> None:
        """Send a frame."""
        await say(self.outlet, frame, handles)

    async def hear(self, *kinds: type[Frame]) -> Frame:
        """Wait for a frame of one of the kinds; keep the outlet that comes with it."""
        while not self._arrivals:
            self._arrivals.extend(await self.inlet.receive())
        arrival = self._arrivals.popleft()
        if arrival.data is None:
            raise HandshakeFailed("the node at the other end hung up")
        try:
            (frame,) = decode_batch(arrival.data).frames
        except (MalformedBatch, ValueError) as error:
            discard_all(self._carrier, arrival.handles)
            raise HandshakeFailed(f"the node at the other end sent a malformed batch: {error}") from error
        self._keep_outlet(arrival.handles)
        if self.credentials not in (None, arrival.credentials):
            raise HandshakeFailed("a handshake must come from one process, got frames of two")
        self.credentials = arrival.credentials
        if not isinstance(frame, kinds):
            raise HandshakeFailed(f"the handshake has no place for a {type(frame).__name__} here")
        return frame

    def _keep_outlet(self, handles: Sequence[Handle]) -> None:
        if handles and self._outlet is None:
            try:
                self._outlet = self._carrier.outlet(handles[0])
            except CarrierError:
                # The peer has dropped this attempt already. Its frame may say why, so that goes first.
                self._outlet = None
            handles = handles[1:]
        discard_all(self._carrier, handles)

    def close(self) -> None:
        """Drop it, with all that belongs to it."""
        self.inlet.close()
        for arrival in self._arrivals:
            discard_all(self._carrier, arrival.handles)
        if self._outlet is not None:
            self._outlet.close()


async def say(outlet: Outlet, frame: Frame, handles: Sequence[Handle] = ()) -> None:
    """Send one frame of a handshake.

    Raises:
        CarrierError: the peer is gone.
        HandshakeFailed: it does not take the frame.
    """
    status = await hand_over(outlet, encode_batch(0, 0, (encode_frame(frame),)), handles)
    if status is not Status.ACCEPTED:
        raise HandshakeFailed(f"the other end answered {status.name.lower()} to a {type(frame).__name__}")


def discard_all(carrier: Carrier, handles: Sequence[Handle]) -> None:
    """Close handles that are not used."""
    for handle in handles:
        carrier.discard(handle)


class Rendezvous:
    """A node's meeting place and its peers.

    Args:
        carrier: makes inlets and outlets.
        name: the node's name.
        zone: the name of its zone.
        incarnation: its incarnation.
        policy: who may connect.
        host: is told of peers and their frames.
        settings: times and sizes.
    """

    def __init__(
        self,
        carrier: Carrier,
        *,
        name: str,
        zone: str,
        incarnation: int,
        policy: Policy,
        host: Host,
        settings: Settings | None = None,
    ) -> None:
        self._carrier = carrier
        self._name = name
        self._zone = zone
        self._incarnation = incarnation
        self._policy = policy
        self._host = host
        self._settings = settings or Settings()
        self._answering: dict[str, _Conversation] = {}
        # The nodes whose welcome we are accepting: what they ask for themselves meanwhile comes too late.
        self._accepting: dict[str, int] = {}
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._is_closing = False
        self.handshakes = 0
        """Handshakes that are going on, of both sides."""
        self.peers: dict[str, Peer] = {}
        """The peers whose node link is up, by name."""

    @contextlib.asynccontextmanager
    async def open(self, address: str | None, nursery: trio.Nursery) -> AsyncIterator[None]:
        """Meet other nodes for the length of a block; at its end, close every node link with a goodbye.

        Args:
            address: where to be found, or None to call others only.
            nursery: where the tasks live; all have ended when the block has been left.

        Raises:
            CarrierError: the address cannot be attached to.
        """
        inlet = self._carrier.inlet(capacity=4 * HELLO_LIMIT, largest=HELLO_LIMIT)
        inlet.limit_handles(1, MOST_CALLERS)
        over = trio.Event()
        try:
            if address is not None:
                inlet.attach(address)
            await nursery.start(self._run, inlet, over)
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    self._is_closing = True
                    await self._say_goodbye()
                    self._tasks().cancel_scope.cancel()
                    await over.wait()
        finally:
            inlet.close()

    async def _run(self, inlet: Inlet, over: trio.Event, *, task_status: Any) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                while True:
                    for arrival in await inlet.receive():
                        self._meet(arrival)
        finally:
            over.set()

    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None, "the rendezvous is open"
        return self._nursery

    def start_soon(self, run: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run a task until the rendezvous closes. It must not raise."""
        self._tasks().start_soon(run, *args)

    def resolve(self, address: str) -> str:
        """Complete an address, so that it means the same to every program, now and later."""
        return self._carrier.resolve(address)

    async def connect(self, address: str) -> Peer:
        """Call the node at an address; return the peer at once when it is connected already.

        Returns:
            The peer, whose node link is up.

        Raises:
            CarrierError: there is no node at the address.
            NotAdmitted: it refuses us, or our policy refuses it.
            HandshakeFailed: it breaks the protocol, or says nothing for the handshake's time.
        """
        pause = FIRST_PAUSE
        with trio.move_on_after(self._settings.handshake):
            while True:
                with self._handshake():
                    peer = await self._call(address)
                if peer is not None:
                    return peer
                await trio.sleep(pause)
                pause = min(LAST_PAUSE, 2 * pause)
        raise HandshakeFailed(f"the node at {address!r} said nothing for {self._settings.handshake:g} s")

    async def keep(self, address: str) -> None:
        """Stay connected to the node at an address: call it, and call again whenever the node link has ended.

        Never returns; pauses grow while it fails and start over when it has succeeded.
        """
        pause = self._settings.first_retry
        trouble = ""
        while True:
            try:
                peer = await self.connect(address)
            except Exception as error:  # of the program's own policy, too: nobody waits for this task
                is_known, trouble = str(error) == trouble, str(error)
                self._host.attempt_failed(address, error, is_known=is_known)
            else:
                trouble = ""
                pause = self._settings.first_retry
                await peer.ended.wait()
            await trio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(self._settings.last_retry, 2 * pause)

    # The caller's side.

    async def _call(self, address: str) -> Peer | None:
        """Call the node at an address; None if it has yet to notice that our last node link has ended."""
        secret = self._policy.secret
        nonce = b"" if secret is None else make_nonce()
        talk = _Conversation(self._carrier, self._inlet())
        try:
            meeting = await self._carrier.open(address)
            try:
                await say(meeting, self._hello(nonce), (talk.inlet.handle,))
            finally:
                meeting.close()
            answer = await talk.hear(Challenge, Welcome, Refused)
            if isinstance(answer, Challenge):
                if secret is None or not is_proof(
                    answer.proof, secret, "answerer", self._name, nonce, answer.nonce
                ):
                    raise NotAdmitted(f"the node at {address!r} has a different secret")
                await talk.say(Prove(prove(secret, "caller", self._name, nonce, answer.nonce)))
                answer = await talk.hear(Welcome, Refused)
            elif secret is not None and isinstance(answer, Welcome):
                raise NotAdmitted(f"the node at {address!r} does not prove that it knows the secret")
            if isinstance(answer, Refused):
                if not answer.connected:
                    raise NotAdmitted(answer.text)
                talk.close()
                return await self._wait_for(answer.name)
            assert isinstance(answer, Welcome)
            assert talk.credentials is not None, "hear() keeps them"
            if answer.version != VERSION:
                raise NotAdmitted(f"expected version {VERSION}, got {answer.version}")
            self._check(answer)
            identity = Identity(answer.name, answer.zone, answer.incarnation, talk.credentials)
            rights = self._policy.admit(identity)
            rival = self._answering.get(answer.name)
            known = answer.name in self._accepting or not self._make_way(identity)
            if known or (rival is not None and answer.name < self._name):
                talk.close()
                return await self._wait_for(answer.name)
            if rival is not None:
                rival.scope.cancel()
            self._accepting[answer.name] = answer.incarnation
            try:
                await talk.say(Ready())
            finally:
                del self._accepting[answer.name]
                self._notify()
            return self._open(talk, identity, rights, answer.window, answer.period)
        except BaseException:
            talk.close()
            raise

    async def _wait_for(self, name: str) -> Peer | None:
        """Wait until the node link that another task is making is up; None if no task is making one."""
        while name not in self.peers and (name in self._answering or name in self._accepting):
            await self._changed.wait()
        return self.peers.get(name)

    def _hello(self, nonce: bytes) -> Hello:
        settings = self._settings
        return Hello(
            VERSION,
            VERSION,
            self._name,
            self._zone,
            self._incarnation,
            settings.window,
            settings.period,
            nonce,
        )

    # The answerer's side.

    def _meet(self, arrival: Arrival) -> None:
        """Begin a conversation with a caller, or refuse it. Never fails."""
        try:
            hello, outlet = self._admit_caller(arrival)
        except (MalformedBatch, HandshakeFailed, CarrierError) as error:
            self._host.caller_refused(
                f"process {arrival.credentials.pid} of uid {arrival.credentials.uid} was turned away: {error}"
            )
            return
        self.start_soon(self._answer, hello, outlet, arrival.credentials)

    def _admit_caller(self, arrival: Arrival) -> tuple[Hello, Outlet]:
        frames: Sequence[Frame] = ()
        try:
            frames = decode_batch(arrival.data or b"").frames
        finally:
            if len(frames) != 1 or not isinstance(frames[0], Hello) or len(arrival.handles) != 1:
                discard_all(self._carrier, arrival.handles)
        (hello,) = frames if len(frames) == 1 else (None,)
        if not isinstance(hello, Hello) or len(arrival.handles) != 1:
            raise HandshakeFailed("a call to a rendezvous must be one Hello with one inlet to answer through")
        if len(self._answering) >= MOST_CALLERS:
            discard_all(self._carrier, arrival.handles)
            raise HandshakeFailed(f"the limit of {MOST_CALLERS} handshakes in progress is reached")
        return hello, self._carrier.outlet(arrival.handles[0])

    async def _answer(self, hello: Hello, outlet: Outlet, credentials: Credentials) -> None:
        identity = Identity(hello.name, hello.zone, hello.incarnation, credentials)
        caller = f"node {hello.name!r}, process {credentials.pid} of uid {credentials.uid},"
        try:
            talk = _Conversation(self._carrier, self._inlet(), outlet)
        except CarrierError as error:  # nothing is left to make one of; there will be
            outlet.close()
            self._host.caller_refused(f"the handshake of {caller} failed: {error}")
            return
        talk.credentials = credentials
        try:
            with trio.move_on_after(self._settings.handshake) as limit, self._handshake():
                try:
                    await self._welcome(hello, identity, talk)
                except NotAdmitted as error:
                    self._host.caller_refused(f"{caller} was turned away: {error}")
                    await talk.say(Refused(self._name, False, str(error)))
            if limit.cancelled_caught:
                self._host.caller_refused(f"{caller} did not finish its handshake in time")
        except (HandshakeFailed, CarrierError) as error:
            self._host.caller_refused(f"the handshake of {caller} failed: {error}")
        except Exception:  # a policy is the program's own code, and must not end what others run here
            logger.exception("failed to answer %s", caller)
        finally:
            if self._answering.get(hello.name) is talk:
                del self._answering[hello.name]
                self._notify()
            peer = self.peers.get(hello.name)
            if peer is None or not peer.uses(talk.inlet):
                talk.close()

    async def _welcome(self, hello: Hello, identity: Identity, talk: _Conversation) -> None:
        if hello.oldest > VERSION or hello.newest < VERSION:
            raise NotAdmitted(
                f"this node speaks version {VERSION}, the caller versions {hello.oldest} to {hello.newest}"
            )
        self._check(hello)
        rights = self._policy.admit(identity)
        await self._authenticate(hello, talk)
        if self._accepting.get(hello.name) == hello.incarnation or not self._make_way(identity):
            await talk.say(Refused(self._name, True, "the two nodes are connected already"))
            return
        rival = self._answering.get(hello.name)
        if rival is not None:
            rival.scope.cancel()
        self._answering[hello.name] = talk
        settings = self._settings
        welcome = Welcome(
            VERSION, self._name, self._zone, self._incarnation, settings.window, settings.period
        )
        await talk.say(welcome, () if self._policy.secret is not None else (talk.inlet.handle,))
        with talk.scope:
            await talk.hear(Ready)
            self._open(talk, identity, rights, hello.window, hello.period)

    async def _authenticate(self, hello: Hello, talk: _Conversation) -> None:
        secret = self._policy.secret
        if secret is None:
            return
        nonce = make_nonce()
        proof = prove(secret, "answerer", hello.name, hello.nonce, nonce)
        await talk.say(Challenge(nonce, proof), (talk.inlet.handle,))
        answer = await talk.hear(Prove, Bye)
        if not isinstance(answer, Prove) or not is_proof(
            answer.proof, secret, "caller", hello.name, hello.nonce, nonce
        ):
            raise NotAdmitted(f"node {hello.name!r} does not know the secret of node {self._name!r}")

    def _make_way(self, identity: Identity) -> bool:
        """Tell whether a node may have a new node link; end that of a dead incarnation first."""
        peer = self.peers.get(identity.name)
        if peer is None:
            return True
        if peer.identity.incarnation == identity.incarnation:
            return False
        if peer.identity.credentials.uid != identity.credentials.uid:
            raise NotAdmitted(f"the name {identity.name!r} is in use by a node of another user")
        peer.end("a new incarnation of the peer connects")
        return True

    # Both sides.

    @contextlib.contextmanager
    def _handshake(self) -> Iterator[None]:
        """Count a handshake for as long as it goes on."""
        self.handshakes += 1
        try:
            yield
        finally:
            self.handshakes -= 1

    def _check(self, terms: Hello | Welcome) -> None:
        """Refuse a peer whose name or terms are unusable."""
        if not terms.name:
            raise NotAdmitted("node names must be non-empty")
        if terms.name == self._name:
            raise NotAdmitted(f"both nodes have the name {self._name!r}")
        if not (0 < terms.period < math.inf and terms.window > 0):
            raise NotAdmitted(
                f"period and window must be more than 0, got {terms.period!r} s and {terms.window!r} bytes"
            )

    def _inlet(self) -> Inlet:
        settings = self._settings
        largest = BATCH_LIMIT + FRAME_LIMIT
        return self._carrier.inlet(capacity=settings.window + largest, largest=largest)

    def _open(
        self, talk: _Conversation, identity: Identity, rights: Rights, window: int, period: float
    ) -> Peer:
        """Take a node link into use.

        Raises:
            HandshakeFailed: the node stops, and would end this node link without a goodbye.
        """
        if self._is_closing:
            raise HandshakeFailed("this node stops")
        older = self.peers.get(identity.name)
        if older is not None:
            older.end("a newer node link takes its place")
        node_link = NodeLink(
            window=self._settings.window,
            peer_window=window,
            limits=rights.limits,
            clock=trio.current_time,
        )
        peer = Peer(
            self._carrier,
            self._host,
            node_link,
            period=rights.limits.silence or min(period, self._settings.period),
            identity=identity,
            rights=rights,
            inlet=talk.inlet,
            outlet=talk.outlet,
            early=talk.take_rest(),
            forget=self._forget,
        )
        self.peers[identity.name] = peer
        self.start_soon(peer.run)
        self._host.peer_up(peer)
        self._notify()
        return peer

    def _forget(self, peer: Peer) -> None:
        if self.peers.get(peer.name) is peer:
            del self.peers[peer.name]
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _say_goodbye(self) -> None:
        async with trio.open_nursery() as nursery:
            for peer in list(self.peers.values()):
                nursery.start_soon(peer.close, "the node stops", self._settings.goodbye)
