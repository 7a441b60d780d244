"""Child specifications and supervisor flags: what a supervisor is told about its children and about itself.

Both are immutable and are checked when they are made, so that a mistake is reported at the line that made it
and not when some supervisor starts. What needs more than one specification to judge (duplicate ids,
significant children under a supervisor that never shuts down by itself) is checked by `check_child_specs`,
which every supervisor runs first.

Source: stdlib's `supervisor` module, its child specification and supervisor flags; Elixir's `child_spec/1`
convention.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    TypedDict,
    TypeVarTuple,
    Unpack,
    overload,
)

import attrs

from enfilade.actors.messages.attempt import attempt, is_interrupt
from enfilade.actors.messages.errors import RuntimeFault
from enfilade.actors.messages.global_name import Global
from enfilade.actors.messages.kinds import is_a
from enfilade.actors.messages.safe_text import safe_record, safe_repr, shown_name
from enfilade.actors.messages.travelling import travels
from enfilade.actors.processes.actor import Actor
from enfilade.actors.processes.body import Spawnable, is_spawnable
from enfilade.actors.processes.mailbox import UNBOUNDED, Mailbox
from enfilade.actors.processes.resumption import Resume
from enfilade.actors.processes.start import is_resumable, joined
from enfilade.actors.processes.targets import check_arguments
from enfilade.actors.supervision.backoff import Backoff
from enfilade.actors.supervision.bad_field import BadField
from enfilade.actors.supervision.remote_entry import RemoteEntry
from enfilade.fields import is_int, is_number

if TYPE_CHECKING:
    from enfilade.actors.processes.process import Process

__all__ = [
    "AutoShutdown",
    "BadCombination",
    "Child",
    "ChildType",
    "DuplicateChild",
    "Flags",
    "InvalidChild",
    "InvalidFlag",
    "RestartType",
    "ShutdownLimit",
    "StrategyName",
    "check_child_specs",
    "child_spec",
]


P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

RestartType = Literal["permanent", "transient", "temporary"]
ShutdownLimit = float | Literal["brutal_kill"]
ChildType = Literal["worker", "supervisor"]
StrategyName = Literal["one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]

RESTARTS = ("permanent", "transient", "temporary")
CHILD_TYPES = ("worker", "supervisor")
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")

DEFAULT_SHUTDOWN = 5.0


@travels
class InvalidChild(BadField):
    """A child specification has a bad field; `field` and `value` say which and what."""

    what = "child field"


@travels
class InvalidFlag(BadField):
    """A supervisor flag has a bad value; `field` and `value` say which and what."""

    what = "supervisor flag"


@travels
class DuplicateChild(RuntimeFault, ValueError):
    """Two child specifications of one supervisor have the same `id`."""

    def __init__(self, id: Hashable) -> None:  # noqa: A002 (the field's name)
        super().__init__(f"two children have the id {safe_repr(id)}; give one of them another `id=`")
        self.id = id


@travels
class BadCombination(RuntimeFault, ValueError):
    """Two settings that are fine by themselves contradict each other; `settings` holds both."""

    def __init__(self, settings: Mapping[str, object], advice: str) -> None:
        pair = " with ".join(f"{name}={safe_repr(value)}" for name, value in settings.items())
        super().__init__(f"{pair} contradict each other: {advice}")
        self.settings = dict(settings)


@attempt(False)
def _holds(valid: Callable[[Any], bool], value: Any) -> bool:
    """Return true if `value` is valid; one that cannot be looked at is not."""
    return bool(valid(value))


def _is_seconds(value: object) -> bool:
    return is_number(value) and value >= 0


def _is_count(value: object) -> bool:
    return is_int(value) and value >= 0


def _attribute(target: object, name: str, default: Any) -> Any:
    """Return an attribute of a target, or the default if it lets nobody look."""
    return _looked_up(target, name) or default


@attempt(None)
def _looked_up(target: object, name: str) -> Any:
    return getattr(target, name, None)


@attempt(False)
def _is_hashable(value: object) -> bool:
    hash(value)
    return True


def _names_arguments(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _one_of(names: tuple[str, ...]) -> tuple[Callable[[Any], bool], str]:
    return (lambda value: isinstance(value, str) and value in names), "one of " + ", ".join(names)


# Field, what is allowed, and how to say so.
CHILD_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "target",
        lambda value: callable(value) or is_spawnable(value) or isinstance(value, RemoteEntry),
        "an actor class, an async function, a guest or a RemoteEntry",
    ),
    ("kwargs", _names_arguments, "a mapping from argument names to values"),
    ("id", lambda value: value is not None, "given, because the target has no name of its own"),
    ("id", _is_hashable, "hashable"),
    ("restart", *_one_of(RESTARTS)),
    ("significant", lambda value: isinstance(value, bool), "True or False"),
    (
        "shutdown",
        lambda value: value == "brutal_kill" or _is_seconds(value),
        'seconds, math.inf or "brutal_kill"',
    ),
    ("type", *_one_of(CHILD_TYPES)),
    (
        "name",
        lambda value: value is None or isinstance(value, Global) or (isinstance(value, str) and value != ""),
        "a non-empty string, a Global or None",
    ),
    ("label", lambda value: value is None or isinstance(value, str), "a string or None"),
    ("mailbox", lambda value: isinstance(value, Mailbox), "a Mailbox"),
    ("backoff", lambda value: value is None or isinstance(value, Backoff), "a Backoff or None"),
    ("on_failure", lambda value: value is None or isinstance(value, Resume), "a Resume or None"),
    ("start_timeout", _is_seconds, "seconds or math.inf"),
)

FLAG_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("strategy", *_one_of(STRATEGIES)),
    ("intensity", _is_count, "an integer, 0 or more"),
    (
        "period",
        lambda value: is_number(value) and 0 < value < math.inf,
        "a finite number of seconds above 0",
    ),
    ("auto_shutdown", *_one_of(AUTO_SHUTDOWNS)),
)


class _Options(TypedDict, total=False):
    """What else a specification says, to type checkers."""

    id: Hashable | None
    restart: RestartType
    significant: bool
    shutdown: ShutdownLimit | None
    type: ChildType | None
    name: str | Global | None
    label: str | None
    mailbox: Mailbox
    backoff: Backoff | None
    on_failure: Resume | None
    start_timeout: float


@attrs.frozen(init=False)
class Child:
    """The specification of one child: how it is started, restarted and stopped.

    Made as `Child(target, *args, id=..., restart=..., ...)`: what follows the target is given to it, as by
    `spawn`. What is named belongs to the specification, if it is one of the attributes below, and else to the
    target, which must have a parameter of that name.

    Attributes:
        target: what to spawn: an actor class, an async function, a guest, anything that `Node.spawn` takes;
            or a `RemoteEntry`, for a child on another node, which decides about name, label and mailbox.
        args: positional arguments for the target.
        kwargs: keyword arguments for the target: those that were given by name, and those from
            `kwargs={...}`, which may have the names of attributes of the specification.
        id: hashable and not None, unique among the children of one supervisor. Default: the target's own
            name.
        restart: "permanent" (default) restarts after every exit; "transient" only after an abnormal one;
            "temporary" never.
        significant: its end can end the supervisor, see `Flags.auto_shutdown`. Not for permanent children.
        shutdown: seconds between the request to stop and the kill, `math.inf` to wait for ever, or
            "brutal_kill" to kill at once. Default: 5 seconds for a worker, `math.inf` for a supervisor.
        type: "worker" or "supervisor"; sets the default of `shutdown` and what `count_children` counts.
            Default: the target's `child_type` attribute, which supervisors have, otherwise "worker".
        name: the name that each incarnation is registered under, or None. A `Global` name is held in the mesh
            before it begins, and it ends with `LeaseLost` when its node holds the name no longer.
        label: the label that each incarnation carries in reports, or None.
        mailbox: the bound of its mailbox. With `Mailbox(inherit=True)` a restarted child takes over the
            messages that its predecessor left, without the one that was being handled; OTP loses the mailbox
            with the process, which is the default.
        backoff: delays between restarts, or None (the default) to restart at once as OTP does.
        on_failure: after which errors of its handlers the child goes on with its state; None (the default)
            leaves that to its class (`Resume`). For actors that are no supervisors.
        start_timeout: seconds that each start may take, `math.inf` (the default) for any number. A start that
            takes longer is killed and has failed with the reason `TIMEOUT`.
        local_name: the name on the node itself, worked out from `name`; None without one.
        is_awaited: whether each start waits for somebody else: for another node, or for the registry of a
            `Global` name. Worked out from `target` and `name`.

    Raises:
        InvalidChild: a field has a bad value.
        BadCombination: a permanent child is called significant; or one on another node is given what that
            node decides.
        TypeError: neither the specification nor the target takes an argument of that name; one is given
            twice; or an async function does not take as many.
    """

    target: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    id: Hashable
    restart: RestartType
    significant: bool
    shutdown: ShutdownLimit
    type: ChildType
    name: str | Global | None
    label: str | None
    mailbox: Mailbox
    backoff: Backoff | None
    on_failure: Resume | None
    start_timeout: float
    local_name: str | None = attrs.field(init=False, eq=False, repr=False)
    is_awaited: bool = attrs.field(init=False, eq=False, repr=False)

    __repr__ = safe_record

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "local_name", self.name if is_a(self.name, str) else None)
        object.__setattr__(self, "is_awaited", is_a(self.target, RemoteEntry) or is_a(self.name, Global))

    # Type checkers check arguments that are given by position against `__init__`. A child without any may be
    # a template, which is given them later.

    @overload
    def __init__(self, target: Callable[P, Actor], /, *args: P.args, **kwargs: P.kwargs) -> None: ...

    @overload
    def __init__(
        self,
        target: Callable[[*Ts], Actor],
        /,
        *args: *Ts,
        **options: Unpack[_Options],
    ) -> None: ...

    @overload
    def __init__(  # type: ignore[overload-cannot-match]
        self,
        target: Callable[..., Actor],
        /,
        **options: Unpack[_Options],
    ) -> None: ...

    @overload
    def __init__(  # type: ignore[overload-cannot-match]
        self,
        target: Callable[..., Actor],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        **options: Unpack[_Options],
    ) -> None: ...

    @overload
    def __init__(
        self,
        target: Callable[Concatenate[Process, P], Coroutine[Any, Any, Any]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None: ...

    @overload
    def __init__(
        self,
        target: Callable[[Process, *Ts], Coroutine[Any, Any, Any]],
        /,
        *args: *Ts,
        **options: Unpack[_Options],
    ) -> None: ...

    @overload
    def __init__(  # type: ignore[overload-cannot-match]
        self,
        target: Callable[Concatenate[Process, ...], Coroutine[Any, Any, Any]],
        /,
        **options: Unpack[_Options],
    ) -> None: ...

    @overload
    def __init__(  # type: ignore[overload-cannot-match]
        self,
        target: Callable[Concatenate[Process, ...], Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        kwargs: Mapping[str, Any],
        **options: Unpack[_Options],
    ) -> None: ...

    @overload
    def __init__(
        self,
        target: Spawnable[Any] | RemoteEntry,
        /,
        *args: Any,
        kwargs: Mapping[str, Any] | None = ...,
        **options: Unpack[_Options],
    ) -> None: ...

    def __init__(  # type: ignore[misc]
        self,
        target: Any,
        /,
        *args: Any,
        id: Hashable | None = None,  # noqa: A002 (the field's name)
        restart: RestartType = "permanent",
        significant: bool = False,
        shutdown: ShutdownLimit | None = None,
        type: ChildType | None = None,  # noqa: A002 (the field's name)
        name: str | Global | None = None,
        label: str | None = None,
        mailbox: Mailbox = UNBOUNDED,
        backoff: Backoff | None = None,
        on_failure: Resume | None = None,
        start_timeout: float = math.inf,
        kwargs: Mapping[str, Any] | None = None,
        **named: Any,
    ) -> None:
        if named and not _takes(target, named):
            raise TypeError(_advice(target, named))
        child_type: ChildType = _attribute(target, "child_type", "worker") if type is None else type
        default_shutdown = math.inf if child_type == "supervisor" else DEFAULT_SHUTDOWN
        self.__attrs_init__(
            target=target,
            args=args,
            kwargs=named if kwargs is None else joined(named, kwargs) if named else kwargs,
            id=_attribute(target, "__name__", None) if id is None else id,
            restart=restart,
            significant=significant,
            shutdown=default_shutdown if shutdown is None else shutdown,
            type=child_type,
            name=name,
            label=label,
            mailbox=mailbox,
            backoff=backoff,
            on_failure=on_failure,
            start_timeout=start_timeout,
        )
        for field, valid, expected in CHILD_RULES:
            if not _holds(valid, getattr(self, field)):
                raise InvalidChild(field, getattr(self, field), expected)
        check_arguments(target, self.args, self.kwargs, more_may_come=True)
        if significant and restart == "permanent":
            raise BadCombination(
                {"restart": restart, "significant": True},
                "a permanent child always comes back; make it transient or temporary",
            )
        if on_failure is not None and not is_resumable(target):
            raise BadCombination(
                {"target": target, "on_failure": on_failure},
                "only the handlers of an actor can be resumed, and not those of a supervisor",
            )
        if isinstance(target, RemoteEntry):
            for field, usual in (("name", None), ("label", None), ("mailbox", UNBOUNDED)):
                if getattr(self, field) != usual:
                    raise BadCombination(
                        {"target": target, field: getattr(self, field)},
                        "the node where a child lives decides that; leave it out",
                    )

    def with_arguments(self, *args: Any, **kwargs: Any) -> Child:
        """Return the same specification with further arguments for the target.

        Args:
            args: appended to `args`.
            kwargs: added to `kwargs`, replacing those of the same name.
        """
        return self._with(args=self.args + args, kwargs={**self.kwargs, **kwargs})

    def after_arguments(self, *args: Any) -> Child:
        """The same specification with further positional arguments for the target, before those that are
        there.
        """
        return self._with(args=args + self.args) if args else self

    def without_arguments(self) -> Child:
        """The same specification without arguments: what is remembered of a temporary child that runs."""
        return self._with(args=(), kwargs={})

    def retargeted(self, target: Any) -> Child:
        """Return the same specification with another `target`, for which the same arguments are meant."""
        return self._with(target=target)

    def renamed(self, id: Hashable, name: str | Global | None) -> Child:  # noqa: A002 (the field's name)
        """Return the same specification with another `id`, and another registered `name` or None."""
        return self._with(id=id, name=name)

    def _with(self, **changes: Any) -> Child:
        child = Child.__new__(Child)
        fields = {name: getattr(self, name) for name in CHILD_FIELDS}
        child.__attrs_init__(**fields | changes)
        return child


CHILD_FIELDS = tuple(field.name for field in attrs.fields(Child) if field.init)


def _takes(target: Any, named: Mapping[str, object]) -> bool:
    """Tell whether the target has parameters of these names. So a misspelt option is found at its line."""
    if isinstance(target, RemoteEntry):
        return False
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return False
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return True
    by_name = {each.name for each in parameters.values() if each.kind is not each.POSITIONAL_ONLY}
    return named.keys() <= by_name


def _advice(target: Any, unknown: Mapping[str, object]) -> str:
    name = shown_name(target)
    if "args" in unknown:
        return f"a Child takes no 'args': the arguments follow the target, as in Child({name}, value, ...)"
    return (
        f"a Child takes no {', '.join(map(safe_repr, unknown))}, but {', '.join(CHILD_FIELDS[2:])}; "
        f"an argument for the target is Child({name}, value), or Child({name}, kwargs={safe_repr(unknown)})"
    )


def child_spec(child: Any) -> Child:
    """The specification that an entry of a supervisor's list of children stands for.

    Args:
        child: a `Child`; or a class with a `child_spec()` classmethod, which is asked; or anything else that
            can be spawned, which becomes `Child(child)`.

    Raises:
        InvalidChild: `child` is none of these, or its `child_spec()` answers something else than a `Child`.
    """
    if isinstance(child, Child):
        return child
    convention = getattr(child, "child_spec", None)
    if convention is not None:
        try:
            answer = convention()
        except BaseException as error:
            if is_interrupt(error):
                raise
            expected = f"a Child; {safe_repr(child)}.child_spec() raised {safe_repr(error)}"
            raise InvalidChild("child_spec", child, expected) from error
        if not isinstance(answer, Child):
            raise InvalidChild(
                "child_spec", answer, f"a Child; this is what {safe_repr(child)}.child_spec() answers"
            )
        return answer
    return Child(child)


@attrs.frozen(kw_only=True)
class Flags:
    """The settings of a supervisor.

    Attributes:
        strategy: which siblings a restart takes along: "one_for_one" none, "one_for_all" all, "rest_for_one"
            those that were started later; "simple_one_for_one" is one_for_one for children that come and go.
        intensity: maximum number of restarts within `period`, an integer of at least 0; one more ends the
            supervisor.
        period: seconds, more than 0 and finite.
        auto_shutdown: whether the end of a significant child ends the supervisor: "never", "any_significant",
            or "all_significant" (when the last one ends).

    Raises:
        InvalidFlag: a flag has a bad value.
    """

    strategy: StrategyName = "one_for_one"
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = "never"

    def __attrs_post_init__(self) -> None:
        for field, valid, expected in FLAG_RULES:
            if not _holds(valid, getattr(self, field)):
                raise InvalidFlag(field, getattr(self, field), expected)


def check_child_specs(children: Iterable[Any], auto_shutdown: AutoShutdown = "never") -> list[Child]:
    """Check the children of one supervisor together, without starting anything.

    Args:
        children: what a supervisor takes: specifications, classes with `child_spec()`, or plain targets.
        auto_shutdown: the flag of the supervisor that they are meant for.

    Returns:
        The specifications, in order.

    Raises:
        InvalidChild: `children` is not a series of children, or one of them is bad.
        DuplicateChild: two have the same id.
        BadCombination: one is significant and `auto_shutdown` is "never", so that being significant means
            nothing.
    """
    if isinstance(children, str | bytes | Mapping | Child) or not isinstance(children, Iterable):
        raise InvalidChild("children", children, "a list of children")
    specs: list[Child] = []
    ids: set[Hashable] = set()
    for spec in map(child_spec, children):
        if spec.id in ids:
            raise DuplicateChild(spec.id)
        check_significant(spec, auto_shutdown)
        ids.add(spec.id)
        specs.append(spec)
    return specs


def check_significant(spec: Child, auto_shutdown: AutoShutdown) -> None:
    """Raise `BadCombination` for a significant child under a supervisor that never shuts down by itself."""
    if spec.significant and auto_shutdown == "never":
        raise BadCombination(
            {"auto_shutdown": auto_shutdown, "significant": True},
            f"child {safe_repr(spec.id)} cannot end its supervisor; set auto_shutdown, or significant=False",
        )
