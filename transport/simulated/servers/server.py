"""One simulated NATS server: its clients, its routes to the others, and its part in the registry.

It behaves as the real one does, and no better. What a client has written lies in a buffer for a moment, and
is gone when the server dies then, though the client knows nothing of it. Other servers hear a moment later
who listens to what here; until then what they publish for it is lost, or answered that nobody listens. A
client that does not read is cut off, and so is one that gives no sign of life.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from enfilade.transport.mesh.settings import Server
from enfilade.transport.simulated.network import Network
from enfilade.transport.simulated.servers.bucket import FULL, NO_STREAM, Bucket, Write, failure
from enfilade.transport.simulated.servers.client import Client
from enfilade.transport.simulated.servers.consensus import TICK, Memory, Replica
from enfilade.transport.simulated.servers.route import Route
from enfilade.transport.simulated.servers.speech import MAX_PAYLOAD, NO_RESPONDERS, Publish, header, matches
from enfilade.transport.simulated.stream import SimulatedStream, begin_to_connect

__all__ = ["SimulatedServer"]

VERSION: Final = "2.12.0"

SERVICE: Final = 2e-4
"""Mean of the seconds for which what a client has written lies in a buffer."""

PING_SECONDS: Final = 1.0
MOST_PINGS: Final = 2
"""The time between pings to a client, and how many may be unanswered."""

ROUTES: Final = 6222
"""The number of the port where servers connect to one another."""

DIAL_SECONDS: Final = 0.5
"""The time between attempts to make a route."""

EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
LASTS: Final = "Nats-TTL"


class Draws(Protocol):
    """A stream of chance that belongs to one server."""

    def random(self) -> float:
        """Draw a float from 0 to 1, 1 excluded."""
        ...

    def exponential(self, mean: float) -> float:
        """Draw the time until an event that happens once in `mean`."""
        ...


class SimulatedServer:
    """One life of a server, from its start to its end.

    Args:
        network: what it is part of.
        name: of the server, and of its host.
        server: its address.
        others: the names of all other servers of the cluster.
        memory: what it has on its disk.
        bucket: the name of the registry's bucket.
        draws: its chance.
        skew: seconds by which its wall clock is wrong.
        begun: called when it has become the leader and has the registry as it is: it may have none.

    Attributes:
        port: its host's place on the network.
        is_dead: whether its process has ended.
        is_retiring: whether it takes no more clients.
        skew: seconds by which its wall clock is wrong.
        replica: its part in the agreement about the registry.
        registry: the registry, as far as it has applied it.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        server: Server,
        others: Sequence[str],
        memory: Memory,
        *,
        bucket: str,
        draws: Draws,
        skew: float,
        begun: "Callable[[SimulatedServer], None]",
    ) -> None:
        self.network = network
        self.name = name
        self.server = server
        self.port = network.way(name, name).origin
        self.port.is_off = self.port.is_frozen = False
        self.is_dead = False
        self.is_retiring = False
        self.skew = skew
        self.clients: dict[Client, None] = {}
        self.routes: dict[str, Route] = {}
        self.registry = Bucket(f"KV_{bucket}")
        self._bucket = bucket
        self._draws = draws
        self._begun = begun
        self._own: dict[str, Callable[[Publish], None]] = {}
        self._waiting: dict[int, str] = {}
        self._requests = 0
        self._buffered_until = 0.0
        self.replica = Replica(
            name,
            others,
            memory,
            say=self._say,
            apply=self._apply,
            changed=self._leader_changed,
            draws=draws,
        )
        network.listeners[name, server.port] = self, self._accept_client
        network.listeners[name, ROUTES] = self, self._accept_route
        for other in others:
            if name < other:
                self._dial(other)
        self.after(TICK, self._tick)
        self.after(PING_SECONDS, self._ping)

    def __repr__(self) -> str:
        return f"<server {self.name}>"

    def after(self, seconds: float, run: Callable[[], None]) -> None:
        """Call a function in so many seconds, unless the server has ended then."""
        self.network.call_later(self.port, seconds, lambda: None if self.is_dead else run())

    def buffer(self, run: Callable[[], None]) -> None:
        """Do something after what was buffered before, in a moment."""
        now = self.network.time.current_time()
        self._buffered_until = max(self._buffered_until, now + self._draws.exponential(SERVICE))
        self.after(self._buffered_until - now, run)

    def end(self, *, silently: bool) -> None:
        """End the process; `silently`: with its machine. Harmless when repeated."""
        if not self.is_dead:
            for number in (self.server.port, ROUTES):
                self.network.listeners.pop((self.name, number), None)
            self.network.end_program(self, silently=silently)

    def retire(self, seconds: float) -> None:
        """Take no more clients, send those that are here to others, one after another, and end."""
        self.is_retiring = True
        self.network.listeners.pop((self.name, self.server.port), None)
        self.replica.step_down()
        leaving = list(self.clients)
        for place, client in enumerate(leaving):
            self.after(seconds * place / len(leaving), client.close)
        self.after(seconds, partial(self.end, silently=False))

    # Clients.

    def _accept_client(self, stream: SimulatedStream) -> None:
        self.clients[Client(self, stream)] = None

    def information(self) -> dict[str, Any]:
        """The description of itself that the server sends to clients."""
        return {
            "server_id": self.name,
            "server_name": self.name,
            "version": VERSION,
            "proto": 1,
            "headers": True,
            "max_payload": MAX_PAYLOAD,
            "jetstream": True,
        }

    def left(self, client: Client) -> None:
        """A client has gone."""
        self.clients.pop(client, None)
        for pattern in client.patterns():
            self.heard_less(pattern)

    def heard_more(self, pattern: str) -> None:
        """Somebody here has begun to listen."""
        if self._listening(pattern) == 1:
            for route in self.routes.values():
                route.say(["more", pattern])

    def heard_less(self, pattern: str) -> None:
        """Somebody here listens no more."""
        if self._listening(pattern) == 0:
            for route in self.routes.values():
                route.say(["less", pattern])

    def patterns(self) -> list[str]:
        """The patterns that the server and its clients listen to."""
        said = dict.fromkeys(self._own)
        for client in self.clients:
            said.update(dict.fromkeys(client.patterns()))
        return list(said)

    def _listening(self, pattern: str) -> int:
        own = sum(each == pattern for each in self._own)
        return own + sum(each == pattern for client in self.clients for each in client.patterns())

    def publish(self, message: Publish, sender: Client | None = None) -> None:
        """Bring a message to all who listen, here and at other servers."""
        self.network.note("publish", self.name, message.subject, len(message.payload))
        is_heard = self.deliver(message, sender)
        for route in self.routes.values():
            is_heard = route.publish(message) or is_heard
        if not is_heard and message.reply and sender is not None:
            sender.tell(Publish(message.reply, "", b"", NO_RESPONDERS))

    def deliver(self, message: Publish, sender: Client | None = None) -> bool:
        """Bring a message to all who listen here, and return whether anybody does."""
        is_heard = False
        for client in list(self.clients):
            if client is not sender:
                is_heard = client.tell(message) or is_heard
        for pattern, take in list(self._own.items()):
            if matches(pattern, message.subject):
                take(message)
                is_heard = True
        return is_heard

    def _ping(self) -> None:
        for client in list(self.clients):
            client.ping(MOST_PINGS)
        self.after(PING_SECONDS, self._ping)

    # Routes.

    def _dial(self, other: str) -> None:
        if other not in self.routes and not self.is_retiring:
            give_up = begin_to_connect(self.network, self, other, ROUTES, partial(self._dialled, other))
            self.after(DIAL_SECONDS, give_up)
        self.after(DIAL_SECONDS, partial(self._dial, other))

    def _dialled(self, other: str, answer: "SimulatedStream | ConnectionError") -> None:
        if isinstance(answer, SimulatedStream):
            if other in self.routes or self.is_dead:
                answer.close()
            else:
                Route(self, answer, other).introduce()

    def _accept_route(self, stream: SimulatedStream) -> None:
        Route(self, stream, "")

    def routed(self, route: Route) -> None:
        """There is a route to another server."""
        self.routes[route.name] = route
        for pattern in self.patterns():
            route.say(["more", pattern])

    def unrouted(self, route: Route) -> None:
        """A route has ended."""
        if self.routes.get(route.name) is route:
            del self.routes[route.name]

    # The registry.

    def _tick(self) -> None:
        self.replica.tick()
        for route in list(self.routes.values()):
            route.tick()
        self.after(TICK, self._tick)

    def agree(self, other: str, word: list[Any]) -> None:
        """Another server says something about the agreement."""
        self.replica.heard(other, word)

    def _say(self, other: str, word: list[Any]) -> None:
        route = self.routes.get(other)
        if route is not None:
            route.say(["agree", word])

    def _leader_changed(self) -> None:
        self.network.note("leader", self.name, self.replica.is_leader)
        own: dict[str, Callable[[Publish], None]] = {
            f"$KV.{self._bucket}.>": self._write,
            f"$JS.API.STREAM.MSG.GET.KV_{self._bucket}": self._read,
        }
        if self.replica.is_leader:
            for pattern, take in own.items():
                self._own[pattern] = take
                self.heard_more(pattern)
        else:
            for pattern in own:
                if self._own.pop(pattern, None) is not None:
                    self.heard_less(pattern)
            self._waiting.clear()

    def write(self, subject: str, value: bytes, expected: int | None) -> None:
        """Write a key of the registry, if this server leads and agreement can be had."""
        self._propose(Write("", 0, self._clock(), subject, value, expected))

    def _write(self, message: Publish) -> None:
        if self.registry.is_full:
            self._answer(message, failure(*FULL))
            return
        expected, lasts = header(message.headers, EXPECTED), header(message.headers, LASTS)
        self._requests += 1
        self._waiting[self._requests] = message.reply
        self._propose(
            Write(
                self.name,
                self._requests,
                self._clock(),
                message.subject,
                message.payload,
                None if expected is None else int(expected),
                0.0 if lasts is None else float(lasts.removesuffix("s")),
            )
        )

    def _clock(self) -> float:
        return self.network.time.current_time() + self.skew

    def _propose(self, write: Write) -> None:
        self.replica.propose(msgspec.msgpack.encode(write))

    def _read(self, message: Publish) -> None:
        if self.registry.is_empty:
            self._answer(message, failure(*NO_STREAM))
            return
        subject = msgspec.json.decode(message.payload, type=dict[str, str])["last_by_subj"]
        self._answer(message, self.registry.read(subject, self._clock()))

    def _answer(self, message: Publish, answer: bytes) -> None:
        if message.reply:
            self.publish(Publish(message.reply, "", answer))

    def _apply(self, place: int, entry: bytes) -> None:
        if not entry:
            if self.replica.is_leader:
                self._begun(self)
            return
        write = msgspec.msgpack.decode(entry, type=Write)
        answer = self.registry.apply(write)
        reply = self._waiting.pop(write.number, "") if write.asked == self.name else ""
        if reply:
            self.publish(Publish(reply, "", answer))
