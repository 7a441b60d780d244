"""Objects that pretend to be something of the runtime, or use the runtime when they are looked at."""

from __future__ import annotations

import functools
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Final, NoReturn

import trio

from enfilade.actors import KILL, Actor, Call, Crashed, Down, Exited, NameRef, Reason, Ref, Request
from enfilade.actors.processes.current import CURRENT
from tests.isolation.values import OF_AN_OBJECT

__all__ = ["PRETENDERS"]


def pretends(kind: type) -> Callable[[], Any]:
    """What makes objects that say that they are of `kind`."""
    return lambda: type("Pretends", (), {"__class__": property(lambda _: kind)})()


def noted(error: BaseException) -> BaseException:
    """The error, from which it can be seen that an object of the program has raised it."""
    error.add_note(OF_AN_OBJECT)
    return error


class HostileMeta(type):
    """Its classes cannot be asked for anything."""

    def __getattribute__(cls, name: str) -> NoReturn:
        raise LookupError(name)

    def __instancecheck__(cls, _: object) -> NoReturn:
        raise LookupError("no instances")

    def __subclasscheck__(cls, _: object) -> NoReturn:
        raise LookupError("no subclasses")


class OfHostileMeta(metaclass=HostileMeta):
    pass


class AttributesRaiseBadly:
    def __getattribute__(self, name: str) -> NoReturn:
        raise noted(GeneratorExit(name))


class FickleName(str):
    """Is a name until it is the turn of somebody else."""

    __slots__ = ("count",)

    def __new__(cls, text: str) -> FickleName:
        made = super().__new__(cls, text)
        made.count = 0
        return made

    def __hash__(self) -> int:
        self.count += 1
        if self.count > 2:
            raise LookupError("no hash any more")
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        if self.count > 2:
            raise LookupError("not comparable any more")
        return super().__eq__(other)


class FickleMethod:
    """A method that is named by a name that changes its mind."""

    def __init__(self) -> None:
        self.__name__ = FickleName("ping")
        self.__qualname__ = FickleName("Sync.ping")
        self.__module__ = FickleName("tests")

    def __call__(self, *_: object) -> NoReturn:
        raise LookupError("not to be called")


class WrappedInItself:
    """As a decorator that went wrong leaves it: `inspect` follows it for ever."""

    def __init__(self) -> None:
        self.__wrapped__ = self
        self.__name__ = "ping"

    def __call__(self, *_: object) -> NoReturn:
        raise LookupError("not to be called")

    @property
    def __signature__(self) -> NoReturn:
        raise LookupError("no signature")


class HostileRef(NameRef):  # type: ignore[misc]
    """A ref as a program derives it."""

    def __init__(self) -> None:
        """Does not call the base."""

    def __eq__(self, _: object) -> NoReturn:
        raise LookupError("not comparable")

    def __hash__(self) -> NoReturn:
        raise LookupError("no hash")

    def deliver(self, _: object) -> NoReturn:
        raise noted(BaseException("not delivered"))

    send = call = cast = deliver  # type: ignore[assignment]


class HostileReason(Reason):
    """A reason as a program derives it."""

    def __eq__(self, _: object) -> NoReturn:
        raise LookupError("not comparable")

    __hash__ = None  # type: ignore[assignment]

    @property
    def is_normal(self) -> NoReturn:
        raise LookupError("neither")

    def __repr__(self) -> NoReturn:
        raise LookupError("no text")


class Uses:
    """Each of its methods uses the runtime, and has a usual result."""

    def __init__(self, act: Callable[[Any], object]) -> None:
        self.act = act

    def use(self) -> None:
        process = CURRENT.get(None)
        if process is not None:
            self.act(process)

    def __repr__(self) -> str:
        self.use()
        return "used"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        self.use()
        return "used"

    def __eq__(self, other: object) -> bool:
        self.use()
        return self is other

    def __hash__(self) -> int:
        self.use()
        return 1

    def __bool__(self) -> bool:
        self.use()
        return True

    def __len__(self) -> int:
        self.use()
        return 1

    def __iter__(self) -> Any:
        self.use()
        return iter(())

    def __getattr__(self, name: str) -> Any:
        if name != "act":
            self.use()
        raise AttributeError(name)

    def __reduce_ex__(self, _: Any) -> Any:
        self.use()
        return Uses, (self.act,)

    def __del__(self) -> None:
        if self.act is not fills_the_stack:
            self.use()


def logs(_: Any) -> None:
    logging.getLogger("enfilade.actors").error("from within %s", "an object")


def spawns(process: Any) -> None:
    process.node.spawn_soon(_nothing)


async def _nothing(me: Any) -> None:
    await trio.lowlevel.checkpoint()


def ends_itself(process: Any) -> None:
    if process.name == "victim":
        process.exit(process.ref, KILL)


def sends(process: Any) -> None:
    process.ref.send("from within an object")


def collects(_: Any) -> None:
    gc.collect(0)


def fills_the_stack(process: Any) -> None:
    fills_the_stack(process)


class Dead:
    pass


def dead_proxy() -> Any:
    return weakref.proxy(Dead())


def weak_callback() -> Any:
    """An object of which somebody is told the end, and raises then."""
    made = Dead()
    made.told = weakref.ref(made, lambda _: None)  # type: ignore[attr-defined]
    weakref.finalize(made, lambda: CURRENT.get(None) and sends(CURRENT.get()))
    return made


class Resurrects:
    kept: ClassVar[list[Any]] = []

    def __del__(self) -> None:
        Resurrects.kept[:] = [self]


class KeyOfManyEqual:
    """All of them are equal, and say so only at times."""

    count = 0

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        KeyOfManyEqual.count += 1
        if KeyOfManyEqual.count % 3 == 0:
            raise SystemError("this time not")
        return KeyOfManyEqual.count % 2 == 0


class IsInstanceOfAll(type):
    def __instancecheck__(cls, _: object) -> bool:
        return True

    def __subclasscheck__(cls, _: object) -> bool:
        return True

    def mro(cls) -> list[type]:
        return [cls, object]


class OfAll(metaclass=IsInstanceOfAll):
    pass


class ForeignAwaitable:
    """Yields what no trio task may yield, as an asyncio future does."""

    def __await__(self) -> Any:
        yield "nonsense"


PRETENDERS: Final[dict[str, Callable[[], Any]]] = {
    "pretends_ref": pretends(Ref),
    "pretends_call": pretends(Call),
    "pretends_request": pretends(Request),
    "pretends_down": pretends(Down),
    "pretends_exited": pretends(Exited),
    "pretends_text": pretends(str),
    "pretends_number": pretends(int),
    "pretends_error": pretends(ValueError),
    "pretends_cancelled": pretends(trio.Cancelled),
    "pretends_class": pretends(type),
    "pretends_actor": pretends(Actor),
    "pretends_reason": pretends(Crashed),
    "of_hostile_meta": lambda: object.__new__(OfHostileMeta),
    "hostile_meta": lambda: OfHostileMeta,
    "of_all": OfAll,
    "class_of_all": lambda: OfAll,
    "attributes_raise_badly": AttributesRaiseBadly,
    "fickle_name": lambda: FickleName("ping"),
    "fickle_method": FickleMethod,
    "wrapped_in_itself": WrappedInItself,
    "hostile_ref": HostileRef,
    "hostile_reason": HostileReason,
    "partial": lambda: functools.partial(HostileReason),
    "logs": lambda: Uses(logs),
    "spawns": lambda: Uses(spawns),
    "ends_itself": lambda: Uses(ends_itself),
    "sends": lambda: Uses(sends),
    "collects": lambda: Uses(collects),
    "fills_the_stack": lambda: Uses(fills_the_stack),
    "dead_proxy": dead_proxy,
    "weak_callback": weak_callback,
    "resurrects": Resurrects,
    "equal_at_times": KeyOfManyEqual,
    "foreign_awaitable": ForeignAwaitable,
    "frame": lambda: sys._getframe(),
    "thread_local": threading.local,
}
