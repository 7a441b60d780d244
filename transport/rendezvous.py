"""The meeting place of nodes: an inlet with a name, the handshake, and the node links that come of it.

The handshake is a conversation of frames, each in a batch of its own. The caller makes an inlet that will be
its side of the node link and sends Hello, with that inlet, to the other's rendezvous. Every answer comes
through that inlet, so that nobody ever waits inside a server procedure, and a silent caller costs a timer and
no thread::

    caller                               answerer
    Hello + its inlet  -> rendezvous     the policy looks at the name and at the kernel's credentials; only
                                         then is anything made for the caller
    (its inlet)        <- Challenge + an inlet for this caller alone, only when there is a secret
    Prove              -> that inlet
    (its inlet)        <- Welcome + that inlet, unless the Challenge brought it; or Refused
    Ready              -> that inlet     up at the caller when sent, at the answerer when it comes

Both nodes may call each other at the same moment. Then each answers the other, and when a Welcome tells a
caller that it has itself answered the same node, the call of the node with the lower name stands and the
other is dropped. Since nothing but Ready follows a Welcome, a dropped attempt has carried no message.

One node may call another twice at a time, too: to stay connected, and to deliver something. Calls to one
address take turns at the caller. Those that come by two addresses take turns at the answerer, where the
carrier tells when a caller has given up; where it does not, the later call stands.

A node that comes back has the same name and a new incarnation. Its old node link is declared dead, and
everybody told, before the new one is accepted.
"""

import contextlib
import logging
import os
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from time import perf_counter
from typing import Any, Final
from weakref import WeakValueDictionary

import trio

from enfilade.transport import closing
from enfilade.transport.carrier import Arrival, Carrier, CarrierError, Credentials, Handle, Inlet
from enfilade.transport.conversation import (
    Callers,
    Conversation,
    HandshakeFailed,
    discard_all,
    read_hello,
    say,
)
from enfilade.transport.name_owners import NameOwners
from enfilade.transport.peer import Host, Kept, Peer
from enfilade.transport.policy import Identity, NotAdmitted, Policy, Rights
from enfilade.transport.seal import ANSWERER, CALLER, HANDSHAKE, LINK, NONCE_BYTES, Agreement, Seal
from enfilade.transport.settings import Settings
from enfilade.transport.terms import check_terms, check_version
from enfilade.transport.way import Way
from enfilade.transport.wire import (
    Bye,
    Challenge,
    Hello,
    MalformedBatch,
    Prove,
    Ready,
    Refused,
    Welcome,
)

__all__ = ["HandshakeFailed", "Rendezvous"]

logger = logging.getLogger("enfilade.transport")

HELLO_LIMIT: Final = 64 * 1024
"""Bytes of a batch that is sent to a rendezvous; it brings one handle."""

MOST_HELD: Final = 64
"""Hellos, each with an inlet, that wait to be met; who comes when so many wait has to try again."""

PATIENCE: Final = 16
"""Callers that are met before others have a turn of the loop."""

FIRST_PAUSE: Final = 0.001
LAST_PAUSE: Final = 0.064
"""Seconds between calls to a node that still has the last node link with us; doubled each time."""


class Rendezvous:
    """A node's meeting place and its peers.

    Args:
        carriers: make inlets and outlets. An address is for the first that leads to it; over any of them two
            nodes have one node link.
        name: the node's name.
        zone: the name of its zone.
        incarnation: its incarnation.
        policy: who may connect.
        host: is told of peers and their frames.
        settings: times and sizes.
        clock: seconds that never go back, by which turns are measured.
        entropy: makes so many bytes that nobody can guess.
        random: draws a float from 0 to 1: the jitter of pauses.
    """

    def __init__(
        self,
        *carriers: Carrier,
        name: str,
        zone: str,
        incarnation: int,
        policy: Policy,
        host: Host,
        settings: Settings | None = None,
        clock: Callable[[], float] = perf_counter,
        entropy: Callable[[int], bytes] = os.urandom,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._entropy = entropy
        self._random = random
        self._name = name
        self._zone = zone
        self._incarnation = incarnation
        self._policy = policy
        self._host = host
        self._settings = settings or Settings()
        has_secret = policy.secret is not None
        self.ways = [Way(each, self._settings, has_secret=has_secret) for each in carriers]
        """The carriers, in their order, and what the node links over each have in common."""
        self._callers = Callers()
        self._owners = NameOwners(policy)
        self._calling: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()  # by address
        self._answering: dict[str, Conversation] = {}
        # The nodes whose welcome we are accepting: what they ask for themselves meanwhile comes too late.
        self._accepting: dict[str, int] = {}
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._is_closing = False
        self.handshakes = 0
        """Handshakes that are going on, of both sides."""
        self.peers: dict[str, Peer] = {}
        """The peers whose node link is up, by name."""
        self.kept: dict[str, Kept] = {}
        self.nearer: Callable[[str], str | None] = lambda _: None
        """Returns an address at which the node of a name may be found nearby, which is tried first."""

    @contextlib.asynccontextmanager
    async def open(self, addresses: Sequence[str], nursery: trio.Nursery) -> AsyncIterator[None]:
        """Meet other nodes for the length of a block; at its end, close every node link with a goodbye.

        Entering is a checkpoint; cancelled, nothing stays open. Leaving is one that cancellation does not
        hasten.

        Args:
            addresses: where to be found; without any, to call others only.
            nursery: where the tasks live; all have ended when the block has been left.

        Raises:
            CarrierError: one of the addresses cannot be attached to.
        """
        over = trio.Event()
        with contextlib.ExitStack() as stack:
            places = []
            for address in addresses:
                way = self._way_to(address)
                inlet = way.carrier.inlet(capacity=4 * HELLO_LIMIT, largest=HELLO_LIMIT)
                stack.callback(inlet.close)
                inlet.limit_handles(1, MOST_HELD)
                await inlet.attach(address)
                places.append((way, inlet))
            await nursery.start(self._run, places, over)
            try:
                yield
            finally:
                with trio.CancelScope(shield=True):
                    self._is_closing = True
                    await self._say_goodbye()
                    self._tasks().cancel_scope.cancel()
                    await over.wait()

    def _way_to(self, address: str) -> Way:
        """Return the way that leads to an address; raise CarrierError when none does."""
        for way in self.ways:
            if way.carrier.leads_to(address):
                return way
        raise CarrierError(f"this node has no way to {address!r}: open it with `mesh=` to call nodes by name")

    async def _run(self, places: Sequence[tuple[Way, Inlet]], over: trio.Event, *, task_status: Any) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                for way, inlet in places:
                    self._nursery.start_soon(self._meet_all, way, inlet)
                for way in self.ways:
                    self._nursery.start_soon(way.carrier.attend)
                task_status.started()
                await trio.sleep_forever()
        finally:
            over.set()

    async def _meet_all(self, way: Way, inlet: Inlet) -> None:
        """Meet all callers that come by one way."""
        arrivals: deque[Arrival] = deque()
        try:
            while True:
                arrivals.extend(await inlet.receive())
                for place in range(len(arrivals)):
                    self._meet(way, arrivals.popleft())
                    if place % PATIENCE == PATIENCE - 1:
                        await trio.lowlevel.checkpoint()
        finally:
            for arrival in arrivals:
                discard_all(way.carrier, arrival.handles)

    def _tasks(self) -> trio.Nursery:
        assert self._nursery is not None, "the rendezvous is open"
        return self._nursery

    def start_soon(self, run: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run `run(*args)` as a task until the rendezvous closes. It must not raise. Not a checkpoint."""
        self._tasks().start_soon(run, *args)

    def resolve(self, address: str) -> str:
        """Complete `address`, so that it means the same to every program, now and later."""
        return self._way_to(address).carrier.resolve(address)

    async def connect(self, address: str) -> Peer:
        """Call the node at `address`; return the peer at once when it is connected already.

        A node that can be found nearby, too, is called there first. A checkpoint when it has to call;
        cancelled, it gives up the call.

        Returns:
            The peer, whose node link is up.

        Raises:
            CarrierError: there is no node at the address.
            NotAdmitted: it refuses us, or our policy refuses it.
            HandshakeFailed: it breaks the protocol, or says nothing for the handshake's time.
        """
        peer = self.peers.get(address)
        if peer is not None and peer.carrier is not self._way_to(address).carrier:
            return peer  # over another way than that of its name
        nearer = self.nearer(address)
        if nearer is not None:
            with contextlib.suppress(CarrierError, NotAdmitted, HandshakeFailed):
                peer = await self._connect(nearer)
                if peer.name == address:
                    return peer
        return await self._connect(address)

    async def _connect(self, address: str) -> Peer:
        """Call the node at an address, when it is the turn of this call."""
        turn = self._calling.setdefault(address, trio.Lock())
        with trio.move_on_after(self._settings.handshake):
            async with turn:
                return await self._call_until_noticed(address)
        raise HandshakeFailed(f"the node at {address!r} said nothing for {self._settings.handshake:g} s")

    async def keep(self, address: str) -> None:
        """Stay connected to the node at `address`: call it, and call again whenever the node link has ended.

        Never returns; pauses grow while it fails and start over when it has succeeded. A checkpoint;
        cancelled, it calls no more, and a node link that is up stays.
        """
        pause = self._settings.first_retry
        kept = self.kept.setdefault(address, Kept())
        while True:
            try:
                peer = await self.connect(address)
            except Exception as error:  # of the program's own policy, too: nobody waits for this task
                is_known, kept.trouble = str(error) == kept.trouble, str(error)
                kept.attempts += 1
                self._host.attempt_failed(address, error, is_known=is_known)
            else:
                kept.name, kept.trouble, kept.attempts, kept.next_at = peer.name, "", 0, None
                pause = self._settings.first_retry
                await peer.ended.wait()
                kept.trouble = peer.reason
            seconds = pause * (0.5 + 0.5 * self._random())
            kept.next_at = trio.current_time() + seconds
            await trio.sleep(seconds)
            pause = min(self._settings.last_retry, 2 * pause)

    # The caller's side.

    async def _call_until_noticed(self, address: str) -> Peer:
        """Call a node until it has noticed that our last node link has ended."""
        pause = FIRST_PAUSE
        while True:
            with self._handshake():
                peer = await self._call(address)
            if peer is not None:
                return peer
            await trio.sleep(pause)
            pause = min(LAST_PAUSE, 2 * pause)

    async def _call(self, address: str) -> Peer | None:
        """Call the node at an address; None if it has yet to notice that our last node link has ended."""
        way = self._way_to(address)
        talk = Conversation(way, way.inlet())
        hello = self._hello(talk)
        try:
            meeting = await way.carrier.open(address)
            try:
                await say(meeting, hello, (talk.inlet.handle,))
            finally:
                meeting.close()
            answer = await talk.hear(Challenge, Welcome, Refused)
            agreement = None
            if isinstance(answer, Challenge):
                agreement = await self._prove(hello, answer, talk, address)
                answer = await talk.hear(Welcome, Refused)
                who = (agreement.challenge.name, agreement.challenge.zone, agreement.challenge.incarnation)
                if isinstance(answer, Welcome) and (answer.name, answer.zone, answer.incarnation) != who:
                    raise NotAdmitted(f"the node at {address!r} has proved to be another than it says")
            elif self._policy.secret is not None and isinstance(answer, Welcome):
                raise NotAdmitted(f"the node at {address!r} does not prove that it knows the secret")
            if isinstance(answer, Refused):
                if not answer.connected:
                    raise NotAdmitted(answer.text)
                talk.close()
                peer = await self._wait_for(answer.name)
                if peer is not None:
                    talk.check_speaks_for(peer.carrier, peer.identity.credentials)
                return peer
            assert isinstance(answer, Welcome)
            assert talk.credentials is not None, "hear() keeps them"
            if answer.version != way.version:
                raise NotAdmitted(f"expected version {way.version}, got {answer.version}")
            check_terms(answer, self._name)
            identity = Identity(answer.name, answer.zone, answer.incarnation, talk.credentials)
            rights = self._policy.admit(identity)
            self._owners.check(identity)
            rival = self._answering.get(answer.name)
            known = answer.name in self._accepting or not self._make_way(identity)
            if known or (rival is not None and answer.name < self._name):
                talk.close()
                return await self._wait_for(answer.name)
            if rival is not None:
                self._owners.check_successor(identity, rival.credentials)
                rival.scope.cancel()
            self._owners.claim(identity)
            self._accepting[answer.name] = answer.incarnation
            try:
                await talk.say(Ready(True))
            finally:
                del self._accepting[answer.name]
                self._notify()
            seal = None if agreement is None else agreement.seal(CALLER, LINK)
            return self._open(talk, identity, rights, answer, answer.mixes, seal)
        except BaseException:
            talk.close()
            raise

    async def _wait_for(self, name: str) -> Peer | None:
        """Wait until the node link that another task is making is up; None if no task is making one."""
        while name not in self.peers and (name in self._answering or name in self._accepting):
            await self._changed.wait()
        return self.peers.get(name)

    def _hello(self, talk: Conversation) -> Hello:
        return Hello(
            talk.way.version,
            talk.way.version,
            self._name,
            self._zone,
            self._incarnation,
            talk.window,
            self._settings.period,
            b"" if self._policy.secret is None else self._entropy(NONCE_BYTES),
        )

    async def _prove(self, hello: Hello, challenge: Challenge, talk: Conversation, address: str) -> Agreement:
        """Check the answerer's proof, and give ours."""
        agreement = None if self._policy.secret is None else Agreement(self._policy.secret, hello, challenge)
        if agreement is None or not agreement.is_proof(ANSWERER, challenge.proof):
            raise NotAdmitted(f"the node at {address!r} has a different secret")
        await talk.say(Prove(agreement.prove(CALLER)))
        talk.seal = agreement.seal(CALLER, HANDSHAKE)
        return agreement

    # The answerer's side.

    def _meet(self, way: Way, arrival: Arrival) -> None:
        """Begin a conversation with a caller, or send it away. Never fails."""
        credentials = arrival.credentials
        if closing.is_behind(credentials):
            discard_all(way.carrier, arrival.handles)
            self._turned_away(credentials, "too many descriptors of its own wait to be closed")
            return
        try:
            hello, handle = read_hello(way, arrival)
        except (MalformedBatch, HandshakeFailed) as error:
            self._turned_away(credentials, error)
            return
        if self._callers.has_room(credentials.account):
            self.start_soon(self._answer, way, hello, handle, credentials)
        else:
            way.carrier.discard(handle)
            self._turned_away(credentials, "too many handshakes are in progress")

    def _turned_away(self, caller: Credentials, why: object) -> None:
        self._host.caller_refused(f"{caller} was turned away: {why}")

    async def _answer(self, way: Way, hello: Hello, handle: Handle, credentials: Credentials) -> None:
        identity = Identity(hello.name, hello.zone, hello.incarnation, credentials)
        caller = f"node {hello.name[:128]!r}, {credentials},"
        try:
            with (
                self._callers.waiting(credentials.account),
                self._handshake(),
                trio.move_on_after(self._settings.handshake) as limit,
            ):
                try:
                    rights = self._admit(way, hello, identity)
                except NotAdmitted as error:
                    self._host.caller_refused(f"{caller} was turned away: {error}")
                    refused = Refused(self._name, False, str(error))
                    await self._callers.refuse(way, handle, credentials.account, refused)
                except BaseException:
                    way.carrier.outlet(handle).close()  # hang up
                    raise
                else:
                    await self._converse(way, hello, identity, rights, handle, caller)
            if limit.cancelled_caught:
                self._host.caller_refused(f"{caller} did not finish its handshake in time")
        except (HandshakeFailed, CarrierError) as error:
            self._host.caller_refused(f"the handshake of {caller} failed: {error}")
        except Exception:  # a policy is the program's own code, and must not end what others run here
            with contextlib.suppress(Exception):  # a log handler may fail
                logger.exception("failed to answer %s", caller)

    def _admit(self, way: Way, hello: Hello, identity: Identity) -> Rights:
        """Decide about a caller by what it says and what the kernel says of it. Costs nothing but that.

        Raises:
            NotAdmitted: it may not connect.
        """
        check_version(way.version, hello.oldest, hello.newest)
        check_terms(hello, self._name)
        rights = self._policy.admit(identity)
        self._owners.check(identity)
        if len(self.peers) >= self._settings.peers and hello.name not in self.peers:
            raise NotAdmitted(f"this node has {len(self.peers)} peers, which is the limit")
        return rights

    async def _converse(
        self, way: Way, hello: Hello, identity: Identity, rights: Rights, handle: Handle, caller: str
    ) -> None:
        """Shake hands with a caller that the policy admits, when it is its turn."""
        with contextlib.ExitStack() as until_then:
            until_then.callback(way.carrier.discard, handle)
            async with self._callers.shaking_hands(identity.credentials.account):
                until_then.pop_all()
                talk = self._open_conversation(way, handle, identity)
                try:
                    await self._welcome(hello, identity, rights, talk)
                except NotAdmitted as error:
                    self._host.caller_refused(f"{caller} was turned away: {error}")
                    await talk.say(Refused(self._name, False, str(error)))
                finally:
                    if self._answering.get(hello.name) is talk:
                        del self._answering[hello.name]
                        self._notify()
                    peer = self.peers.get(hello.name)
                    if peer is None or not peer.uses(talk.inlet):
                        talk.close()

    def _open_conversation(self, way: Way, handle: Handle, caller: Identity) -> Conversation:
        outlet = way.carrier.outlet(handle)
        try:
            inlet = way.inlet()
        except BaseException:  # nothing is left to make one of; there will be
            outlet.close()
            raise
        talk = Conversation(way, inlet, outlet)
        talk.credentials, talk.incarnation = caller.credentials, caller.incarnation
        return talk

    async def _welcome(self, hello: Hello, identity: Identity, rights: Rights, talk: Conversation) -> None:
        agreement = await self._authenticate(hello, talk)
        while True:
            if self._accepting.get(hello.name) == hello.incarnation or not self._make_way(identity):
                await talk.say(Refused(self._name, True, "the two nodes are connected already"))
                return
            rival = self._answering.get(hello.name)
            if rival is None:
                break
            self._owners.check_successor(identity, rival.credentials)
            if talk.way.resumes or not rival.is_with(hello.incarnation, identity.credentials):
                rival.scope.cancel()
                break
            await self._changed.wait()  # for the end of the same node's earlier call
        self._owners.claim(identity)
        self._answering[hello.name] = talk
        own = self._name, self._zone, self._incarnation
        welcome = Welcome(talk.way.version, *own, talk.window, self._settings.period, True)
        await talk.say(welcome, () if agreement is not None else (talk.inlet.handle,))
        with talk.scope:
            ready = await talk.hear(Ready)
            seal = None if agreement is None else agreement.seal(ANSWERER, LINK)
            self._open(talk, identity, rights, hello, isinstance(ready, Ready) and ready.mixes, seal)

    async def _authenticate(self, hello: Hello, talk: Conversation) -> Agreement | None:
        """Prove that we know the secret, and demand the same; None without a secret.

        Raises:
            NotAdmitted: the caller does not know it.
        """
        secret = self._policy.secret
        if secret is None:
            return None
        challenge = Challenge(self._entropy(NONCE_BYTES), b"", self._name, self._zone, self._incarnation)
        agreement = Agreement(secret, hello, challenge)
        challenge.proof = agreement.prove(ANSWERER)
        await talk.say(challenge, (talk.inlet.handle,))
        answer = await talk.hear(Prove, Bye)
        if not isinstance(answer, Prove) or not agreement.is_proof(CALLER, answer.proof):
            raise NotAdmitted(f"node {hello.name!r} does not know the secret of node {self._name!r}")
        talk.seal = agreement.seal(ANSWERER, HANDSHAKE)
        return agreement

    def _make_way(self, identity: Identity) -> bool:
        """Tell whether a node may have a new node link; end that of a dead incarnation first, or of a node
        whose user has the name no longer.
        """
        peer = self.peers.get(identity.name)
        if peer is None:
            return True
        self._owners.check_successor(identity, peer.identity.credentials)
        if peer.identity.credentials.account == identity.credentials.account:
            if peer.identity.incarnation == identity.incarnation:
                return peer.doubt()
            peer.end("a new incarnation of the peer connects")
        else:
            peer.end("the name belongs to another user, who connects")
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

    def _open(
        self,
        talk: Conversation,
        identity: Identity,
        rights: Rights,
        terms: Hello | Welcome,
        mixes: bool,
        seal: Seal | None,
    ) -> Peer:
        """Take a node link into use, on the terms of the peer.

        Raises:
            HandshakeFailed: the node stops, and would end this node link without a goodbye.
        """
        if self._is_closing:
            raise HandshakeFailed("this node stops")
        older = self.peers.get(identity.name)
        if older is not None:
            older.end("a newer node link takes its place")
        peer = Peer(
            talk.way.carrier,
            self._host,
            talk.way.link(talk.window, terms.window, rights.limits, seal, mixes=mixes),
            clock=self._clock,
            period=rights.limits.silence or min(terms.period, self._settings.period),
            identity=identity,
            rights=rights,
            inlet=talk.inlet,
            outlet=talk.outlet,
            early=talk.take_rest(),
            heard=talk.heard,
            room=talk.way.room,
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
