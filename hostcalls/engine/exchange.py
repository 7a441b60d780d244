"""Guests that serve, and whom they serve, without the host in between.

A guest that waits for a message with the same receive again and again, and answers each request before that,
is given one message after the other by the shim. It comes back to the host when it does anything else, and
what that is lies among its submissions then. Nothing of an exchange outlives the call that makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic_ns
from typing import Any, Final

import attrs

from enfilade.hostcalls.engine._engine import ffi, lib
from enfilade.hostcalls.engine.instance import Instance

NO_FUTURE: Final[int] = lib.NO_KEY
"""In the place of a future, if there is none."""

_NANOSECONDS = 500_000
"""Nanoseconds after which nothing more is begun in an exchange, so that other processes get their turn."""

_guest_feed = lib.guest_feed
_guest_ask = lib.guest_ask
_guest_converse = lib.guest_converse


@attrs.frozen
class Conversation:
    """The course of a conversation.

    Attributes:
        calls: how many calls the server has answered.
        unanswered: the future and the arguments of a call that the server has, and has not answered; None if
            there is none.
    """

    calls: int
    unanswered: tuple[int, bytes] | None


class Exchange:
    """Exchanges with the guests of one engine.

    Args:
        receive: the index of the hostcall that waits for a message.
        reply: that of the one that answers a request.
        call: that of the one that makes a request.

    Attributes:
        receive: after each exchange, the future of the receive that the server waits with; `NO_FUTURE` if it
            does something else.
        hostcalls: likewise, the hostcalls of the server's that were answered in it.
    """

    __slots__ = ("_calling", "_serving", "_wish", "hostcalls", "receive")

    def __init__(self, receive: int, reply: int, call: int) -> None:
        self._serving: Any = ffi.new(
            "serving *", {"receive_index": receive, "reply_index": reply, "call_index": call}
        )
        self._calling: Any = ffi.new("calling *")
        self._wish: tuple[bytes, Any] = b"", None  # the last one, and where it lies
        self.receive = NO_FUTURE
        self.hostcalls = 0

    def feed(self, server: Instance, receive: int, wish: bytes, messages: Sequence[bytes]) -> int:
        """Give a guest messages, one after another, until it does something else or its time is over.

        Args:
            server: the guest, which rests (`Instance.rests`).
            receive: the future of its receive.
            wish: the arguments of that receive.
            messages: at least one.

        Returns how many it was given, from the first on.
        """
        serving = self._begin(receive, wish)
        data, sizes = b"".join(messages), ffi.new("uint32_t[]", list(map(len, messages)))
        given: int = _guest_feed(server.at_rest, serving, data, sizes, len(messages))
        self._end(server)
        return given

    def ask(
        self, server: Instance, receive: int, wish: bytes, request: int, data: bytes, limit: int
    ) -> tuple[bool, bytes | None]:
        """Give a guest a request, under the number `request`, and take its answer.

        Args:
            server: the guest, which rests.
            receive: the future of its receive.
            wish: the arguments of that receive.
            request: the slot in which it finds the request.
            data: the content.
            limit: bytes that an answer may have here.

        Returns whether it was given the request, and its answer; None if it has not answered: it has the
        request then, and what it does next is the host's to see.
        """
        serving = self._begin(receive, wish)
        serving.answer_limit = limit
        _guest_ask(server.at_rest, serving, request, data, len(data))
        self._end(server)
        if serving.answered:
            return True, bytes(ffi.buffer(serving.answer, serving.answer_size))
        return serving.delivered, None

    def converse(
        self,
        caller: Instance,
        call: int,
        arguments: bytes,
        data: tuple[int, int],
        server: Instance,
        receive: int,
        wish: bytes,
        request: int,
        limit: int,
    ) -> Conversation | None:
        """Have a guest answer the call of another, and all calls after it that differ in their data alone.

        Args:
            caller: the one that calls, which rests.
            call: the future of its call.
            arguments: those of the call.
            data: where in them the data is, and how many bytes it has.
            server, receive, wish, request, limit: as in `ask`.

        Returns None if nothing has happened.
        """
        serving, calling = self._begin(receive, wish), self._calling
        serving.answer_limit = limit
        held = ffi.from_buffer("uint8_t[]", arguments)
        calling.call, calling.arguments, calling.size = call, held, len(arguments)
        calling.data, calling.data_size = data
        _guest_converse(caller.at_rest, calling, server.at_rest, serving, request)
        self._end(server)
        caller.came_to_rest(calling.word)
        calls: int = calling.calls
        if calling.call == NO_FUTURE or not serving.delivered:
            return Conversation(calls, None) if calls else None
        left = arguments if not calls else bytes(ffi.buffer(calling.arguments, calling.size))
        return Conversation(calls, (calling.call, left))

    def _begin(self, receive: int, wish: bytes) -> Any:
        serving = self._serving
        if self._wish[0] is not wish:
            self._wish = wish, ffi.from_buffer("uint8_t[]", wish)
            serving.wish, serving.wish_size = self._wish[1], len(wish)
        serving.receive = receive
        serving.deadline = monotonic_ns() + _NANOSECONDS
        return serving

    def _end(self, server: Instance) -> None:
        serving = self._serving
        server.came_to_rest(serving.word)
        self.receive = serving.receive
        self.hostcalls = serving.hostcalls
