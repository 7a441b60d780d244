"""Doors whose requests and replies are values.

    @server_procedure
    def double(number: int) -> int:
        return 2 * number

    with Door(double) as door:              # in the server
        door.install("/var/run/double.door")

    with double.open("/var/run/double.door") as call:      # in the client
        assert call(111) == 222

What travels follows from the annotations (see `codec.py`), and its size is checked at both ends: the
server's door refuses a request of another size before the procedure runs, and a client refuses a reply
that is not of the type.
"""

import functools
import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, Self, TypeVar, overload

from enfilade.transport.doors import api
from enfilade.transport.doors.client import LARGEST_REPLY, Client
from enfilade.transport.doors.codec import Codec, CodecError, codec_for
from enfilade.transport.doors.descriptor import Descriptor, HasFileno
from enfilade.transport.doors.request import Request, Result

Req = TypeVar("Req")
Rep = TypeVar("Rep")


class BadReply(CodecError):
    """The reply is not of the door's type: the server procedure failed, or the door has other types."""


class ServerProcedure(Generic[Req, Rep]):
    """A function whose annotations say what goes through a door.

    Made by `@server_procedure`; given to `Door`. Called, it calls the function, as if there were no door.

    Attributes:
        request, reply: the codecs.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        request: Any = inspect.Parameter.empty,
        reply: Any = inspect.Parameter.empty,
    ) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        hints = typing.get_type_hints(function, include_extras=True)
        self._order: list[str] = []
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                raise TypeError(f"parameter {name!r} of {function!r} must be positional")
            hint = hints.get(name, inspect.Parameter.empty)
            role = _role(hint)
            if role == "value" and request is inspect.Parameter.empty:
                if hint is inspect.Parameter.empty:
                    raise TypeError(
                        f"parameter {name!r} of {function!r} must have an annotation for its type"
                    )
                request = hint
            if role in self._order:
                raise TypeError(f"{function!r} takes its {role} twice; a request is one value")
            self._order.append(role)
        if reply is inspect.Parameter.empty:
            if "return" not in hints:
                raise TypeError(f"{function!r} must have an annotation for what it returns")
            reply = hints["return"]
        self.request: Codec[Req] = codec_for(None if request is inspect.Parameter.empty else request)
        self.reply: Codec[Rep] = codec_for(bytes if reply is Result else reply)
        self.serve = self._serve_async if inspect.iscoroutinefunction(function) else self._serve

    def _arguments(self, request: Request) -> list[Any]:
        value = self.request.decode(request.view)
        roles = {"value": value, "descriptors": request.descriptors, "request": request}
        return [roles[role] for role in self._order]

    def _result(self, value: Any) -> Any:
        return value if isinstance(value, Result) else self.reply.encode(value)

    def _serve(self, request: Request) -> Any:
        return self._result(self._function(*self._arguments(request)))

    async def _serve_async(self, request: Request) -> Any:
        return self._result(await self._function(*self._arguments(request)))

    def open(self, path: api.Path) -> "TypedClient[Req, Rep]":
        """A client of the door that serves this procedure under the name `path`.

        Errors as of `Client.open`.
        """
        return TypedClient(Client.open(path), self.request, self.reply)

    def client(self, file: int | HasFileno) -> "TypedClient[Req, Rep]":
        """A client of the door that serves this procedure, of which `file` is a descriptor.

        Errors as of `Client`.
        """
        return TypedClient(Client(file), self.request, self.reply)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<ServerProcedure {getattr(self._function, '__qualname__', self._function)}>"


def _role(hint: Any) -> str:
    """What a parameter is given: the request itself, its descriptors, or the value that it decodes to."""
    if hint is Request:
        return "request"
    if typing.get_origin(hint) in (list, tuple, Sequence) and typing.get_args(hint)[:1] == (Descriptor,):
        return "descriptors"
    return "value"


@overload
def server_procedure(function: Callable[[Req], Awaitable[Rep]], /) -> ServerProcedure[Req, Rep]: ...
@overload
def server_procedure(function: Callable[[Req], Rep], /) -> ServerProcedure[Req, Rep]: ...
@overload
def server_procedure(
    function: Callable[..., Any], /, *, request: type[Req], reply: type[Rep]
) -> ServerProcedure[Req, Rep]: ...
@overload
def server_procedure(function: Callable[..., Any], /) -> ServerProcedure[Any, Any]: ...
def server_procedure(function: Callable[..., Any], /, **types: Any) -> ServerProcedure[Any, Any]:
    """Mark a function as the procedure of a typed door.

    Its parameters, in any order and each at most once, are the value that was sent; the descriptors, if
    annotated as a sequence of `Descriptor`; and the `Request`, if annotated so. It returns a value, or a
    `Result`. For a function without annotations, such as a lambda, the types are given:
    `server_procedure(lambda x: 2 * x, request=int, reply=int)`.

    Raises `TypeError` if an annotation is missing, or values of a type cannot travel.
    """
    return ServerProcedure(function, **types)


class TypedClient(Generic[Req, Rep]):
    """A client that sends and receives values, made by `open`: call it to call the door.

    A context manager.
    """

    def __init__(self, client: Client, request: Codec[Req], reply: Codec[Rep]) -> None:
        self.client = client
        self._request = request
        self._reply = reply

    @classmethod
    def open(
        cls, path: api.Path, request: type[Req], reply: type[Rep], *, largest: int = LARGEST_REPLY
    ) -> Self:
        """Return a client of the door at `path`, which takes values of the type `request` and returns those
        of `reply`.

        `largest` and errors as of `Client.open`.
        """
        return cls(Client.open(path, largest=largest), codec_for(request), codec_for(reply))

    def __call__(self, value: Req, descriptors: Sequence[Descriptor] = ()) -> Rep:
        """Send `value`; return what the procedure answered. Descriptors in the reply are closed.

        No signal disturbs it (see `Client.call`). Raises `CodecError` if the value is not of the type,
        `BadReply` if the reply is not, and `DoorCallError`.
        """
        request = self._request.encode(value)
        if self._reply.size is not None and not descriptors:  # short, and worth no reply object
            return self._decode(memoryview(self.client.call_with_data(request)))
        with self.client.call(request, descriptors) as reply:
            return self._decode(reply.view)

    async def call_async(self, value: Req, descriptors: Sequence[Descriptor] = ()) -> Rep:
        """Send `value` beside a trio loop: a checkpoint; cancelled as `Client.call_async` is."""
        with await self.client.call_async(self._request.encode(value), descriptors) as reply:
            return self._decode(reply.view)

    def _decode(self, view: memoryview) -> Rep:
        try:
            return self._reply.decode(view)
        except CodecError as error:
            raise BadReply(f"the server procedure failed, or declares other types: {error}") from error

    def close(self) -> None:
        """Close the client."""
        self.client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
