"""The types of `spawn` and `spawn_soon`, of a node and of a process: what type checkers make of arguments.

They check the arguments of an actor class against its `__init__`, and those of an async function against what
it takes after its process: all of them where there are no options of `spawn`; beside options, those that are
given by position. Where both options and arguments are given by name,
Python's types can say no more than what the first is.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, TypeVarTuple, overload

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


class Spawn(Protocol):
    """The type of `Node.spawn` and `Process.spawn`."""

    @overload
    async def __call__(self, target: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> Ref[A]: ...

    @overload
    async def __call__(
        self,
        target: Callable[[*Ts], A],
        /,
        *args: *Ts,
        name: str | Global | None = ...,
        link: bool = ...,
        monitor: bool = ...,
        mailbox: Mailbox = ...,
        label: str | None = ...,
        timeout: float | None = ...,
        arena: Arena = ...,
        heir_of: Ref[Any] | None = ...,
        on_failure: Resume | None = ...,
        spawner: Process | None = ...,
    ) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: Callable[Concatenate[F, ...], A], first: F, /, *args: Any, name: str, **options: Any
    ) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: Callable[Concatenate[F, ...], A], first: F, /, *args: Any, link: bool, **options: Any
    ) -> Ref[A]: ...

    @overload
    async def __call__(
        self, target: Callable[Concatenate[F, ...], A], first: F, /, *args: Any, label: str, **options: Any
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
        self,
        target: Callable[Concatenate[Process, P], Coroutine[Any, Any, Any]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self,
        target: Callable[[Process, *Ts], Coroutine[Any, Any, Any]],
        /,
        *args: *Ts,
        name: str | Global | None = ...,
        link: bool = ...,
        monitor: bool = ...,
        mailbox: Mailbox = ...,
        label: str | None = ...,
        timeout: float | None = ...,
        arena: Arena = ...,
        heir_of: Ref[Any] | None = ...,
        on_failure: Resume | None = ...,
        spawner: Process | None = ...,
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self,
        target: Callable[Concatenate[Process, F, ...], Coroutine[Any, Any, Any]],
        first: F,
        /,
        *args: Any,
        name: str,
        **options: Any,
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self,
        target: Callable[Concatenate[Process, F, ...], Coroutine[Any, Any, Any]],
        first: F,
        /,
        *args: Any,
        link: bool,
        **options: Any,
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self,
        target: Callable[Concatenate[Process, F, ...], Coroutine[Any, Any, Any]],
        first: F,
        /,
        *args: Any,
        label: str,
        **options: Any,
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: Callable[..., Coroutine[Any, Any, Any]], /, *, name: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: Callable[..., Coroutine[Any, Any, Any]], /, *, link: bool, **options: Any
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self, target: Callable[..., Coroutine[Any, Any, Any]], /, *, label: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    async def __call__(
        self,
        target: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        **options: Any,
    ) -> Ref[Any]: ...


class SpawnSoon(Protocol):
    """The type of `Node.spawn_soon` and `Process.spawn_soon`: as `Spawn`, without a limit of time."""

    @overload
    def __call__(self, target: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs) -> Ref[A]: ...

    @overload
    def __call__(
        self,
        target: Callable[[*Ts], A],
        /,
        *args: *Ts,
        name: str | None = ...,
        link: bool = ...,
        monitor: bool = ...,
        mailbox: Mailbox = ...,
        label: str | None = ...,
        arena: Arena = ...,
        heir_of: Ref[Any] | None = ...,
        on_failure: Resume | None = ...,
        spawner: Process | None = ...,
    ) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: Callable[Concatenate[F, ...], A], first: F, /, *args: Any, name: str, **options: Any
    ) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: Callable[Concatenate[F, ...], A], first: F, /, *args: Any, link: bool, **options: Any
    ) -> Ref[A]: ...

    @overload
    def __call__(
        self, target: Callable[Concatenate[F, ...], A], first: F, /, *args: Any, label: str, **options: Any
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
        self,
        target: Callable[Concatenate[Process, P], Coroutine[Any, Any, Any]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self,
        target: Callable[[Process, *Ts], Coroutine[Any, Any, Any]],
        /,
        *args: *Ts,
        name: str | None = ...,
        link: bool = ...,
        monitor: bool = ...,
        mailbox: Mailbox = ...,
        label: str | None = ...,
        arena: Arena = ...,
        heir_of: Ref[Any] | None = ...,
        on_failure: Resume | None = ...,
        spawner: Process | None = ...,
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self,
        target: Callable[Concatenate[Process, F, ...], Coroutine[Any, Any, Any]],
        first: F,
        /,
        *args: Any,
        name: str,
        **options: Any,
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self,
        target: Callable[Concatenate[Process, F, ...], Coroutine[Any, Any, Any]],
        first: F,
        /,
        *args: Any,
        link: bool,
        **options: Any,
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self,
        target: Callable[Concatenate[Process, F, ...], Coroutine[Any, Any, Any]],
        first: F,
        /,
        *args: Any,
        label: str,
        **options: Any,
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: Callable[..., Coroutine[Any, Any, Any]], /, *, name: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: Callable[..., Coroutine[Any, Any, Any]], /, *, link: bool, **options: Any
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self, target: Callable[..., Coroutine[Any, Any, Any]], /, *, label: str, **options: Any
    ) -> Ref[Any]: ...

    @overload
    def __call__(
        self,
        target: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        **options: Any,
    ) -> Ref[Any]: ...
