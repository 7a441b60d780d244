"""The types of `spawn` and `spawn_soon`, of a node and of a process: what type checkers make of arguments.

They check the arguments of an actor class against its `__init__`, and those of an async function against what
it takes after its process: all of them where there are no options of `spawn`; beside options, those that are
given by position. Where both options and arguments are given by name,
Python's types can say no more than what the first is.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    overload,
)

from enfilade.actors.messages.ref import Ref
from enfilade.actors.processes.actor import Actor

if TYPE_CHECKING:
    from enfilade.actors.messages.global_name import Global
    from enfilade.actors.processes.body import Spawnable
    from enfilade.actors.processes.mailbox import Mailbox
    from enfilade.actors.processes.process import Process
    from enfilade.actors.processes.resumption import Resume
    from enfilade.actors.processes.start import Arena

__all__ = ["Spawn", "SpawnSoon"]

A = TypeVar("A", bound=Actor)
F = TypeVar("F")
P = ParamSpec("P")
S = TypeVar("S")
Ts = TypeVarTuple("Ts")

if TYPE_CHECKING:
    _Running = Coroutine[Any, Any, Any]
    _Function = Callable[..., _Running]
    _FunctionOf = Callable[Concatenate[Process, F, ...], _Running]
    """An async function whose first argument after its process is an `F`."""
    _ClassOf = Callable[Concatenate[F, ...], A]
    """An actor class whose first argument is an `F`."""


class _AnyOptions(TypedDict, total=False):
    """The options that `spawn` and `spawn_soon` share."""

    link: bool
    monitor: bool
    mailbox: Mailbox
    label: str | None
    arena: Arena
    heir_of: Ref[Any] | None
    on_failure: Resume | None
    spawner: Process | None


class _Options(_AnyOptions, total=False):
    """The options of `spawn`, which waits for the start."""

    name: str | Global | None
    timeout: float | None


class _OptionsSoon(_AnyOptions, total=False):
    """The options of `spawn_soon`."""

    name: str | None


class Spawn(Protocol):
    """The type of `Node.spawn` and `Process.spawn`."""

    @overload
    async def __call__(self, target: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: Callable[[*Ts], A], /, *args: *Ts, **options: Unpack[_Options]
    ) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: _ClassOf[F, A], first: F, /, *args: Any, name: str, **options: Any
    ) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: _ClassOf[F, A], first: F, /, *args: Any, link: bool, **options: Any
    ) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: _ClassOf[F, A], first: F, /, *args: Any, label: str, **options: Any
    ) -> Ref[A]: ...

    @overload
    async def __call__(self, target: Callable[..., A], /, *, name: str, **options: Any) -> Ref[A]: ...  # type: ignore[overload-cannot-match]

    @overload
    async def __call__(self, target: Callable[..., A], /, *, link: bool, **options: Any) -> Ref[A]: ...  # type: ignore[overload-cannot-match]

    @overload
    async def __call__(self, target: Callable[..., A], /, *, label: str, **options: Any) -> Ref[A]: ...  # type: ignore[overload-cannot-match]

    @overload
    async def __call__(  # type: ignore[overload-cannot-match]
        self, target: Callable[..., A], /, *args: Any, kwargs: Mapping[str, Any], **options: Any
    ) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: Spawnable[S], /, *args: Any, name: str | Global | None = ..., **options: Any
    ) -> Ref[S]: ...

    @overload
    async def __call__(
        self, target: Callable[Concatenate[Process, P], _Running], /, *args: P.args, **kwargs: P.kwargs
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: Callable[[Process, *Ts], _Running], /, *args: *Ts, **options: Unpack[_Options]
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: _FunctionOf[F], first: F, /, *args: Any, name: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: _FunctionOf[F], first: F, /, *args: Any, link: bool, **options: Any
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: _FunctionOf[F], first: F, /, *args: Any, label: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    async def __call__(self, target: _Function, /, *, name: str, **options: Any) -> Ref[Any]: ...

    @overload
    async def __call__(self, target: _Function, /, *, link: bool, **options: Any) -> Ref[Any]: ...

    @overload
    async def __call__(self, target: _Function, /, *, label: str, **options: Any) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: _Function, /, *args: Any, kwargs: Mapping[str, Any], **options: Any
    ) -> Ref[Any]: ...


class SpawnSoon(Protocol):
    """The type of `Node.spawn_soon` and `Process.spawn_soon`: as `Spawn`, without a limit of time."""

    @overload
    def __call__(self, target: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: Callable[[*Ts], A], /, *args: *Ts, **options: Unpack[_OptionsSoon]
    ) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: _ClassOf[F, A], first: F, /, *args: Any, name: str, **options: Any
    ) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: _ClassOf[F, A], first: F, /, *args: Any, link: bool, **options: Any
    ) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: _ClassOf[F, A], first: F, /, *args: Any, label: str, **options: Any
    ) -> Ref[A]: ...

    @overload
    def __call__(self, target: Callable[..., A], /, *, name: str, **options: Any) -> Ref[A]: ...  # type: ignore[overload-cannot-match]

    @overload
    def __call__(self, target: Callable[..., A], /, *, link: bool, **options: Any) -> Ref[A]: ...  # type: ignore[overload-cannot-match]

    @overload
    def __call__(self, target: Callable[..., A], /, *, label: str, **options: Any) -> Ref[A]: ...  # type: ignore[overload-cannot-match]

    @overload
    def __call__(  # type: ignore[overload-cannot-match]
        self, target: Callable[..., A], /, *args: Any, kwargs: Mapping[str, Any], **options: Any
    ) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: Spawnable[S], /, *args: Any, name: str | None = ..., **options: Any
    ) -> Ref[S]: ...

    @overload
    def __call__(
        self, target: Callable[Concatenate[Process, P], _Running], /, *args: P.args, **kwargs: P.kwargs
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: Callable[[Process, *Ts], _Running], /, *args: *Ts, **options: Unpack[_OptionsSoon]
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: _FunctionOf[F], first: F, /, *args: Any, name: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: _FunctionOf[F], first: F, /, *args: Any, link: bool, **options: Any
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: _FunctionOf[F], first: F, /, *args: Any, label: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    def __call__(self, target: _Function, /, *, name: str, **options: Any) -> Ref[Any]: ...

    @overload
    def __call__(self, target: _Function, /, *, link: bool, **options: Any) -> Ref[Any]: ...

    @overload
    def __call__(self, target: _Function, /, *, label: str, **options: Any) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: _Function, /, *args: Any, kwargs: Mapping[str, Any], **options: Any
    ) -> Ref[Any]: ...
