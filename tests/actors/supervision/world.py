"""A world for the pure strategy: it performs actions at once, by a script, and writes down what happened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from enfilade.actors.messages.reasons import KILLED, SHUTDOWN, Crashed, Reason
from enfilade.actors.supervision.actions import (
    Action,
    Answer,
    Exit,
    Ready,
    Refuse,
    Report,
    Retry,
    Start,
    Stop,
)
from enfilade.actors.supervision.child_spec import Child, Flags
from enfilade.actors.supervision.children import (
    ChildInfo,
    ChildRecord,
    Children,
    DynamicChildren,
    NamedChildren,
)
from enfilade.actors.supervision.strategy import Strategy

BOOM = Crashed(RuntimeError("boom"))


def target() -> None:
    """What the children of these tests are said to run."""


def child(id: str, **options: Any) -> Child:  # noqa: A002 (the field's name)
    return Child(target, id=id, **options)


class World:
    """Drives one strategy.

    `script[id]` holds what the next starts of a child come to: "ok" (also when it is empty), "ignore",
    "hang", or a reason to fail with. `last_words[ref]` is what a process ends with when it is asked to stop,
    other than as asked; "never" keeps it going. Retries wait in `retries` until the test lets them happen.
    """

    def __init__(
        self,
        children: Iterable[Any] = (),
        *,
        dynamic: dict[str, Any] | None = None,
        present: Callable[[Child], bool] = lambda _: True,
        **flags: Any,
    ) -> None:
        self.now = 1000.0
        if dynamic is None:
            book: Children[str] = NamedChildren(Flags(**flags), children)
        else:
            flags = {"strategy": "simple_one_for_one", **flags}
            book = DynamicChildren(Flags(**flags), **dynamic)
        self.strategy = Strategy(book, clock=lambda: self.now, present=present)
        self.script: dict[object, list[Any]] = defaultdict(list)
        self.last_words: dict[str, Any] = {}
        self.log: list[str] = []
        self.reports: list[str] = []
        self.retries: list[Retry[str]] = []
        self.answer: Any = None
        self.ended: Reason | None = None
        self.ready = False
        self.alive: list[str] = []
        self.arguments: dict[str, tuple[Any, ...]] = {}
        self._numbers: dict[object, int] = defaultdict(int)

    def do(self, actions: list[Action[str]]) -> None:
        """Perform actions, and what follows from them."""
        queue = list(actions)
        while queue:
            queue += self._perform(queue.pop(0))

    def _perform(self, action: Action[str]) -> list[Action[str]]:
        match action:
            case Start(record):
                return self._start(action)
            case Stop(records):
                self.log.append("stop " + " ".join(sorted(str(record.ref) for record in records)))
                following: list[Action[str]] = []
                for record in records:
                    ref = record.ref
                    if ref is None:
                        continue
                    expected = KILLED if record.spec.shutdown == "brutal_kill" else SHUTDOWN
                    reason = self.last_words.pop(ref, expected)
                    if reason != "never":
                        self.alive.remove(ref)
                        following += self.strategy.exited(record, reason)
                return following
            case Retry():
                self.retries.append(action)
            case Ready():
                self.ready = True
            case Answer(value):
                self.answer = value
            case Refuse(error):
                self.answer = error
            case Exit(reason):
                self.ended = reason
            case Report(kind, record, ref, _):
                self.reports.append(f"{kind} {record.spec.id if ref is None else ref}")
        return []

    def _start(self, start: Start[str]) -> list[Action[str]]:
        record = start.child
        script: list[Any] = self.script[record.spec.id]
        outcome: Any = script.pop(0) if script else "ok"
        self._numbers[record.spec.id] += 1
        ref = f"{record.spec.id}{self._numbers[record.spec.id]}"
        self.arguments[ref] = record.args
        if outcome == "ok":
            self.log.append(f"start {ref}")
            self.alive.append(ref)
            return self.strategy.started(record, ref)
        if outcome == "ignore":
            self.log.append(f"ignored {ref}")
            return self.strategy.ignored(record)
        if outcome == "hang":
            self.log.append(f"hangs {ref}")
            return []
        self.log.append(f"fails {ref}")
        return self.strategy.start_failed(record, outcome)

    def record(self, key: str) -> ChildRecord[str]:
        return self.strategy.children.find(key)

    def boot(self) -> World:
        self.do(self.strategy.boot())
        return self

    def exit(self, ref: str, reason: Reason = BOOM, *, at_once: bool = True) -> None:
        """The process `ref` ends by itself; `at_once`: the strategy may have it restarted without a plan."""
        self.alive.remove(ref)
        child = self.strategy.children.running(ref)
        assert child is not None
        is_alone = at_once and self.strategy.restarts_alone(child, reason)
        self.do([Start(child)] if is_alone else self.strategy.exited(child, reason))

    def retry(self) -> None:
        """The oldest retry comes back."""
        self.do(self.strategy.retry(self.retries.pop(0)))

    def request(self, actions: list[Action[str]]) -> Any:
        """What a request comes to."""
        self.answer = "unanswered"
        self.do(actions)
        return self.answer

    def log_since(self, mark: int) -> list[str]:
        return self.log[mark:]

    def shown(self) -> dict[object, object]:
        return {info.id: info.ref for info in self.infos()}

    def infos(self) -> tuple[ChildInfo[str], ...]:
        return self.strategy.children.infos()


def booted(ids: str = "abc", **flags: Any) -> World:
    """A world whose children, one for each letter, have started."""
    return World([child(letter) for letter in ids], **{"intensity": 10, **flags}).boot()
